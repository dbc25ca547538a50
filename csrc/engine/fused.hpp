// The interaction: fused with the look-up in blocks of samples that stay in the private cache, or after it.
#pragma once

#include <algorithm>
#include <cstring>

#include "engine/chain.hpp"
#include "engine/expect.hpp"

namespace recsmith::engine {

// Columns of all pooled vectors together.
inline std::int64_t width_of(const std::vector<Feature>& features) {
  std::int64_t width = 0;
  for (const Feature& feature : features) width += feature.pooling == Pooling::none ? 0 : feature.rows.dim;
  return width;
}

// Copies part `lane` of `lanes` of the caller's vectors to the heads of the output rows.
template <class Index>
void copy_first(const Input<Index>& input, int lane, int lanes) {
  const Joint& joint = *input.joint;
  const auto bytes = static_cast<std::size_t>(joint.first_dim) * sizeof(float);
  if (bytes == 0) return;
  for (std::int64_t s = input.batch * lane / lanes; s < input.batch * (lane + 1) / lanes; ++s) {
    std::memcpy(joint.out + s * joint.out_stride, joint.first + s * joint.first_stride, bytes);
  }
}

// Vectors that meet: `count` of each of `samples` samples.
template <class Index>
struct Group {
  const Vectors<Index>* vectors;
  std::int64_t samples;
};

// Runs the interaction for the samples from s0 on. Vectors are of one dim, so columns say where a feature's stand:
// vectors[1 + column / dim]; the caller's are the first. `next` is the group that comes after, or empty.
template <class Index>
void meet(const Input<Index>& input, const IndexFunctions<Index>& functions, std::int32_t count, std::int64_t s0,
          const Group<Index>& now, const Group<Index>& next, Scratch& scratch) {
  const Joint& joint = *input.joint;
  const auto dim = static_cast<std::int32_t>(joint.first_dim);
  float* const out = joint.out + s0 * joint.out_stride;
  if (joint.kind == Join::sum) {
    return functions.sums({.vectors = now.vectors,
                           .count = count,
                           .dim = dim,
                           .samples = now.samples,
                           .out = out,
                           .out_stride = joint.out_stride,
                           .rectified = joint.rectified,
                           .next = next.vectors,
                           .next_samples = next.samples,
                           .scratch = scratch.dots.at_least(sums_floats(count))});
  }
  functions.dots({.vectors = now.vectors,
                  .count = count,
                  .dim = dim,
                  .samples = now.samples,
                  .out = out,
                  .out_stride = joint.out_stride,
                  .self_terms = joint.self_terms,
                  .next = next.vectors,
                  .next_samples = next.samples,
                  .scratch = scratch.dots.at_least(dots_floats(count))});
}

// The caller's vectors, from sample s0 on.
template <class Index>
Vectors<Index> given(const Joint& joint, std::int64_t s0) {
  constexpr std::int64_t element = sizeof(float);
  return {reinterpret_cast<const std::byte*>(joint.first + s0 * joint.first_stride), joint.first_stride * element,
          nullptr, Prefetch::t0, false};
}

// Vectors of a feature that lie in the engine's buffer of all vectors, from sample s0 on.
template <class Index>
Vectors<Index> written(const Input<Index>& input, std::int64_t column, std::int64_t s0) {
  constexpr std::int64_t element = sizeof(float);
  return {reinterpret_cast<const std::byte*>(input.out + s0 * input.out_stride + column), input.out_stride * element,
          nullptr, Prefetch::t0, false};
}

// Part `lane` of `lanes` of the samples, whose vectors have all been written out.
template <class Index>
void interact(const std::vector<Feature>& features, const Input<Index>& input, const IndexFunctions<Index>& functions,
              int lane, int lanes) {
  const std::int64_t s0 = input.batch * lane / lanes, s1 = input.batch * (lane + 1) / lanes;
  const std::int64_t dim = input.joint->first_dim;
  const auto count = static_cast<std::int32_t>(1 + input.out_stride / dim);
  Scratch& scratch = Scratch::mine();
  Vectors<Index>* vectors = scratch.run<Index>().vectors.at_least(2 * count);
  vectors[0] = given<Index>(*input.joint, s0);
  for (const Feature& feature : features) {
    if (feature.pooling != Pooling::none) vectors[1 + feature.column / dim] = written(input, feature.column, s0);
  }
  meet(input, functions, count, s0, {vectors, s1 - s0}, {nullptr, 0}, scratch);
}

// The tasks of one core, all of the same samples, block by block: ids are checked and vectors found or made one block
// ahead of their interaction, which brings their rows near meanwhile.
template <class Index>
class Fused {
 public:
  Fused(const Input<Index>& input, const IndexFunctions<Index>& functions, const std::vector<Feature>& features,
        std::int64_t block, Scratch& scratch)
      : input_(input),
        functions_(functions),
        features_(features),
        block_(block),
        dim_(input.joint->first_dim),
        count_(static_cast<std::int32_t>(1 + width_of(features) / dim_)),
        scratch_(scratch),
        vectors_(scratch.run<Index>().vectors.at_least(2 * count_)),
        chain_(functions, scratch),
        preparer_(input, functions, features.data()) {}

  // Serves tasks [begin, end); false when the input is at fault.
  bool run(const Task* begin, const Task* end) {
    if (begin == end) return true;
    const std::int64_t first = begin->share.first(input_.batch), last = begin->share.last(input_.batch);
    if (first == last) return true;
    length_ = mean_length(input_, begin->feature, first, last);
    begin_ = begin, end_ = end, last_ = last;
    if (!prepare(first, 0)) return false;
    bring_near();
    int slot = 0;
    for (std::int64_t s0 = first; s0 < last; s0 += block_, slot ^= 1) {
      const bool more = s0 + block_ < last;
      if (more && !prepare(s0 + block_, slot ^ 1)) return false;
      const Group<Index> next = more ? Group<Index>{vectors(slot ^ 1), samples(s0 + block_)} : Group<Index>{nullptr, 0};
      meet(input_, functions_, count_, s0, {vectors(slot), samples(s0)}, next, scratch_);
    }
    return true;
  }

  const Fault& fault() const { return preparer_.fault; }
  std::int64_t replaced() const { return preparer_.replaced; }

 private:
  static constexpr std::int64_t group = 16;  // samples that the interaction works on at once, at most

  Vectors<Index>* vectors(int slot) const { return vectors_ + slot * count_; }
  std::int64_t samples(std::int64_t s0) const { return std::min(last_, s0 + block_) - s0; }

  // Finds or makes all vectors of the block that begins with sample s0.
  bool prepare(std::int64_t s0, int slot) {
    const std::int64_t s1 = s0 + samples(s0), next = std::min(last_, s1 + block_);
    Vectors<Index>* found = vectors(slot);
    found[0] = given<Index>(*input_.joint, s0);
    if (end_ - begin_ + 1 < count_) add_written(found, s0);
    // Where vectors of earlier blocks go, those of this one do not.
    float* room = nullptr;
    for (const Task* task = begin_; task < end_; ++task) {
      expect(input_, task->feature, s1, next, length_);
      Piece<Index> piece;
      if (!preparer_.pooled(*task, s0, s1, chain_.room(), piece)) return false;
      Vectors<Index>& one = found[1 + features_[task->feature].column / dim_];
      if (in_place(*task, piece)) {
        one = {task->rows.base, task->rows.stride, piece.ids, task->tuning.level, far(*task)};
        continue;
      }
      if (room == nullptr) room = scratch_.block.at_least(2 * (end_ - begin_) * block_ * dim_);
      float* out = room + (slot * (end_ - begin_) + (task - begin_)) * block_ * dim_;
      chain_.put(*task, piece, {out, dim_, false}, features_[task->feature].pooling == Pooling::mean);
      one = {reinterpret_cast<const std::byte*>(out), dim_ * std::int64_t{sizeof(float)}, nullptr, Prefetch::none,
             false};
    }
    chain_.flush();
    return true;
  }

  // Whether the plan has rows prefetched many samples ahead.
  static bool far(const Task& task) { return task.tuning.level != Prefetch::none && task.tuning.distance >= 8; }

  // Whether the interaction can read the rows where they are: one a bag, as floats, by ids that stay what they are.
  bool in_place(const Task& task, const Piece<Index>& piece) const {
    const bool own_ids = piece.ids >= input_.values && piece.ids < input_.values + input_.length;
    return task.rows.type == RowType::fp32 && piece.offsets == nullptr && piece.weights == nullptr && own_ids;
  }

  void add_written(Vectors<Index>* found, std::int64_t s0) const {
    for (const Feature& feature : features_) {
      if (feature.pooling != Pooling::none) found[1 + feature.column / dim_] = written(input_, feature.column, s0);
    }
  }

  // Asks for the rows of the first group of samples, which no interaction goes before.
  void bring_near() const {
    const std::int64_t n = std::min(group, samples(begin_->share.first(input_.batch)));
    for (const Task* task = begin_; task < end_; ++task) {
      const Vectors<Index>& one = vectors(0)[1 + features_[task->feature].column / dim_];
      if (one.ids != nullptr && one.level != Prefetch::none) functions_.prefetch(task->rows, one.ids, n, one.level);
    }
  }

  const Input<Index>& input_;
  const IndexFunctions<Index>& functions_;
  const std::vector<Feature>& features_;
  const std::int64_t block_, dim_;
  const std::int32_t count_;
  Scratch& scratch_;
  Vectors<Index>* vectors_;
  Chain<Index> chain_;
  Preparer<Index> preparer_;
  const Task* begin_ = nullptr;
  const Task* end_ = nullptr;
  std::int64_t last_ = 0, length_ = 1;
};

}  // namespace recsmith::engine
