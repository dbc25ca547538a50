// As hashed.cu, by the products of Hopper's warp groups: two of them a block, each with 64 rows of all columns or, where sums would
// not fit the registers, with half the columns of the same rows. Codes and weights lie in panels of 128 bytes a row, two of each:
// while one is multiplied, the threads make the next codes and copy the next weights.
#include "decoder.cuh"
#include "warpgroup.cuh"

constexpr int groups = THREADS / 128, groups_down = ROWS / 64, groups_across = groups / groups_down;
constexpr int panel = panel_bytes / element_bytes;  // columns
static_assert((OPERAND == bf16 || OPERAND == fp8) && groups_down * groups_across == groups);

DEVICE constexpr int columns_of(int layer) { return up_to(width(layer + 1), groups_across * 16); }
DEVICE constexpr int widest() {
  int most = 0;
  for (int i = 0; i < LAYERS; ++i) most = columns_of(i) > most ? columns_of(i) : most;
  return most;
}

// Shared memory from the first pattern on: two panels of codes, two of weights, the vectors between layers, ids, numbers of rows.
constexpr int code_bytes = ROWS * panel_bytes, weight_bytes = widest() * panel_bytes;
constexpr int weights_in_shared = 2 * code_bytes, vectors_at = weights_in_shared + 2 * weight_bytes;
constexpr int ids_at = vectors_at + up_to(widest_hidden(), panel) / panel * code_bytes;
static_assert(ids_at + ROWS * 4 * (1 + SCATTERED) + pattern_bytes == SHARED_BYTES, "the host has another idea of the shared memory");

DEVICE u8* first_pattern() { return shared_memory() + (0u - window_address(shared_memory())) % pattern_bytes; }

// Codes of panel number `at` of all rows of the block: a thread keeps to two hashes.
DEVICE void make_codes(u8* base, const Hashed::Feature& feature, int at) {
  const int pair = thread_index() % (panel / 2);
  const TwoHashes hashes(feature, at * panel + 2 * pair);
  u8* const to = base + at % 2 * code_bytes;
  for (int row = thread_index() / (panel / 2); row < ROWS; row += THREADS / (panel / 2)) {
    const u32 x = load_shared<4>(base + ids_at + row * 4, true).word[0];
    put_codes(to + in_panel(row, pair * 2 * element_bytes), feature, hashes, x);
  }
}

// Begins to copy a layer's weights for one panel of its inputs; zeros for outputs and inputs that it has not.
template <int Layer>
DEVICE void begin_weights(u8* base, const Hashed::Feature& feature, int at) {
  constexpr int in = up_to(width(Layer), chunk), out = width(Layer + 1), pieces = panel_bytes / 16;
  u8* const to = base + weights_in_shared + at % 2 * weight_bytes;
  const u8* const from = feature.parameters + weights_at(Layer);
  for (int i = thread_index(); i < columns_of(Layer) * pieces; i += THREADS) {
    const int row = i / pieces, piece = i % pieces, column = at * panel + piece * (16 / element_bytes);
    const bool exists = row < out && column < in;
    copy_async(to + in_panel(row, piece * 16), from + (exists ? (i64)row * in + column : 0) * element_bytes, exists);
  }
  copy_async_mark();
}

// Where element j of a row of hidden vectors lies.
DEVICE u8* at_column(u8* vectors, int row, int j) { return vectors + j / panel * code_bytes + in_panel(row, j % panel * element_bytes); }

// What was made and copied for the next products is there for all of them.
DEVICE void make_ready() {
  copy_async_wait<0>();
  show_to_products();
  sync_block();
}

template <int Layer>
DEVICE void run_layers(const Share& share, u8* base) {
  constexpr int panels = (width(Layer) + panel - 1) / panel, out = width(Layer + 1), own = columns_of(Layer) / groups_across, tiles = own / 8;
  constexpr bool last = Layer + 1 == LAYERS;
  const Hashed::Feature& feature = share.feature;
  const int lane = thread_index() % 32, group = thread_index() / 128;
  const int row = group % groups_down * 64, column = group / groups_down * own;
  float c[tiles][4];
  begin_weights<Layer>(base, feature, 0);
  if (Layer == 0) make_codes(base, feature, 0);
  make_ready();
  for (int at = 0; at < panels; ++at) {
    const u8* const left = (Layer == 0 ? base + at % 2 * code_bytes : base + vectors_at + at * code_bytes) + row * panel_bytes;
    const u8* const right = base + weights_in_shared + at % 2 * weight_bytes + column * panel_bytes;
    begin_products();
    UNROLL
    for (int k = 0; k < 4; ++k) multiply_rows<OPERAND == fp8, 0>(c, descriptor(left + k * 32), right + k * 32, at + k > 0);
    mark_products();
    if (at + 1 < panels) {
      begin_weights<Layer>(base, feature, at + 1);
      if (Layer == 0) make_codes(base, feature, at + 1);
    }
    wait_products(c);
    make_ready();
  }
  // A warp's sums are those of 16 rows, laid out as of `mma`; inputs may now be written over.
  const int first_row = row + thread_index() / 32 % 4 * 16 + lane / 4;
  u8* const vectors = base + vectors_at;
  UNROLL
  for (int n = 0; n < tiles; ++n) {
    const int j = column + n * 8 + lane % 4 * 2;
    const TwoOutputs<Layer> outputs(feature, j);
    UNROLL
    for (int half = 0; half < 2; ++half) {
      const int r = first_row + half * 8;
      float x[2] = {c[n][half * 2], c[n][half * 2 + 1]};
      finish<Layer>(x, feature, j, outputs);
      if constexpr (last) share.write(base + ids_at, r, j, x);
      else if (j < up_to(out, panel)) put_pair(at_column(vectors, r, j), x[0], x[1]);
    }
  }
  // Zeros between the columns computed here and the next layer's last input.
  if constexpr (!last && columns_of(Layer) < up_to(out, panel)) {
    constexpr int rest = (up_to(out, panel) - columns_of(Layer)) / 2;
    for (int i = thread_index(); i < ROWS * rest; i += THREADS) {
      put_pair(at_column(vectors, i / rest, columns_of(Layer) + i % rest * 2), 0.0f, 0.0f);
    }
  }
  if constexpr (!last) run_layers<Layer + 1>(share, base);
}

KERNEL(hashed_wgmma, Hashed, THREADS, MIN_BLOCKS) {
  const Share share(call);
  if (share.first >= share.count) return;
  u8* const base = first_pattern();
  share.read_ids(base + ids_at);
  sync_block();
  run_layers<0>(share, base);
}
