// The vector vocabulary in the base instruction set of aarch64.
#pragma once

#include <arm_neon.h>

#include "lookup/call.hpp"
#include "simd/bytes.hpp"

namespace recsmith::simd {

struct Neon {
  using F = float32x4_t;
  static constexpr int width = 4;
  static constexpr int strip = 16;  // of 32 registers
  static constexpr int registers = 32;

  static F zero() { return vdupq_n_f32(0.0f); }
  static F set1(float x) { return vdupq_n_f32(x); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F max(F a, F b) { return vmaxq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }

  static F fp32(const std::byte* p) { return vreinterpretq_f32_u8(vld1q_u8(bytes(p))); }
  static F fp16(const std::byte* p) { return from_fp16(vld1_u8(bytes(p))); }
  static F bf16(const std::byte* p) { return from_bf16(vld1_u8(bytes(p))); }
  static F u8(const std::byte* p) { return from_u8(FirstBytes<Neon>::upto8(p, 4)); }
  static F u4(const std::byte* codes, std::int64_t column) {
    return from_u4(FirstBytes<Neon>::upto8(codes + column / 2, 2));
  }

  static F fp32_part(const std::byte* p, int n) {
    const uint64x2_t both = {FirstBytes<Neon>::upto8(p, n < 2 ? 4 * n : 8), FirstBytes<Neon>::upto16_high(p, 4 * n)};
    return vreinterpretq_f32_u64(both);
  }
  static F fp16_part(const std::byte* p, int n) { return from_fp16(vcreate_u8(FirstBytes<Neon>::upto8(p, 2 * n))); }
  static F bf16_part(const std::byte* p, int n) { return from_bf16(vcreate_u8(FirstBytes<Neon>::upto8(p, 2 * n))); }
  static F u8_part(const std::byte* p, int n) { return from_u8(FirstBytes<Neon>::upto8(p, n)); }
  static F u4_part(const std::byte* codes, std::int64_t column, int n) {
    return from_u4(FirstBytes<Neon>::upto8(codes + column / 2, (n + 1) / 2));
  }

  static F load(const float* p) { return vld1q_f32(p); }
  static F load_part(const float* p, int n) { return fp32_part(reinterpret_cast<const std::byte*>(p), n); }
  static void store(float* p, F x) { vst1q_f32(p, x); }
  static void store_part(float* p, F x, int n) {
    if (n > 0) vst1q_lane_f32(p, x, 0);
    if (n > 1) vst1q_lane_f32(p + 1, x, 1);
    if (n > 2) vst1q_lane_f32(p + 2, x, 2);
  }
  static void stream(float* p, F x) { vst1q_f32(p, x); }  // single vectors have no store past the caches here

  [[gnu::always_inline]] static F sums(const F (&x)[width]) {
    return vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3]));
  }
  template <int Quarter>
  static void store_quarter(float* p, F x) {
    vst1q_f32(p, x);
  }
  [[gnu::always_inline]] static void transpose(F (&x)[width]) {
    const float32x4x2_t ab = vtrnq_f32(x[0], x[1]), cd = vtrnq_f32(x[2], x[3]);
    x[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    x[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    x[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    x[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
  }

  static void header(const std::byte* p, F& scale, F& bias) {
    const float32x4_t pair = from_fp16(vcreate_u8(FirstBytes<Neon>::upto8(p, 4)));
    scale = vdupq_laneq_f32(pair, 0);
    bias = vdupq_laneq_f32(pair, 1);
  }

  template <Prefetch Level>
  [[gnu::always_inline]] static void prefetch(const std::byte* p) {
    if constexpr (Level == Prefetch::t0) __builtin_prefetch(p, 0, 3);
    if constexpr (Level == Prefetch::t1) __builtin_prefetch(p, 0, 2);
    if constexpr (Level == Prefetch::nta) __builtin_prefetch(p, 0, 0);
  }

 private:
  static const std::uint8_t* bytes(const std::byte* p) { return reinterpret_cast<const std::uint8_t*>(p); }
  static F from_fp16(uint8x8_t x) { return vcvt_f32_f16(vreinterpret_f16_u8(x)); }
  static F from_bf16(uint8x8_t x) { return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(x), 16)); }
  static F from_u8(std::uint64_t x) {
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(x)))));
  }
  // Two bytes hold four codes: each byte doubled, its second copy shifted.
  static F from_u4(std::uint64_t x) {
    const uint8x8_t packed = vcreate_u8(x);
    const uint8x8_t codes = vzip1_u8(vand_u8(packed, vdup_n_u8(15)), vshr_n_u8(packed, 4));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(codes))));
  }
};

}  // namespace recsmith::simd
