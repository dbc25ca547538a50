// L1: row by row from a table that lies in the core's private cache, where prefetches only cost
// ([ASYM] section 3).
#pragma once

#include "lookup/gather.hpp"

namespace recsmith {

template <class V, RowType T, int N, class Index>
void l1(const Call<Index>& call) {
  gather<V, T, N, Index, false>(call);
}

}  // namespace recsmith
