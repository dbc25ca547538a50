// From memory to shared memory, by all threads of a block.
#pragma once

#include "device.cuh"

// Begins to copy bytes to a place whose address has the same rest by 16: whole pieces of 16 asynchronously, both ends byte by byte.
DEVICE void begin_copy(u8* to, const u8* from, i64 nbytes) {
  const u64 start = (u64)from, end = start + nbytes;
  const u64 whole = (start + 15) / 16 * 16, last = end / 16 * 16, rest = last > whole ? last : whole;
  for (u64 at = whole + thread_index() * 16; at < last; at += THREADS * 16) copy_async(to + (at - start), (const u8*)at, true);
  for (u64 at = start + thread_index(); at < end && at < whole; at += THREADS) {
    store_shared_raw(to + (at - start), load_near<1>((const u8*)at, true));
  }
  for (u64 at = rest + thread_index(); at < end; at += THREADS) {
    store_shared_raw(to + (at - start), load_near<1>((const u8*)at, true));
  }
}
