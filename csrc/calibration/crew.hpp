// Several cores doing the same at the same time, each timed on its own.
#pragma once

#include <functional>
#include <vector>

namespace recsmith::calibration {

struct Span {
  double start_s, stop_s;  // on one clock for all cores
  double busy_s;           // of these the thread had its processor for so long; less when others took it away
};

double now_s();

// Keeps the calling thread on one processor. False when the system refuses.
bool pin(int processor);

// Runs `body(slot)` on one thread pinned to each of `cores`, `rounds` times; in each round all start together. Returns
// rounds x cores spans, round by round. Throws std::invalid_argument for a processor that may not be used.
std::vector<Span> run_together(const std::vector<int>& cores, int rounds, const std::function<void(int)>& body);

}  // namespace recsmith::calibration
