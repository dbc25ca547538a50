#include "calibration/buffer.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>

#include "calibration/crew.hpp"

namespace recsmith::calibration {

namespace {
constexpr std::size_t huge_page = std::size_t{2} << 20;
}

Buffer::Buffer(std::size_t bytes, bool huge, int core) : mapped_(bytes + huge_page), bytes_(bytes) {
  void* mapping = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(mapping);
  const auto start = reinterpret_cast<std::uintptr_t>(mapping);
  data_ = mapping_ + ((start + huge_page - 1) / huge_page * huge_page - start);
#if defined(MADV_HUGEPAGE)
  ::madvise(mapping_, mapped_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
  (void)huge;
#endif
  run_together({core}, 1, [this](int) {
    auto* values = reinterpret_cast<float*>(data_);
    std::fill(values, values + bytes_ / sizeof(float), 1.0f);
  });
}

Buffer::~Buffer() { ::munmap(mapping_, mapped_); }

}  // namespace recsmith::calibration
