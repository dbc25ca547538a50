#include "engine/pool.hpp"

#include <pthread.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "engine/affinity.hpp"

namespace recsmith::engine {

namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Counts forks: threads do not survive one.
std::atomic<std::uint32_t> forks{0};

std::uint32_t fork_generation() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); }); });
  return forks.load(std::memory_order_relaxed);
}

// Does what is left of a stage, beginning with one's own lane; returns when the whole stage is done.
void run_stages(Job& job, int lane, bool takes_all) {
  for (int stage = 0; stage < job.stages; ++stage) {
    auto take = [&](int l) {
      auto& taken = job.taken[stage * job.lanes + l];
      if (taken.load(std::memory_order_relaxed) != 0 || taken.exchange(1, std::memory_order_acquire) != 0) return;
      job.unit(job.context, stage, l);
      job.finished[stage].fetch_add(1, std::memory_order_release);
    };
    take(lane);
    if (takes_all) {
      for (int l = 0; l < job.lanes; ++l) take(l);
    } else if (stage + 1 == job.stages) {
      return;  // only the caller has to see the end
    }
    for (int spins = 1; job.finished[stage].load(std::memory_order_acquire) != job.lanes; ++spins) {
      pause();
      // Whoever is missing may be waiting for this very processor.
      if (spins % 1024 == 0) std::this_thread::yield();
    }
  }
}

}  // namespace

// A worker's state is a ticket counting jobs, times four, plus where it stands with that job.
class Pool::Workers {
 public:
  explicit Workers(const std::vector<int>& processors) : slots_(processors.size() - 1) {
    CPU_ZERO(&processors_);
    for (std::size_t i = 1; i < processors.size(); ++i) {
      CPU_SET(processors[i], &processors_);
      slots_[i - 1].thread = std::thread([this, i, cpu = processors[i]] { work(static_cast<int>(i), cpu); });
    }
  }

  ~Workers() {
    stop_.store(true);
    for (Slot& slot : slots_) {
      slot.state.fetch_add(4);
      slot.state.notify_one();
    }
    for (Slot& slot : slots_) slot.thread.join();
  }

  const cpu_set_t& processors() const { return processors_; }

  void run(Job& job, After after) {
    job_ = &job;
    after_.store(after, std::memory_order_relaxed);
    const int helpers = job.lanes - 1;
    for (int i = 0; i < helpers; ++i) offer(slots_[i]);
    run_stages(job, 0, true);
    for (int i = 0; i < helpers; ++i) take_back(slots_[i]);
  }

 private:
  enum : std::uint32_t { offered = 0, running = 1, over = 2, place = 3 };

  struct alignas(64) Slot {
    std::atomic<std::uint32_t> state{over};
    std::atomic<bool> asleep{false};
    std::thread thread;
  };

  static void offer(Slot& slot) {
    const std::uint32_t ticket = (slot.state.load(std::memory_order_relaxed) | place) + 1;
    // Sequentially consistent with the worker's store to `asleep`: one of the two sees the other.
    slot.state.store(ticket | offered, std::memory_order_seq_cst);
    if (slot.asleep.load(std::memory_order_seq_cst)) slot.state.notify_one();
  }

  // After this the worker no longer looks at the job.
  static void take_back(Slot& slot) {
    std::uint32_t state = slot.state.load(std::memory_order_acquire);
    if ((state & place) == offered &&
        slot.state.compare_exchange_strong(state, (state & ~std::uint32_t{place}) | over, std::memory_order_acq_rel)) {
      return;
    }
    for (int spins = 1; (slot.state.load(std::memory_order_acquire) & place) != over; ++spins) {
      pause();
      if (spins % 1024 == 0) std::this_thread::yield();
    }
  }

  void work(int lane, int processor) {
    pin(processor);  // a refusal costs speed, not results
    Slot& slot = slots_[lane - 1];
    After after = After::sleep;
    for (;;) {
      std::uint32_t state = await(slot, after);
      if (stop_.load()) return;
      if (!slot.state.compare_exchange_strong(state, state | running, std::memory_order_acq_rel)) continue;
      after = after_.load(std::memory_order_relaxed);
      run_stages(*job_, lane, false);
      slot.state.store(((state & ~std::uint32_t{place}) | over), std::memory_order_release);
    }
  }

  // The state once it says `offered`, or anything when the pool stops.
  std::uint32_t await(Slot& slot, After after) {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::nanoseconds(after == After::spin ? spin_ns : 0);
    for (int spins = 1;; ++spins) {
      const std::uint32_t state = slot.state.load(std::memory_order_acquire);
      if ((state & place) == offered || stop_.load(std::memory_order_relaxed)) return state;
      pause();
      if (spins % 64 == 0 && Clock::now() >= until) break;
    }
    for (;;) {
      slot.asleep.store(true, std::memory_order_seq_cst);
      const std::uint32_t state = slot.state.load(std::memory_order_seq_cst);
      if ((state & place) != offered && !stop_.load()) slot.state.wait(state);
      slot.asleep.store(false, std::memory_order_relaxed);
      const std::uint32_t seen = slot.state.load(std::memory_order_acquire);
      if ((seen & place) == offered || stop_.load()) return seen;
    }
  }

  std::vector<Slot> slots_;
  Job* job_ = nullptr;
  std::atomic<After> after_{After::spin};
  std::atomic<bool> stop_{false};
  cpu_set_t processors_;
};

Pool::Pool(std::vector<int> processors)
    : processors_(std::move(processors)),
      generation_(fork_generation()),
      workers_(processors_.size() > 1 ? std::make_unique<Workers>(processors_) : nullptr) {}

Pool::~Pool() {
  // In the child of a fork the threads are gone; waiting for them would never end.
  if (generation_.load() != fork_generation()) workers_.release();
}

bool Pool::try_run(Job& job, After after) {
  const bool stale = generation_.load(std::memory_order_acquire) != forks.load(std::memory_order_relaxed);
  if (stale && !rebuild_after_fork()) return false;
  if (busy_.load(std::memory_order_relaxed) || busy_.exchange(true, std::memory_order_acquire)) return false;
  {
    const Aside aside(workers_->processors(), processors_.front());
    workers_->run(job, after);
  }
  busy_.store(false, std::memory_order_release);
  return true;
}

bool Pool::rebuild_after_fork() {
  static std::atomic<bool> building{false};
  if (building.exchange(true)) return false;
  if (generation_.load() != fork_generation()) {
    workers_.release();
    workers_ = std::make_unique<Workers>(processors_);
    busy_.store(false);
    generation_.store(fork_generation(), std::memory_order_release);
  }
  building.store(false);
  return true;
}

}  // namespace recsmith::engine
