#include "engine/program.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "lookup/row.hpp"

namespace recsmith::engine {

namespace {

struct Fraction {
  std::int64_t n, parts;
  bool operator<(const Fraction& other) const {
    return static_cast<__int128>(n) * other.parts < static_cast<__int128>(other.n) * parts;
  }
  bool operator==(const Fraction& other) const {
    return static_cast<__int128>(n) * other.parts == static_cast<__int128>(other.n) * parts;
  }
};

Fraction start(const Share& share) { return {share.start, share.start_parts}; }
Fraction stop(const Share& share) { return {share.stop, share.stop_parts}; }

template <class Index>
Kernels<Index> kernels(const IndexFunctions<Index>& functions, Flow flow, const Rows& rows) {
  return {functions.kernel(flow, rows.type, rows.dim), functions.kernel(Flow::l1, rows.type, rows.dim),
          functions.tiles(rows.type, rows.dim)};
}

Task bind_task(const TaskSpec& spec, std::int32_t number, const Feature& feature, const Target& target) {
  Task task{};
  task.feature = spec.feature;
  task.number = number;
  task.rows = feature.rows;
  task.rows.base += spec.first_row * feature.rows.stride;
  task.rows.count = spec.last_row - spec.first_row;
  task.first_row = spec.first_row;
  task.share = spec.share;
  // Without prefetches of its own gm does what l1 does, with fewer questions a row.
  const bool near = spec.flow == Flow::gm && spec.tuning.level == Prefetch::none;
  task.int32 = kernels(target.int32, near ? Flow::l1 : spec.flow, feature.rows);
  task.int64 = kernels(target.int64, near ? Flow::l1 : spec.flow, feature.rows);
  task.row_bytes = row_bytes(feature.rows.type, feature.rows.dim);
  task.tuning = spec.tuning;
  task.sharded = task.rows.count != feature.rows.count;
  task.direct = true;
  task.neighbours = 1;
  task.whole = spec.flow == Flow::gm_ub || spec.flow == Flow::l1_ub;
  return task;
}

// The sums of one feature: between neighbouring ends of its tasks' shares the same tasks contribute.
void add_sums(std::int32_t feature, const std::vector<const TaskSpec*>& specs,
              const std::vector<std::int32_t>& numbers, std::vector<Sum>& sums) {
  std::vector<Fraction> ends;
  for (const TaskSpec* spec : specs) {
    ends.push_back(start(spec->share));
    ends.push_back(stop(spec->share));
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
    Sum sum{feature, {ends[i].n, ends[i].parts, ends[i + 1].n, ends[i + 1].parts}, {}};
    for (std::size_t t = 0; t < specs.size(); ++t) {
      const Share& share = specs[t]->share;
      if (!(ends[i] < start(share)) && !(stop(share) < ends[i + 1])) sum.tasks.push_back(numbers[t]);
    }
    if (!sum.tasks.empty()) sums.push_back(std::move(sum));
  }
}

// Sharded tasks of pooled features write partial sums, but the first of each sum may write to the output itself.
void plan_sums(const BucketSpec& spec, const std::vector<Feature>& features, Bucket& bucket) {
  for (std::size_t f = 0; f < features.size(); ++f) {
    if (features[f].pooling == Pooling::none) continue;
    std::vector<const TaskSpec*> specs;
    std::vector<std::int32_t> numbers;
    bool sharded = false;
    for (std::size_t t = 0; t < spec.tasks.size(); ++t) {
      if (spec.tasks[t].feature != static_cast<std::int32_t>(f)) continue;
      specs.push_back(&spec.tasks[t]);
      numbers.push_back(static_cast<std::int32_t>(t));
      sharded |= bucket.tasks[bucket.place[t]].sharded;
    }
    if (sharded) add_sums(static_cast<std::int32_t>(f), specs, numbers, bucket.sums);
  }
  for (const Sum& sum : bucket.sums) {
    for (std::size_t i = 1; i < sum.tasks.size(); ++i) bucket.tasks[bucket.place[sum.tasks[i]]].direct = false;
  }
  // Sums of one whole-table task are done already.
  std::erase_if(bucket.sums, [&](const Sum& sum) { return !bucket.tasks[bucket.place[sum.tasks[0]]].sharded; });
}

void check_fused(const Bucket& bucket, const std::vector<Feature>& features) {
  const auto unit_begin = [&](int unit) { return unit == 0 ? 0 : bucket.unit_ends[unit - 1]; };
  for (int unit = (bucket.stages - 1) * bucket.lanes; unit < bucket.stages * bucket.lanes; ++unit) {
    for (int t = unit_begin(unit); t < bucket.unit_ends[unit]; ++t) {
      const Task& task = bucket.tasks[t];
      const bool alike = task.share == bucket.tasks[unit_begin(unit)].share;
      if (!alike || task.sharded || features[task.feature].pooling == Pooling::none) {
        throw std::invalid_argument("a fused stage needs whole, pooled features that divide the samples alike");
      }
    }
  }
}

// Whether every id of the task's is a vector of the output, as long as each bag holds one.
bool copies(const Task& task, const Feature& feature) {
  return task.tuning.block > 0 && !task.whole && !task.sharded && feature.plain() && feature.policy != Policy::modulo;
}

// Whether `next` continues what `task` writes.
bool continues(const Task& task, const Task& next, const std::vector<Feature>& features) {
  return next.rows.dim == task.rows.dim && next.rows.type == task.rows.type && next.share == task.share &&
         next.tuning.block == task.tuning.block && next.tuning.stream == task.tuning.stream &&
         features[next.feature].column == features[task.feature].column + task.rows.dim;
}

void find_neighbours(std::vector<Task>& tasks, std::size_t begin, std::size_t end,
                     const std::vector<Feature>& features) {
  for (std::size_t t = end; t-- > begin;) {
    Task& task = tasks[t];
    if (t + 1 == end || !copies(task, features[task.feature])) continue;
    const Task& next = tasks[t + 1];
    if (!copies(next, features[next.feature]) || !continues(task, next, features)) continue;
    task.neighbours = next.neighbours + 1;
  }
}

std::int64_t parallel_from(const Bucket& bucket) {
  for (std::int64_t batch = 1; batch <= 64; ++batch) {
    int busy = 0;
    for (int lane = 0; lane < bucket.lanes; ++lane) {
      bool works = false;
      for (int stage = 0; stage < bucket.stages; ++stage) {
        const int unit = stage * bucket.lanes + lane;
        for (int t = unit == 0 ? 0 : bucket.unit_ends[unit - 1]; t < bucket.unit_ends[unit]; ++t) {
          works |= bucket.tasks[t].share.first(batch) < bucket.tasks[t].share.last(batch);
        }
      }
      busy += works ? 1 : 0;
    }
    if (busy > 1) return batch;
  }
  return 65;
}

}  // namespace

Bucket bind(const BucketSpec& spec, const std::vector<Feature>& features, const Target& target) {
  Bucket bucket;
  bucket.batch_up_to = spec.batch_up_to;
  bucket.stages = spec.stages;
  bucket.block = spec.block;
  for (const TaskSpec& task : spec.tasks) bucket.lanes = std::max(bucket.lanes, task.lane + 1);
  std::vector<std::int32_t> order(spec.tasks.size());
  std::iota(order.begin(), order.end(), 0);
  auto unit = [&](std::int32_t t) { return spec.tasks[t].stage * bucket.lanes + spec.tasks[t].lane; };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return unit(a) < unit(b); });
  bucket.place.resize(spec.tasks.size());
  bucket.unit_ends.assign(static_cast<std::size_t>(bucket.stages) * bucket.lanes, 0);
  for (const std::int32_t t : order) {
    bucket.place[t] = static_cast<std::int32_t>(bucket.tasks.size());
    bucket.tasks.push_back(bind_task(spec.tasks[t], t, features[spec.tasks[t].feature], target));
    bucket.unit_ends[unit(t)] = static_cast<std::int32_t>(bucket.tasks.size());
    bucket.plain &= !bucket.tasks.back().sharded && features[spec.tasks[t].feature].plain();
  }
  std::int32_t end = 0;
  for (std::int32_t& unit_end : bucket.unit_ends) {
    const std::int32_t begin = end;
    unit_end = end = std::max(end, unit_end);
    find_neighbours(bucket.tasks, begin, end, features);
  }
  plan_sums(spec, features, bucket);
  if (bucket.block > 0) check_fused(bucket, features);
  if (bucket.lanes > 1) bucket.parallel_from = parallel_from(bucket);
  return bucket;
}

}  // namespace recsmith::engine
