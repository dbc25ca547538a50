// Number formats, and how float registers are written in one.
#pragma once

#include "device.cuh"

#ifndef PAST
#define PAST 0
#endif

enum RowType : int { fp32 = 0, fp16 = 1, bf16 = 2, int8_codes = 3, int4_codes = 4 };

DEVICE constexpr int bits_of(int type) { return type == fp32 ? 32 : type == int8_codes ? 8 : type == int4_codes ? 4 : 16; }
DEVICE constexpr int at_most(int x, int y) { return x < y ? x : y; }

// How vectors are written: their number format, and the most bytes that are aligned everywhere.
template <int Type, int Piece, bool Shared = false>
struct Output {
  static constexpr int type = Type, bytes = Type == fp32 ? 4 : 2;
  static constexpr int largest = Piece / bytes;  // elements

  // Elements [column, column + N) of a vector of Dim elements; N is a power of two.
  template <int Dim, int N>
  static DEVICE void put(u8* vector, int column, const float* value) {
    constexpr int n = at_most(N, at_most(largest, Dim & -Dim));
    UNROLL
    for (int i = 0; i < N; i += n) {
      if (column + i < Dim) store(vector + (column + i) * bytes, packed<n>(value + i));
    }
  }

  template <int Bytes>
  static DEVICE void store(u8* at, Raw<Bytes> x) {
    if constexpr (Shared) store_shared_raw(at, x);
    else store_raw<PAST>(at, x);
  }

  template <int N>
  static DEVICE Raw<N * bytes> packed(const float* value) {
    Raw<N * bytes> x;
    if constexpr (Type == fp32) {
      UNROLL
      for (int i = 0; i < N; ++i) x.word[i] = as_word(value[i]);
    } else {
      UNROLL
      for (int i = 0; i < N; i += 2) {
        const float high = i + 1 < N ? value[i + 1] : 0.0f;
        x.word[i / 2] = Type == fp16 ? to_halves(value[i], high) : to_bfloats(value[i], high);
      }
    }
    return x;
  }
};
