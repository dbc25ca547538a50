// The vector vocabulary in AVX-512 F, BW, VL and DQ.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lookup/call.hpp"

namespace recsmith::simd {

struct Avx512 {
  using F = __m512;
  static constexpr int width = 16;
  static constexpr int strip = 8;
  static constexpr int registers = 32;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }  // b where either is no number
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }

  static F fp32(const std::byte* p) { return _mm512_loadu_ps(p); }
  static F fp16(const std::byte* p) { return _mm512_cvtph_ps(load32(p)); }
  static F bf16(const std::byte* p) { return from_bf16(load32(p)); }
  static F u8(const std::byte* p) { return from_u8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static F u4(const std::byte* codes, std::int64_t column) {
    return from_u4(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + column / 2)));
  }

  // Masked loads do not touch what the mask hides.
  static F fp32_part(const std::byte* p, int n) { return _mm512_maskz_loadu_ps(below(n), p); }
  static F fp16_part(const std::byte* p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(below(n), p)); }
  static F bf16_part(const std::byte* p, int n) { return from_bf16(_mm256_maskz_loadu_epi16(below(n), p)); }
  static F u8_part(const std::byte* p, int n) { return from_u8(_mm_maskz_loadu_epi8(below(n), p)); }
  static F u4_part(const std::byte* codes, std::int64_t column, int n) {
    return from_u4(_mm_maskz_loadu_epi8(below((n + 1) / 2), codes + column / 2));
  }

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load_part(const float* p, int n) { return _mm512_maskz_loadu_ps(below(n), p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store_part(float* p, F x, int n) { _mm512_mask_storeu_ps(p, below(n), x); }
  static void stream(float* p, F x) { _mm512_stream_ps(p, x); }

  [[gnu::always_inline]] static F sums(const F (&x)[width]) {
    F y[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) y[i] = quarter_sums(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
    const F low = _mm512_add_ps(_mm512_shuffle_f32x4(y[0], y[1], 0x88), _mm512_shuffle_f32x4(y[0], y[1], 0xdd));
    const F high = _mm512_add_ps(_mm512_shuffle_f32x4(y[2], y[3], 0x88), _mm512_shuffle_f32x4(y[2], y[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  }

  // Lanes 4 * Quarter and the three after it.
  template <int Quarter>
  [[gnu::always_inline]] static void store_quarter(float* p, F x) {
    _mm_storeu_ps(p, Quarter == 0 ? _mm512_castps512_ps128(x) : _mm512_extractf32x4_ps(x, Quarter));
  }

  // First within quarters of four, then the quarters themselves.
  [[gnu::always_inline]] static void transpose(F (&x)[width]) {
    F y[width];
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
      quarters(x + i, y + i);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const F even_low = _mm512_shuffle_f32x4(y[i], y[i + 4], 0x88), odd_low = _mm512_shuffle_f32x4(y[i], y[i + 4], 0xdd);
      const F even = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0x88), odd = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0xdd);
      x[i] = _mm512_shuffle_f32x4(even_low, even, 0x88);
      x[i + 4] = _mm512_shuffle_f32x4(odd_low, odd, 0x88);
      x[i + 8] = _mm512_shuffle_f32x4(even_low, even, 0xdd);
      x[i + 12] = _mm512_shuffle_f32x4(odd_low, odd, 0xdd);
    }
  }

  static void header(const std::byte* p, F& scale, F& bias) {
    int both;
    std::memcpy(&both, p, sizeof both);
    const F pairs = _mm512_cvtph_ps(_mm256_set1_epi32(both));
    scale = _mm512_moveldup_ps(pairs);
    bias = _mm512_movehdup_ps(pairs);
  }

  template <Prefetch Level>
  [[gnu::always_inline]] static void prefetch(const std::byte* p) {
    if constexpr (Level == Prefetch::t0) _mm_prefetch(p, _MM_HINT_T0);
    if constexpr (Level == Prefetch::t1) _mm_prefetch(p, _MM_HINT_T1);
    if constexpr (Level == Prefetch::nta) _mm_prefetch(p, _MM_HINT_NTA);
  }

 private:
  // In each quarter, what the quarters of a, b, c and d add up to.
  [[gnu::always_inline]] static F quarter_sums(F a, F b, F c, F d) {
    const F ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const F cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  }
  // Transposes each quarter: element j of y[i]'s is element i of x[j]'s.
  [[gnu::always_inline]] static void quarters(const F* x, F* y) {
    const F ab = _mm512_unpacklo_ps(x[0], x[1]), ab_high = _mm512_unpackhi_ps(x[0], x[1]);
    const F cd = _mm512_unpacklo_ps(x[2], x[3]), cd_high = _mm512_unpackhi_ps(x[2], x[3]);
    y[0] = _mm512_shuffle_ps(ab, cd, 0x44);
    y[1] = _mm512_shuffle_ps(ab, cd, 0xee);
    y[2] = _mm512_shuffle_ps(ab_high, cd_high, 0x44);
    y[3] = _mm512_shuffle_ps(ab_high, cd_high, 0xee);
  }
  static __m256i load32(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static __mmask16 below(int n) { return static_cast<__mmask16>((1u << n) - 1); }
  static F from_bf16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
  static F from_u8(__m128i x) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(x)); }
  // Four bytes go to eight lanes each, which shift a code of their own down; a permutation takes it for an index of floats.
  static F from_u4(__m128i x) {
    const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const F values = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i spread = _mm512_permutexvar_epi32(halves, _mm512_castsi128_si512(x));
    return _mm512_permutexvar_ps(_mm512_srlv_epi32(spread, shifts), values);
  }
};

}  // namespace recsmith::simd
