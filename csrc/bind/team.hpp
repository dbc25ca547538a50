// Work in parts, by the threads that torch keeps awake.
//
// After a product GNU OpenMP's threads spin for a while, ready for the next one. Threads of our own would share processors
// with them: with two of each on two processors, codes took longer than with one alone. So where torch has brought GNU
// OpenMP's library into the process, its team does our work too, by the one function of its that compilers call.
#pragma once

#if defined(__linux__)
#include <dlfcn.h>
#endif

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace recsmith {

namespace team {

using Start = void (*)(void (*)(void*), void*, unsigned, unsigned);

// GNU OpenMP's GOMP_parallel(function, data, threads, flags), when the library is loaded already.
inline Start started() {
#if defined(__linux__)
  static std::atomic<Start> found{nullptr};
  Start start = found.load(std::memory_order_relaxed);
  if (start == nullptr) {
    if (void* const library = dlopen("libgomp.so.1", RTLD_NOW | RTLD_NOLOAD)) {
      start = reinterpret_cast<Start>(dlsym(library, "GOMP_parallel"));
      found.store(start, std::memory_order_relaxed);
    }
  }
  return start;
#else
  return nullptr;
#endif
}

}  // namespace team

// Calls part(0) ... part(parts - 1), each once; the caller takes part.
template <class Part>
void in_parts(std::int64_t parts, const Part& part) {
  if (parts <= 1) {
    if (parts == 1) part(0);
    return;
  }
  // A team may be smaller than asked for. The caller takes the first part, as in oneDNN's products, whose threads then find
  // what they read in caches of their own.
  struct Shared {
    const Part& part;
    std::int64_t parts;
    std::thread::id caller = std::this_thread::get_id();
    std::atomic<std::int64_t> next{1};
  } shared{part, parts};
  const auto work = [](void* given) {
    auto& own = *static_cast<Shared*>(given);
    if (std::this_thread::get_id() == own.caller) own.part(0);
    for (std::int64_t i = own.next++; i < own.parts; i = own.next++) own.part(i);
  };
  if (const team::Start start = team::started()) {
    start(work, &shared, static_cast<unsigned>(parts), 0);
    return;
  }
  std::vector<std::thread> others;
  for (std::int64_t i = 1; i < parts; ++i) others.emplace_back(work, &shared);
  work(&shared);
  for (std::thread& other : others) other.join();
}

}  // namespace recsmith
