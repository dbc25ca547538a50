// The vector vocabulary, one element wide. Defines what the wider ones mean; runs anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lookup/call.hpp"

namespace recsmith::simd {

struct Scalar {
  using F = float;
  static constexpr int width = 1;   // elements in an F
  static constexpr int strip = 16;  // accumulators that may be live at once
  static constexpr int registers = 16;

  static F zero() { return 0.0f; }
  static F set1(float x) { return x; }
  static F add(F a, F b) { return a + b; }
  static F mul(F a, F b) { return a * b; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F fma(F a, F b, F c) { return a * b + c; }

  // `width` elements from p, which need not be aligned.
  static F fp32(const std::byte* p) { return read<float>(p); }
  static F fp16(const std::byte* p) { return widen(read<std::uint16_t>(p)); }
  static F bf16(const std::byte* p) { return bits(std::uint32_t{read<std::uint16_t>(p)} << 16); }
  static F u8(const std::byte* p) { return static_cast<float>(read<std::uint8_t>(p)); }

  // Codes `column` .. `column + width - 1` of packed 4-bit codes, even ones in the low half of their byte.
  static F u4(const std::byte* codes, std::int64_t column) {
    return static_cast<float>((read<std::uint8_t>(codes + column / 2) >> (column % 2 * 4)) & 15);
  }

  // The first n < width elements; nothing beyond them is read or written. A width of one has no such part.
  static F fp32_part(const std::byte*, int) { return 0.0f; }
  static F fp16_part(const std::byte*, int) { return 0.0f; }
  static F bf16_part(const std::byte*, int) { return 0.0f; }
  static F u8_part(const std::byte*, int) { return 0.0f; }
  static F u4_part(const std::byte*, std::int64_t, int) { return 0.0f; }
  static F load_part(const float*, int) { return 0.0f; }
  static void store_part(float*, F, int) {}

  static F load(const float* p) { return *p; }
  static void store(float* p, F x) { *p = x; }
  static void stream(float* p, F x) { *p = x; }  // p aligned to sizeof(F)

  // The square matrix whose rows these are, transposed.
  static void transpose(F (&)[width]) {}

  // Lane k of the result is what the lanes of x[k] add up to.
  static F sums(const F (&x)[width]) { return x[0]; }

  // Scale and bias of a quantised row.
  static void header(const std::byte* p, F& scale, F& bias) {
    scale = fp16(p);
    bias = fp16(p + 2);
  }

  template <Prefetch Level>
  [[gnu::always_inline]] static void prefetch(const std::byte* p) {
    if constexpr (Level == Prefetch::t0) __builtin_prefetch(p, 0, 3);
    if constexpr (Level == Prefetch::t1) __builtin_prefetch(p, 0, 2);
    if constexpr (Level == Prefetch::nta) __builtin_prefetch(p, 0, 0);
  }

 private:
  template <class T>
  static T read(const std::byte* p) {
    T x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static float bits(std::uint32_t x) {
    float f;
    std::memcpy(&f, &x, sizeof f);
    return f;
  }
  // Shifts exponent and mantissa into place; the product with 2^112 rebases the exponent and normalises subnormals.
  static float widen(std::uint16_t half) {
    const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
    const std::uint32_t rest = half & 0x7fffu;
    const std::uint32_t finite = 0x7c00u;
    if (rest >= finite) return bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    return bits(sign | word(bits(rest << 13) * bits(0x77800000u)));
  }
  static std::uint32_t word(float f) {
    std::uint32_t x;
    std::memcpy(&x, &f, sizeof x);
    return x;
  }
};

}  // namespace recsmith::simd
