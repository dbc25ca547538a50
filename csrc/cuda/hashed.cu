// Rows of deep hash embeddings, all features in one launch. A block computes `ROWS` rows of one feature from their ids to the end:
//   for each chunk of hashes: codes of all rows into shared memory, made on the spot; the first layer's weights for them beside;
//   codes times weights on tensor cores (float32: on plain ones), sums in registers; activation; what comes out is the next
//   layer's input, in shared memory
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

constexpr int warps = THREADS / 32, warps_down = ROWS / 32, warps_across = warps / warps_down;
// Codes, weights and hidden vectors are multiplied as OPERAND, a chunk of 64 bytes of a row at a time.
constexpr int tf32 = 5, element_bytes = OPERAND == fp32 || OPERAND == tf32 ? 4 : 2;
constexpr int chunk = 64 / element_bytes, chunk_stride = 64 + 16;
using Out = Output<OUTPUT, OUTPUT_PIECE>;

DEVICE constexpr int up_to(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }

// Layer i: widths[i] inputs, widths[i + 1] outputs; its weights [out, in up to whole chunks] and biases [out up to 4] lie at offsets[i].
DEVICE constexpr int width(int at) {
  constexpr int widths[] = {WIDTHS};
  return widths[at];
}
DEVICE constexpr int activation(int layer) {
  constexpr int activations[] = {ACTIVATIONS};
  return activations[layer];
}
// The hash parameters a, a 2^32 / prime, b come first, each [k up to whole chunks].
DEVICE constexpr i64 weights_at(int layer) {
  i64 at = 3 * 4 * (i64)up_to(width(0), chunk);
  for (int i = 0; i < layer; ++i) at += element_bytes * (i64)width(i + 1) * up_to(width(i), chunk) + 4 * up_to(width(i + 1), 4);
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
DEVICE constexpr int columns_of(int layer) { return up_to(width(layer + 1), warps_across * 16); }
DEVICE constexpr int widest() {
  int most = 0;
  for (int i = 0; i < LAYERS; ++i) most = columns_of(i) > most ? columns_of(i) : most;
  return most;
}

// Shared memory: ids, numbers of rows, one chunk of codes, two chunks of weights, two layers' vectors.
constexpr int code_bytes = ROWS * chunk_stride, weight_bytes = widest() * chunk_stride;
constexpr int vector_stride = (up_to(widest_hidden(), chunk) * element_bytes / 16 | 1) * 16, vector_bytes = ROWS * vector_stride;
constexpr int codes_at = ROWS * 4 * (1 + SCATTERED), weights_in_shared = codes_at + code_bytes, vectors_at = weights_in_shared + 2 * weight_bytes;
static_assert(vectors_at + (LAYERS > 1 ? 2 : 0) * vector_bytes == SHARED_BYTES, "the host has another idea of the shared memory");

// Two neighbouring operands, rounded, to shared memory.
DEVICE void put_pair(u8* at, float low, float high) {
  if constexpr (OPERAND == fp32) store_shared_raw(at, Raw<8>{{as_word(low), as_word(high)}});
  else if constexpr (OPERAND == tf32) store_shared_raw(at, Raw<8>{{to_tf32(low), to_tf32(high)}});
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

// Codes of two neighbouring hashes. Logarithms of what is near 1 are taken of the distance from it.
DEVICE void put_codes(u8* at, const Hashed::Feature& feature, u32 h, u32 g) {
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

// Codes [from, from + chunk) of all rows of the block: a thread keeps to two hashes.
DEVICE void make_codes(const Hashed::Feature& feature, int from) {
  const int pair = thread_index() % (chunk / 2);
  const u8* const parameters = feature.parameters + (from + 2 * pair) * 4;
  constexpr int each = up_to(width(0), chunk) * 4;
  const Raw<8> a = load_near<8>(parameters, true), by_prime = load_near<8>(parameters + each, true),
               b = load_near<8>(parameters + 2 * each, true);
  for (int row = thread_index() / (chunk / 2); row < ROWS; row += THREADS / (chunk / 2)) {
    const u32 x = load_shared<4>(shared_memory() + row * 4, true).word[0];
    const u32 h = hash(feature, x, a.word[0], by_prime.word[0], b.word[0]), g = hash(feature, x, a.word[1], by_prime.word[1], b.word[1]);
    put_codes(shared_memory() + codes_at + row * chunk_stride + pair * 2 * element_bytes, feature, h, g);
  }
}

// Begins to copy a layer's weights for one chunk of its inputs; zeros for outputs that it has not.
template <int Layer>
DEVICE void begin_weights(const Hashed::Feature& feature, int at) {
  constexpr int in = up_to(width(Layer), chunk), out = width(Layer + 1), pieces = 64 / 16;
  u8* const to = shared_memory() + weights_in_shared + at % 2 * weight_bytes;
  const u8* const from = feature.parameters + weights_at(Layer) + at * 64;
  if (at * chunk < in) {
    for (int i = thread_index(); i < columns_of(Layer) * pieces; i += THREADS) {
      const int row = i / pieces, piece = i % pieces;
      copy_async(to + row * chunk_stride + piece * 16, from + (i64)at_most(row, out - 1) * in * element_bytes + piece * 16, row < out);
    }
  }
  copy_async_mark();
}

template <int Tiles>
DEVICE void clear(float (&c)[2][Tiles][4]) {
  UNROLL
  for (int m = 0; m < 2; ++m) {
    UNROLL
    for (int n = 0; n < Tiles; ++n) {
      UNROLL
      for (int i = 0; i < 4; ++i) c[m][n][i] = 0.0f;
    }
  }
}

// c += 32 rows of `left` from here on times one chunk of inputs of Tiles * 8 rows of `right`, on tensor cores.
template <int Tiles>
DEVICE void multiply(float (&c)[2][Tiles][4], const u8* left, int left_stride, const u8* right, int lane) {
  const u8* const a_row = left + lane % 16 * left_stride + lane / 16 * 16;
  const u8* const b_row = right + (lane % 8 + lane / 16 * 8) * chunk_stride + lane / 8 % 2 * 16;
  UNROLL
  for (int k = 0; k < 64; k += 32) {
    u32 a[2][4];
    load_matrices(a[0], a_row + k);
    load_matrices(a[1], a_row + 16 * left_stride + k);
    UNROLL
    for (int n = 0; n < Tiles; n += 2) {
      u32 b[4];
      load_matrices(b, b_row + n * 8 * chunk_stride + k);
      UNROLL
      for (int m = 0; m < 2; ++m) {
        UNROLL
        for (int half = 0; half < 2; ++half) {
          float(&sums)[4] = c[m][n + half];
          if constexpr (OPERAND == fp16) multiply_halves(sums, a[m], b[2 * half], b[2 * half + 1]);
          else if constexpr (OPERAND == bf16) multiply_bfloats(sums, a[m], b[2 * half], b[2 * half + 1]);
          else multiply_tf32(sums, a[m], b[2 * half], b[2 * half + 1]);
        }
      }
    }
  }
}

// The same in float32: a thread adds up the sums that it would have on tensor cores, four inputs at a time.
template <int Tiles>
DEVICE void multiply_exactly(float (&c)[2][Tiles][4], const u8* left, int left_stride, const u8* right, int lane) {
  const u8* const a_row = left + lane / 4 * left_stride;
  const u8* const b_row = right + lane % 4 * 2 * chunk_stride;
  for (int k = 0; k < 64; k += 16) {
    Raw<16> a[4];
    UNROLL
    for (int m = 0; m < 4; ++m) a[m] = load_shared<16>(a_row + m * 8 * left_stride + k, true);
    UNROLL
    for (int n = 0; n < Tiles * 2; ++n) {
      const Raw<16> b = load_shared<16>(b_row + (n / 2 * 8 + n % 2) * chunk_stride + k, true);
      UNROLL
      for (int m = 0; m < 4; ++m) {
        float& sum = c[m / 2][n / 2][m % 2 * 2 + n % 2];
        UNROLL
        for (int i = 0; i < 4; ++i) sum = multiply_add(as_float(a[m].word[i]), as_float(b.word[i]), sum);
      }
    }
  }
}

// Layer by layer; `first` is the first of the block's rows.
template <int Layer>
DEVICE void run_layers(const Hashed::Feature& feature, i64 first, i64 count) {
  constexpr int in = up_to(width(Layer), chunk), out = width(Layer + 1), own = columns_of(Layer) / warps_across, tiles = own / 8;
  constexpr bool last = Layer + 1 == LAYERS;
  const int lane = thread_index() % 32, warp = thread_index() / 32;
  const int row = warp % warps_down * 32, column = warp / warps_down * own;
  u8* const inputs = shared_memory() + vectors_at + (Layer + 1) % 2 * vector_bytes;
  u8* const outputs = shared_memory() + vectors_at + Layer % 2 * vector_bytes;
  float c[2][tiles][4];
  clear<tiles>(c);
  begin_weights<Layer>(feature, 0);
  for (int at = 0; at * chunk < in; ++at) {
    begin_weights<Layer>(feature, at + 1);
    if (Layer == 0) make_codes(feature, at * chunk);
    copy_async_wait<1>();
    sync_block();
    const u8* const left = Layer == 0 ? shared_memory() + codes_at + row * chunk_stride : inputs + row * vector_stride + at * 64;
    const u8* const right = shared_memory() + weights_in_shared + at % 2 * weight_bytes + column * chunk_stride;
    constexpr int left_stride = Layer == 0 ? chunk_stride : vector_stride;
    if constexpr (OPERAND == fp32) multiply_exactly<tiles>(c, left, left_stride, right, lane);
    else multiply<tiles>(c, left, left_stride, right, lane);
    sync_block();
  }
  copy_async_wait<0>();
  UNROLL
  for (int m = 0; m < 2; ++m) {
    UNROLL
    for (int n = 0; n < tiles; ++n) {
      const int j = column + n * 8 + lane % 4 * 2;
      float bias[2], x[2];
      UNROLL
      for (int i = 0; i < 2; ++i) bias[i] = j + i < out ? load_float(feature.parameters + biases_at(Layer) + (j + i) * 4) : 0.0f;
      UNROLL
      for (int half = 0; half < 2; ++half) {
        const int r = row + m * 16 + half * 8 + lane / 4;
        UNROLL
        for (int i = 0; i < 2; ++i) {
          x[i] = j + i < out ? activate(activation(Layer), c[m][n][half * 2 + i] + bias[i]) : 0.0f;
          if (last && BATCH_NORM && j + i < out) {
            const u8* const norm = feature.parameters + norm_at() + (j + i) * 4;
            x[i] = multiply_add(x[i], load_float(norm), load_float(norm + up_to(out, 4) * 4));
          }
        }
        // What lies behind a layer's outputs is zero up to the next layer's last input.
        if constexpr (!last) {
          if (j < up_to(out, chunk)) put_pair(outputs + r * vector_stride + j * element_bytes, x[0], x[1]);
        } else if (first + r < count && j < out) {
          const i64 number = SCATTERED ? (i64)load_shared<4>(shared_memory() + (ROWS + r) * 4, true).word[0] : first + r;
          Out::template put<out, 2>(feature.out + number * feature.out_stride, j, x);
        }
      }
    }
  }
  // Columns between the ones computed here and the next layer's last input.
  if constexpr (!last && columns_of(Layer) < up_to(out, chunk)) {
    constexpr int rest = (up_to(out, chunk) - columns_of(Layer)) / 2;
    for (int i = thread_index(); i < ROWS * rest; i += THREADS) {
      put_pair(outputs + i / rest * vector_stride + (columns_of(Layer) + i % rest * 2) * element_bytes, 0.0f, 0.0f);
    }
  }
  sync_block();
  if constexpr (!last) run_layers<Layer + 1>(feature, first, count);
}

KERNEL(hashed, Hashed, THREADS, MIN_BLOCKS) {
  int at = 0;
  for (int i = 1; i < FEATURES; ++i) at += call.feature[i].first_block <= (i32)block_index() ? 1 : 0;
  const Hashed::Feature& feature = call.feature[at];
  const i64 first = (i64)((i32)block_index() - feature.first_block) * ROWS;
  const i64 count = feature.counted == nullptr ? feature.count : (i64)load_near<4>(feature.counted, true).word[0];
  if (first >= count) return;
  for (int row = thread_index(); row < ROWS; row += THREADS) {
    const bool wanted = first + row < count;
    const i64 id = load_index(feature.ids + first + row, wanted);
    store_shared_raw(shared_memory() + row * 4, Raw<4>{{(u32)((u64)id % feature.prime)}});
    if (SCATTERED) store_shared_raw(shared_memory() + (ROWS + row) * 4, load_near<4>(feature.numbers + first + row, wanted));
  }
  sync_block();
  run_layers<0>(feature, first, count);
}
