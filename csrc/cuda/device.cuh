// The vocabulary of the kernels: everything that is not plain C++. An emulator that runs the kernels on a CPU offers the same
// names (RECSMITH_EMULATED); nothing here includes a header, so that the run-time compiler needs none.
#pragma once

#ifndef RECSMITH_EMULATED

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

#define DEVICE __device__ __forceinline__
// A kernel that takes one struct by value, for blocks of `threads`, at least `blocks` of them resident a multiprocessor.
#define KERNEL(name, Argument, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Argument call)
#define UNROLL _Pragma("unroll")

extern __shared__ __align__(128) u8 dynamic_shared[];

DEVICE u8* shared_memory() { return dynamic_shared; }
DEVICE u32 thread_index() { return threadIdx.x; }
DEVICE u32 block_index() { return blockIdx.x; }
DEVICE u32 block_count() { return gridDim.x; }

DEVICE void sync_block() { __syncthreads(); }
DEVICE bool sync_block_or(bool x) { return __syncthreads_or(x) != 0; }
DEVICE void sync_warp() { __syncwarp(); }
DEVICE float shuffle(float x, int lane) { return __shfl_sync(~0u, x, lane); }
DEVICE u64 shuffle(u64 x, int lane) { return __shfl_sync(~0u, x, lane); }
DEVICE i32 shuffle(i32 x, int lane) { return __shfl_sync(~0u, x, lane); }
DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
DEVICE i32 shuffle_xor(i32 x, int mask) { return __shfl_xor_sync(~0u, x, mask); }

DEVICE bool any_of_warp(bool x) { return __any_sync(~0u, x); }

DEVICE float as_float(u32 x) { return __uint_as_float(x); }
DEVICE u32 as_word(float x) { return __float_as_uint(x); }
DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE u32 high_product(u32 a, u32 b) { return __umulhi(a, b); }
DEVICE float square_root(float x) { return __fsqrt_rn(x); }
DEVICE float logarithm(float x) { return logf(x); }
DEVICE float logarithm_1p(float x) { return log1pf(x); }
DEVICE float exponential(float x) { return expf(x); }
DEVICE float cosine_pi(float x) { return cospif(x); }
DEVICE float sine_pi(float x) { return sinpif(x); }
DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
DEVICE void least(u64* at, u64 x) { atomicMin(at, x); }
DEVICE void count_one(u64* at) { atomicAdd(at, 1ull); }
// Both give what was there before.
DEVICE u64 compare_swap(u64* at, u64 expected, u64 wanted) { return atomicCAS(at, expected, wanted); }
DEVICE i32 add_one(i32* at) { return atomicAdd(at, 1); }
// What the kernel itself writes to, elsewhere.
DEVICE i64 load_changing(const i32* at) { return *(const volatile i32*)at; }
DEVICE i64 load_changing(const i64* at) { return *(const volatile i64*)at; }

// float16 and bfloat16, a pair in a word, the first in the low half.
DEVICE float half_low(u32 x) { float y; asm("{.reg .b16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, a;}" : "=f"(y) : "r"(x)); return y; }
DEVICE float half_high(u32 x) { float y; asm("{.reg .b16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, b;}" : "=f"(y) : "r"(x)); return y; }
DEVICE u32 to_halves(float low, float high) { u32 y; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y; }
DEVICE u32 to_bfloats(float low, float high) { u32 y; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y; }
// Two e4m3 in 16 bits; what is larger than 448 becomes that. From Ada on.
DEVICE u32 to_eighths(float low, float high) {
  u16 y;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(y) : "f"(high), "f"(low));
  return y;
}
// A float32 whose lower 13 bits say nothing: to nearest, halves away from zero.
DEVICE u32 to_tf32(float x) { u32 y; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x)); return y; }

#endif

// Bytes on their way between memory and registers; one or two lie in the low part of a word.
template <int Bytes>
struct Raw {
  u32 word[(Bytes + 3) / 4];
};

#ifndef RECSMITH_EMULATED

// Loads under a predicate, without a branch: zeros where it does not hold. (Outputs are written before the address is
// read, hence "&".)
#define LOAD_WIDE(name, assembler, how, kind, address)                                                                 \
  DEVICE Raw<16> name(Raw<16>, const void* at, bool wanted) {                                                          \
    Raw<16> x;                                                                                                         \
    assembler("{.reg .pred p; setp.ne.s32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;"       \
              "@p ld." how ".v4.b32 {%0, %1, %2, %3}, [%4];}"                                                          \
              : "=&r"(x.word[0]), "=&r"(x.word[1]), "=&r"(x.word[2]), "=&r"(x.word[3]) : kind(address(at)), "r"((int)wanted)); \
    return x;                                                                                                          \
  }                                                                                                                    \
  DEVICE Raw<8> name(Raw<8>, const void* at, bool wanted) {                                                            \
    Raw<8> x;                                                                                                          \
    assembler("{.reg .pred p; setp.ne.s32 p, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0; @p ld." how ".v2.b32 {%0, %1}, [%2];}" \
              : "=&r"(x.word[0]), "=&r"(x.word[1]) : kind(address(at)), "r"((int)wanted));                             \
    return x;                                                                                                          \
  }                                                                                                                    \
  DEVICE Raw<4> name(Raw<4>, const void* at, bool wanted) {                                                            \
    Raw<4> x;                                                                                                          \
    assembler("{.reg .pred p; setp.ne.s32 p, %2, 0; mov.b32 %0, 0; @p ld." how ".b32 %0, [%1];}"                       \
              : "=&r"(x.word[0]) : kind(address(at)), "r"((int)wanted));                                               \
    return x;                                                                                                          \
  }                                                                                                                    \
  DEVICE Raw<2> name(Raw<2>, const void* at, bool wanted) {                                                            \
    Raw<2> x;                                                                                                          \
    assembler("{.reg .pred p; .reg .b16 h; setp.ne.s32 p, %2, 0; mov.b16 h, 0; @p ld." how ".b16 h, [%1]; cvt.u32.u16 %0, h;}" \
              : "=&r"(x.word[0]) : kind(address(at)), "r"((int)wanted));                                               \
    return x;                                                                                                          \
  }                                                                                                                    \
  DEVICE Raw<1> name(Raw<1>, const void* at, bool wanted) {                                                            \
    Raw<1> x;                                                                                                          \
    assembler("{.reg .pred p; setp.ne.s32 p, %2, 0; mov.b32 %0, 0; @p ld." how ".u8 %0, [%1];}"                        \
              : "=&r"(x.word[0]) : kind(address(at)), "r"((int)wanted));                                               \
    return x;                                                                                                          \
  }

#define AS_IT_IS(at) (at)
#define LOW_WORD(at) ((u32)(u64)(at))

LOAD_WIDE(load_near_raw, asm, "global.nc", "l", AS_IT_IS)
LOAD_WIDE(load_far_raw, asm, "global.nc.L1::no_allocate", "l", AS_IT_IS)
// From where `in_cluster` says.
LOAD_WIDE(load_cluster_raw, asm volatile, "shared::cluster", "r", LOW_WORD)
#undef LOAD_WIDE
#undef AS_IT_IS
#undef LOW_WORD

#define SHARED_ADDRESS(at) ((u32)__cvta_generic_to_shared(at))
// Where shared memory lies in its own window, which descriptors name.
DEVICE u32 window_address(const void* at) { return SHARED_ADDRESS(at); }

DEVICE Raw<16> load_shared_raw(Raw<16> x, const void* at, bool wanted) {
  asm volatile("{.reg .pred p; setp.ne.s32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;"
               "@p ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];}"
               : "=&r"(x.word[0]), "=&r"(x.word[1]), "=&r"(x.word[2]), "=&r"(x.word[3])
               : "r"(SHARED_ADDRESS(at)), "r"((int)wanted));
  return x;
}
template <int Bytes>
DEVICE Raw<Bytes> load_shared_raw(Raw<Bytes> x, const void* at, bool wanted) {
  x.word[0] = 0;
  if constexpr (Bytes == 8) x.word[1] = 0;
  if (wanted) {
    if constexpr (Bytes == 8) x.word[0] = ((const volatile u32*)at)[0], x.word[1] = ((const volatile u32*)at)[1];
    if constexpr (Bytes == 4) x.word[0] = *(const volatile u32*)at;
    if constexpr (Bytes == 2) x.word[0] = *(const volatile u16*)at;
    if constexpr (Bytes == 1) x.word[0] = *(const volatile u8*)at;
  }
  return x;
}

// Stores of whole pieces; `past` the caches' least wanted lines when they will not be read soon.
template <bool Past>
DEVICE void store_raw(void* at, Raw<16> x) {
  if (Past) asm volatile("st.global.cs.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(at), "r"(x.word[0]), "r"(x.word[1]), "r"(x.word[2]), "r"(x.word[3]) : "memory");
  else asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(at), "r"(x.word[0]), "r"(x.word[1]), "r"(x.word[2]), "r"(x.word[3]) : "memory");
}
template <bool Past>
DEVICE void store_raw(void* at, Raw<8> x) {
  if (Past) asm volatile("st.global.cs.v2.b32 [%0], {%1, %2};" ::"l"(at), "r"(x.word[0]), "r"(x.word[1]) : "memory");
  else asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(at), "r"(x.word[0]), "r"(x.word[1]) : "memory");
}
template <bool Past>
DEVICE void store_raw(void* at, Raw<4> x) {
  if (Past) asm volatile("st.global.cs.b32 [%0], %1;" ::"l"(at), "r"(x.word[0]) : "memory");
  else asm volatile("st.global.b32 [%0], %1;" ::"l"(at), "r"(x.word[0]) : "memory");
}
template <bool Past>
DEVICE void store_raw(void* at, Raw<2> x) { *(volatile u16*)at = (u16)x.word[0]; }

// Shared memory that is written by ordinary stores.
template <int Bytes>
DEVICE void store_shared_raw(void* at, Raw<Bytes> x) {
  if constexpr (Bytes == 16) *(uint4*)at = make_uint4(x.word[0], x.word[1], x.word[2], x.word[3]);
  if constexpr (Bytes == 8) *(uint2*)at = make_uint2(x.word[0], x.word[1]);
  if constexpr (Bytes == 4) *(u32*)at = x.word[0];
  if constexpr (Bytes == 2) *(u16*)at = (u16)x.word[0];
  if constexpr (Bytes == 1) *(u8*)at = (u8)x.word[0];
}

// 16 bytes from global to shared memory, past the registers; zeros, and no read, unless `wanted`. All that a thread began have
// arrived after the wait.
DEVICE void copy_async(void* to, const void* from, bool wanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SHARED_ADDRESS(to)), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
DEVICE void copy_async(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SHARED_ADDRESS(to)), "l"(from) : "memory");
}
DEVICE void copy_async_mark() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// All but the last `Pending` marks.
template <int Pending>
DEVICE void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory"); }

// Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
DEVICE void load_matrices(u32 (&x)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(SHARED_ADDRESS(row)) : "memory");
}
DEVICE void multiply_halves(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void multiply_bfloats(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void multiply_tf32(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Clusters: blocks that read each other's shared memory, between a barrier of all before the first read and one after the last.
DEVICE u32 cluster_rank() { u32 x; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(x)); return x; }
DEVICE void sync_cluster() {
  asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
}
// The same place in the shared memory of block `rank` of the cluster: an address for `load_cluster` alone.
DEVICE const u8* in_cluster(const void* at, u32 rank) {
  u32 x;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(x) : "r"(SHARED_ADDRESS(at)), "r"(rank));
  return (const u8*)(u64)x;
}

#endif

template <int Bytes>
DEVICE Raw<Bytes> load_near(const void* at, bool wanted) { return load_near_raw(Raw<Bytes>(), at, wanted); }
template <int Bytes>
DEVICE Raw<Bytes> load_far(const void* at, bool wanted) { return load_far_raw(Raw<Bytes>(), at, wanted); }
template <int Bytes>
DEVICE Raw<Bytes> load_shared(const void* at, bool wanted) { return load_shared_raw(Raw<Bytes>(), at, wanted); }
template <int Bytes>
DEVICE Raw<Bytes> load_cluster(const void* at, bool wanted) { return load_cluster_raw(Raw<Bytes>(), at, wanted); }

DEVICE i64 load_index(const i32* at, bool wanted) { return (i32)load_near<4>(at, wanted).word[0]; }
DEVICE i64 load_index(const i64* at, bool wanted) {
  const Raw<8> x = load_near<8>(at, wanted);
  return (i64)((u64)x.word[1] << 32 | x.word[0]);
}

DEVICE float bfloat_low(u32 x) { return as_float(x << 16); }
DEVICE float bfloat_high(u32 x) { return as_float(x & 0xFFFF0000u); }
