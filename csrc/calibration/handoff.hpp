// What it takes to give work to another core and hear back.
#pragma once

#include <vector>

namespace recsmith::calibration {

// Seconds of each of `rounds` round trips from processor `here` to `there`. The other side spins, or, when `asleep_s`
// is more than zero, has slept for that long.
std::vector<double> time_handoffs(int here, int there, int rounds, double asleep_s);

}  // namespace recsmith::calibration
