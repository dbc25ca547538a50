// Working memory of one thread: grows to what it needs and is kept, so that steady traffic allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "interaction/call.hpp"

namespace recsmith::engine {

// An aligned array that never shrinks. Growing loses the content.
template <class T>
class Buffer {
 public:
  // At least `count` elements; throws std::bad_alloc.
  T* at_least(std::int64_t count) {
    if (count > capacity_) {
      data_.reset();
      capacity_ = 0;
      const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) * 5 / 4 + 63) / 64 * 64;
      data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
      if (!data_) throw std::bad_alloc();
      capacity_ = static_cast<std::int64_t>(bytes / sizeof(T));
    }
    return data_.get();
  }

  // Gives the memory back when there is more of it than `bytes`.
  void trim(std::size_t bytes) {
    if (static_cast<std::size_t>(capacity_) * sizeof(T) <= bytes) return;
    data_.reset();
    capacity_ = 0;
  }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t capacity_ = 0;
};

// Ids of a run of samples after padding, other shards' rows and policies: what the kernel sees instead of the input.
template <class Index>
struct Rewritten {
  Buffer<Index> ids;
  Buffer<Index> offsets;
  Buffer<float> weights;
  Buffer<std::int64_t> positions;  // of each id among those of the run
};

// Two of each, because the next call is prepared before the one at hand is run.
template <class Index>
struct RunScratch {
  Rewritten<Index> rewritten[2];
  Buffer<Vectors<Index>> vectors;  // of two blocks of samples
  Buffer<Column<Index>> columns;   // of features served together
};

struct Scratch {
  Buffer<std::byte> kernel;
  Buffer<float> rows;      // vectors of an unpooled feature before they are put in place
  Buffer<float> partial;   // partial sums of row shards (the caller's serves all lanes)
  Buffer<float> vectors;   // all vectors of a batch, when the interaction is not fused with their look-up
  Buffer<float> block;     // those of two blocks of samples, when it is
  Buffer<float> dots;      // working memory of the interaction
  Buffer<std::int64_t> ranges;
  Buffer<std::int64_t> claims;
  RunScratch<std::int32_t> int32;
  RunScratch<std::int64_t> int64;

  template <class Index>
  RunScratch<Index>& run() {
    if constexpr (sizeof(Index) == 4) {
      return int32;
    } else {
      return int64;
    }
  }

  // This thread's.
  static Scratch& mine() {
    thread_local Scratch scratch;
    return scratch;
  }
};

}  // namespace recsmith::engine
