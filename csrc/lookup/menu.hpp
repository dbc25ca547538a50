// All functions of one target: which kernel serves a flow, row type and dim.
#pragma once

#include "dhe/encode.hpp"
#include "interaction/dot.hpp"
#include "interaction/sum.hpp"
#include "lookup/check.hpp"
#include "lookup/gm.hpp"
#include "lookup/gm_ub.hpp"
#include "lookup/l1.hpp"
#include "lookup/l1_ub.hpp"
#include "lookup/target.hpp"
#include "lookup/tiles.hpp"

namespace recsmith {

template <class V, RowType T, int N, class Index>
Kernel<Index> kernel_of_flow(Flow flow) {
  switch (flow) {
    case Flow::gm: return gm<V, T, N, Index>;
    case Flow::l1: return l1<V, T, N, Index>;
    case Flow::gm_ub: return gm_ub<V, T, N, Index>;
    case Flow::l1_ub: return l1_ub<V, T, N, Index>;
  }
  return nullptr;
}

// A kernel made for rows of `Dim` elements if their vectors fit in registers, else the one for any dim.
template <class V, RowType T, int Dim, class Index>
Kernel<Index> kernel_of_dim(Flow flow) {
  constexpr int vectors = Dim / V::width;
  return kernel_of_flow<V, T, Dim % V::width == 0 && vectors <= V::strip ? vectors : 0, Index>(flow);
}

template <class V, RowType T, class Index>
Kernel<Index> kernel_of_type(Flow flow, std::int32_t dim) {
  switch (dim) {
    case 8: return kernel_of_dim<V, T, 8, Index>(flow);
    case 16: return kernel_of_dim<V, T, 16, Index>(flow);
    case 32: return kernel_of_dim<V, T, 32, Index>(flow);
    case 64: return kernel_of_dim<V, T, 64, Index>(flow);
    case 128: return kernel_of_dim<V, T, 128, Index>(flow);
    default: return kernel_of_flow<V, T, 0, Index>(flow);
  }
}

template <class V, class Index>
Kernel<Index> kernel(Flow flow, RowType type, std::int32_t dim) {
  switch (type) {
    case RowType::fp32: return kernel_of_type<V, RowType::fp32, Index>(flow, dim);
    case RowType::fp16: return kernel_of_type<V, RowType::fp16, Index>(flow, dim);
    case RowType::bf16: return kernel_of_type<V, RowType::bf16, Index>(flow, dim);
    case RowType::int8: return kernel_of_type<V, RowType::int8, Index>(flow, dim);
    case RowType::int4: return kernel_of_type<V, RowType::int4, Index>(flow, dim);
  }
  return nullptr;
}

template <class V, class Index>
constexpr IndexFunctions<Index> functions() {
  return {kernel<V, Index>, prefetch_rows<V, Index>, first_outside<V, Index>, first_fall<V, Index>,
          one_each<V, Index>, tiles<V, Index>, dots<V, Index>, sums<V, Index>};
}

template <class V>
constexpr Target target(const char* name, bool (*supported)()) {
  return {name, supported, functions<V, std::int32_t>(), functions<V, std::int64_t>(), Encoding<V>::run};
}

}  // namespace recsmith
