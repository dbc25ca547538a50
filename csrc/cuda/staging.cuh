// From memory to shared memory, by all threads of a block.
#pragma once

#include "device.cuh"

// Begins to copy bytes to a place whose address has the same rest by 16, by `team` threads of which this is number `member`:
// whole pieces of 16 asynchronously, both ends byte by byte.
DEVICE void begin_copy(u8* to, const u8* from, i64 nbytes, i32 member, i32 team) {
  const u64 start = (u64)from, end = start + nbytes;
  const u64 whole = (start + 15) / 16 * 16, last = end / 16 * 16, rest = last > whole ? last : whole;
  for (u64 at = whole + member * 16; at < last; at += team * 16) copy_async(to + (at - start), (const u8*)at, true);
  for (u64 at = start + member; at < end && at < whole; at += team) {
    store_shared_raw(to + (at - start), load_near<1>((const u8*)at, true));
  }
  for (u64 at = rest + member; at < end; at += team) {
    store_shared_raw(to + (at - start), load_near<1>((const u8*)at, true));
  }
}

// The same by the whole block.
DEVICE void begin_copy(u8* to, const u8* from, i64 nbytes) { begin_copy(to, from, nbytes, (i32)thread_index(), THREADS); }
