// cuEmbed's forward look-up behind a C function, for bench/gpu/rivals/cuembed.py. Bags of one id when there are no offsets.
#include <cuda_fp16.h>

#include "cuembed/include/embedding_lookup.cuh"

namespace {

template <class Element>
void forward(const void* rows, int dim, const int* ids, const int* offsets, int bags, void* out, cudaStream_t stream) {
  cuembed::EmbeddingForward<Element, Element, int, int>(
      static_cast<const Element*>(rows), dim, ids, offsets, nullptr, bags, offsets == nullptr ? 1 : 0,
      cuembed::CombineMode::kSum, static_cast<Element*>(out), stream);
}

}  // namespace

extern "C" int recsmith_cuembed_forward(int half, const void* rows, int dim, const int* ids, const int* offsets, int bags,
                                        void* out, cudaStream_t stream) {
  if (half) forward<__half>(rows, dim, ids, offsets, bags, out, stream);
  else forward<float>(rows, dim, ids, offsets, bags, out, stream);
  return static_cast<int>(cudaGetLastError());
}
