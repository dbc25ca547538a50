// The memory that tables live in: one mapping on huge pages, filled by several threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace recsmith::engine {

enum class Pages : std::uint8_t { small, huge };

class Arena {
 public:
  // Maps `bytes` of zeros; throws std::bad_alloc. Nothing is backed by memory before it is written.
  Arena(std::size_t bytes, Pages pages);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  // Asks for [offset, offset + bytes) to lie on a NUMA node, or spread over all of them when `node` is negative. Before
  // it is written to. False when the system refuses.
  bool place(std::size_t offset, std::size_t bytes, int node);

  // Copies `count` rows of `row_bytes` from `source` (rows `source_stride` apart) to rows `stride` apart.
  void copy(std::size_t offset, std::size_t stride, const std::byte* source, std::size_t source_stride,
            std::size_t row_bytes, std::size_t count, int threads);

  // Bytes that really are on huge pages now, as the system reports it.
  std::size_t huge_bytes() const;

 private:
  std::byte* mapping_;
  std::size_t mapped_;
  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace recsmith::engine
