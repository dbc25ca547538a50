// The first few bytes of something in a register, without reading past them and without a call to memcpy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace recsmith::simd {

// V keeps copies that were compiled for different targets apart.
template <class V>
struct FirstBytes {
  // n <= 8 bytes, the rest zero. Overlapping reads instead of a loop.
  [[gnu::always_inline]] static std::uint64_t upto8(const std::byte* p, int n) {
    if (n == 8) return read<std::uint64_t>(p);
    if (n >= 4) {
      return read<std::uint32_t>(p) | static_cast<std::uint64_t>(read<std::uint32_t>(p + n - 4)) << (8 * (n - 4));
    }
    if (n == 0) return 0;
    const std::uint64_t first = read<std::uint8_t>(p), middle = read<std::uint8_t>(p + n / 2),
                        last = read<std::uint8_t>(p + n - 1);
    return first | middle << (8 * (n / 2)) | last << (8 * (n - 1));
  }

  // Bytes 8 .. n - 1 of n <= 16, the rest zero.
  [[gnu::always_inline]] static std::uint64_t upto16_high(const std::byte* p, int n) {
    return n > 8 ? upto8(p + 8, n - 8) : 0;
  }

 private:
  template <class T>
  [[gnu::always_inline]] static T read(const std::byte* p) {
    T x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
};

}  // namespace recsmith::simd
