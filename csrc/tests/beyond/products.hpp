// Products of tiny tables: neighbours with one id a sample become one table, whose rows are theirs one after the
// other and whose ids are a * rows(b) + b.
#pragma once

#include "tests/beyond/plain.hpp"

#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 12
#define RECSMITH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RECSMITH_CLONES
#endif

namespace recsmith::beyond {

struct Group {
  std::size_t first, last;  // tables
  std::int64_t rows = 1;
};

// Neighbours whose product has at most `most_bytes`.
inline std::vector<Group> groups(const Shape& shape, std::int64_t most_bytes) {
  std::vector<Group> found;
  std::int64_t dim = 0;
  for (std::size_t t = 0; t < shape.tables.size(); ++t) {
    const TableShape& table = shape.tables[t];
    if (!found.empty() && found.back().rows * table.rows * (dim + table.dim) * 4 <= most_bytes) {
      found.back().last = t + 1, found.back().rows *= table.rows, dim += table.dim;
    } else {
      found.push_back({t, t + 1, table.rows}), dim = table.dim;
    }
  }
  return found;
}

// ids = ids * rows + more, all of them below their tables' rows.
RECSMITH_CLONES inline bool combine(std::int64_t* ids, const std::int64_t* more, std::int64_t rows, std::int64_t n) {
  std::uint64_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    bad |= static_cast<std::uint64_t>(more[i]) >= static_cast<std::uint64_t>(rows) ? 1 : 0;
    ids[i] = static_cast<std::int64_t>(static_cast<std::int32_t>(ids[i]) * static_cast<std::int32_t>(rows)) + more[i];
  }
  return bad == 0;
}

struct Products {
  std::vector<Group> parts;
  std::vector<std::vector<float>> memory;
  std::vector<Rows> tables;
};

inline std::shared_ptr<Products> multiplied(const Shape& shape, const std::vector<Rows>& tables, std::int64_t bytes) {
  auto made = std::make_shared<Products>();
  made->parts = groups(shape, bytes);
  for (const Group& group : made->parts) {
    if (group.last - group.first == 1) {
      made->tables.push_back(tables[group.first]);
      continue;
    }
    std::int32_t dim = 0;
    for (std::size_t t = group.first; t < group.last; ++t) dim += tables[t].dim;
    auto& rows = made->memory.emplace_back(static_cast<std::size_t>(group.rows * dim + 16));
    float* base = reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(rows.data()) + 63) / 64 * 64);
    for (std::int64_t r = 0; r < group.rows; ++r) {
      std::int64_t rest = r, column = dim;
      for (std::size_t t = group.last; t-- > group.first; rest /= tables[t].count) {
        column -= tables[t].dim;
        for (int e = 0; e < tables[t].dim; ++e) {
          base[r * dim + column + e] = static_cast<float>(element(tables[t], rest % tables[t].count, e));
        }
      }
    }
    made->tables.push_back({reinterpret_cast<const std::byte*>(base), group.rows, dim * 4, dim, RowType::fp32});
  }
  return made;
}

inline Serve products(const Shape& shape, const std::vector<Rows>& tables, const Manner& manner, std::int64_t bytes) {
  auto made = multiplied(shape, tables, bytes);
  auto engine = make_engine(made->tables, manner, false);
  const std::int64_t columns = width(shape);
  return [=](const Batch& batch, float* out) {
    thread_local std::vector<std::int64_t> ids;
    const std::int64_t n = batch.samples, count = n * static_cast<std::int64_t>(made->parts.size());
    if (static_cast<std::int64_t>(ids.size()) < count) ids.resize(static_cast<std::size_t>(count));
    std::int64_t* to = ids.data();
    for (const Group& group : made->parts) {
      const std::int64_t* first = batch.values.data() + static_cast<std::int64_t>(group.first) * n;
      if (best_target().int64.first_outside(first, n, tables[group.first].count) != n) std::abort();
      std::memcpy(to, first, static_cast<std::size_t>(n) * 8);
      for (std::size_t t = group.first + 1; t < group.last; ++t) {
        const std::int64_t* more = batch.values.data() + static_cast<std::int64_t>(t) * n;
        if (!combine(to, more, tables[t].count, n)) std::abort();
      }
      to += n;
    }
    run_engine(*engine, ids.data(), count, nullptr, nullptr, n, out, columns);
  };
}

}  // namespace recsmith::beyond
