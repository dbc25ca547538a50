// Pinned threads that run the lanes of a plan side by side. The caller is lane 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace recsmith::engine {

// What the workers do when a job is over: watch for the next one for a while, or sleep at once (for callers who
// give the processors to something else now).
enum class After : std::uint8_t { spin, sleep };

// Work cut in units: unit(context, stage, lane) runs once for each; stage s + 1 begins when all of stage s is done.
struct Job {
  using Unit = void (*)(void* context, int stage, int lane) noexcept;
  Unit unit;
  void* context;
  int stages;
  int lanes;
  std::atomic<std::uint8_t>* taken;     // [stages * lanes], zeros
  std::atomic<std::int32_t>* finished;  // [stages], zeros
};

class Pool {
 public:
  // One processor number a lane; a thread is started for each but the first.
  explicit Pool(std::vector<int> processors);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int lanes() const { return static_cast<int>(processors_.size()); }

  // Runs the job and returns true, or returns false at once when another caller is using the pool. A lane whose
  // worker has not begun is done by the caller, so a sleeping or descheduled worker delays nothing.
  bool try_run(Job& job, After after);

  static constexpr std::int64_t spin_ns = 100'000;

 private:
  class Workers;

  bool rebuild_after_fork();  // false while another thread does it

  std::vector<int> processors_;
  std::atomic<bool> busy_{false};
  std::atomic<std::uint32_t> generation_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace recsmith::engine
