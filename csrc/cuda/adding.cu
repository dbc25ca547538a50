// Partial sums of row shards, added up in the order in which they are listed, and so to the same bits every time. A warp makes one
// vector. Means are divided here by the number of ids that any shard added.
#include "bag.cuh"

using Out = Output<OUTPUT, OUTPUT_PIECE>;

constexpr int WARPS = THREADS / 32;
constexpr int TOGETHER = 4;  // partial sums that a thread asks for before it waits

struct Partial {
  const u8* vectors;  // float32, one behind the other from sample 0 on
  i32 first, end;     // there are those of samples [first, end)
};

struct Adding {
  Ids ids;
  const Partial* partials;
  Feature feature[FEATURES];
  i32 first_partial[FEATURES + 1 + (FEATURES + 1) % 2];
  i32 dim[FEATURES + FEATURES % 2];
};

DEVICE Partial partial_at(const Partial* at, bool wanted) {
  const Raw<16> x = load_near<16>(at, wanted);
  return {(const u8*)((u64)x.word[1] << 32 | x.word[0]), (i32)x.word[2], (i32)x.word[3]};
}

// What a sum over the sample's bag is multiplied by.
DEVICE float factor_of(const Ids& ids, const Feature& feature, i64 sample, int lane) {
  if (feature.mode != mean) return 1.0f;
  const Range bag = bag_of(ids, feature, sample, true);
  i32 counted = 0;
  for (i64 from = bag.begin; from < bag.end; from += 32) {
    Rows<1> rows;
    rows.read(ids, from + lane, 1, bag.end);
    rows.judge(ids, feature, from + lane, 1, bag.end, false);
    counted += rows.row[0] >= 0 ? 1 : 0;
  }
  for (int mask = 16; mask > 0; mask /= 2) counted += shuffle_xor(counted, mask);
  return counted > 1 ? 1.0f / (float)counted : 1.0f;
}

KERNEL(adding, Adding, THREADS, 2) {
  const i64 blocks = (call.ids.batch + WARPS - 1) / WARPS, block = block_index();
  const int at = (int)(block / blocks), lane = thread_index() % 32, dim = call.dim[at];
  const i64 sample = block % blocks * WARPS + thread_index() / 32;
  if (sample >= call.ids.batch) return;
  const Feature& feature = call.feature[at];
  const float factor = factor_of(call.ids, feature, sample, lane);
  for (int column = lane; column < dim; column += 32) {
    float total = 0.0f;
    for (i32 from = call.first_partial[at]; from < call.first_partial[at + 1]; from += TOGETHER) {
      Raw<4> x[TOGETHER];
      UNROLL
      for (int i = 0; i < TOGETHER; ++i) {
        const Partial partial = partial_at(call.partials + from + i, from + i < call.first_partial[at + 1]);
        const bool wanted = sample >= partial.first && sample < partial.end;
        x[i] = load_near<4>(partial.vectors + (sample * dim + column) * 4, wanted);
      }
      UNROLL
      for (int i = 0; i < TOGETHER; ++i) total += as_float(x[i].word[0]);
    }
    total *= factor;
    Out::store(feature.out + sample * feature.out_stride + column * Out::bytes, Out::template packed<1>(&total));
  }
}
