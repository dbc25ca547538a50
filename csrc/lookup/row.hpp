// Turns an id into an address, and a stored row into float vectors.
#pragma once

#include "lookup/call.hpp"

namespace recsmith {

// Bytes that a look-up of one row reads.
[[gnu::always_inline]] inline constexpr std::int64_t row_bytes(RowType type, std::int64_t dim) {
  switch (type) {
    case RowType::fp32: return dim * 4;
    case RowType::fp16:
    case RowType::bf16: return dim * 2;
    case RowType::int8: return dim + 4;
    case RowType::int4: return (dim + 1) / 2 + 4;
  }
  return 0;
}

template <class Index>
[[gnu::always_inline]] inline const std::byte* address(const Rows& rows, Index id) {
  return rows.base + static_cast<std::int64_t>(id) * rows.stride;
}

// One stored row in vectors of V. value = raw * scale + bias; other formats are their own value.
template <class V, RowType T>
class Row {
 public:
  using F = typename V::F;
  static constexpr bool quantised = T == RowType::int8 || T == RowType::int4;

  [[gnu::always_inline]] explicit Row(const std::byte* row) : at_(quantised ? row + 4 : row) {
    if constexpr (quantised) V::header(row, scale, bias);
  }

  // Elements or codes of columns [column, column + V::width).
  [[gnu::always_inline]] F raw(std::int64_t column) const {
    if constexpr (T == RowType::fp32) return V::fp32(at_ + column * 4);
    if constexpr (T == RowType::fp16) return V::fp16(at_ + column * 2);
    if constexpr (T == RowType::bf16) return V::bf16(at_ + column * 2);
    if constexpr (T == RowType::int8) return V::u8(at_ + column);
    if constexpr (T == RowType::int4) return V::u4(at_, column);
  }

  // Those of columns [column, column + n), n < V::width; the other lanes are of no use.
  [[gnu::always_inline]] F raw_part(std::int64_t column, int n) const {
    if constexpr (T == RowType::fp32) return V::fp32_part(at_ + column * 4, n);
    if constexpr (T == RowType::fp16) return V::fp16_part(at_ + column * 2, n);
    if constexpr (T == RowType::bf16) return V::bf16_part(at_ + column * 2, n);
    if constexpr (T == RowType::int8) return V::u8_part(at_ + column, n);
    if constexpr (T == RowType::int4) return V::u4_part(at_, column, n);
  }

  // Value of `raw`, times `weight` when Weighted.
  template <bool Weighted>
  [[gnu::always_inline]] F value(F raw, F weight) const {
    F x = raw;
    if constexpr (quantised) x = V::fma(raw, scale, bias);
    if constexpr (Weighted) x = V::mul(x, weight);
    return x;
  }

  F scale, bias;  // set for quantised rows only

 private:
  const std::byte* at_;
};

}  // namespace recsmith
