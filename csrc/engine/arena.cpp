#include "engine/arena.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace recsmith::engine {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

void copy_rows(std::byte* to, std::size_t stride, const std::byte* from, std::size_t from_stride,
               std::size_t row_bytes, std::size_t count) {
  if (stride == row_bytes && from_stride == row_bytes) {
    std::memcpy(to, from, row_bytes * count);
    return;
  }
  for (std::size_t row = 0; row < count; ++row) std::memcpy(to + row * stride, from + row * from_stride, row_bytes);
}

}  // namespace

Arena::Arena(std::size_t bytes, Pages pages)
    : mapped_(round_up(std::max<std::size_t>(bytes, 1), huge_page) + huge_page), bytes_(bytes) {
  void* mapping = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(mapping);
  data_ = mapping_ + (huge_page - reinterpret_cast<std::uintptr_t>(mapping_) % huge_page) % huge_page;
  madvise(data_, mapped_ - huge_page, pages == Pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

Arena::~Arena() { munmap(mapping_, mapped_); }

bool Arena::place(std::size_t offset, std::size_t bytes, int node) {
#if defined(SYS_mbind)
  constexpr int preferred = 1, interleave = 3;
  constexpr std::size_t page = 4096;
  const std::size_t first = round_up(offset, page), last = (offset + bytes) / page * page;
  if (last <= first) return true;
  unsigned long nodes[16] = {};
  constexpr int bits = 8 * sizeof(unsigned long);
  if (node >= 16 * bits) return false;
  if (node >= 0) {
    nodes[node / bits] = 1ul << (node % bits);
  } else {
    std::fill(std::begin(nodes), std::end(nodes), ~0ul);
  }
  return syscall(SYS_mbind, data_ + first, last - first, node >= 0 ? preferred : interleave, nodes, 16 * bits, 0) == 0;
#else
  return false;
#endif
}

void Arena::copy(std::size_t offset, std::size_t stride, const std::byte* source, std::size_t source_stride,
                 std::size_t row_bytes, std::size_t count, int threads) {
  std::byte* to = data_ + offset;
  const std::size_t parts = std::min<std::size_t>(std::max(threads, 1), std::max<std::size_t>(count, 1));
  auto part = [&](std::size_t i) {
    const std::size_t first = count * i / parts, last = count * (i + 1) / parts;
    copy_rows(to + first * stride, stride, source + first * source_stride, source_stride, row_bytes, last - first);
  };
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < parts; ++i) others.emplace_back(part, i);
  part(0);
  for (std::thread& other : others) other.join();
}

std::size_t Arena::huge_bytes() const {
  std::FILE* file = std::fopen("/proc/self/smaps", "r");
  if (file == nullptr) return 0;
  const auto from = reinterpret_cast<std::uintptr_t>(data_), to = from + mapped_ - huge_page;
  char line[512];
  bool inside = false;
  std::size_t total = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long first = 0, last = 0, kilobytes = 0;
    if (std::sscanf(line, "%lx-%lx ", &first, &last) == 2) {
      inside = first < to && last > from;
    } else if (inside && std::sscanf(line, "AnonHugePages: %lu kB", &kilobytes) == 1) {
      total += kilobytes * 1024;
    }
  }
  std::fclose(file);
  return total;
}

}  // namespace recsmith::engine
