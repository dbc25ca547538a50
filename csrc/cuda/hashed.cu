// Rows of deep hash embeddings, all features in one launch. A block computes `ROWS` rows of one feature from their ids to the end:
//   for each chunk of hashes: codes of all rows into shared memory, made on the spot; the first layer's weights for them beside;
//   codes times weights on tensor cores (float32: on plain ones), sums in registers; activation; what comes out is the next
//   layer's input, in shared memory
#include "decoder.cuh"

constexpr int warps = THREADS / 32, warps_down = ROWS / 32, warps_across = warps / warps_down;
constexpr int chunk_stride = 64 + 16;
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

// Codes [from, from + chunk) of all rows of the block: a thread keeps to two hashes.
DEVICE void make_codes(const Hashed::Feature& feature, int from) {
  const int pair = thread_index() % (chunk / 2);
  const TwoHashes hashes(feature, from + 2 * pair);
  for (int row = thread_index() / (chunk / 2); row < ROWS; row += THREADS / (chunk / 2)) {
    const u32 x = load_shared<4>(shared_memory() + row * 4, true).word[0];
    put_codes(shared_memory() + codes_at + row * chunk_stride + pair * 2 * element_bytes, feature, hashes, x);
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

template <int Layer>
DEVICE void run_layers(const Share& share) {
  constexpr int in = up_to(width(Layer), chunk), out = width(Layer + 1), own = columns_of(Layer) / warps_across, tiles = own / 8;
  constexpr bool last = Layer + 1 == LAYERS;
  const Hashed::Feature& feature = share.feature;
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
      const TwoOutputs<Layer> own_outputs(feature, j);
      UNROLL
      for (int half = 0; half < 2; ++half) {
        const int r = row + m * 16 + half * 8 + lane / 4;
        float x[2] = {c[m][n][half * 2], c[m][n][half * 2 + 1]};
        finish<Layer>(x, feature, j, own_outputs);
        // What lies behind a layer's outputs is zero up to the next layer's last input.
        if constexpr (last) share.write(shared_memory(), r, j, x);
        else if (j < up_to(out, chunk)) put_pair(outputs + r * vector_stride + j * element_bytes, x[0], x[1]);
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
  if constexpr (!last) run_layers<Layer + 1>(share);
}

KERNEL(hashed, Hashed, THREADS, MIN_BLOCKS) {
  const Share share(call);
  if (share.first >= share.count) return;
  share.read_ids(shared_memory());
  sync_block();
  run_layers<0>(share);
}
