// Output arrays that are handed out again once nobody else holds them: a fresh array of megabytes would cost more in
// page faults than the look-up itself.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <vector>

namespace recsmith {

class Outputs {
 public:
  explicit Outputs(std::int64_t width) : width_(width) {}

  // A float32 array [rows, width] of unspecified content that the caller alone refers to.
  nanobind::object take(std::int64_t rows) {
#if !defined(Py_GIL_DISABLED)
    for (Entry& entry : entries_) {
      // Views and tensors made from an array refer to it, so one reference is ours and nobody can see the array.
      if (entry.rows == rows && Py_REFCNT(entry.array.ptr()) == 1) return entry.array;
    }
#endif
    nanobind::object array = make(rows);
    if (rows * width_ <= largest) keep(rows, array);
    return array;
  }

 private:
  static constexpr std::size_t most = 8;
  static constexpr std::size_t huge_page = std::size_t{2} << 20;
  static constexpr std::int64_t largest = std::int64_t{16} << 20;  // floats

  struct Entry {
    std::int64_t rows;
    nanobind::object array;
  };

  // Rows begin on cache lines where the width allows it, which spares every store a second line; large arrays lie on
  // huge pages. NumPy's own arrays promise 16 bytes.
  nanobind::object make(std::int64_t rows) const {
    const auto bytes = static_cast<std::size_t>(rows * width_) * sizeof(float);
    const std::size_t unit = bytes < huge_page ? 64 : huge_page;
    const std::size_t whole = (bytes + unit - 1) / unit * unit;
    void* data = std::aligned_alloc(unit, whole == 0 ? unit : whole);
    if (data == nullptr) throw std::bad_alloc();
    if (unit == huge_page) madvise(data, whole, MADV_HUGEPAGE);
    const nanobind::capsule owner(data, [](void* p) noexcept { std::free(p); });
    const std::size_t shape[2] = {static_cast<std::size_t>(rows), static_cast<std::size_t>(width_)};
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, float, nanobind::ndim<2>>(data, 2, shape, owner));
  }

  void keep(std::int64_t rows, const nanobind::object& array) {
    if (entries_.size() < most) {
      entries_.push_back({rows, array});
    } else {
      entries_[oldest_] = {rows, array};
      oldest_ = (oldest_ + 1) % most;
    }
  }

  std::int64_t width_;
  std::vector<Entry> entries_;
  std::size_t oldest_ = 0;
};

}  // namespace recsmith
