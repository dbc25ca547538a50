// Tables, or some of their rows, in the shared memory of the multiprocessors that own them. Each block serves the segments that the
// host gave it, features and runs of samples: first those whose rows lie in memory, while its own rows are on their way, then
// those whose rows it keeps, alone or together with its neighbours in a cluster.
#include "serve.cuh"
#include "staging.cuh"

constexpr i32 ROW_TEAM = 8;  // threads that copy one row together

struct Copy {
  const u8* from;
  i64 step;           // between runs in memory; in shared memory they follow each other
  i32 bytes, runs;    // of a run; and how many
  i32 to, unused;     // places in shared memory have the same rest by 16 as addresses
};

struct Segment {
  i32 feature, first, end;  // samples [first, end)
  i32 at;                   // where its kept rows are in shared memory
  i64 first_row, rows;      // it serves ids of these alone,
  i64 kept;                 // the first of which are in shared memory
  i32 shift;                // of 1 << shift neighbouring blocks in turns
  i32 notes;                // whether ids outside the table are noted
};

struct Resident {
  Ids ids;
  const Copy* copies;
  const Segment* segments;
  const i32* first_copy;     // [blocks + 1]
  const i32* first_segment;  // [blocks + 1]
  Feature feature[FEATURES];
};

DEVICE i32 listed(const i32* at) { return (i32)load_near<4>(at, true).word[0]; }
DEVICE i64 joined(u32 low, u32 high) { return (i64)((u64)high << 32 | low); }

DEVICE Copy copy_at(const Copy* at) {
  const Raw<16> x = load_near<16>(at, true), y = load_near<16>((const u8*)at + 16, true);
  return {(const u8*)joined(x.word[0], x.word[1]), joined(x.word[2], x.word[3]), (i32)y.word[0], (i32)y.word[1], (i32)y.word[2], 0};
}

DEVICE Segment segment_at(const Segment* at) {
  const Raw<16> x = load_near<16>(at, true), y = load_near<16>((const u8*)at + 16, true), z = load_near<16>((const u8*)at + 32, true);
  return {(i32)x.word[0], (i32)x.word[1], (i32)x.word[2], (i32)x.word[3], joined(y.word[0], y.word[1]), joined(y.word[2], y.word[3]),
          joined(z.word[0], z.word[1]), (i32)z.word[2], (i32)z.word[3]};
}

DEVICE void begin(const Copy& copy) {
  u8* const to = shared_memory() + ROOM_BYTES + copy.to;
  if (copy.runs == 1) return begin_copy(to, copy.from, copy.bytes);
  const i32 member = thread_index() % ROW_TEAM;
  for (i32 run = thread_index() / ROW_TEAM; run < copy.runs; run += THREADS / ROW_TEAM) {
    begin_copy(to + run * copy.bytes, copy.from + run * copy.step, copy.bytes, member, ROW_TEAM);
  }
}

template <class R, class Kept>
DEVICE void serve_kept(const Ids& ids, const Feature& feature, const Segment& segment, const Kept& kept, float* room) {
  if (segment.kept >= segment.rows) serve<R>(ids, feature, kept, segment.first, segment.end, room);
  else serve<R>(ids, feature, FromBoth<Kept>{kept, segment.first_row, segment.rows}, segment.first, segment.end, room);
}

template <class R>
DEVICE void serve_segment(const Resident& call, const Segment& segment) {
  const Feature& feature = call.feature[segment.feature];
  float* const room = (float*)shared_memory();
  Ids ids = call.ids;
  if (segment.notes == 0) ids.faults = nullptr;
  const u8* const at = shared_memory() + ROOM_BYTES + segment.at;
  if (segment.kept == 0) {
    serve<R>(ids, feature, FromRange{segment.first_row, segment.rows}, segment.first, segment.end, room);
  } else if (CLUSTER == 1 || segment.shift == 0) {
    serve_kept<R>(ids, feature, segment, FromShared{at, segment.first_row, segment.kept}, room);
  } else if constexpr (CLUSTER > 1) {
    const u32 base = cluster_rank() >> segment.shift << segment.shift;
    serve_kept<R>(ids, feature, segment, FromCluster{at, segment.first_row, segment.kept, base, segment.shift}, room);
  }
}

// All rows are where they are kept, those of the neighbours too.
DEVICE void arrive() {
  copy_async_wait<0>();
  if constexpr (CLUSTER > 1) sync_cluster();
  else sync_block();
}

KERNEL(resident, Resident, THREADS, 1) {
  const u32 block = block_index();
  const i32 copies = listed(call.first_copy + block + 1), segments = listed(call.first_segment + block + 1);
  for (i32 i = listed(call.first_copy + block); i < copies; ++i) begin(copy_at(call.copies + i));
  copy_async_mark();
  bool arrived = false;
  for (i32 i = listed(call.first_segment + block); i < segments; ++i) {
    const Segment segment = segment_at(call.segments + i);
    if (segment.kept > 0 && !arrived) {
      arrive();
      arrived = true;
    }
    switch (call.feature[segment.feature].recipe) {
#define RECIPE(number, ...)                             \
  case number:                                          \
    serve_segment<Recipe<__VA_ARGS__>>(call, segment);  \
    break;
      RECIPES
#undef RECIPE
    }
  }
  if constexpr (CLUSTER > 1) {
    if (!arrived) arrive();
    sync_cluster();  // until no neighbour reads from here
  }
}
