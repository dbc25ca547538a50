// Ways of doing one look-up, timed in turns on one core or two. The best plain way and the best way of the idea are
// chosen by every other round and compared in the rounds between.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/pool.hpp"
#include "tests/beyond/world.hpp"

namespace recsmith::beyond {

// Serves one core's part of a batch; safe from two threads.
using Serve = std::function<void(const Batch&, float* out)>;

struct Way {
  std::string name;
  bool idea;
  Serve serve;
  const std::vector<std::vector<Batch>>* batches;  // by batch, then core
  std::vector<double> seconds{};
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

class Crew {
 public:
  explicit Crew(int cores) : cores_(cores), pool_(cores == 1 ? std::vector<int>{0} : std::vector<int>{0, 1}) {}

  void run(const Way& way, const std::vector<Batch>& parts, float* out, std::int64_t columns) {
    Work work{&way, &parts, out, columns};
    if (cores_ == 1) return unit(&work, 0, 0);
    std::atomic<std::uint8_t> taken[2] = {0, 0};
    std::atomic<std::int32_t> finished[1] = {0};
    engine::Job job{unit, &work, 1, 2, taken, finished};
    if (!pool_.try_run(job, engine::After::spin)) std::abort();
  }

 private:
  struct Work {
    const Way* way;
    const std::vector<Batch>* parts;
    float* out;
    std::int64_t columns;
  };
  static void unit(void* context, int, int lane) noexcept {
    const Work& work = *static_cast<Work*>(context);
    float* out = work.out;
    for (int l = 0; l < lane; ++l) out += (*work.parts)[l].samples * work.columns;
    work.way->serve((*work.parts)[lane], out);
  }
  int cores_;
  engine::Pool pool_;
};

struct Compared {
  double plain_s, idea_s, ratio, low, high;  // ratio: plain over idea, 95 % bootstrap interval of the median
  std::string plain, idea;
};

inline const Way& best(const std::vector<Way>& ways, bool idea) {
  const Way* found = nullptr;
  double least = 1e9;
  for (const Way& way : ways) {
    std::vector<double> even;
    for (std::size_t i = 0; i < way.seconds.size(); i += 2) even.push_back(way.seconds[i]);
    if (way.idea == idea && median(even) < least) least = median(even), found = &way;
  }
  return *found;
}

inline Compared compare(const std::vector<Way>& ways) {
  const Way &plain = best(ways, false), &idea = best(ways, true);
  std::vector<double> p, q, ratios, medians;
  for (std::size_t i = 1; i < plain.seconds.size(); i += 2) {
    p.push_back(plain.seconds[i]), q.push_back(idea.seconds[i]);
    ratios.push_back(plain.seconds[i] / idea.seconds[i]);
  }
  Random random(5);
  for (int i = 0; i < 2000; ++i) {
    std::vector<double> drawn;
    for (std::size_t k = 0; k < ratios.size(); ++k) drawn.push_back(ratios[random.next() % ratios.size()]);
    medians.push_back(median(drawn));
  }
  std::sort(medians.begin(), medians.end());
  return {median(p), median(q), median(ratios), medians[50], medians[1950], plain.name, idea.name};
}

// Times all ways: the order turns by one each round; a turn takes at least a millisecond, after four calls that are
// not timed. A wrong output ends the program.
inline Compared measure(const Shape& shape, const std::vector<Rows>& tables, std::vector<Way>& ways, int cores,
                        int rounds) {
  Crew crew(cores);
  std::int64_t samples = 0;
  for (const Batch& part : (*ways[0].batches)[0]) samples += part.samples;
  const std::int64_t columns = width(shape);
  engine::Arena room(static_cast<std::size_t>(samples * columns * 4), engine::Pages::huge);
  float* out = reinterpret_cast<float*>(room.data());
  std::vector<std::int64_t> calls;
  for (const Way& way : ways) {
    const auto& parts = way.batches->front();
    std::memset(room.data(), 0xff, room.bytes());
    crew.run(way, parts, out, columns);
    double worst = 0;
    float* at = out;
    for (const Batch& part : parts) {
      worst = std::max(worst, error(shape, tables, part, at));
      at += part.samples * columns;
    }
    if (!(worst < 1e-5)) {
      std::fprintf(stderr, "beyond: %s is wrong by %g\n", way.name.c_str(), worst);
      std::exit(1);
    }
    const double start = now();
    for (std::size_t b = 0; b < 3; ++b) crew.run(way, (*way.batches)[(b + 1) % way.batches->size()], out, columns);
    calls.push_back(std::max<std::int64_t>(1, static_cast<std::int64_t>(1e-3 / ((now() - start) / 3))));
  }
  std::size_t next = 0;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const std::size_t w = (i + static_cast<std::size_t>(round)) % ways.size();
      Way& way = ways[w];
      // Whatever ran before has left its own output in the caches, or nobody's.
      for (int c = 0; c < 4; ++c) crew.run(way, (*way.batches)[next++ % way.batches->size()], out, columns);
      const double start = now();
      for (std::int64_t c = 0; c < calls[w]; ++c) {
        crew.run(way, (*way.batches)[next++ % way.batches->size()], out, columns);
      }
      way.seconds.push_back((now() - start) / static_cast<double>(calls[w]));
    }
  }
  return compare(ways);
}

}  // namespace recsmith::beyond
