// The names of csrc/cuda/device.cuh for a CPU: put before a kernel's text it makes C++ of it. Every access to global memory is
// checked for bounds and alignment.
#pragma once

#include <cmath>

#include "fibers.hpp"

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

#define DEVICE inline
#define UNROLL
#define KERNEL(name, Argument, threads, blocks)                                                                  \
  static void name(const Argument& call);                                                                        \
  extern "C" unsigned name##_argument_bytes() { return sizeof(Argument); }                                       \
  extern "C" unsigned name##_threads() { return threads; }                                                       \
  extern "C" int name##_launch(const emulated::Request* request) {                                               \
    return emulated::launch(*request, [](const void* p) { name(*static_cast<const Argument*>(p)); });            \
  }                                                                                                              \
  static void name(const Argument& call)

template <int Bytes>
struct Raw;

inline u8* shared_memory() { return reinterpret_cast<u8*>(emulated::state->now->block->shared.start); }
inline u32 thread_index() { return emulated::state->now->index; }
inline u32 block_index() { return emulated::state->now->block->index; }
inline u32 block_count() { return emulated::state->request.grid; }

inline void sync_block() { emulated::wait(emulated::state->now->block->barrier, emulated::state->now->block->live); }
inline bool sync_block_or(bool x) {
  emulated::Block& block = *emulated::state->now->block;
  block.votes |= x ? 1u : 0u;
  sync_block();
  const bool any = block.votes != 0;
  sync_block();
  block.votes = 0;
  sync_block();
  return any;
}
inline void sync_warp() { emulated::wait(emulated::warp().barrier, emulated::warp().live); }

template <class T>
T exchanged(T x, int lane) {
  emulated::Warp& warp = emulated::warp();
  std::memcpy(&warp.slot[emulated::lane()], &x, sizeof(T));
  sync_warp();
  T y;
  std::memcpy(&y, &warp.slot[lane & 31], sizeof(T));
  sync_warp();
  return y;
}
inline float shuffle(float x, int lane) { return exchanged(x, lane); }
inline u64 shuffle(u64 x, int lane) { return exchanged(x, lane); }
inline i32 shuffle(i32 x, int lane) { return exchanged(x, lane); }
inline float shuffle_xor(float x, int mask) { return exchanged(x, static_cast<int>(emulated::lane()) ^ mask); }
inline i32 shuffle_xor(i32 x, int mask) { return exchanged(x, static_cast<int>(emulated::lane()) ^ mask); }

inline bool any_of_warp(bool x) {
  bool any = false;
  for (int lane = 0; lane < 32; ++lane) any |= exchanged(x ? 1 : 0, lane) != 0;
  return any;
}

inline float as_float(u32 x) { float y; std::memcpy(&y, &x, 4); return y; }
inline u32 as_word(float x) { u32 y; std::memcpy(&y, &x, 4); return y; }
inline float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
inline u32 high_product(u32 a, u32 b) { return static_cast<u32>(u64{a} * b >> 32); }
inline float square_root(float x) { return std::sqrt(x); }
inline float logarithm(float x) { return std::log(x); }
inline float logarithm_1p(float x) { return std::log1p(x); }
inline float exponential(float x) { return std::exp(x); }
inline float cosine_pi(float x) { return static_cast<float>(std::cos(M_PI * x)); }
inline float sine_pi(float x) { return static_cast<float>(std::sin(M_PI * x)); }
inline float hyperbolic_tangent(float x) { return std::tanh(x); }

inline float half_value(u32 bits) {
  const u32 sign = bits >> 15 & 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float magnitude = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                          : exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                          : std::ldexp(static_cast<float>(fraction + 1024), static_cast<int>(exponent) - 25);
  return sign != 0 ? -magnitude : magnitude;
}
// To nearest, ties to even; doubles hold every step exactly.
inline u32 half_bits(float x) {
  const u32 sign = as_word(x) >> 16 & 0x8000;
  if (std::isnan(x)) return 0x7FFF;
  const double size = std::fabs(static_cast<double>(x));
  if (size >= 65520.0) return sign | 0x7C00;
  if (size < std::ldexp(1.0, -14)) return sign | static_cast<u32>(std::nearbyint(std::ldexp(size, 24)));
  int exponent;
  std::frexp(size, &exponent);
  const u32 scaled = static_cast<u32>(std::nearbyint(std::ldexp(size, 11 - exponent)));  // 1024 to 2048
  return sign | (static_cast<u32>(exponent + 14) << 10) + (scaled - 1024);
}
inline u32 bfloat_bits(float x) {
  const u32 bits = as_word(x);
  return std::isnan(x) ? 0x7FFF : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
inline float half_low(u32 x) { return half_value(x & 0xFFFF); }
inline float half_high(u32 x) { return half_value(x >> 16); }
inline u32 to_halves(float low, float high) { return half_bits(low) | half_bits(high) << 16; }
inline u32 to_bfloats(float low, float high) { return bfloat_bits(low) | bfloat_bits(high) << 16; }

inline u32 to_tf32(float x) { return (as_word(x) + 0x1000) & ~0x1FFFu; }

// e4m3: one sign, four bits of exponent, three of fraction, no infinity; to nearest, ties to even, at most 448.
inline float eighth_value(u32 bits) {
  const int exponent = static_cast<int>(bits >> 3 & 15), fraction = static_cast<int>(bits & 7);
  if (exponent == 15 && fraction == 7) return NAN;
  const float size = std::ldexp(static_cast<float>(exponent == 0 ? fraction : fraction + 8), (exponent == 0 ? 1 : exponent) - 10);
  return (bits & 128) != 0 ? -size : size;
}
inline u32 eighth_bits(float x) {
  const u32 sign = std::signbit(x) ? 128 : 0;
  if (std::isnan(x)) return 127;
  const double size = std::min(std::fabs(static_cast<double>(x)), 448.0);
  if (size == 0) return sign;
  int exponent;
  std::frexp(size, &exponent);
  exponent = std::max(exponent, -5);  // of numbers below 2^-6 as of that
  const u32 steps = static_cast<u32>(std::nearbyint(std::ldexp(size, 4 - exponent)));  // 8 to 16, or fewer
  return sign | std::min(126u, steps + static_cast<u32>(exponent + 5) * 8);
}
inline u32 to_eighths(float low, float high) { return eighth_bits(low) | eighth_bits(high) << 8; }

inline bool touchable(const char* what, const void* at, std::size_t nbytes) {
  if (reinterpret_cast<std::uintptr_t>(at) % nbytes != 0) return emulated::fail("not aligned", at, nbytes), false;
  if (!emulated::state->request.valid(at, nbytes)) return emulated::fail(what, at, nbytes), false;
  return true;
}
inline bool inside(const emulated::Block& block, const void* at, std::size_t nbytes) {
  const char* const p = static_cast<const char*>(at);
  const char* const start = block.shared.start;
  return p >= start && p + nbytes <= start + emulated::state->request.shared_bytes;
}
inline bool aligned(const void* at, std::size_t nbytes) {
  if (reinterpret_cast<std::uintptr_t>(at) % nbytes == 0) return true;
  return emulated::fail("not aligned", at, nbytes), false;
}
// In the block's own.
inline bool in_shared(const void* at, std::size_t nbytes) {
  if (inside(*emulated::state->now->block, at, nbytes)) return aligned(at, nbytes);
  emulated::fail("outside shared memory", at, nbytes);
  return false;
}

// What is written is noted, so that products see only what was shown to them.
inline void note_write(const void* at, std::size_t nbytes) {
  emulated::Block& block = *emulated::state->now->block;
  const std::ptrdiff_t offset = static_cast<const char*>(at) - block.shared.start;
  if (offset < 0 || offset + nbytes > emulated::state->request.shared_bytes) return;  // another block's
  for (std::size_t word = offset / 4; word <= (offset + nbytes - 1) / 4; ++word) {
    block.written[word] = {++emulated::state->clock, emulated::state->now->index};
  }
}

template <int Bytes>
Raw<Bytes> load_near_raw(Raw<Bytes> x, const void* at, bool wanted) {
  std::memset(&x, 0, sizeof(x));
  if (wanted && touchable("read outside of memory", at, Bytes)) std::memcpy(&x, at, Bytes);
  return x;
}
template <int Bytes>
Raw<Bytes> load_far_raw(Raw<Bytes> x, const void* at, bool wanted) { return load_near_raw(x, at, wanted); }
template <int Bytes>
Raw<Bytes> load_shared_raw(Raw<Bytes> x, const void* at, bool wanted) {
  std::memset(&x, 0, sizeof(x));
  if (wanted && in_shared(at, Bytes)) std::memcpy(&x, at, Bytes);
  return x;
}
template <bool Past, int Bytes>
void store_raw(void* at, Raw<Bytes> x) {
  if (touchable("written outside of memory", at, Bytes)) std::memcpy(at, &x, Bytes);
}
template <int Bytes>
void store_shared_raw(void* at, Raw<Bytes> x) {
  if (in_shared(at, Bytes)) std::memcpy(at, &x, Bytes), note_write(at, Bytes);
}
inline void least(u64* at, u64 x) {
  if (touchable("counted outside of memory", at, 8)) *at = std::min(*at, x);
}
inline void count_one(u64* at) {
  if (touchable("counted outside of memory", at, 8)) ++*at;
}

inline u64 compare_swap(u64* at, u64 expected, u64 wanted) {
  if (!touchable("exchanged outside of memory", at, 8)) return wanted;
  const u64 before = *at;
  if (before == expected) *at = wanted;
  return before;
}
inline i32 add_one(i32* at) {
  return touchable("counted outside of memory", at, 4) ? (*at)++ : 0;
}
template <class T>
i64 load_changing(const T* at) {
  return touchable("read outside of memory", at, sizeof(T)) ? *at : 0;
}

inline void copy_async(void* to, const void* from, bool wanted) {
  if (!in_shared(to, 16) || (wanted && !touchable("copied from outside of memory", from, 16))) return;
  emulated::state->now->copies.back().push_back({to, from, wanted});
}
inline void copy_async(void* to, const void* from) { copy_async(to, from, true); }
inline void copy_async_mark() { emulated::state->now->copies.emplace_back(); }
template <int Left>
void copy_async_wait() {
  auto& copies = emulated::state->now->copies;
  for (; copies.size() > Left + 1; copies.erase(copies.begin())) {
    for (const emulated::Pending& copy : copies.front()) {
      if (copy.wanted) std::memcpy(copy.to, copy.from, 16);
      else std::memset(copy.to, 0, 16);
      note_write(copy.to, 16);
    }
  }
}

inline void load_matrices(u32 (&x)[4], const void* row) {
  emulated::Warp& warp = emulated::warp();
  warp.slot[emulated::lane()] = reinterpret_cast<std::uintptr_t>(row);
  sync_warp();
  for (unsigned j = 0; j < 4; ++j) {
    const char* const at = reinterpret_cast<const char*>(warp.slot[j * 8 + emulated::lane() / 4]);
    if (in_shared(at, 16)) std::memcpy(&x[j], at + emulated::lane() % 4 * 4, 4);
  }
  sync_warp();
}

// c[16 x 8] += a[16 x 16] b[16 x 8]; who holds which element is PTX's m16n8k16. Products are exact, sums double.
template <class Value>
void multiply_tiles(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, Value value) {
  emulated::Warp& warp = emulated::warp();
  const unsigned lane = emulated::lane();
  const u32 own[6] = {a[0], a[1], a[2], a[3], b0, b1};
  std::memcpy(warp.words[lane], own, sizeof(own));
  sync_warp();
  for (unsigned q = 0; q < 4; ++q) {
    const unsigned row = lane / 4 + q / 2 * 8, column = lane % 4 * 2 + q % 2;
    double total = 0;
    for (unsigned k = 0; k < 16; ++k) {
      const u32 left = warp.words[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
      const u32 right = warp.words[column * 4 + k % 8 / 2][4 + k / 8];
      total += static_cast<double>(value(left >> 16 * (k % 2) & 0xFFFF)) * value(right >> 16 * (k % 2) & 0xFFFF);
    }
    c[q] = static_cast<float>(c[q] + total);
  }
  sync_warp();
}
inline void multiply_halves(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  multiply_tiles(c, a, b0, b1, half_value);
}
inline void multiply_bfloats(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  multiply_tiles(c, a, b0, b1, [](u32 bits) { return as_float(bits << 16); });
}
// c[16 x 8] += a[16 x 8] b[8 x 8], PTX's m16n8k8: the lower 13 bits of an operand are not looked at.
inline void multiply_tf32(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  emulated::Warp& warp = emulated::warp();
  const unsigned lane = emulated::lane();
  const u32 own[6] = {a[0], a[1], a[2], a[3], b0, b1};
  std::memcpy(warp.words[lane], own, sizeof(own));
  sync_warp();
  for (unsigned q = 0; q < 4; ++q) {
    const unsigned row = lane / 4 + q / 2 * 8, column = lane % 4 * 2 + q % 2;
    double total = 0;
    for (unsigned k = 0; k < 8; ++k) {
      const float left = as_float(warp.words[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2] & ~0x1FFFu);
      total += static_cast<double>(left) * as_float(warp.words[column * 4 + k % 4][4 + k / 4] & ~0x1FFFu);
    }
    c[q] = static_cast<float>(c[q] + total);
  }
  sync_warp();
}

inline u32 cluster_rank() { return emulated::state->now->block->rank; }
inline void sync_cluster() { emulated::wait(emulated::state->cluster_barrier, emulated::state->cluster_live); }
inline const u8* in_cluster(const void* at, u32 rank) {
  const emulated::Block& own = *emulated::state->now->block;
  const std::size_t offset = static_cast<const char*>(at) - own.shared.start;
  if (rank >= emulated::state->cluster.size()) return emulated::fail("no such block in the cluster", at, rank), nullptr;
  return reinterpret_cast<const u8*>(emulated::state->cluster[rank]->shared.start + offset);
}
template <int Bytes>
Raw<Bytes> load_cluster_raw(Raw<Bytes> x, const void* at, bool wanted) {
  std::memset(&x, 0, sizeof(x));
  if (!wanted) return x;
  for (const auto& block : emulated::state->cluster) {
    if (!inside(*block, at, Bytes)) continue;
    if (block->live == 0) return emulated::fail("shared memory of a block that has ended", at, Bytes), x;
    if (aligned(at, Bytes)) std::memcpy(&x, at, Bytes);
    return x;
  }
  return emulated::fail("outside the cluster's shared memory", at, Bytes), x;
}

// Products of a warp group (wgmma): both matrices are read from shared memory as their descriptors say, when the product begins and
// again when it is waited for, which must be the same. Shared memory begins where no more is promised than 128 aligned bytes.
inline u32 window_address(const void* at) {
  return 1024 + 128 + static_cast<u32>(static_cast<const char*>(at) - emulated::state->now->block->shared.start);
}
inline void show_to_products() { emulated::state->now->block->shown[emulated::state->now->index] = ++emulated::state->clock; }
inline void begin_products() { emulated::state->now->gave_sums = true; }
inline void mark_products() {
  for (emulated::Product& product : emulated::state->now->products) product.marked = true;
}

// Where byte `at` of a row of a matrix lies, whose rows are 32 bytes long: its first byte, the bytes between groups of
// eight rows and, without a swizzle, between the two halves of a row; which bits of the address are crossed.
inline u32 window_of(u64 descriptor, u32 row, u32 at) {
  const u32 start = (descriptor & 0x3FFF) << 4, halves = (descriptor >> 16 & 0x3FFF) << 4, groups = (descriptor >> 32 & 0x3FFF) << 4;
  const u32 mode = static_cast<u32>(descriptor >> 62);
  if (descriptor >> 49 & 7) emulated::fail("the base offset of a descriptor is not emulated", nullptr, 0);
  if (mode == 0) return start + row / 8 * groups + at / 16 * halves + row % 8 * 16 + at % 16;
  const u32 pitch = 256u >> mode, crossed = 8u / (1u << (mode - 1)) - 1;  // 128, 64 or 32 bytes; 7, 3 or 1
  const u32 linear = start + row / 8 * groups + row % 8 * pitch + at;
  return linear ^ (linear >> 7 & crossed) << 4;
}
inline float operand_of(u64 descriptor, u32 row, u32 k, bool eighths) {
  emulated::Block& block = *emulated::state->now->block;
  const i64 offset = static_cast<i64>(window_of(descriptor, row, eighths ? k : k * 2)) - (1024 + 128);
  const char* const at = block.shared.start + offset;
  if (offset < 0 || offset + 2 > emulated::state->request.shared_bytes) {
    emulated::fail("a product reads outside of shared memory", at, 2);
    return NAN;
  }
  const emulated::Written& written = block.written[offset / 4];
  if (written.at > block.shown[written.thread]) emulated::fail("a product reads what was not shown to it", at, 2);
  if (eighths) return eighth_value(static_cast<u8>(*at));
  u16 bits;
  std::memcpy(&bits, at, 2);
  return as_float(static_cast<u32>(bits) << 16);
}

// The sums of one thread: rows lane / 4 and lane / 4 + 8 of its warp's 16, two columns of every eight.
inline std::vector<double> sums_of(u64 left, u64 right, u32 columns, bool eighths) {
  const u32 first = emulated::state->now->index / 32 % 4 * 16 + emulated::lane() / 4;
  std::vector<double> found;
  const u32 depth = eighths ? 32 : 16;
  float rows[2][32];
  for (u32 k = 0; k < depth; ++k) {
    for (u32 half = 0; half < 2; ++half) rows[half][k] = operand_of(left, first + half * 8, k, eighths);
  }
  for (u32 at = 0; at < columns / 2; ++at) {
    const u32 column = at / 4 * 8 + emulated::lane() % 4 * 2 + at % 2;
    double total = 0;
    for (u32 k = 0; k < depth; ++k) total += static_cast<double>(rows[at / 2 % 2][k]) * operand_of(right, column, k, eighths);
    found.push_back(total);
  }
  return found;
}

template <bool Eighths, int N, int From, int Tiles>
void multiply_group(float (&c)[Tiles][4], u64 left, u64 right, bool add) {
  static_assert(N % 8 == 0 && N <= 256 && From * 8 + N <= Tiles * 8);
  emulated::Thread& own = *emulated::state->now;
  auto& named = own.block->named[own.index / 128];
  if (own.multiplied == named.size()) named.emplace_back(left, right);
  if (named[own.multiplied++] != std::make_pair(std::uint64_t{left}, std::uint64_t{right})) {
    emulated::fail("threads of a warp group multiply different matrices", nullptr, 0);
  }
  if (!own.gave_sums) emulated::fail("a product begins before its sums were given over", nullptr, 0);
  own.products.push_back({left, right, add, false, Eighths, &c[From][0], sums_of(left, right, N, Eighths)});
}

template <int Tiles>
void wait_products(float (&)[Tiles][4]) {
  emulated::Thread& own = *emulated::state->now;
  own.gave_sums = false;
  std::vector<emulated::Product> left;
  for (emulated::Product& product : own.products) {
    if (!product.marked) {
      left.push_back(product);
      continue;
    }
    const auto sums = sums_of(product.left, product.right, static_cast<u32>(product.early.size() * 2), product.eighths);
    if (std::memcmp(sums.data(), product.early.data(), sums.size() * sizeof(double)) != 0) {
      emulated::fail("what a product reads was written to meanwhile", nullptr, 0);
    }
    for (std::size_t at = 0; at < sums.size(); ++at) {
      product.sums[at] = static_cast<float>((product.add ? product.sums[at] : 0.0) + sums[at]);
    }
  }
  own.products = std::move(left);
}
