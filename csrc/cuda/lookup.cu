// All features of a batch in one launch. A block serves a run of samples of one feature:
//   single: for its bags, several at a time: out = weight * row(id)
//   bags:   for each bag, by one or more groups of threads: out = sum of weight * row(id), over their number for means
// A bag much longer than expected is left for last and shared by the whole block.
#include "bag.cuh"

struct Lookup {
  Ids ids;
  Feature feature[FEATURES];
  i32 first_block[FEATURES + 1 + (FEATURES + 1) % 2];
};

using Out = Output<OUTPUT, OUTPUT_PIECE>;

// Bags of more turns than this are shared by the block.
constexpr int most_turns = 16;

// The feature that a block belongs to: the last one whose first block is not beyond it.
DEVICE int feature_of(const Lookup& call, i32 block) {
  int low = 0, high = FEATURES;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (call.first_block[middle] <= block) low = middle;
    else high = middle;
  }
  return low;
}

// Bags of one id: the rows of several bags are asked for before the first is written.
template <class R>
DEVICE void serve_single(const Ids& ids, const Feature& feature, i64 block) {
  constexpr int groups = THREADS / R::lanes, U = ROWS_IN_FLIGHT;
  const int lane = thread_index() % R::lanes, group = thread_index() / R::lanes;
  i64 first = (i64)feature.number * ids.batch, count = ids.batch;
  if (feature.mode == each && ids.offsets != nullptr) {
    const i64 begin = load_index(ids.offsets + first, true);
    count = load_index(ids.offsets + first + ids.batch, true) - begin;
    first = begin;
  }
  for (int turn = 0; turn < R::turns; ++turn) {
    const i64 bag = block * feature.bags + group;
    Rows<U> rows;
    Fetched<R> fetched[U];
    float weight[U];
    if (feature.mode == identity) {
      UNROLL
      for (int u = 0; u < U; ++u) rows.row[u] = bag + u * groups < count ? bag + u * groups : -1;
    } else {
      rows.read(ids, first + bag, groups, first + count);
      rows.judge(ids, feature, first + bag, groups, first + count, lane == 0 && turn == 0);
    }
    UNROLL
    for (int u = 0; u < U; ++u) {
      const bool wanted = rows.row[u] >= 0;
      weight[u] = R::weighted ? as_float(load_near<4>(ids.weights + first + bag + u * groups, wanted).word[0]) : 1.0f;
      fetch<R>(fetched[u], elements_of<R>(feature, rows.row[u]), lane, turn, wanted);
    }
    UNROLL
    for (int u = 0; u < U; ++u) {
      Strip<R> strip;
      strip.clear();
      strip.add(fetched[u], weight[u]);
      if (bag + u * groups < count) put<R, Out>(strip, feature.out + (bag + u * groups) * feature.out_stride, lane, turn);
    }
  }
}

// One bag a `split` groups, `bag` the same for all of them.
template <class R>
DEVICE void serve_bag(const Ids& ids, const Feature& feature, i64 sample, Range bag, int split, bool wanted, float* room) {
  constexpr int U = in_flight<R, ROWS_IN_FLIGHT>();
  const int lane = thread_index() % R::lanes, part = thread_index() / R::lanes % split;
  for (int turn = 0; turn < R::turns; ++turn) {
    Strip<R> strip;
    strip.clear();
    i32 counted = add_bag<R, U>(strip, ids, feature, bag, part, split, lane, turn);
    combine<R>(strip, counted, split, room);
    if (feature.mode == mean) strip.multiply(counted > 1 ? 1.0f / (float)counted : 1.0f);
    if (wanted && part == 0) put<R, Out>(strip, feature.out + sample * feature.out_stride, lane, turn);
  }
}

template <class R>
DEVICE void serve_bags(const Ids& ids, const Feature& feature, i64 block) {
  constexpr int groups = THREADS / R::lanes;
  float* const room = (float*)shared_memory();
  const int split = feature.split;
  const i64 longest = (i64)most_turns * ROWS_IN_FLIGHT * split;
  const i64 first = block * feature.bags, rest = ids.batch - first;
  const i64 end = first + (feature.bags < rest ? feature.bags : rest);
  bool any_long = false;
  for (i64 from = first; from < end; from += groups / split) {
    const i64 sample = from + thread_index() / R::lanes / split;
    Range bag = bag_of(ids, feature, sample, sample < end);
    const bool is_long = split < groups && bag.end - bag.begin > longest;
    any_long |= is_long;
    if (is_long) bag.end = bag.begin;
    serve_bag<R>(ids, feature, sample, bag, split, sample < end && !is_long, room);
  }
  if (split == groups || !sync_block_or(any_long)) return;
  for (i64 sample = first; sample < end; ++sample) {
    const Range bag = bag_of(ids, feature, sample, true);
    if (bag.end - bag.begin > longest) serve_bag<R>(ids, feature, sample, bag, groups, true, room);
  }
}

KERNEL(lookup, Lookup, THREADS, MIN_BLOCKS) {
  const i32 block = (i32)block_index();
  const int at = INTERLEAVED ? block % FEATURES : feature_of(call, block);
  const Feature& feature = call.feature[at];
  const i64 own = INTERLEAVED ? block / FEATURES : block - call.first_block[at];
  switch (feature.recipe) {
#define RECIPE(number, ...)                                          \
  case number: {                                                     \
    using R = Recipe<__VA_ARGS__>;                                    \
    if constexpr (R::single) serve_single<R>(call.ids, feature, own); \
    else serve_bags<R>(call.ids, feature, own);                       \
    break;                                                           \
  }
    RECIPES
#undef RECIPE
  }
}
