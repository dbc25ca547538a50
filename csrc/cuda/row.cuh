// Pieces of rows: from memory into float registers, added up, and out again.
#pragma once

#include "call.cuh"
#include "format.cuh"

// How the threads of a warp share a row: `lanes` of them side by side, each reading `piece` bytes at once.
template <int Type, int Dim, int Piece, int Lanes, int Single, int Weighted, int Far, int Cut>
struct Recipe {
  static constexpr int type = Type, dim = Dim, piece = Piece, lanes = Lanes;
  static constexpr bool single = Single, weighted = Weighted, far = Far, cut = Cut;
  static constexpr bool quantised = Type == int8_codes || Type == int4_codes;
  static constexpr int header = quantised ? 4 : 0;
  static constexpr int elements = Piece * 8 / bits_of(Type);                     // of a piece
  static constexpr int pieces = (Dim * bits_of(Type) + 8 * Piece - 1) / (8 * Piece);  // of a row
  static constexpr int held = at_most(4, (pieces + Lanes - 1) / Lanes);           // pieces of a row that a thread holds
  static constexpr int turns = (pieces + held * Lanes - 1) / (held * Lanes);      // until a row is read
};

// Where rows lie, as it is known to the instructions that read them.
template <bool Far>
struct Global {
  template <int Bytes>
  static DEVICE Raw<Bytes> load(const void* at, bool wanted) {
    return Far ? load_far<Bytes>(at, wanted) : load_near<Bytes>(at, wanted);
  }
};
struct Shared {
  template <int Bytes>
  static DEVICE Raw<Bytes> load(const void* at, bool wanted) { return load_shared<Bytes>(at, wanted); }
};
struct Cluster {
  template <int Bytes>
  static DEVICE Raw<Bytes> load(const void* at, bool wanted) { return load_cluster<Bytes>(at, wanted); }
};

// Scale and bias of a quantised row: fp16, in front of its codes, aligned as pieces are.
template <class R, class Memory>
DEVICE u32 load_header(const u8* codes, bool wanted) {
  if constexpr (R::piece >= 4) return Memory::template load<4>(codes - 4, wanted).word[0];
  if constexpr (R::piece == 2) {
    return Memory::template load<2>(codes - 4, wanted).word[0] | Memory::template load<2>(codes - 2, wanted).word[0] << 16;
  }
  u32 x = 0;
  UNROLL
  for (int i = 0; i < 4; ++i) x |= Memory::template load<1>(codes - 4 + i, wanted).word[0] << 8 * i;
  return x;
}

// A code as a float without a conversion: its bits below those of 2^23.
DEVICE float code_value(u32 code) { return as_float(0x4B000000u | code) - 8388608.0f; }

// The i-th element or code of a piece.
template <class R>
DEVICE float element(const Raw<R::piece>& raw, int i) {
  if constexpr (R::type == fp32) return as_float(raw.word[i]);
  if constexpr (R::type == fp16) return i & 1 ? half_high(raw.word[i / 2]) : half_low(raw.word[i / 2]);
  if constexpr (R::type == bf16) return i & 1 ? bfloat_high(raw.word[i / 2]) : bfloat_low(raw.word[i / 2]);
  if constexpr (R::type == int8_codes) return code_value(raw.word[i / 4] >> 8 * (i % 4) & 0xFF);
  return code_value(raw.word[i / 8] >> 4 * (i % 8) & 0xF);
}

// A thread's share of one row on its way.
template <class R>
struct Fetched {
  Raw<R::piece> raw[R::held];
  u32 header;
};

// Begins to read a row's pieces turn * held * lanes + lane, and every lanes-th after it. `row` is where its elements are.
template <class R, class Memory = Global<R::far>>
DEVICE void fetch(Fetched<R>& to, const u8* row, int lane, int turn, bool wanted) {
  if constexpr (R::quantised) to.header = load_header<R, Memory>(row, wanted);
  UNROLL
  for (int k = 0; k < R::held; ++k) {
    const int at = (turn * R::held + k) * R::lanes + lane;
    to.raw[k] = Memory::template load<R::piece>(row + at * R::piece, wanted && at < R::pieces);
  }
}

// A thread's share of a sum of rows.
template <class R>
struct Strip {
  float value[R::held][R::elements];

  DEVICE void clear() {
    UNROLL
    for (int k = 0; k < R::held; ++k) {
      UNROLL
      for (int i = 0; i < R::elements; ++i) value[k][i] = 0.0f;
    }
  }

  // Rows that were not wanted came as zeros and add nothing.
  DEVICE void add(const Fetched<R>& row, float weight) {
    float scale = 1.0f, bias = 0.0f;
    if constexpr (R::quantised) scale = half_low(row.header), bias = half_high(row.header);
    UNROLL
    for (int k = 0; k < R::held; ++k) {
      UNROLL
      for (int i = 0; i < R::elements; ++i) {
        float x = element<R>(row.raw[k], i);
        if constexpr (R::quantised) x = multiply_add(x, scale, bias);
        value[k][i] = R::weighted ? multiply_add(x, weight, value[k][i]) : value[k][i] + x;
      }
    }
  }

  DEVICE void multiply(float factor) {
    UNROLL
    for (int k = 0; k < R::held; ++k) {
      UNROLL
      for (int i = 0; i < R::elements; ++i) value[k][i] *= factor;
    }
  }
};

// A thread's share of a vector, in its turn.
template <class R, class Out>
DEVICE void put(const Strip<R>& strip, u8* vector, int lane, int turn) {
  UNROLL
  for (int k = 0; k < R::held; ++k) {
    const int at = (turn * R::held + k) * R::lanes + lane;
    if (at < R::pieces) Out::template put<R::dim, R::elements>(vector, at * R::elements, strip.value[k]);
  }
}
