// Ids to codes, a few hundred hashes at a time, so that hashes stay in the first-level cache and only codes are written.
//
//   for each id x:      x' = x mod prime
//     for each j < k:   h = ((a[j] x' + b[j]) mod prime) mod buckets;   out[j] = transform(h)
//
// a x' + b < prime^2. Where that is below 2^53 all of it is exact in double, and the quotient comes from the prime's
// reciprocal: a fraction of the time of integer division. Larger primes go through 128-bit integers.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "dhe/call.hpp"

namespace recsmith {

template <class V>
struct Encoding {
  static constexpr std::int64_t block = 512;
  // Largest prime p with p^2 below 2^53.
  static constexpr std::int64_t exact_in_double = 94'906'265;

  // value mod m for value < 2^53, where inverse = 1 / m. Adding 1.5 * 2^52 rounds the quotient to the nearest integer, so the
  // rest lies within m / 2 of zero. (Neither floor() nor a subtraction that depends on a comparison becomes vector code
  // under the rules for traps; this does.)
  [[gnu::always_inline]] static double remainder(double value, double m, double inverse) {
    constexpr double shift = 6755399441055744.0;
    const double quotient = std::fma(value, inverse, shift) - shift;
    const double rest = std::fma(-quotient, m, value);
    return rest + (rest < 0.0 ? m : 0.0);
  }

  // value mod m for value < 2 m.
  [[gnu::always_inline]] static double once(double value, double m) { return value - (value >= m ? m : 0.0); }

  static void hash_double(const Encode& call, double x, const double* a, const double* b, std::int64_t n, double* h) {
    const double prime = static_cast<double>(call.prime), buckets = static_cast<double>(call.buckets);
    const double by_prime = 1.0 / prime, by_buckets = 1.0 / buckets;
    if (prime < 2 * buckets) {
      for (std::int64_t j = 0; j < n; ++j) {
        h[j] = once(remainder(std::fma(a[j], x, b[j]), prime, by_prime), buckets);
      }
      return;
    }
    for (std::int64_t j = 0; j < n; ++j) {
      h[j] = remainder(remainder(std::fma(a[j], x, b[j]), prime, by_prime), buckets, by_buckets);
    }
  }

  static void hash_wide(const Encode& call, std::int64_t x, std::int64_t from, std::int64_t n, double* h) {
    __extension__ using Wide = unsigned __int128;
    const auto prime = static_cast<std::uint64_t>(call.prime), buckets = static_cast<std::uint64_t>(call.buckets);
    for (std::int64_t j = 0; j < n; ++j) {
      const Wide value = static_cast<Wide>(call.a[from + j]) * static_cast<std::uint64_t>(x) +
                         static_cast<std::uint64_t>(call.b[from + j]);
      h[j] = static_cast<double>(static_cast<std::uint64_t>(value % prime) % buckets);
    }
  }

  static void uniform(const Encode& call, const double* h, std::int64_t n, float* code) {
    const double step = 2.0 / static_cast<double>(call.buckets - 1);
    for (std::int64_t j = 0; j < n; ++j) code[j] = static_cast<float>(std::fma(h[j], step, -1.0));
  }

  static void gaussian(const Encode& call, const double* h, std::int64_t n, float* code) {
    for (std::int64_t j = 0; j + 1 < n; j += 2) {
      const float radius = call.radius[static_cast<std::int64_t>(h[j])];
      const auto angle = static_cast<std::int64_t>(h[j + 1]);
      code[j] = radius * call.cosine[angle];
      code[j + 1] = radius * call.sine[angle];
    }
  }

  // To nearest, ties to even; codes are finite.
  static void to_bf16(const float* code, std::int64_t n, std::uint16_t* out) {
    for (std::int64_t j = 0; j < n; ++j) {
      const auto bits = std::bit_cast<std::uint32_t>(code[j]);
      out[j] = static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
    }
  }

  static void write(const Encode& call, const double* h, std::int64_t at, std::int64_t n) {
    float codes[block];
    float* code = call.type == CodeType::fp32 ? static_cast<float*>(call.out) + at : codes;
    call.transform == Transform::uniform ? uniform(call, h, n, code) : gaussian(call, h, n, code);
    if (call.type == CodeType::bf16) to_bf16(code, n, static_cast<std::uint16_t*>(call.out) + at);
  }

  static void run(const Encode& call) {
    const bool exact = call.prime <= exact_in_double;
    double a[block], b[block], h[block];
    for (std::int64_t from = 0; from < call.k; from += block) {
      const std::int64_t n = std::min(block, call.k - from);
      for (std::int64_t j = 0; j < n; ++j) {
        a[j] = static_cast<double>(call.a[from + j]);
        b[j] = static_cast<double>(call.b[from + j]);
      }
      for (std::int64_t i = 0; i < call.count; ++i) {
        const std::int64_t x = call.ids[i] % call.prime;
        exact ? hash_double(call, static_cast<double>(x), a, b, n, h) : hash_wide(call, x, from, n, h);
        write(call, h, i * call.k + from, n);
      }
    }
  }
};

}  // namespace recsmith
