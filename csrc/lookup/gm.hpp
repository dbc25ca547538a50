// GM: row by row from memory, with prefetches `distance` rows ahead so that many misses are in flight
// ([ASYM] section 3).
#pragma once

#include "lookup/gather.hpp"

namespace recsmith {

template <class V, RowType T, int N, class Index>
void gm(const Call<Index>& call) {
  gather<V, T, N, Index, true>(call);
}

}  // namespace recsmith
