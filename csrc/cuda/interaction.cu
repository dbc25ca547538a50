// Look-up and dot interaction in one: a warp gathers the vectors of a sample into shared memory, multiplies them, and writes
// the bottom MLP's output and the products. Vectors never go to memory.
//   copied:  rows whose stored elements are what is multiplied go straight to shared memory, all of a sample in flight at once;
//            the bottom MLP's output too, if it is what goes out
//   others:  several rows at a time through registers, summed, scaled and converted on the way
#include "bag.cuh"
#include "tile.cuh"

constexpr int WARPS = THREADS / 32;

struct Interaction {
  Ids ids;
  u8* out;
  i64 out_stride;
  Feature feature[VECTORS];  // those copied first; then in runs of one recipe
  i32 place[VECTORS + VECTORS % 2];  // in the order of products; 0 is the bottom MLP's output
};

using Out = Output<OUTPUT, OUTPUT_PIECE>;
using Sample = Tile<VECTORS, DIM, OPERAND, Out, COLUMNS, SELF_TERMS, BOTTOM_COPIED>;
static_assert(Sample::size == TILE_BYTES, "the host has another idea of a tile");

// Copied rows: lane i knows the features i, i + 32 ..; what it must know of them stays in its registers.
struct Copied {
  static constexpr int slots = (COPIED + 31) / 32 + (COPIED == 0 ? 1 : 0);
  static constexpr int pieces = DIM * Sample::bytes / 16;
  static constexpr int lanes = pieces >= 32 ? 32 : pieces > 16 ? 32 : pieces > 8 ? 16 : pieces > 4 ? 8 : pieces > 2 ? 4 : pieces > 1 ? 2 : 1;
  static constexpr int together = 32 / lanes;  // rows a step

  const u8* rows[slots];
  i64 stride[slots], count[slots], padding[slots], first[slots];
  i64 id[slots];
  bool numbered[slots];  // rows are samples' own; there are no ids

  DEVICE void begin(const Interaction& call, int lane) {
    UNROLL
    for (int s = 0; s < slots; ++s) {
      const int at = at_most(s * 32 + lane, COPIED > 0 ? COPIED - 1 : 0);
      const Feature& feature = call.feature[at];
      rows[s] = feature.rows, stride[s] = feature.stride, count[s] = feature.count, padding[s] = feature.padding;
      first[s] = (i64)feature.number * call.ids.batch;
      numbered[s] = feature.mode == identity;
    }
  }

  DEVICE void read_ids(const Interaction& call, i64 sample, int lane) {
    UNROLL
    for (int s = 0; s < slots; ++s) {
      id[s] = load_index(call.ids.values + first[s] + sample, !numbered[s] && s * 32 + lane < COPIED && sample < call.ids.batch);
      if (numbered[s]) id[s] = sample;
    }
  }

  // What is known of cut tables alone is read again for each sample: it would take too many registers.
  DEVICE u64 address(const Interaction& call, int s, i64 row, int lane) const {
    const u8* start = rows[s];
    if (COPIED_CUT) {
      const Feature& feature = call.feature[at_most(s * 32 + lane, COPIED - 1)];
      if (feature.order != nullptr) row = (i64)load_near<4>(feature.order + row, true).word[0];
      if (feature.beyond != nullptr && row >= feature.near) start = feature.beyond;
    }
    return (u64)(start + row * stride[s]);
  }

  // Begins to copy the rows of the ids that were read.
  DEVICE void copy(const Interaction& call, const Sample& tile, i64 sample, int lane) const {
    u64 from[slots];
    bool missing = false;
    UNROLL
    for (int s = 0; s < slots; ++s) {
      i64 row = id[s];
      if (CHECKED && (u64)row >= (u64)count[s] && s * 32 + lane < COPIED) {
        row = outside(call.ids, call.feature[s * 32 + lane], row, first[s] + sample, true);
      }
      from[s] = row < 0 || row == padding[s] ? 0 : address(call, s, row, lane);
      missing |= from[s] == 0 && s * 32 + lane < COPIED;
    }
    if (any_of_warp(missing)) copy_rows<false>(call, tile, from, lane);
    else copy_rows<true>(call, tile, from, lane);
    copy_async_mark();
  }

  // Zeros for rows without an address; with `All` there are none.
  template <bool All>
  static DEVICE void copy_rows(const Interaction& call, const Sample& tile, const u64 (&from)[slots], int lane) {
    const int piece = lane % lanes;
    UNROLL
    for (int at = 0; at < COPIED; at += together) {
      const int mine = at + lane / lanes;
      const u64 row = shuffle(from[at / 32], mine % 32);
      u8* const to = tile.row(PLACES_FROM >= 0 ? PLACES_FROM + mine : call.place[at_most(mine, COPIED - 1)]);
      UNROLL
      for (int k = 0; k < pieces; k += lanes) {
        if ((COPIED % together != 0 && mine >= COPIED) || (pieces % lanes != 0 && k + piece >= pieces)) continue;
        const u8* const source = (const u8*)row + (k + piece) * 16;
        if (All) copy_async(to + (k + piece) * 16, source);
        else copy_async(to + (k + piece) * 16, source, row != 0);
      }
    }
  }
};

// Vectors [First, First + Count) of one row each: that of an id, or of the sample's own number.
template <class R, int First, int Count, bool Identity>
DEVICE void gather_single(const Interaction& call, const Sample& tile, i64 sample, int lane) {
  constexpr int groups = 32 / R::lanes, U = at_most(in_flight<R, ROWS_IN_FLIGHT>(), (Count + groups - 1) / groups);
  const int own = lane % R::lanes;
  for (int turn = 0; turn < R::turns; ++turn) {
    for (int from = lane / R::lanes; from - lane / R::lanes < Count; from += groups * U) {
      i64 row[U], at[U];
      Fetched<R> fetched[U];
      float weight[U];
      bool inside = true;
      UNROLL
      for (int u = 0; u < U; ++u) {
        at[u] = (i64)call.feature[First + at_most(from + u * groups, Count - 1)].number * call.ids.batch + sample;
        row[u] = Identity ? sample : load_index(call.ids.values + at[u], from + u * groups < Count);
      }
      UNROLL
      for (int u = 0; u < U; ++u) {
        inside &= (u64)row[u] < (u64)call.feature[First + at_most(from + u * groups, Count - 1)].count;
      }
      if (CHECKED && !inside) {
        UNROLL
        for (int u = 0; u < U; ++u) {
          const Feature& feature = call.feature[First + at_most(from + u * groups, Count - 1)];
          if (from + u * groups < Count && (u64)row[u] >= (u64)feature.count) {
            row[u] = outside(call.ids, feature, row[u], at[u], own == 0 && turn == 0);
          }
        }
      }
      UNROLL
      for (int u = 0; u < U; ++u) {
        const Feature& feature = call.feature[First + at_most(from + u * groups, Count - 1)];
        if (from + u * groups >= Count || row[u] == feature.padding) row[u] = -1;
        weight[u] = R::weighted ? as_float(load_near<4>(call.ids.weights + at[u], row[u] >= 0).word[0]) : 1.0f;
        fetch<R>(fetched[u], elements_of<R>(feature, row[u]), own, turn, row[u] >= 0);
      }
      UNROLL
      for (int u = 0; u < U; ++u) {
        if (from + u * groups >= Count) continue;
        Strip<R> strip;
        strip.clear();
        strip.add(fetched[u], weight[u]);
        const int place = call.place[First + from + u * groups];
        put<R, Sample::Put>(strip, tile.row(place), own, turn);
        if (place == 0) put<R, Out>(strip, call.out + sample * call.out_stride, own, turn);
      }
    }
  }
}

// Vectors of bags, one a group of threads, or one after the other by all groups of the warp when bags are long.
template <class R, int First, int Count, bool Shared>
DEVICE void gather_bags(const Interaction& call, const Sample& tile, i64 sample, int lane) {
  constexpr int groups = Shared ? 1 : 32 / R::lanes, split = Shared ? 32 / R::lanes : 1;
  constexpr int U = in_flight<R, ROWS_IN_FLIGHT>();
  const int own = lane % R::lanes, part = Shared ? lane / R::lanes : 0;
  for (int turn = 0; turn < R::turns; ++turn) {
    for (int from = Shared ? 0 : lane / R::lanes; from < up_to(Count, groups); from += groups) {
      const bool exists = from < Count;
      const Feature& feature = call.feature[First + at_most(from, Count - 1)];
      const Range bag = bag_of(call.ids, feature, sample, exists);
      Strip<R> strip;
      strip.clear();
      i32 counted = add_bag<R, U>(strip, call.ids, feature, FromMemory(), bag, part, split, own, turn);
      if (Shared) combine<R>(strip, counted, split, nullptr);
      if (feature.mode == mean) strip.multiply(counted > 1 ? 1.0f / (float)counted : 1.0f);
      if (!exists || part != 0) continue;
      const int place = call.place[First + from];
      put<R, Sample::Put>(strip, tile.row(place), own, turn);
      if (place == 0) put<R, Out>(strip, call.out + sample * call.out_stride, own, turn);
    }
  }
}

// RUN(first, count, how, recipe...)
template <int First, int Count, int How, class R>
DEVICE void gather_run(const Interaction& call, const Sample& tile, i64 sample, int lane) {
  enum { one_row = 0, own_number = 1, bags = 2, shared_bags = 3 };
  if constexpr (How == one_row || How == own_number) gather_single<R, First, Count, How == own_number>(call, tile, sample, lane);
  else gather_bags<R, First, Count, How == shared_bags>(call, tile, sample, lane);
}

KERNEL(interact, Interaction, THREADS, MIN_BLOCKS) {
  const int lane = thread_index() % 32;
  const Sample tile{shared_memory() + thread_index() / 32 * Sample::size};
  tile.clear(lane);
  sync_warp();
  const i64 step = (i64)block_count() * WARPS;
  i64 sample = (i64)block_index() * WARPS + thread_index() / 32;
  Copied copied;
  copied.begin(call, lane);
  if (COPIED > 0) copied.read_ids(call, sample, lane);
  for (; sample < call.ids.batch; sample += step) {
    if (COPIED > 0) {
      copied.copy(call, tile, sample, lane);
      copied.read_ids(call, sample + step, lane);
    }
#define RUN(first, count, how, ...) gather_run<first, count, how, Recipe<__VA_ARGS__>>(call, tile, sample, lane);
    RUNS
#undef RUN
    copy_async_wait<0>();
    sync_warp();
    tile.multiply(lane);
    tile.write(call.out + sample * call.out_stride, lane);
  }
}
