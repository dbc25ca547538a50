// The vector vocabulary in AVX2, FMA and F16C.
#pragma once

#include <immintrin.h>

#include "lookup/call.hpp"
#include "simd/bytes.hpp"

namespace recsmith::simd {

struct Avx2 {
  using F = __m256;
  static constexpr int width = 8;
  static constexpr int strip = 8;  // of 16 registers
  static constexpr int registers = 16;

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }  // b where either is no number
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }

  static F fp32(const std::byte* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
  static F fp16(const std::byte* p) { return from_fp16(load16(p)); }
  static F bf16(const std::byte* p) { return from_bf16(load16(p)); }
  static F u8(const std::byte* p) { return from_u8(load8(p)); }
  static F u4(const std::byte* codes, std::int64_t column) {
    int packed;
    std::memcpy(&packed, codes + column / 2, sizeof packed);
    return from_u4(_mm_cvtsi32_si128(packed));
  }

  static F fp32_part(const std::byte* p, int n) { return load_part(reinterpret_cast<const float*>(p), n); }
  static F fp16_part(const std::byte* p, int n) { return from_fp16(first(p, 2 * n)); }
  static F bf16_part(const std::byte* p, int n) { return from_bf16(first(p, 2 * n)); }
  static F u8_part(const std::byte* p, int n) { return from_u8(first(p, n)); }
  static F u4_part(const std::byte* codes, std::int64_t column, int n) {
    return from_u4(first(codes + column / 2, (n + 1) / 2));
  }

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load_part(const float* p, int n) { return _mm256_maskload_ps(p, below(n)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store_part(float* p, F x, int n) { _mm256_maskstore_ps(p, below(n), x); }
  static void stream(float* p, F x) { _mm256_stream_ps(p, x); }

  [[gnu::always_inline]] static F sums(const F (&x)[width]) {
    const F low = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    const F high = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
  }

  // Lanes 4 * Quarter and the three after it.
  template <int Quarter>
  [[gnu::always_inline]] static void store_quarter(float* p, F x) {
    _mm_storeu_ps(p, Quarter == 0 ? _mm256_castps256_ps128(x) : _mm256_extractf128_ps(x, Quarter));
  }

  // First within quarters of four, then the quarters themselves.
  [[gnu::always_inline]] static void transpose(F (&x)[width]) {
    F y[width];
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
      quarters(x + i, y + i);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x20);
      x[i + 4] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x31);
    }
  }

  static void header(const std::byte* p, F& scale, F& bias) {
    int both;
    std::memcpy(&both, p, sizeof both);
    const F pairs = _mm256_cvtph_ps(_mm_set1_epi32(both));
    scale = _mm256_moveldup_ps(pairs);
    bias = _mm256_movehdup_ps(pairs);
  }

  template <Prefetch Level>
  [[gnu::always_inline]] static void prefetch(const std::byte* p) {
    if constexpr (Level == Prefetch::t0) _mm_prefetch(p, _MM_HINT_T0);
    if constexpr (Level == Prefetch::t1) _mm_prefetch(p, _MM_HINT_T1);
    if constexpr (Level == Prefetch::nta) _mm_prefetch(p, _MM_HINT_NTA);
  }

 private:
  // Transposes each quarter: element j of y[i]'s is element i of x[j]'s.
  [[gnu::always_inline]] static void quarters(const F* x, F* y) {
    const F ab = _mm256_unpacklo_ps(x[0], x[1]), ab_high = _mm256_unpackhi_ps(x[0], x[1]);
    const F cd = _mm256_unpacklo_ps(x[2], x[3]), cd_high = _mm256_unpackhi_ps(x[2], x[3]);
    y[0] = _mm256_shuffle_ps(ab, cd, 0x44);
    y[1] = _mm256_shuffle_ps(ab, cd, 0xee);
    y[2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
    y[3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
  }
  static __m128i load16(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static __m128i load8(const std::byte* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
  static __m128i first(const std::byte* p, int bytes) {
    return _mm_set_epi64x(static_cast<long long>(FirstBytes<Avx2>::upto16_high(p, bytes)),
                          static_cast<long long>(FirstBytes<Avx2>::upto8(p, bytes < 8 ? bytes : 8)));
  }
  static __m256i below(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F from_fp16(__m128i x) { return _mm256_cvtph_ps(x); }
  static F from_bf16(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static F from_u8(__m128i x) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)); }
  // Each lane shifts a code of its own down.
  static F from_u4(__m128i x) {
    const __m256i codes = _mm256_srlv_epi32(_mm256_broadcastd_epi32(x), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    return _mm256_cvtepi32_ps(_mm256_and_si256(codes, _mm256_set1_epi32(15)));
  }
};

}  // namespace recsmith::simd
