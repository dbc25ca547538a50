// L1-UB: tiny tables of the core's private cache ([ASYM] section 3, inferred there). Long bags are counted and
// multiplied with the table; short ones are gathered, which no in-register variant was seen to beat.
#pragma once

#include "lookup/counted.hpp"
#include "lookup/l1.hpp"

namespace recsmith {

template <class V, RowType T, int N, class Index>
void l1_ub(const Call<Index>& call) {
  if (long_bags<V>(call)) return counted<V, T, Index, false>(call);
  l1<V, T, N>(call);
}

}  // namespace recsmith
