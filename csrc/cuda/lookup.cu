// All features of a batch in one launch. A block serves a run of samples of one feature.
#include "serve.cuh"

struct Lookup {
  Ids ids;
  Feature feature[FEATURES];
  i32 first_block[FEATURES + 1 + (FEATURES + 1) % 2];
};

KERNEL(lookup, Lookup, THREADS, MIN_BLOCKS) {
  const i32 block = (i32)block_index();
  const int at = INTERLEAVED ? block % FEATURES : feature_of(call.first_block, block);
  const Feature& feature = call.feature[at];
  const i64 first = (i64)(INTERLEAVED ? block / FEATURES : block - call.first_block[at]) * feature.bags;
  switch (feature.recipe) {
#define RECIPE(number, ...)                                                                           \
  case number:                                                                                        \
    serve<Recipe<__VA_ARGS__>>(call.ids, feature, FromMemory(), first, first + feature.bags, (float*)shared_memory()); \
    break;
    RECIPES
#undef RECIPE
  }
}
