// Ids: where a bag's begin and end, which row each one is, and the sum of a bag by one or more groups of threads.
#pragma once

#include "row.cuh"

#ifndef CHECKED
#define CHECKED 1
#endif

struct Range {
  i64 begin, end;
};

// Positions of the ids of bag number * batch + sample.
DEVICE Range bag_of(const Ids& ids, const Feature& feature, i64 sample, bool wanted) {
  const i64 at = (i64)feature.number * ids.batch + sample;
  if (ids.offsets == nullptr) return {at, at + (wanted ? 1 : 0)};
  return {load_index(ids.offsets + at, wanted), load_index(ids.offsets + at + 1, wanted)};
}

// What becomes of an id outside its table: the row that stands for it, or -1 for none. One of the threads that read it `notes` it.
DEVICE i64 outside(const Ids& ids, const Feature& feature, i64 id, i64 position, bool notes) {
  notes &= ids.faults != nullptr;
  if (feature.policy == error) {
    if (notes) least(ids.faults, (u64)position);
    return -1;
  }
  if (feature.policy != modulo && notes) count_one(ids.faults + 1);
  if (feature.policy == clamp) return id < 0 ? 0 : feature.count - 1;
  if (feature.policy == substitute) return feature.substitute_row;
  const i64 rest = id % feature.count;
  return rest < 0 ? rest + feature.count : rest;
}

// The rows of ids at U positions, -1 where there is none or it adds nothing. All ids are asked for before the first is looked at,
// and one branch serves the usual case that all lie inside the table.
template <int U>
struct Rows {
  i64 row[U];

  DEVICE void read(const Ids& ids, i64 position, i64 step, i64 end) {
    UNROLL
    for (int u = 0; u < U; ++u) row[u] = load_index(ids.values + position + u * step, position + u * step < end);
  }

  DEVICE void judge(const Ids& ids, const Feature& feature, i64 position, i64 step, i64 end, bool notes) {
    if (CHECKED) {
      bool inside = true;
      UNROLL
      for (int u = 0; u < U; ++u) inside &= (u64)row[u] < (u64)feature.count;
      if (!inside) {
        UNROLL
        for (int u = 0; u < U; ++u) {
          const i64 at = position + u * step;
          if ((u64)row[u] >= (u64)feature.count && at < end) row[u] = outside(ids, feature, row[u], at, notes);
        }
      }
    }
    UNROLL
    for (int u = 0; u < U; ++u) row[u] = position + u * step < end && row[u] != feature.padding ? row[u] : -1;
  }
};

template <class R>
DEVICE const u8* elements_of(const Feature& feature, i64 row) {
  i64 place = row < 0 ? 0 : row;
  const u8* rows = feature.rows;
  if constexpr (R::cut) {
    if (feature.order != nullptr) place = (i64)load_near<4>(feature.order + place, true).word[0];
    if (place >= feature.near) rows = feature.beyond;
  }
  return rows + R::header + place * feature.stride;
}

// Sources of rows: which rows they have, and how one is begun to be read.
struct FromMemory {
  DEVICE bool has(i64 row) const { return row >= 0; }

  template <class R>
  DEVICE void read(Fetched<R>& to, const Feature& feature, i64 row, int lane, int turn, bool wanted) const {
    fetch<R>(to, elements_of<R>(feature, row), lane, turn, wanted);
  }
};

// The same of rows [first, first + count) alone.
struct FromRange {
  i64 first, count;

  DEVICE bool has(i64 row) const { return row >= 0 && (u64)(row - first) < (u64)count; }

  template <class R>
  DEVICE void read(Fetched<R>& to, const Feature& feature, i64 row, int lane, int turn, bool wanted) const {
    fetch<R>(to, elements_of<R>(feature, row), lane, turn, wanted);
  }
};

// Rows [first, first + count) are in shared memory from `rows` on; there are no others.
struct FromShared {
  const u8* rows;
  i64 first, count;

  DEVICE bool has(i64 row) const { return row >= 0 && (u64)(row - first) < (u64)count; }

  template <class R>
  DEVICE void read(Fetched<R>& to, const Feature& feature, i64 row, int lane, int turn, bool wanted) const {
    fetch<R, Shared>(to, rows + R::header + (wanted ? row - first : 0) * feature.stride, lane, turn, wanted);
  }
};

// Rows [first, first + count) are in the shared memory of 1 << shift neighbouring blocks in turns; there are no others. `rows` is
// where the first is in block `base` of the cluster, and so in each.
struct FromCluster {
  const u8* rows;
  i64 first, count;
  u32 base;
  i32 shift;

  DEVICE bool has(i64 row) const { return row >= 0 && (u64)(row - first) < (u64)count; }

  template <class R>
  DEVICE void read(Fetched<R>& to, const Feature& feature, i64 row, int lane, int turn, bool wanted) const {
    const u32 at = wanted ? (u32)(row - first) : 0;
    const u8* const own = rows + R::header + (at >> shift) * (u32)feature.stride;
    fetch<R, Cluster>(to, in_cluster(own, base + (at & ((1u << shift) - 1))), lane, turn, wanted);
  }
};

// Rows that `hot` has are in shared memory, the others of [first, first + count) where they always are.
template <class Hot>
struct FromBoth {
  Hot hot;
  i64 first, count;

  DEVICE bool has(i64 row) const { return row >= 0 && (u64)(row - first) < (u64)count; }

  template <class R>
  DEVICE void read(Fetched<R>& to, const Feature& feature, i64 row, int lane, int turn, bool wanted) const {
    Fetched<R> near;
    fetch<R>(to, elements_of<R>(feature, row), lane, turn, wanted && !hot.has(row));
    hot.template read<R>(near, feature, row, lane, turn, wanted && hot.has(row));
    if constexpr (R::quantised) to.header |= near.header;
    UNROLL
    for (int k = 0; k < R::held; ++k) {
      UNROLL
      for (int i = 0; i < (R::piece + 3) / 4; ++i) to.raw[k].word[i] |= near.raw[k].word[i];
    }
  }
};

// Rows in flight of a bag: as many as were asked for, fewer where they would take too many registers.
template <class R, int Wanted>
DEVICE constexpr int in_flight() {
  const int fits = 64 / (R::held * ((R::piece + 3) / 4));
  return at_most(Wanted, fits < 1 ? 1 : fits);
}

// Adds to `strip` the rows that `source` has of the ids at positions begin + part, begin + part + split .. below end; returns how
// many there were but for padding. Reads of one block of rows are all begun before the first is added, and the next ids meanwhile.
template <class R, int U, class Source>
DEVICE i32 add_bag(Strip<R>& strip, const Ids& ids, const Feature& feature, const Source& source, Range bag, int part, int split,
                   int lane, int turn, bool notes = true) {
  const i64 step = split;
  i64 from = bag.begin + part;
  i32 counted = 0;
  Rows<U> rows;
  rows.read(ids, from, step, bag.end);
  for (; from < bag.end; from += U * step) {
    rows.judge(ids, feature, from, step, bag.end, notes && lane == 0 && turn == 0);
    Fetched<R> fetched[U];
    float weight[U];
    UNROLL
    for (int u = 0; u < U; ++u) {
      const bool wanted = source.has(rows.row[u]);
      source.template read<R>(fetched[u], feature, rows.row[u], lane, turn, wanted);
      counted += wanted ? 1 : 0;
      weight[u] = R::weighted ? as_float(load_near<4>(ids.weights + from + u * step, wanted).word[0]) : 1.0f;
    }
    rows.read(ids, from + U * step, step, bag.end);
    UNROLL
    for (int u = 0; u < U; ++u) strip.add(fetched[u], weight[u]);
  }
  return counted;
}

// Adds up the strips of the `split` groups of a bag, which are neighbours; the sum is right in the first of them. Every thread
// of the block takes part when a bag is shared by several warps. `room` holds threads * (values + 1) floats.
template <class R>
DEVICE void combine(Strip<R>& strip, i32& counted, int split, float* room) {
  for (int mask = R::lanes; mask < 32 && mask < R::lanes * split; mask *= 2) {
    UNROLL
    for (int k = 0; k < R::held; ++k) {
      UNROLL
      for (int i = 0; i < R::elements; ++i) strip.value[k][i] += shuffle_xor(strip.value[k][i], mask);
    }
    counted += shuffle_xor(counted, mask);
  }
  if (R::lanes * split <= 32) return;
  constexpr int values = R::held * R::elements + 1;
  float* const own = room + thread_index() * values;
  UNROLL
  for (int k = 0; k < R::held; ++k) {
    UNROLL
    for (int i = 0; i < R::elements; ++i) own[k * R::elements + i] = strip.value[k][i];
  }
  own[values - 1] = as_float((u32)counted);
  sync_block();
  if (thread_index() % (R::lanes * split) < R::lanes) {
    for (int other = 32; other < R::lanes * split; other += 32) {
      const float* const theirs = own + other * values;
      UNROLL
      for (int k = 0; k < R::held; ++k) {
        UNROLL
        for (int i = 0; i < R::elements; ++i) strip.value[k][i] += theirs[k * R::elements + i];
      }
      counted += (i32)as_word(theirs[values - 1]);
    }
  }
  sync_block();
}
