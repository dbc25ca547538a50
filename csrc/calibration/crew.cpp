#include "calibration/crew.hpp"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace recsmith::calibration {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {
double busy_s() {
  timespec t;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
}  // namespace

bool pin(int processor) {
  if (processor < 0 || processor >= CPU_SETSIZE) return false;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  return pthread_setaffinity_np(pthread_self(), sizeof only, &only) == 0;
}

namespace {

// A barrier that spins, so that nobody starts late; it gives the processor away when it has waited for long, since
// somebody else may need it to arrive.
class Barrier {
 public:
  explicit Barrier(int members) : members_(members) {}

  void wait() {
    const int phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (long spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
      if (spins > spins_before_yield) std::this_thread::yield();
    }
  }

 private:
  static constexpr long spins_before_yield = 1 << 16;
  const int members_;
  std::atomic<int> arrived_{0};
  std::atomic<int> phase_{0};
};

}  // namespace

std::vector<Span> run_together(const std::vector<int>& cores, int rounds, const std::function<void(int)>& body) {
  const std::size_t members = cores.size();
  std::vector<Span> spans(members * static_cast<std::size_t>(rounds));
  std::atomic<int> refused{-1};
  Barrier barrier(static_cast<int>(members));
  auto work = [&](std::size_t slot) {
    if (!pin(cores[slot])) refused.store(cores[slot]);
    barrier.wait();
    if (refused.load() >= 0) return;
    for (int round = 0; round < rounds; ++round) {
      barrier.wait();
      Span& span = spans[static_cast<std::size_t>(round) * members + slot];
      const double busy_before_s = busy_s();
      span.start_s = now_s();
      body(static_cast<int>(slot));
      span.stop_s = now_s();
      span.busy_s = busy_s() - busy_before_s;
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(members);
  for (std::size_t slot = 0; slot < members; ++slot) threads.emplace_back(work, slot);
  for (std::thread& thread : threads) thread.join();
  if (refused.load() >= 0) {
    throw std::invalid_argument("[calibrate] processor " + std::to_string(refused.load()) + " may not be used.");
  }
  return spans;
}

}  // namespace recsmith::calibration
