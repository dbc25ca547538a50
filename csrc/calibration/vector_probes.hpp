// The probes over a vector vocabulary.
#pragma once

#include <cstring>
#include <type_traits>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "calibration/probes.hpp"

namespace recsmith::calibration {

// While it lives, numbers too small to be normal count as zero: rows of any content are added at full speed.
template <class V>
class FlushTiny {
#if defined(__SSE__)
 public:
  FlushTiny() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushTiny() { _mm_setcsr(before_); }
  FlushTiny(const FlushTiny&) = delete;
  FlushTiny& operator=(const FlushTiny&) = delete;

 private:
  unsigned before_;
#else
 public:
  FlushTiny() {}
  ~FlushTiny() {}
#endif
};

template <class V>
struct VectorProbes {
  using F = typename V::F;
  static constexpr int bytes = V::width * 4;
  static constexpr int accumulators = 8;

  static float sum(F x) {
    float parts[V::width];
    V::store(parts, x);
    float total = 0;
    for (float part : parts) total += part;
    return total;
  }

  struct Sums {
    F x[accumulators];
    Sums() {
      for (F& each : x) each = V::zero();
    }
    float total() const {
      F all = x[0];
      for (int j = 1; j < accumulators; ++j) all = V::add(all, x[j]);
      return sum(all);
    }
  };

  // N vectors (0: `vectors`, known at run time only) and, with Tail, the last one once more up to the row's end: masked
  // loads would be slower than memory. R tells neighbouring rows apart, whose sums need not wait for one another.
  template <int N, bool Tail, int R>
  [[gnu::always_inline]] static void add_row(Sums& sums, const std::byte* row, std::int64_t vectors,
                                             std::int64_t row_bytes) {
    auto add = [&](int j, const std::byte* from) __attribute__((always_inline)) {
      F& sum = sums.x[(R * 2 + j) % accumulators];
      sum = V::add(sum, V::fp32(from));
    };
    if constexpr (N > 0) {
#pragma GCC unroll 16
      for (int j = 0; j < N; ++j) add(j, row + j * bytes);
    } else {
      std::int64_t j = 0;
      for (; j + accumulators <= vectors; j += accumulators) {
        for (int k = 0; k < accumulators; ++k) add(k, row + (j + k) * bytes);
      }
      for (; j < vectors; ++j) add(0, row + j * bytes);
    }
    if constexpr (Tail) add(N, row + row_bytes - bytes);
  }

  template <Prefetch Level>
  [[gnu::always_inline]] static void ask(const std::byte* row, std::int64_t row_bytes) {
    for (std::int64_t at = 0; at < row_bytes; at += 64) V::template prefetch<Level>(row + at);
    if (row_bytes % 64 != 0) V::template prefetch<Level>(row + row_bytes - 1);
  }

  static const std::byte* at(std::uint64_t address) { return reinterpret_cast<const std::byte*>(address); }

  template <int N, bool Tail, Prefetch Level>
  static float read_rows_of(const Reads& reads) {
    const FlushTiny<V> flush;
    const std::int64_t row_bytes = reads.bytes, vectors = row_bytes / bytes;
    const std::int64_t ahead = Level == Prefetch::none ? 0 : reads.distance;
    const std::uint64_t* const rows = reads.addresses;
    Sums sums;
    std::int64_t i = 0;
    auto one = [&](auto r) __attribute__((always_inline)) {
      if constexpr (Level != Prefetch::none) ask<Level>(at(rows[i + r + ahead]), row_bytes);
      add_row<N, Tail, r.value>(sums, at(rows[i + r]), vectors, row_bytes);
    };
    for (; i + ahead + 4 <= reads.count; i += 4) {
      one(std::integral_constant<int, 0>{});
      one(std::integral_constant<int, 1>{});
      one(std::integral_constant<int, 2>{});
      one(std::integral_constant<int, 3>{});
    }
    for (; i < reads.count; ++i) add_row<N, Tail, 0>(sums, at(rows[i]), vectors, row_bytes);
    return sums.total();
  }

  template <int N, bool Tail>
  static float read_rows_at(const Reads& reads) {
    switch (reads.level) {
      case Prefetch::none: return read_rows_of<N, Tail, Prefetch::none>(reads);
      case Prefetch::t0: return read_rows_of<N, Tail, Prefetch::t0>(reads);
      case Prefetch::t1: return read_rows_of<N, Tail, Prefetch::t1>(reads);
      case Prefetch::nta: return read_rows_of<N, Tail, Prefetch::nta>(reads);
    }
    return 0;
  }

  template <bool Tail>
  static float read_rows_with(const Reads& reads) {
    switch (reads.bytes / bytes) {
      case 1: return read_rows_at<1, Tail>(reads);
      case 2: return read_rows_at<2, Tail>(reads);
      case 4: return read_rows_at<4, Tail>(reads);
      case 8: return read_rows_at<8, Tail>(reads);
      case 16: return read_rows_at<16, Tail>(reads);
      default: return read_rows_at<0, Tail>(reads);
    }
  }

  static float read_rows(const Reads& reads) {
    return reads.bytes % bytes == 0 ? read_rows_with<false>(reads) : read_rows_with<true>(reads);
  }

  static float chase(const Reads& reads) {
    std::uint32_t found = 0, all = 0;
    for (std::int64_t i = 0; i < reads.count; ++i) {
      // What was found makes no difference to the address, which only the processor does not know.
      std::uint64_t none = found;
      asm volatile("" : "+r"(none));
      none &= mask();
      std::memcpy(&found, at(reads.addresses[i] + none), sizeof found);
      all ^= found;
    }
    return static_cast<float>(all);
  }

  static float read(const std::byte* from, std::int64_t nbytes) {
    const FlushTiny<V> flush;
    Sums sums;
    std::int64_t i = 0;
    for (; i + accumulators * bytes <= nbytes; i += accumulators * bytes) {
      for (int k = 0; k < accumulators; ++k) sums.x[k] = V::add(sums.x[k], V::fp32(from + i + k * bytes));
    }
    for (; i < nbytes; i += bytes) sums.x[0] = V::add(sums.x[0], V::fp32(from + i));
    return sums.total();
  }

  template <bool Stream>
  static void write_of(std::byte* to, std::int64_t nbytes) {
    write_row<Stream>(to, nbytes);
    fence<Stream>();
  }

  template <bool Stream>
  static void write_rows_of(std::byte* to, std::int64_t rows, std::int64_t row_bytes, std::int64_t stride) {
    for (std::int64_t i = 0; i < rows; ++i) write_row<Stream>(to + i * stride, row_bytes);
    fence<Stream>();
  }

  static float multiply_add(std::int64_t steps) {
    Sums sums;
    F factor = V::set1(0.999f);
    for (std::int64_t i = 0; i < steps; ++i) {
      for (int k = 0; k < accumulators; ++k) sums.x[k] = V::fma(sums.x[k], factor, factor);
    }
    return sums.total();
  }

 private:
  template <bool Stream>
  [[gnu::always_inline]] static void write_row(std::byte* to, std::int64_t nbytes) {
    const F one = V::set1(1.0f);
    auto* out = reinterpret_cast<float*>(to);
    for (std::int64_t i = 0; i < nbytes / 4; i += V::width) {
      if constexpr (Stream) {
        V::stream(out + i, one);
      } else {
        V::store(out + i, one);
      }
      // Without this a compiler turns the loop into a call that picks its own kind of store.
      asm volatile("" ::: "memory");
    }
  }

  template <bool Stream>
  static void fence() {
#if defined(__SSE__)
    if constexpr (Stream) _mm_sfence();
#endif
  }

  // Zero, as the compiler cannot know.
  [[gnu::always_inline]] static std::uint64_t mask() {
    std::uint64_t zero = 0;
    asm volatile("" : "+r"(zero));
    return zero;
  }
};

template <class V>
constexpr Probes probes(const char* name) {
  using P = VectorProbes<V>;
  return {name,
          P::read_rows,
          P::chase,
          P::read,
          P::template write_of<false>,
          P::template write_of<true>,
          P::template write_rows_of<false>,
          P::template write_rows_of<true>,
          P::multiply_add,
          V::width};
}

}  // namespace recsmith::calibration
