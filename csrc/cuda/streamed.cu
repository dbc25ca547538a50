// Tables that pass through shared memory in chunks: a block reads a chunk while it adds up those ids of its bags that fall in the
// one before. Costs by the bytes of the table, and hardly by which rows are asked for.
#include "serve.cuh"
#include "staging.cuh"

struct Streamed {
  Ids ids;
  i64 chunk_rows[FEATURES];
  Feature feature[FEATURES];
  i32 first_block[FEATURES + 1 + (FEATURES + 1) % 2];
};

// Where a chunk lies in shared memory: every other one in the second half, as far from a multiple of 16 as in memory.
DEVICE u8* place_of(const Feature& feature, i64 chunk, i64 rows) {
  const u64 start = (u64)(feature.rows + chunk * rows * feature.stride);
  return shared_memory() + ROOM_BYTES + (chunk % 2) * CHUNK_BYTES + start % 16;
}

// Bags [first, first + groups / split) of one feature; each group keeps its sum while the chunks pass.
template <class R>
DEVICE void serve_chunks(const Ids& ids, const Feature& feature, i64 rows, i64 first) {
  constexpr int U = in_flight<R, ROWS_IN_FLIGHT>();
  const int lane = thread_index() % R::lanes, group = thread_index() / R::lanes;
  const int split = feature.split, part = group % split;
  const i64 sample = first + group / split, chunks = (feature.count + rows - 1) / rows;
  const bool wanted = group / split < feature.bags && sample < ids.batch;
  const Range bag = bag_of(ids, feature, sample, wanted);
  for (int turn = 0; turn < R::turns; ++turn) {
    Strip<R> strip;
    strip.clear();
    i32 counted = 0;
    const auto begin = [&](i64 chunk) {
      const i64 first_row = chunk * rows, rest = feature.count - first_row;
      const i64 nbytes = (rows < rest ? rows : rest) * feature.stride;
      if (chunk < chunks) begin_copy(place_of(feature, chunk, rows), feature.rows + first_row * feature.stride, nbytes);
      copy_async_mark();
    };
    begin(0);
    for (i64 chunk = 0; chunk < chunks; ++chunk) {
      begin(chunk + 1);
      copy_async_wait<1>();
      sync_block();
      const FromShared source{place_of(feature, chunk, rows), chunk * rows, rows};
      counted += add_bag<R, U>(strip, ids, feature, source, bag, part, split, lane, turn, chunk == 0);
      sync_block();
    }
    copy_async_wait<0>();
    combine<R>(strip, counted, split, (float*)shared_memory());
    if (feature.mode == mean) strip.multiply(counted > 1 ? 1.0f / (float)counted : 1.0f);
    if (wanted && part == 0) put<R, Out>(strip, feature.out + sample * feature.out_stride, lane, turn);
    sync_block();
  }
}

KERNEL(streamed, Streamed, THREADS, MIN_BLOCKS) {
  const int at = feature_of(call.first_block, (i32)block_index());
  const Feature& feature = call.feature[at];
  const i64 first = (i64)((i32)block_index() - call.first_block[at]) * feature.bags;
  switch (feature.recipe) {
#define RECIPE(number, ...)                                                                 \
  case number:                                                                              \
    serve_chunks<Recipe<__VA_ARGS__>>(call.ids, feature, call.chunk_rows[at], first);       \
    break;
    RECIPES
#undef RECIPE
  }
}
