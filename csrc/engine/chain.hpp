// Kernel calls of one core, one after the other: each is held back until the one after it is known, so that it can
// prefetch that one's first rows while it serves its own last ids.
#pragma once

#include <algorithm>

#include "engine/prepare.hpp"

namespace recsmith::engine {

// Where vectors go.
struct Place {
  float* out;
  std::int64_t stride;
  bool stream;
};

template <class Index>
class Chain {
 public:
  Chain(const IndexFunctions<Index>& functions, Scratch& scratch)
      : functions_(functions), scratch_(scratch), room_(scratch.run<Index>().rewritten) {}

  // For the ids of the call to come: those of the call at hand stay as they are.
  Rewritten<Index>& room() { return room_[slot_]; }

  // Lets the call at hand know what follows, runs it, and keeps the new one at hand.
  void put(const Task& task, const Piece<Index>& piece, Place place, bool mean) {
    const std::int64_t ids = piece.end - piece.begin;
    if (pending_ != nullptr) {
      next_ = {task.rows, piece.ids + piece.begin, ids, task.tuning.level, task.tuning.distance};
      call_.next = ids > 0 && task.tuning.level != Prefetch::none ? &next_ : nullptr;
      pending_(call_);
    } else if (ids > 0 && task.tuning.level != Prefetch::none) {
      functions_.prefetch(task.rows, piece.ids + piece.begin, std::min<std::int64_t>(ids, task.tuning.distance),
                          task.tuning.level);
    }
    pending_ = task.kernels<Index>().flow;
    call_ = {.rows = task.rows,
             .ids = piece.ids,
             .ids_end = piece.ids + piece.end,
             .offsets = piece.offsets,
             .weights = piece.weights,
             .samples = piece.samples,
             .out = place.out,
             .out_stride = place.stride,
             .mean = mean,
             .stream = place.stream,
             .level = task.tuning.level,
             .distance = task.tuning.distance,
             .next = nullptr,
             .scratch = nullptr,
             .scratch_bytes = 0};
    if (task.whole) {
      call_.scratch_bytes = chunks_scratch_bytes(ids);
      call_.scratch = scratch_.kernel.at_least(call_.scratch_bytes);
    }
    streamed_ |= place.stream;
    slot_ ^= 1;
  }

  // Runs the call at hand.
  void flush() {
    if (pending_ == nullptr) return;
    pending_(call_);
    pending_ = nullptr;
  }

  // Somebody else stored past the caches on this core.
  void fence_if(bool streamed) { streamed_ |= streamed; }

  // Runs the call at hand, and lets others see what was stored past the caches.
  void finish() {
    flush();
#if defined(__x86_64__)
    if (streamed_) __builtin_ia32_sfence();
#endif
    streamed_ = false;
  }

 private:
  const IndexFunctions<Index>& functions_;
  Scratch& scratch_;
  Rewritten<Index>* room_;
  Kernel<Index> pending_ = nullptr;
  Call<Index> call_{};
  Next<Index> next_{};
  int slot_ = 0;
  bool streamed_ = false;
};

}  // namespace recsmith::engine
