#include "engine/engine.hpp"

#include <algorithm>
#include <mutex>
#include <new>

#include "engine/fused.hpp"
#include "engine/lane.hpp"
#include "engine/reduce.hpp"
#include "engine/scratch.hpp"
#include "engine/tiny.hpp"

namespace recsmith::engine {

namespace {

template <class Index>
const IndexFunctions<Index>& functions(const Target& target) {
  if constexpr (sizeof(Index) == 4) {
    return target.int32;
  } else {
    return target.int64;
  }
}

// Lengths and both ends of the offsets; what lies between is checked where it is used.
template <class Index>
Fault check_ends(const Input<Index>& input, std::int64_t features) {
  using Kind = Fault::Kind;
  const std::int64_t bags = features * input.batch;
  if (input.offsets == nullptr) {
    return input.length == bags ? Fault{} : Fault{Kind::offsets_end, 0, 0, bags, input.length};
  }
  if (input.offsets[0] != 0) return {Kind::offsets_start, 0, 0, input.offsets[0], 0};
  const std::int64_t end = input.offsets[bags];
  return end == input.length ? Fault{} : Fault{Kind::offsets_end, 0, bags, end, input.length};
}

// One run of a bucket, shared by all lanes.
template <class Index>
class Run {
 public:
  Run(const Bucket& bucket, const std::vector<Feature>& features, const Target& target, const Input<Index>& input)
      : bucket_(bucket), features_(features), target_(target), input_(input) {}

  // Room for partial sums, and for vectors that the interaction reads later, in the caller's scratch.
  void make_room(Scratch& scratch) {
    if (meets() && stages_before() > 0) {
      input_.out_stride = width_of(features_);
      input_.out = scratch.vectors.at_least(std::max<std::int64_t>(1, input_.batch * input_.out_stride));
    }
    if (bucket_.sums.empty()) return;
    const auto count = static_cast<std::int64_t>(bucket_.tasks.size());
    std::int64_t floats = 0;
    for (const Task& task : bucket_.tasks) floats += partial_floats(task);
    float* at = scratch.partial.at_least(std::max<std::int64_t>(floats, 1));
    partials_ = reinterpret_cast<float**>(scratch.ranges.at_least(count));
    for (const Task& task : bucket_.tasks) {
      partials_[task.number] = at;
      at += partial_floats(task);
    }
  }

  // Stages of the plan, one more when there are sums, and one when the interaction is a stage of its own.
  int stages() const {
    return bucket_.stages + (bucket_.sums.empty() ? 0 : 1) + (meets() && bucket_.block == 0 ? 1 : 0);
  }

  void serial() {
    for (int stage = 0; stage < stages(); ++stage) {
      for (int lane = 0; lane < bucket_.lanes; ++lane) unit(stage, lane);
    }
  }

  static void unit(void* context, int stage, int lane) noexcept { static_cast<Run*>(context)->unit(stage, lane); }

  Outcome outcome() const { return {fault_, replaced_.load(std::memory_order_relaxed)}; }

 private:
  std::int64_t partial_floats(const Task& task) const {
    if (task.direct) return 0;
    const std::int64_t samples = task.share.last(input_.batch) - task.share.first(input_.batch);
    return (samples * task.rows.dim + 15) / 16 * 16;
  }

  // Whether vectors meet, and are not just laid side by side.
  bool meets() const { return input_.joint != nullptr && input_.joint->kind != Join::cat; }

  // Stages whose vectors are written out, whatever follows.
  int stages_before() const { return bucket_.stages - (bucket_.block > 0 ? 1 : 0); }

  void unit(int stage, int lane) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      if (stage == 0 && input_.joint != nullptr && !meets()) copy_first(input_, lane, bucket_.lanes);
      if (stage < stages_before()) return look_up(stage, lane);
      if (!bucket_.sums.empty() && stage == stages_before()) {
        return reduce(bucket_, features_, input_, partials_, lane, bucket_.lanes);
      }
      if (bucket_.block == 0) return interact(features_, input_, functions<Index>(target_), lane, bucket_.lanes);
      if (!meets()) return look_up(bucket_.stages - 1, lane);
      Fused<Index> work(input_, functions<Index>(target_), features_, bucket_.block, Scratch::mine());
      serve(work, bucket_.stages - 1, lane);
    } catch (const std::bad_alloc&) {
      report({Fault::Kind::memory, 0, 0, 0, 0});
    }
  }

  void look_up(int stage, int lane) {
    Lane<Index> work(input_, functions<Index>(target_), features_.data(), partials_, Scratch::mine());
    serve(work, stage, lane);
  }

  template <class Work>
  void serve(Work& work, int stage, int lane) {
    const int at = stage * bucket_.lanes + lane;
    const Task* tasks = bucket_.tasks.data();
    const bool done = work.run(tasks + (at == 0 ? 0 : bucket_.unit_ends[at - 1]), tasks + bucket_.unit_ends[at]);
    if (!done) report(work.fault());
    if (work.replaced() > 0) replaced_.fetch_add(work.replaced(), std::memory_order_relaxed);
  }

  // The first in the order of the input, when several lanes find one.
  void report(const Fault& fault) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (fault_.kind == Fault::Kind::none || fault < fault_) fault_ = fault;
    failed_.store(true, std::memory_order_relaxed);
  }

  const Bucket& bucket_;
  const std::vector<Feature>& features_;
  const Target& target_;
  Input<Index> input_;
  float** partials_ = nullptr;
  std::atomic<std::int64_t> replaced_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  Fault fault_;
};

// The job's counters, zeroed, in the caller's scratch.
void make_counters(Job& job, Scratch& scratch) {
  const std::int64_t units = std::int64_t{job.stages} * job.lanes;
  auto* room = scratch.claims.at_least((units + 7) / 8 + (job.stages + 1) / 2);
  job.finished = reinterpret_cast<std::atomic<std::int32_t>*>(room);
  job.taken = reinterpret_cast<std::atomic<std::uint8_t>*>(job.finished + job.stages + job.stages % 2);
  for (int stage = 0; stage < job.stages; ++stage) new (job.finished + stage) std::atomic<std::int32_t>(0);
  for (std::int64_t unit = 0; unit < units; ++unit) new (job.taken + unit) std::atomic<std::uint8_t>(0);
}

// Keeps a thread's memory from staying as large as the largest batch ever seen.
constexpr std::size_t kept_bytes = std::size_t{64} << 20;

}  // namespace

Engine::Engine(const Target& target, std::vector<Feature> features, const std::vector<BucketSpec>& buckets,
               std::vector<int> processors)
    : target_(target), features_(std::move(features)) {
  int lanes = 1;
  for (const BucketSpec& spec : buckets) {
    buckets_.push_back(bind(spec, features_, target_));
    lanes = std::max(lanes, buckets_.back().lanes);
  }
  processors.resize(static_cast<std::size_t>(lanes));
  if (lanes > 1) pool_ = std::make_unique<Pool>(std::move(processors));
}

const Bucket& Engine::bucket(std::int64_t batch) const {
  for (const Bucket& bucket : buckets_) {
    if (batch <= bucket.batch_up_to) return bucket;
  }
  return buckets_.back();
}

template <class Index>
Outcome Engine::run(const Input<Index>& input, After after) {
  const Fault fault = check_ends(input, static_cast<std::int64_t>(features_.size()));
  if (fault.kind != Fault::Kind::none || input.batch == 0) return {fault, 0};
  const Bucket& chosen = bucket(input.batch);
  const bool alone = input.batch < chosen.parallel_from;
  const bool meets = input.joint != nullptr && input.joint->kind != Join::cat;
  if (alone && !meets && Tiny<Index>::suits(chosen, input) && Tiny<Index>(chosen, features_.data(), input).run()) {
    if (input.joint != nullptr) copy_first(input, 0, 1);
    return {};
  }
  try {
    Scratch& scratch = Scratch::mine();
    Run<Index> run(chosen, features_, target_, input);
    run.make_room(scratch);
    bool done = false;
    if (!alone) {
      Job job{Run<Index>::unit, &run, run.stages(), chosen.lanes, nullptr, nullptr};
      make_counters(job, scratch);
      done = pool_->try_run(job, after);
    }
    if (!done) run.serial();
    scratch.partial.trim(kept_bytes);
    scratch.vectors.trim(kept_bytes);
    return run.outcome();
  } catch (const std::bad_alloc&) {
    return {{Fault::Kind::memory, 0, 0, 0, 0}, 0};
  }
}

template Outcome Engine::run<std::int32_t>(const Input<std::int32_t>&, After);
template Outcome Engine::run<std::int64_t>(const Input<std::int64_t>&, After);

}  // namespace recsmith::engine
