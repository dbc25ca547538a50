// Memory of a known page size to measure on.
#pragma once

#include <cstddef>

namespace recsmith::calibration {

// `bytes` of 1.0f on 4 KiB or (as far as the system grants them) huge pages, written first by `core`, whose NUMA node
// they therefore lie on. Throws std::bad_alloc.
class Buffer {
 public:
  Buffer(std::size_t bytes, bool huge, int core);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* mapping_;
  std::size_t mapped_;
  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace recsmith::calibration
