// Which processors this process may use, and staying on one.
#pragma once

#include <sched.h>

#include <vector>

namespace recsmith::engine {

// Processors that the scheduler lets this thread run on, lowest first.
std::vector<int> allowed_processors();

// How many processors' worth of time the control group grants, rounded up; a large number without a limit.
int quota_processors();

// Keeps the calling thread on one processor. False when the system refuses.
bool pin(int processor);

// While it lives, the calling thread does not run on a processor that belongs to a worker. Costs one read of the
// processor number when the thread is elsewhere already.
class Aside {
 public:
  // `workers` are the processors to keep off, `own` the one to move to.
  Aside(const cpu_set_t& workers, int own);
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

 private:
  bool moved_ = false;
  cpu_set_t before_;
};

}  // namespace recsmith::engine
