// Samples [first, end) of one feature, by one block:
//   single: for its bags, several at a time: out = weight * row(id)
//   bags:   for each bag, by one or more groups of threads: out = sum of weight * row(id), over their number for means
// A bag much longer than expected is left for last and shared by the whole block.
#pragma once

#include "bag.cuh"

using Out = Output<OUTPUT, OUTPUT_PIECE>;

// Bags of more turns than this are shared by the block.
[[maybe_unused]] constexpr int most_turns = 16;

#ifdef FEATURES
// The feature that a block belongs to: the last one whose first block is not beyond it.
DEVICE int feature_of(const i32* first_block, i32 block) {
  int low = 0, high = FEATURES;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (first_block[middle] <= block) low = middle;
    else high = middle;
  }
  return low;
}
#endif

// Bags of one id: the rows of several bags are asked for before the first is written.
template <class R, class Source>
DEVICE void serve_single(const Ids& ids, const Feature& feature, const Source& source, i64 first, i64 end) {
  constexpr int groups = THREADS / R::lanes, U = ROWS_IN_FLIGHT;
  const int lane = thread_index() % R::lanes, group = thread_index() / R::lanes;
  i64 before = (i64)feature.number * ids.batch, count = ids.batch;
  if (feature.mode == each && ids.offsets != nullptr) {
    const i64 begin = load_index(ids.offsets + before, true);
    count = load_index(ids.offsets + before + ids.batch, true) - begin;
    before = begin;
  }
  if (end > count) end = count;
  for (; first < end; first += groups * U) {
    for (int turn = 0; turn < R::turns; ++turn) {
      const i64 bag = first + group;
      Rows<U> rows;
      Fetched<R> fetched[U];
      float weight[U];
      if (feature.mode == identity) {
        UNROLL
        for (int u = 0; u < U; ++u) rows.row[u] = bag + u * groups < end ? bag + u * groups : -1;
      } else {
        rows.read(ids, before + bag, groups, before + end);
        rows.judge(ids, feature, before + bag, groups, before + end, lane == 0 && turn == 0);
      }
      UNROLL
      for (int u = 0; u < U; ++u) {
        const bool wanted = source.has(rows.row[u]);
        weight[u] = R::weighted ? as_float(load_near<4>(ids.weights + before + bag + u * groups, wanted).word[0]) : 1.0f;
        source.template read<R>(fetched[u], feature, rows.row[u], lane, turn, wanted);
      }
      UNROLL
      for (int u = 0; u < U; ++u) {
        Strip<R> strip;
        strip.clear();
        strip.add(fetched[u], weight[u]);
        if (bag + u * groups < end) put<R, Out>(strip, feature.out + (bag + u * groups) * feature.out_stride, lane, turn);
      }
    }
  }
}

// One bag a `split` groups, `bag` the same for all of them.
template <class R, class Source>
DEVICE void serve_bag(const Ids& ids, const Feature& feature, const Source& source, i64 sample, Range bag, int split, bool wanted,
                      float* room) {
  constexpr int U = in_flight<R, ROWS_IN_FLIGHT>();
  const int lane = thread_index() % R::lanes, part = thread_index() / R::lanes % split;
  for (int turn = 0; turn < R::turns; ++turn) {
    Strip<R> strip;
    strip.clear();
    i32 counted = add_bag<R, U>(strip, ids, feature, source, bag, part, split, lane, turn);
    combine<R>(strip, counted, split, room);
    if (feature.mode == mean) strip.multiply(counted > 1 ? 1.0f / (float)counted : 1.0f);
    if (wanted && part == 0) put<R, Out>(strip, feature.out + sample * feature.out_stride, lane, turn);
  }
}

template <class R, class Source>
DEVICE void serve_bags(const Ids& ids, const Feature& feature, const Source& source, i64 first, i64 end, float* room) {
  constexpr int groups = THREADS / R::lanes;
  const int split = feature.split;
  const i64 longest = (i64)most_turns * ROWS_IN_FLIGHT * split;
  if (end > ids.batch) end = ids.batch;
  bool any_long = false;
  for (i64 from = first; from < end; from += groups / split) {
    const i64 sample = from + thread_index() / R::lanes / split;
    Range bag = bag_of(ids, feature, sample, sample < end);
    const bool is_long = split < groups && bag.end - bag.begin > longest;
    any_long |= is_long;
    if (is_long) bag.end = bag.begin;
    serve_bag<R>(ids, feature, source, sample, bag, split, sample < end && !is_long, room);
  }
  if (split == groups || !sync_block_or(any_long)) return;
  for (i64 sample = first; sample < end; ++sample) {
    const Range bag = bag_of(ids, feature, sample, true);
    if (bag.end - bag.begin > longest) serve_bag<R>(ids, feature, source, sample, bag, groups, true, room);
  }
}

// `room` holds threads * (values + 1) floats of shared memory.
template <class R, class Source>
DEVICE void serve(const Ids& ids, const Feature& feature, const Source& source, i64 first, i64 end, float* room) {
  if constexpr (R::single) serve_single<R>(ids, feature, source, first, end);
  else serve_bags<R>(ids, feature, source, first, end, room);
}
