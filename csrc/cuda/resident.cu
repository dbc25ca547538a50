// Tables, or their hot rows, in the shared memory of the multiprocessors that own them. Each block serves the segments that the
// host gave it, features and runs of samples: first those whose rows lie in memory, while its own rows are on their way, then
// those whose rows it keeps.
#include "serve.cuh"
#include "staging.cuh"

struct Copy {
  const u8* from;
  i32 bytes, to;  // places in shared memory have the same rest by 16 as addresses
};

struct Segment {
  i32 feature, first, end;  // samples [first, end)
  i32 at;                   // where its rows [0, kept) are in shared memory, below 0 without any
  i64 kept;
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

DEVICE Copy copy_at(const Copy* at) {
  const Raw<16> x = load_near<16>(at, true);
  return {(const u8*)((u64)x.word[1] << 32 | x.word[0]), (i32)x.word[2], (i32)x.word[3]};
}

DEVICE Segment segment_at(const Segment* at) {
  const Raw<8> x = load_near<8>(at, true), y = load_near<8>((const u8*)at + 8, true), z = load_near<8>((const u8*)at + 16, true);
  return {(i32)x.word[0], (i32)x.word[1], (i32)y.word[0], (i32)y.word[1], (i64)((u64)z.word[1] << 32 | z.word[0])};
}

template <class R>
DEVICE void serve_segment(const Resident& call, const Segment& segment) {
  const Feature& feature = call.feature[segment.feature];
  float* const room = (float*)shared_memory();
  const FromShared kept{shared_memory() + ROOM_BYTES + segment.at, 0, segment.kept};
  if (segment.at < 0) serve<R>(call.ids, feature, FromMemory(), segment.first, segment.end, room);
  else if (segment.kept >= feature.count) serve<R>(call.ids, feature, kept, segment.first, segment.end, room);
  else serve<R>(call.ids, feature, FromBoth{kept}, segment.first, segment.end, room);
}

KERNEL(resident, Resident, THREADS, 1) {
  const u32 block = block_index();
  const i32 copies = listed(call.first_copy + block + 1), segments = listed(call.first_segment + block + 1);
  for (i32 i = listed(call.first_copy + block); i < copies; ++i) {
    const Copy copy = copy_at(call.copies + i);
    begin_copy(shared_memory() + ROOM_BYTES + copy.to, copy.from, copy.bytes);
  }
  copy_async_mark();
  bool arrived = false;
  for (i32 i = listed(call.first_segment + block); i < segments; ++i) {
    const Segment segment = segment_at(call.segments + i);
    if (segment.at >= 0 && !arrived) {
      copy_async_wait<0>();
      sync_block();
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
}
