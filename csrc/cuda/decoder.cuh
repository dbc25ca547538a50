// Deep hash embeddings: what is known of the decoders of a launch, codes of ids, and what is done to sums.
#pragma once

#include "device.cuh"
#include "format.cuh"

enum Activation : int { none = 0, relu = 1, sigmoid = 2, mish = 3 };
enum Transform : int { uniform = 0, gaussian = 1 };

struct Hashed {
  struct Feature {
    const INDEX* ids;
    const u8* parameters;  // as `packed_decoder` lays them out
    u8* out;
    i64 out_stride, count;
    u32 prime, buckets, by_buckets;  // 2^32 / buckets
    i32 first_block;
    const i32* counted;  // how many ids there are, if that is known only on the GPU: at most `count`
    const i32* numbers;  // of the rows to write, where they are not in the ids' order
  };
  Feature feature[FEATURES];
};

using Out = Output<OUTPUT, OUTPUT_PIECE>;

// Codes, weights and hidden vectors are multiplied as OPERAND; weights of an output take whole chunks of 64 bytes. Those of fp8 (e4m3)
// were divided by a scale of each output, so that the largest is the largest there is.
constexpr int tf32 = 5, fp8 = 6, element_bytes = OPERAND == fp32 || OPERAND == tf32 ? 4 : OPERAND == fp8 ? 1 : 2;
constexpr int chunk = 64 / element_bytes;

DEVICE constexpr int up_to(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }

// Layer i: widths[i] inputs, widths[i + 1] outputs; its weights [out, in up to whole chunks] and biases [out up to 4], in fp8
// scales [out up to 4] too, lie one behind the other.
DEVICE constexpr int width(int at) {
  constexpr int widths[] = {WIDTHS};
  return widths[at];
}
DEVICE constexpr int activation(int layer) {
  constexpr int activations[] = {ACTIVATIONS};
  return activations[layer];
}
// The hash parameters a, a 2^32 / prime, b come first, each [k up to 128].
constexpr int hash_bytes = up_to(width(0), 128) * 4;
DEVICE constexpr i64 weights_at(int layer) {
  i64 at = 3 * (i64)hash_bytes;
  for (int i = 0; i < layer; ++i) at += element_bytes * (i64)width(i + 1) * up_to(width(i), chunk) + (OPERAND == fp8 ? 8 : 4) * up_to(width(i + 1), 4);
  return at;
}
DEVICE constexpr i64 biases_at(int layer) { return weights_at(layer) + element_bytes * (i64)width(layer + 1) * up_to(width(layer), chunk); }
// After the last layer: scale and shift of the batch norm.
DEVICE constexpr i64 norm_at() { return weights_at(LAYERS); }

DEVICE constexpr int widest_hidden() {
  int most = 0;
  for (int i = 1; i < LAYERS; ++i) most = width(i) > most ? width(i) : most;
  return most;
}
// Two neighbouring operands, rounded, to shared memory.
DEVICE void put_pair(u8* at, float low, float high) {
  if constexpr (OPERAND == fp32) store_shared_raw(at, Raw<8>{{as_word(low), as_word(high)}});
  else if constexpr (OPERAND == tf32) store_shared_raw(at, Raw<8>{{to_tf32(low), to_tf32(high)}});
  else if constexpr (OPERAND == fp8) store_shared_raw(at, Raw<2>{{to_eighths(low, high)}});
  else store_shared_raw(at, Raw<4>{{OPERAND == fp16 ? to_halves(low, high) : to_bfloats(low, high)}});
}
DEVICE float load_float(const u8* at) { return as_float(load_near<4>(at, true).word[0]); }

// ((a x + b) mod prime) mod buckets for x < prime < 2^31, all in 32 bits: a x - (a' x / 2^32) prime lies below 2 prime when
// a' is a 2^32 / prime, rounded down (Shoup's multiplication).
DEVICE u32 hash(const Hashed::Feature& feature, u32 x, u32 a, u32 by_prime, u32 b) {
  u32 h = a * x - high_product(by_prime, x) * feature.prime;
  h = h >= feature.prime ? h - feature.prime : h;
  h += b;
  h = h >= feature.prime ? h - feature.prime : h;
  h -= high_product(h, feature.by_buckets) * feature.buckets;
  return h >= feature.buckets ? h - feature.buckets : h;
}

// The parameters of two neighbouring hashes, the first of which is number `at`.
struct TwoHashes {
  Raw<8> a, by_prime, b;

  DEVICE TwoHashes(const Hashed::Feature& feature, int at) {
    const u8* const parameters = feature.parameters + at * 4;
    a = load_near<8>(parameters, true);
    by_prime = load_near<8>(parameters + hash_bytes, true);
    b = load_near<8>(parameters + 2 * hash_bytes, true);
  }

  DEVICE u32 of(const Hashed::Feature& feature, u32 x, int i) const { return hash(feature, x, a.word[i], by_prime.word[i], b.word[i]); }
};

// Codes of x by two neighbouring hashes. Logarithms of what is near 1 are taken of the distance from it.
DEVICE void put_codes(u8* at, const Hashed::Feature& feature, const TwoHashes& hashes, u32 x) {
  const u32 h = hashes.of(feature, x, 0), g = hashes.of(feature, x, 1);
  if constexpr (TRANSFORM == uniform) {
    const float step = 2.0f / (float)(feature.buckets - 1);
    return put_pair(at, multiply_add((float)h, step, -1.0f), multiply_add((float)g, step, -1.0f));
  }
  const float by = 1.0f / (float)feature.buckets;
  const u32 rest = feature.buckets - 1 - h;
  const float natural = rest < feature.buckets / 2 ? logarithm_1p(-(float)rest * by) : logarithm((float)(h + 1) * by);
  const float radius = square_root(-2.0f * natural), angle = 2.0f * (float)(g + 1) * by;
  put_pair(at, radius * cosine_pi(angle), radius * sine_pi(angle));
}

DEVICE float activate(int kind, float x) {
  if (kind == relu) return x > 0.0f ? x : 0.0f;
  if (kind == sigmoid) return 1.0f / (1.0f + exponential(-x));
  if (kind == mish) return x > 20.0f ? x : x * hyperbolic_tangent(logarithm_1p(exponential(x)));
  return x;
}

// Biases and scales of outputs j and j + 1.
template <int Layer>
struct TwoOutputs {
  float bias[2], scale[2];

  DEVICE TwoOutputs(const Hashed::Feature& feature, int j) {
    constexpr int out = width(Layer + 1);
    UNROLL
    for (int i = 0; i < 2; ++i) {
      const u8* const own = feature.parameters + biases_at(Layer) + (j + i) * 4;
      bias[i] = j + i < out ? load_float(own) : 0.0f;
      scale[i] = OPERAND == fp8 && j + i < out ? load_float(own + up_to(out, 4) * 4) : 1.0f;
    }
  }
};

// What becomes of the sums of outputs j and j + 1: scale, bias, activation and, behind the last layer, the batch norm; zeros for
// outputs that the layer has not.
template <int Layer>
DEVICE void finish(float (&x)[2], const Hashed::Feature& feature, int j, const TwoOutputs<Layer>& outputs) {
  constexpr int out = width(Layer + 1);
  UNROLL
  for (int i = 0; i < 2; ++i) {
    const float sum = OPERAND == fp8 ? multiply_add(x[i], outputs.scale[i], outputs.bias[i]) : x[i] + outputs.bias[i];
    x[i] = j + i < out ? activate(activation(Layer), sum) : 0.0f;
    if (Layer + 1 == LAYERS && BATCH_NORM && j + i < out) {
      const u8* const norm = feature.parameters + norm_at() + (j + i) * 4;
      x[i] = multiply_add(x[i], load_float(norm), load_float(norm + up_to(out, 4) * 4));
    }
  }
}

// The rows that a block computes: which feature's, and which of its rows is the first.
struct Share {
  const Hashed::Feature& feature;
  i64 first, count;

  DEVICE static const Hashed::Feature& feature_of(const Hashed& call) {
    int at = 0;
    for (int i = 1; i < FEATURES; ++i) at += call.feature[i].first_block <= (i32)block_index() ? 1 : 0;
    return call.feature[at];
  }

  DEVICE explicit Share(const Hashed& call) : feature(feature_of(call)) {
    first = (i64)((i32)block_index() - feature.first_block) * ROWS;
    count = feature.counted == nullptr ? feature.count : (i64)load_near<4>(feature.counted, true).word[0];
  }

  // Ids modulo the prime and, where rows are scattered, their numbers behind them, into shared memory.
  DEVICE void read_ids(u8* to) const {
    for (int row = thread_index(); row < ROWS; row += THREADS) {
      const bool wanted = first + row < count;
      const i64 id = load_index(feature.ids + first + row, wanted);
      store_shared_raw(to + row * 4, Raw<4>{{(u32)((u64)id % feature.prime)}});
      if (SCATTERED) store_shared_raw(to + (ROWS + row) * 4, load_near<4>(feature.numbers + first + row, wanted));
    }
  }

  // Outputs j and j + 1 of a row of the block to where it belongs; `ids` is what was read before.
  DEVICE void write(const u8* ids, int row, int j, const float (&x)[2]) const {
    constexpr int out = width(LAYERS);
    if (first + row >= count || j >= out) return;
    const i64 number = SCATTERED ? (i64)load_shared<4>(ids + (ROWS + row) * 4, true).word[0] : first + row;
    Out::template put<out, 2>(feature.out + number * feature.out_stride, j, x);
  }
};
