// Ids of computed tables: each different one is noted once, and in its place stands the number of the row that will be computed
// for it. Rows are numbered by where an id lies in one hash table for all; number 0 is no row. Ids whose rows were finished
// beforehand are not noted: their rows have the first numbers.
#include "bag.cuh"

// A place of a hash table that is only read: an id and one more, 0 for none, and the number of its finished row.
struct Kept {
  i64 key, number;
};

struct Listed {
  Feature feature;  // of its ids: count, padding, substitute_row, number, policy
  i64 table;
  i64* ids;         // different ids of the table, in any order
  i32* numbers;     // of their rows among those computed
  const Kept* kept;  // [kept_mask + 1], or null
  u64 kept_mask;
  i64 first;        // number of the first row that is computed
};

struct Distinct {
  Ids ids;
  Index* values;  // those of `ids`, to be replaced
  u64* keys;      // [SLOTS], zeros
  i32* counts;    // [tables], zeros
  Listed listed[FEATURES];
};

constexpr u64 mask = SLOTS - 1;

DEVICE u64 mixed(u64 x) {
  x = (x ^ x >> 31) * 0x9E3779B97F4A7C15ull;
  return x ^ x >> 29;
}

// The number of the finished row of an id, or 0.
DEVICE i64 finished(const Listed& own, i64 id) {
  if (own.kept == nullptr) return 0;
  for (u64 at = mixed((u64)id + 1) & own.kept_mask;; at = (at + 1) & own.kept_mask) {
    const Raw<16> found = load_near<16>(own.kept + at, true);
    const i64 key = (i64)((u64)found.word[1] << 32 | found.word[0]);
    if (key == id + 1) return (i64)((u64)found.word[3] << 32 | found.word[2]);
    if (key == 0) return 0;
  }
}

// The number of the row for an id; whoever comes first notes the id.
DEVICE i64 numbered(const Distinct& call, const Listed& own, i64 id) {
  const i64 number = finished(own, id);
  if (number != 0) return number;
  const u64 key = (u64)own.table << 48 | (u64)(id + 1);
  for (u64 at = mixed(key) & mask;; at = (at + 1) & mask) {
    const u64 found = compare_swap(call.keys + at, 0, key);
    if (found == key) return own.first + (i64)at;
    if (found != 0) continue;
    const i32 place = add_one(call.counts + own.table);
    store_raw<false>(own.ids + place, Raw<8>{{(u32)id, (u32)((u64)id >> 32)}});
    store_raw<false>(own.numbers + place, Raw<4>{{(u32)at + 1}});
    return own.first + (i64)at;
  }
}

DEVICE void replace(i32* at, i64 number) { store_raw<false>(at, Raw<4>{{(u32)number}}); }
DEVICE void replace(i64* at, i64 number) { store_raw<false>(at, Raw<8>{{(u32)number, (u32)((u64)number >> 32)}}); }

KERNEL(distinct, Distinct, THREADS, 1) {
  const Listed& own = call.listed[block_index() / BLOCKS];
  i64 at = (i64)own.feature.number * call.ids.batch, end = at + call.ids.batch;
  if (call.ids.offsets != nullptr) {
    end = load_index(call.ids.offsets + end, true);
    at = load_index(call.ids.offsets + at, true);
  }
  at += block_index() % BLOCKS * THREADS + thread_index();
  for (; at < end; at += BLOCKS * THREADS) {
    i64 id = load_changing(call.values + at);
    if ((u64)id >= (u64)own.feature.count) id = outside(call.ids, own.feature, id, at, true);
    replace(call.values + at, id < 0 || id == own.feature.padding ? 0 : numbered(call, own, id));
  }
}
