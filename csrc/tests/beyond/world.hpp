// Models that look-ups are tried on: tables with numbers in them, and batches of ids drawn from a law.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/arena.hpp"
#include "engine/program.hpp"
#include "lookup/row.hpp"

namespace recsmith::beyond {

struct TableShape {
  std::int64_t rows;
  std::int32_t dim;
  std::int64_t pooling;  // ids a bag
};

struct Shape {
  std::string name;
  std::vector<TableShape> tables;
  RowType type = RowType::fp32;
  engine::Pages pages = engine::Pages::huge;
  bool weighted = false;

  bool bags() const {
    for (const TableShape& table : tables) {
      if (table.pooling > 1) return true;
    }
    return false;
  }
  std::int64_t ids_a_sample() const {
    std::int64_t ids = 0;
    for (const TableShape& table : tables) ids += table.pooling;
    return ids;
  }
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  std::uint64_t next() {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return state_;
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

// How often ids occur, as ranks: 0 is the most frequent one.
struct Law {
  std::string name;
  double alpha;  // of Zipf's law; 0 for uniform, negative for a single id

  std::int64_t rank(std::int64_t rows, Random& random) const {
    if (alpha < 0) return 0;
    const double u = random.unit(), n = static_cast<double>(rows);
    const double x = alpha == 0 ? u * n : std::pow(1 - u * (1 - std::pow(n + 1, 1 - alpha)), 1 / (1 - alpha)) - 1;
    return std::min(rows - 1, static_cast<std::int64_t>(x));
  }
};

// Ranks scattered over the table: a bijection, since the factor is a prime larger than any table.
inline std::int64_t scattered(std::int64_t rank, std::int64_t rows) {
  return static_cast<std::int64_t>(static_cast<unsigned __int128>(rank) * 2305843009213693951ull % rows);
}

// One core's part of a batch.
struct Batch {
  std::int64_t samples = 0;
  std::vector<std::int64_t> values, offsets;  // offsets only for bags
  std::vector<float> weights;

  const std::int64_t* ids(const Shape& shape, std::size_t table) const {
    std::int64_t at = 0;
    for (std::size_t t = 0; t < table; ++t) at += shape.tables[t].pooling * samples;
    return values.data() + at;
  }
};

enum class Order { scattered, by_rank };

inline Batch draw(const Shape& shape, const Law& law, std::int64_t samples, Order order, Random& random) {
  Batch batch;
  batch.samples = samples;
  if (shape.bags()) batch.offsets.push_back(0);
  for (const TableShape& table : shape.tables) {
    for (std::int64_t k = 0; k < samples * table.pooling; ++k) {
      const std::int64_t rank = law.rank(table.rows, random);
      batch.values.push_back(order == Order::scattered ? scattered(rank, table.rows) : rank);
      if (shape.weighted) batch.weights.push_back(static_cast<float>(random.unit()));
      if (shape.bags() && (k + 1) % table.pooling == 0) {
        batch.offsets.push_back(static_cast<std::int64_t>(batch.values.size()));
      }
    }
  }
  return batch;
}

// Rows on pages of one size, each table at a cache line, with room for copies of `spare_bytes` behind its last row.
class Tables {
 public:
  explicit Tables(const Shape& shape, std::int64_t spare_bytes = 0) : spare_bytes_(spare_bytes) {
    std::int64_t bytes = 64;
    for (const TableShape& table : shape.tables) bytes += table_bytes(shape, table);
    arena_ = std::make_unique<engine::Arena>(static_cast<std::size_t>(bytes), shape.pages);
    std::byte* at = arena_->data();
    Random random(3);
    for (const TableShape& table : shape.tables) {
      const Rows rows{at, table.rows, row_bytes(shape.type, table.dim), table.dim, shape.type};
      for (std::int64_t r = 0; r < table.rows; ++r) fill(at + r * rows.stride, shape.type, table.dim, random);
      rows_.push_back(rows);
      at += table_bytes(shape, table);
    }
  }
  const std::vector<Rows>& rows() const { return rows_; }

 private:
  std::int64_t table_bytes(const Shape& shape, const TableShape& table) const {
    return (table.rows * row_bytes(shape.type, table.dim) + spare_bytes_ + 63) / 64 * 64;
  }
  static void fill(std::byte* row, RowType type, std::int32_t dim, Random& random) {
    if (type == RowType::fp32) {
      for (int e = 0; e < dim; ++e) {
        const float x = static_cast<float>(random.next() >> 40) * 0x1p-24f;
        std::memcpy(row + 4 * e, &x, 4);
      }
      return;
    }
    constexpr std::uint16_t header[] = {0x2000, 0x3800};  // scale 2^-7, bias 1/2
    std::memcpy(row, header, 4);
    for (std::int64_t e = 4; e < row_bytes(type, dim); ++e) row[e] = static_cast<std::byte>(random.next() >> 40);
  }

  std::int64_t spare_bytes_;
  std::unique_ptr<engine::Arena> arena_;
  std::vector<Rows> rows_;
};

// Element `column` of a row in double precision: fp32 and int8 only.
inline double element(const Rows& rows, std::int64_t id, int column) {
  const std::byte* row = address(rows, id);
  if (rows.type == RowType::fp32) {
    float x;
    std::memcpy(&x, row + 4 * column, 4);
    return x;
  }
  return std::to_integer<int>(row[4 + column]) * 0x1p-7 + 0.5;
}

inline std::int64_t width(const Shape& shape) {
  std::int64_t columns = 0;
  for (const TableShape& table : shape.tables) columns += table.dim;
  return columns;
}

// The largest relative error of `out`, [samples, width].
inline double error(const Shape& shape, const std::vector<Rows>& tables, const Batch& batch, const float* out) {
  double worst = 0;
  std::int64_t column = 0, k = 0;
  for (std::size_t t = 0; t < tables.size(); column += shape.tables[t++].dim) {
    for (std::int64_t s = 0; s < batch.samples; ++s) {
      const std::int64_t end = k + shape.tables[t].pooling;
      for (int e = 0; e < shape.tables[t].dim; ++e) {
        double sum = 0, size = 1e-9;
        for (std::int64_t i = k; i < end; ++i) {
          const double x = element(tables[t], batch.values[i], e) * (shape.weighted ? batch.weights[i] : 1.0);
          sum += x, size += std::abs(x);
        }
        worst = std::max(worst, std::abs(out[s * width(shape) + column + e] - sum) / size);
      }
      k = end;
    }
  }
  return worst;
}

}  // namespace recsmith::beyond
