// What a look-up is told. Python packs the same structs (kernels/cuda/packing.py): every field is 8 bytes but where two make 8.
#pragma once

#include "format.cuh"

enum Mode : int { sum = 0, mean = 1, each = 2, identity = 3 };
enum Policy : int { error = 0, clamp = 1, wrap = 2, substitute = 3, modulo = 4 };

#ifndef INDEX
#define INDEX i64
#endif
#ifndef OFFSET
#define OFFSET i64
#endif
using Index = INDEX;
using Offset = OFFSET;

// One feature's look-ups: bags number * batch .. number * batch + batch - 1 of the ids.
//   sum, mean: one vector a bag. each: one vector an id. identity: vector i is row i; there are no ids.
struct Feature {
  const u8* rows;      // row 0, its header included
  i64 stride;          // bytes between rows
  i64 count;           // rows
  i64 padding;         // id that adds nothing, or -1
  i64 substitute_row;  // for ids outside the table under that policy
  u8* out;             // first vector
  i64 out_stride;      // bytes between vectors
  i32 number;
  i32 recipe;          // which of the program's recipes its rows have
  i32 mode;
  i32 policy;
  i32 split;           // groups of threads that share a bag, a power of two
  i32 bags;            // bags a block serves
  i64 near;            // of a cut table: places [0, near) are at `rows`,
  const u8* beyond;    // and place p above them at beyond + p * stride
  const i32* order;    // place of each row, or null where they are in order
};

// Ids of all features, feature-major. Without offsets every bag holds one id.
struct Ids {
  const Index* values;
  const Offset* offsets;  // [features * batch + 1], or null
  const float* weights;   // parallel to values, or null
  i64 batch;
  u64* faults;            // [2]: least position of an id outside its table; ids that a policy replaced. Or null
};
