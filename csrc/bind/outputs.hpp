// Output arrays that are handed out again once nobody else holds them: a fresh array of megabytes would cost more in
// page faults than the look-up itself.
#pragma once

#include <nanobind/nanobind.h>

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
  static constexpr std::int64_t largest = std::int64_t{16} << 20;  // floats

  struct Entry {
    std::int64_t rows;
    nanobind::object array;
  };

  nanobind::object make(std::int64_t rows) {
    if (!empty_.is_valid()) {
      const auto numpy = nanobind::module_::import_("numpy");
      empty_ = numpy.attr("empty");
      float32_ = numpy.attr("float32");
    }
    return empty_(nanobind::make_tuple(rows, width_), float32_);
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
  nanobind::object empty_, float32_;
};

}  // namespace recsmith
