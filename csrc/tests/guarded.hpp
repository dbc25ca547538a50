// Memory that ends where a page without access begins: an access past the end faults even where no sanitizer looks,
// as in masked loads.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace recsmith::tests {

class Guarded {
 public:
  explicit Guarded(std::size_t bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t whole = (bytes + page - 1) / page * page;
    size_ = whole + page;
    start_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(static_cast<std::byte*>(start_) + whole, page, PROT_NONE);
    data_ = static_cast<std::byte*>(start_) + (whole - bytes);
  }
  ~Guarded() {
    if (start_ != nullptr) munmap(start_, size_);
  }
  Guarded(Guarded&& other) : start_(other.start_), size_(other.size_), data_(other.data_) { other.start_ = nullptr; }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  std::byte* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void* start_;
  std::size_t size_;
  std::byte* data_;
};

}  // namespace recsmith::tests
