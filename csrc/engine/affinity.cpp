#include "engine/affinity.hpp"

#include <cstdio>
#include <limits>

namespace recsmith::engine {

namespace {

// [quota, period] of the first file that states a limit. Version 2 has both in one file.
int read_quota() {
  long long quota = -1, period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lld %lld", &quota, &period) != 2) quota = -1;  // "max 100000"
    std::fclose(file);
  } else if (std::FILE* quotas = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
    if (std::fscanf(quotas, "%lld", &quota) != 1) quota = -1;
    std::fclose(quotas);
    if (std::FILE* periods = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(periods, "%lld", &period) != 1) period = 0;
      std::fclose(periods);
    }
  }
  if (quota <= 0 || period <= 0) return std::numeric_limits<int>::max();
  return static_cast<int>((quota + period - 1) / period);
}

}  // namespace

std::vector<int> allowed_processors() {
  std::vector<int> found;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
  }
  return found;
}

int quota_processors() { return read_quota(); }

bool pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

Aside::Aside(const cpu_set_t& workers, int own) {
  const int here = sched_getcpu();
  if (here < 0 || !CPU_ISSET(here, &workers)) return;
  if (sched_getaffinity(0, sizeof before_, &before_) != 0) return;
  moved_ = pin(own);
}

Aside::~Aside() {
  // The thread stays where it is; only its freedom comes back, so the next call finds it in the right place.
  if (moved_) sched_setaffinity(0, sizeof before_, &before_);
}

}  // namespace recsmith::engine
