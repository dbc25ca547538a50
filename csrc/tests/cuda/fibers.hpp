// CUDA's model of execution on one CPU thread: every CUDA thread is a fiber; barriers, shuffles and votes are real. It checks what
// kernels compute, not how fast, and not memory ordering; but threads may run in any order (`order`), which shows most
// missing barriers, and all of a block waiting for what cannot come is an error.
#pragma once

#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace emulated {

// What a launch is asked for. `valid` tells whether bytes of the device's memory may be touched.
struct Request {
  unsigned grid, block, shared_bytes, cluster;
  std::uint64_t order;
  const void* argument;
  bool (*valid)(const void*, std::size_t);
  char* problem;  // [512], empty as long as there is none
};

struct Barrier {
  unsigned arrived = 0, generation = 0;
};

struct Warp {
  Barrier barrier;
  unsigned live = 0;
  std::uint64_t slot[32];
  std::uint32_t words[32][6];
};

// Pages that end where the next one may not be touched.
class Guarded {
 public:
  explicit Guarded(std::size_t nbytes, std::size_t alignment) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (nbytes + page - 1) / page * page + page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    start = base_ + (mapped_ - page - nbytes) / alignment * alignment;
    std::memset(base_, 0xFF, mapped_ - page);  // reads as NaN
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  char* start;

 private:
  char* base_;
  std::size_t mapped_;
};

// Who wrote a word of shared memory last, and when.
struct Written {
  std::uint64_t at = 0;
  unsigned thread = 0;
};

struct Block {
  Block(unsigned index, unsigned rank, const Request& request)
      : index(index), rank(rank), live(request.block), warps((request.block + 31) / 32), shared(request.shared_bytes + 1, 128),
        written(request.shared_bytes / 4 + 1), shown(request.block), named((request.block + 127) / 128) {
    for (auto& warp : warps) warp.live = 32;
  }
  const unsigned index, rank;
  Barrier barrier;
  unsigned live, votes = 0, verdict = 0;
  std::vector<Warp> warps;
  Guarded shared;
  std::vector<Written> written;
  std::vector<std::uint64_t> shown;  // when each thread last showed what it wrote to the products of warp groups
  std::vector<std::vector<std::pair<std::uint64_t, std::uint64_t>>> named;  // what each warp group multiplied so far
};

// A copy that has begun and does not arrive before it is waited for.
struct Pending {
  void* to;
  const void* from;
  bool wanted;
};

// A product of a warp group that has begun: its sums do not arrive before it is waited for. `early` is what they were to be when it
// began.
struct Product {
  std::uint64_t left, right;
  bool add, marked, eighths;
  float* sums;
  std::vector<double> early;
};

struct Thread {
  std::vector<std::vector<Pending>> copies{1};  // by mark, the last one open
  std::vector<Product> products;
  std::size_t multiplied = 0;
  bool gave_sums = false;
  ucontext_t start;
  jmp_buf at;
  bool begun = false, done = false;
  Block* block;
  unsigned index;
};

struct State {
  Request request;
  void (*kernel)(const void*);
  std::vector<std::unique_ptr<Block>> cluster;
  Barrier cluster_barrier;
  unsigned cluster_live;
  Thread* now = nullptr;
  jmp_buf scheduler;
  std::uint64_t progress = 0, clock = 0;
};
inline State* state;

inline void fail(const char* what, const void* at, std::size_t nbytes) {
  if (state->request.problem[0] != 0) return;
  std::snprintf(state->request.problem, 512, "block %u, thread %u: %s (%zu bytes at %p)", state->now->block->index,
                state->now->index, what, nbytes, at);
}

inline void yield() {
  if (_setjmp(state->now->at) == 0) _longjmp(state->scheduler, 1);
}

inline void open(Barrier& barrier) {
  barrier.arrived = 0;
  ++barrier.generation;
  ++state->progress;
}

inline void wait(Barrier& barrier, const unsigned& live) {
  if (++barrier.arrived >= live) return open(barrier);
  for (const unsigned generation = barrier.generation; barrier.generation == generation;) yield();
}

inline void leave(Barrier& barrier, unsigned& live) {
  if (--live > 0 && barrier.arrived >= live) open(barrier);
}

inline Warp& warp() { return state->now->block->warps[state->now->index / 32]; }
inline unsigned lane() { return state->now->index % 32; }

inline void run_thread() {
  state->kernel(state->request.argument);
  Thread& own = *state->now;
  own.done = true;
  ++state->progress;
  leave(warp().barrier, warp().live);
  leave(own.block->barrier, own.block->live);
  leave(state->cluster_barrier, state->cluster_live);
  _longjmp(state->scheduler, 1);
}

inline void resume(Thread& thread) {
  state->now = &thread;
  if (_setjmp(state->scheduler) != 0) return;
  if (thread.begun) _longjmp(thread.at, 1);
  thread.begun = true;
  setcontext(&thread.start);
}

inline constexpr std::size_t stack_bytes = 128 << 10;

// Resumes the threads of a warp: once each, or in any order asked for as often as that leads anywhere, so that a warp runs as far
// ahead of the others as barriers let it. Returns how many ended.
inline std::size_t run_warp(std::unique_ptr<Thread>* threads, std::uint64_t order) {
  std::size_t ended = 0;
  for (std::uint64_t before = state->progress + 1; before != state->progress && ended < 32;) {
    before = state->progress;
    for (std::size_t i = 0; i < 32; ++i) {
      Thread& thread = *threads[order % 2 == 0 ? i : 31 - i];
      if (thread.done) continue;
      resume(thread);
      ended += thread.done ? 1 : 0;
    }
    if (order == 0) break;
  }
  return ended;
}

// Runs one cluster of blocks to its end; returns whether it came to it.
inline bool run_cluster(unsigned first, char* stacks, std::mt19937_64& draw) {
  const Request& request = state->request;
  std::vector<std::unique_ptr<Thread>> threads;
  state->cluster.clear();
  state->cluster_barrier = {};
  state->cluster_live = request.block * request.cluster;
  for (unsigned rank = 0; rank < request.cluster; ++rank) {
    state->cluster.push_back(std::make_unique<Block>(first + rank, rank, request));
    for (unsigned t = 0; t < request.block; ++t) {
      auto thread = std::make_unique<Thread>();
      getcontext(&thread->start);
      thread->start.uc_stack.ss_sp = stacks + threads.size() * stack_bytes;
      thread->start.uc_stack.ss_size = stack_bytes;
      thread->start.uc_link = nullptr;
      makecontext(&thread->start, run_thread, 0);
      thread->block = state->cluster.back().get();
      thread->index = t;
      threads.push_back(std::move(thread));
    }
  }
  std::vector<std::size_t> warps(threads.size() / 32);
  std::iota(warps.begin(), warps.end(), 0);
  if (request.order != 0) std::shuffle(warps.begin(), warps.end(), draw);
  for (std::size_t left = threads.size(); left > 0;) {
    const std::uint64_t before = state->progress;
    for (const std::size_t warp : warps) left -= run_warp(threads.data() + 32 * warp, request.order);
    if (left > 0 && state->progress == before) {
      fail("threads wait for each other at different barriers", nullptr, 0);
      return false;
    }
  }
  return true;
}

// Kept from launch to launch, never cleared: the pages of a stack are touched once.
inline char* stacks_of(std::size_t threads) {
  static std::unique_ptr<char[]> kept;
  static std::size_t room = 0;
  if (threads > room) kept.reset(new char[threads * stack_bytes]), room = threads;
  return kept.get();
}

inline int launch(const Request& request, void (*kernel)(const void*)) {
  State own;
  own.request = request;
  own.kernel = kernel;
  state = &own;
  if (request.block % 32 != 0 || request.grid % request.cluster != 0) return 1;
  char* const stacks = stacks_of(request.block * request.cluster);
  std::mt19937_64 draw(request.order);
  for (unsigned first = 0; first < request.grid; first += request.cluster) {
    if (!run_cluster(first, stacks, draw)) return 2;
  }
  return request.problem[0] == 0 ? 0 : 3;
}

}  // namespace emulated
