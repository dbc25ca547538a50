// Page-sorted gathers: ids of a batch are bucketed by the range of addresses that their rows lie in. Rows are then
// served in that order, vectors going where they belong, or only asked for in that order and served as ever.
#pragma once

#include "tests/beyond/plain.hpp"

namespace recsmith::beyond {

struct Filed {
  std::int64_t id;
  std::int64_t sample;
};

// Files ids in up to `most` ranges of a table.
class Filing {
 public:
  const Filed* run(const std::int64_t* ids, std::int64_t samples, std::int64_t pooling, std::int64_t rows,
                   std::int64_t most) {
    const std::int64_t n = samples * pooling;
    int shift = 0;
    while (rows >> shift >= most) ++shift;
    if (static_cast<std::int64_t>(filed_.size()) < n) filed_.resize(static_cast<std::size_t>(n));
    ends_.assign(static_cast<std::size_t>(most + 1), 0);
    for (std::int64_t k = 0; k < n; ++k) ++ends_[(ids[k] >> shift) + 1];
    for (std::int64_t b = 0; b < most; ++b) ends_[b + 1] += ends_[b];
    for (std::int64_t s = 0, k = 0; s < samples; ++s) {
      for (std::int64_t i = 0; i < pooling; ++i, ++k) filed_[ends_[ids[k] >> shift]++] = {ids[k], s};
    }
    return filed_.data();
  }

 private:
  std::vector<Filed> filed_;
  std::vector<std::int32_t> ends_;
};

template <int Dim, bool Add>
void serve_filed(const Filed* filed, std::int64_t n, const Rows& rows, float* out, std::int64_t columns) {
  constexpr std::int64_t distance = 24;
  for (std::int64_t k = 0; k < n; ++k) {
    const std::byte* ahead = address(rows, filed[k + distance < n ? k + distance : n - 1].id);
    for (int at = 0; at < Dim * 4; at += 64) __builtin_prefetch(ahead + at, 0, 2);
    const float* __restrict row = reinterpret_cast<const float*>(address(rows, filed[k].id));
    float* __restrict to = out + filed[k].sample * columns;
    for (int e = 0; e < Dim; ++e) to[e] = Add ? to[e] + row[e] : row[e];
  }
}

template <bool Add>
auto filed_server(std::int32_t dim) {
  return dim == 16 ? serve_filed<16, Add> : dim == 64 ? serve_filed<64, Add> : serve_filed<128, Add>;
}

// For fp32 rows of 16, 64 or 128.
inline Serve sorted(const Shape& shape, const std::vector<Rows>& tables, std::int64_t most) {
  const std::int64_t columns = width(shape);
  return [=](const Batch& batch, float* out) {
    thread_local Filing filing;
    std::int64_t at = 0;
    for (std::size_t t = 0; t < tables.size(); ++t) {
      const Rows& rows = tables[t];
      const std::int64_t pooling = shape.tables[t].pooling, n = batch.samples * pooling;
      const std::int64_t* ids = batch.values.data() + at;
      if (best_target().int64.first_outside(ids, n, rows.count) != n) std::abort();
      const Filed* filed = filing.run(ids, batch.samples, pooling, rows.count, most);
      if (pooling > 1) {
        for (std::int64_t s = 0; s < batch.samples; ++s) std::memset(out + s * columns, 0, rows.dim * 4);
        filed_server<true>(rows.dim)(filed, n, rows, out, columns);
      } else {
        filed_server<false>(rows.dim)(filed, n, rows, out, columns);
      }
      at += n, out += rows.dim;
    }
  };
}

// Blocks of rows of half a mebibyte are asked for in the order of their addresses, then gathered as ever.
inline Serve asked_sorted(const Shape& shape, const std::vector<Rows>& tables, std::int64_t most) {
  const std::int64_t columns = width(shape);
  return [=](const Batch& batch, float* out) {
    thread_local Filing filing;
    const IndexFunctions<std::int64_t>& functions = best_target().int64;
    std::int64_t at = 0;
    for (std::size_t t = 0; t < tables.size(); ++t, out += tables[t - 1].dim) {
      const Rows& rows = tables[t];
      const std::int64_t pooling = shape.tables[t].pooling;
      const std::int64_t block = std::max<std::int64_t>(8, (1 << 19) / (rows.stride * pooling));
      for (std::int64_t s0 = 0; s0 < batch.samples; s0 += block) {
        const std::int64_t samples = std::min(block, batch.samples - s0), n = samples * pooling;
        const std::int64_t* ids = batch.values.data() + at + s0 * pooling;
        if (functions.first_outside(ids, n, rows.count) != n) std::abort();
        const Filed* filed = filing.run(ids, samples, pooling, rows.count, most);
        for (std::int64_t k = 0; k < n; ++k) {
          for (std::int64_t b = 0; b < rows.stride; b += 64) __builtin_prefetch(address(rows, filed[k].id) + b, 0, 2);
        }
        Call<std::int64_t> call{};
        call.rows = rows, call.samples = samples, call.out = out + s0 * columns, call.out_stride = columns;
        call.ids = pooling > 1 ? batch.values.data() : ids, call.ids_end = ids + n;
        call.offsets = pooling > 1 ? batch.offsets.data() + static_cast<std::int64_t>(t) * batch.samples + s0 : nullptr;
        functions.kernel(Flow::l1, rows.type, rows.dim)(call);
      }
      at += batch.samples * pooling;
    }
  };
}

}  // namespace recsmith::beyond
