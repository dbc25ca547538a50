#include "calibration/handoff.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "calibration/crew.hpp"

namespace recsmith::calibration {

namespace {

// The two sides' counters, each on a cache line of its own.
struct Mail {
  alignas(64) std::atomic<int> asked{0};
  alignas(64) std::atomic<int> answered{0};
};

void answer(Mail& mail, int rounds, bool sleeps) {
  for (int round = 1; round <= rounds; ++round) {
    while (mail.asked.load(std::memory_order_acquire) < round) {
      if (sleeps) mail.asked.wait(round - 1, std::memory_order_acquire);
    }
    mail.answered.store(round, std::memory_order_release);
  }
}

double ask(Mail& mail, int round, bool sleeps) {
  const double start_s = now_s();
  mail.asked.store(round, std::memory_order_release);
  if (sleeps) mail.asked.notify_one();
  while (mail.answered.load(std::memory_order_acquire) < round) {
  }
  return now_s() - start_s;
}

}  // namespace

std::vector<double> time_handoffs(int here, int there, int rounds, double asleep_s) {
  Mail mail;
  const bool sleeps = asleep_s > 0;
  std::vector<double> seconds;
  std::atomic<bool> pinned{true};
  std::thread other([&] {
    if (!pin(there)) pinned.store(false);
    answer(mail, rounds, sleeps);
  });
  std::thread self([&] {
    if (!pin(here)) pinned.store(false);
    for (int round = 1; round <= rounds; ++round) {
      if (sleeps) std::this_thread::sleep_for(std::chrono::duration<double>(asleep_s));
      seconds.push_back(ask(mail, round, sleeps));
    }
  });
  self.join();
  other.join();
  if (!pinned.load()) throw std::invalid_argument("[calibrate] a processor may not be used.");
  return seconds;
}

}  // namespace recsmith::calibration
