// Micro-benchmarks: checks, unwraps, releases the GIL, times. Addresses are taken on trust: they are the caller's.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bind/areas.hpp"
#include "calibration/buffer.hpp"
#include "calibration/crew.hpp"
#include "calibration/handoff.hpp"
#include "calibration/lookups.hpp"
#include "calibration/probes.hpp"

namespace nb = nanobind;

namespace recsmith {
namespace {

using calibration::Probes;
using calibration::Reads;
using calibration::Span;
using Addresses = nb::ndarray<const std::uint64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
// [rounds][cores]: seconds by the clock, and seconds that the core really worked.
using Table = std::vector<std::vector<double>>;
using Seconds = std::pair<Table, Table>;

[[noreturn]] void fail(const std::string& problem) { throw nb::value_error(("[calibrate] " + problem).c_str()); }

void check(bool holds, const char* wanted) {
  if (!holds) fail(std::string(wanted) + '.');
}

template <class Enum, std::size_t N>
Enum choose(const std::string& name, const char* const (&menu)[N]) {
  for (std::size_t i = 0; i < N; ++i) {
    if (name == menu[i]) return static_cast<Enum>(i);
  }
  fail("there is no '" + name + "'.");
}

constexpr const char* flow_names[] = {"gm", "l1", "gm_ub", "l1_ub"};
constexpr const char* row_type_names[] = {"fp32", "fp16", "bf16", "int8", "int4"};
constexpr const char* level_names[] = {"none", "t0", "t1", "nta"};

const Target& target_of(const std::string& name) {
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t i = 0; i < count; ++i) {
    if (name == all[i]->name && all[i]->supported()) return *all[i];
  }
  fail("this processor cannot run target '" + name + "'.");
}

constexpr std::int64_t any_row_bytes = 1 << 20;

const Probes& probes_of(const std::string& target, std::int64_t row_bytes = any_row_bytes) {
  return *calibration::find_probes(target_of(target).name, row_bytes);
}

Seconds by_round(const std::vector<Span>& spans, std::size_t cores) {
  Table wall(spans.size() / cores), busy(spans.size() / cores);
  for (std::size_t i = 0; i < spans.size(); ++i) {
    wall[i / cores].push_back(spans[i].stop_s - spans[i].start_s);
    busy[i / cores].push_back(spans[i].busy_s);
  }
  return {wall, busy};
}

double wall_s(const std::vector<Span>& spans) {
  double start = spans.front().start_s, stop = spans.front().stop_s;
  for (const Span& span : spans) {
    start = std::min(start, span.start_s);
    stop = std::max(stop, span.stop_s);
  }
  return stop - start;
}

template <class Body>
std::vector<Span> timed(const std::vector<int>& cores, int rounds, Body body) {
  check(!cores.empty(), "at least one core is wanted");
  check(rounds > 0, "rounds must be positive");
  std::vector<float> sums(cores.size() * 16);  // a cache line apart; what is stored is not optimised away
  nb::gil_scoped_release released;
  return calibration::run_together(cores, rounds, [&](int slot) {
    const auto at = static_cast<std::size_t>(slot);
    sums[at * 16] = body(at);
  });
}

// The i-th of `parts` equal parts of the list, which begins `skip` rows in.
Reads part(const Addresses& addresses, std::size_t i, std::size_t parts, std::int64_t row_bytes, std::int64_t distance,
           Prefetch level) {
  const std::size_t n = addresses.size(), begin = n * i / parts, end = n * (i + 1) / parts;
  return {addresses.data() + begin, static_cast<std::int64_t>(end - begin), row_bytes, distance, level};
}

double read_pointers(const Addresses& addresses, std::int64_t row_bytes, std::int64_t distance,
                     const std::string& level, const std::vector<int>& cores, const std::string& target) {
  check(row_bytes >= 4 && distance >= 0, "row_bytes must be 4 or more and distance not negative");
  const Probes& probes = probes_of(target, row_bytes);
  const auto prefetch = choose<Prefetch>(level, level_names);
  return wall_s(timed(cores, 1, [&](std::size_t slot) {
    return probes.read_rows(part(addresses, slot, cores.size(), row_bytes, distance, prefetch));
  }));
}

// Rounds x cores seconds; round r of R reads the r-th of R equal parts of each core's part of the list.
template <class Probe>
Seconds time_reads(const Addresses& addresses, std::int64_t row_bytes, std::int64_t distance, Prefetch level,
                   const std::vector<int>& cores, int rounds, Probe probe) {
  check(row_bytes >= 4 && distance >= 0, "row_bytes must be 4 or more and distance not negative");
  check(addresses.size() >= cores.size() * static_cast<std::size_t>(rounds), "fewer addresses than rounds and cores");
  std::vector<std::int64_t> done(cores.size() * 8, 0);
  return by_round(timed(cores, rounds,
                        [&](std::size_t slot) {
                          Reads reads = part(addresses, slot, cores.size(), row_bytes, distance, level);
                          reads.count /= rounds;
                          reads.addresses += reads.count * done[slot * 8]++;
                          return probe(reads);
                        }),
                  cores.size());
}

Seconds time_sequential(const std::string& access, const std::vector<std::uint64_t>& at, std::int64_t bytes,
                        std::int64_t passes, const std::vector<int>& cores, int rounds, const std::string& target) {
  check(at.size() == cores.size(), "one address a core is wanted");
  check(bytes > 0 && bytes % 64 == 0 && passes > 0, "bytes must be a multiple of 64 and passes positive");
  for (const std::uint64_t address : at) check(address % 64 == 0, "addresses must be multiples of 64");
  const Probes& probes = probes_of(target);
  constexpr const char* names[] = {"read", "write", "stream_write"};
  const auto kind = choose<std::uint8_t>(access, names);
  return by_round(timed(cores, rounds,
                        [&](std::size_t slot) {
                          auto* data = reinterpret_cast<std::byte*>(at[slot]);
                          float sum = 0;
                          for (std::int64_t pass = 0; pass < passes; ++pass) {
                            if (kind == 0) sum += probes.read(data, bytes);
                            if (kind == 1) probes.write(data, bytes);
                            if (kind == 2) probes.stream_write(data, bytes);
                          }
                          return sum;
                        }),
                  cores.size());
}

Seconds time_columns(const std::string& access, const std::vector<std::uint64_t>& at, std::int64_t rows,
                     std::int64_t row_bytes, std::int64_t all_columns, std::int64_t first_column, std::int64_t columns,
                     const std::vector<int>& cores, const std::string& target) {
  check(at.size() == cores.size(), "one address a core is wanted");
  check(row_bytes > 0 && row_bytes % 64 == 0, "row_bytes must be a multiple of 64");
  check(rows > 0 && all_columns > 0 && first_column >= 0 && columns > 0, "rows and columns must be positive");
  for (const std::uint64_t address : at) check(address % 64 == 0, "addresses must be multiples of 64");
  const Probes& probes = probes_of(target);
  constexpr const char* names[] = {"write", "stream_write"};
  const auto write = choose<std::uint8_t>(access, names) == 1 ? probes.stream_rows : probes.write_rows;
  return by_round(timed(cores, 1,
                        [&](std::size_t slot) {
                          auto* data = reinterpret_cast<std::byte*>(at[slot]);
                          for (std::int64_t i = first_column; i < first_column + columns; ++i) {
                            write(data + i % all_columns * row_bytes, rows, row_bytes, all_columns * row_bytes);
                          }
                          return 0.0f;
                        }),
                  cores.size());
}

double write_rate(std::int64_t bytes, const std::string& page, const std::string& stores, const std::vector<int>& cores,
                  int rounds, const std::string& target) {
  check(bytes >= 64 && !cores.empty() && rounds > 0, "64 bytes, a core and a round are the least");
  const Probes& probes = probes_of(target);
  constexpr const char* pages[] = {"4k", "huge"};
  constexpr const char* kinds[] = {"regular", "stream"};
  const bool huge = choose<std::uint8_t>(page, pages) == 1, stream = choose<std::uint8_t>(stores, kinds) == 1;
  const auto share = bytes / static_cast<std::int64_t>(cores.size()) / 64 * 64;
  nb::gil_scoped_release released;
  calibration::Buffer buffer(static_cast<std::size_t>(bytes), huge, cores.front());
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    seconds.push_back(wall_s(calibration::run_together(cores, 1, [&](int slot) {
      std::byte* data = buffer.data() + share * slot;
      stream ? probes.stream_write(data, share) : probes.write(data, share);
    })));
  }
  std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
  return static_cast<double>(share) * static_cast<double>(cores.size()) / seconds[static_cast<std::size_t>(rounds) / 2];
}

Seconds time_lookups(const std::string& target, const std::string& flow, const std::string& row_dtype, std::int32_t dim,
                     const std::vector<std::uint64_t>& tables, std::int64_t rows, std::int64_t stride, const Ids& ids,
                     std::int64_t pooling, std::int64_t batch, const std::vector<std::uint64_t>& outs, bool stream,
                     std::int32_t distance, const std::string& level, const std::vector<int>& cores, int rounds,
                     std::int64_t scratch_bytes) {
  const Target& chosen = target_of(target);
  check(dim > 0 && rows > 0 && stride > 0 && pooling > 0 && batch > 0 && distance >= 0 && scratch_bytes >= 0,
        "dim, rows, stride, pooling and batch must be positive");
  check(rounds > 0 && !cores.empty() && tables.size() == cores.size() && outs.size() == cores.size(),
        "a round, a core, and a table and an output for each core are wanted");
  const auto step = batch * pooling;
  const auto count = static_cast<std::int64_t>(ids.size()) / static_cast<std::int64_t>(cores.size()) / rounds;
  check(count >= step, "fewer ids than one batch for each core and round");
  check(chosen.int64.first_outside(ids.data(), static_cast<std::int64_t>(ids.size()), rows) ==
            static_cast<std::int64_t>(ids.size()),
        "an id lies outside the table");
  const calibration::Lookups lookups{choose<Flow>(flow, flow_names),
                                     choose<RowType>(row_dtype, row_type_names),
                                     dim,
                                     rows,
                                     stride,
                                     count / step * step,
                                     pooling,
                                     batch,
                                     stream,
                                     choose<Prefetch>(level, level_names),
                                     distance,
                                     scratch_bytes};
  std::vector<calibration::Share> shares;
  for (std::size_t i = 0; i < cores.size(); ++i) {
    shares.push_back({reinterpret_cast<const std::byte*>(tables[i]),
                      ids.data() + ids.size() / cores.size() * i,
                      reinterpret_cast<float*>(outs[i])});
  }
  std::vector<Span> spans;
  {
    nb::gil_scoped_release released;
    spans = calibration::time_lookups(chosen, lookups, shares, cores, rounds);
  }
  return by_round(spans, cores.size());
}

}  // namespace

void bind_calibration(nb::module_& m) {
  using calibration::Buffer;
  nb::class_<Buffer>(m, "Buffer", "Memory of 1.0f on pages of a known size, first written by one core.")
      .def(
          "__init__",
          [](Buffer* self, std::size_t bytes, const std::string& page, int core) {
            constexpr const char* pages[] = {"4k", "huge"};
            const bool huge = choose<std::uint8_t>(page, pages) == 1;
            nb::gil_scoped_release released;
            new (self) Buffer(bytes, huge, core);
          },
          nb::arg("nbytes"), nb::arg("page"), nb::arg("core"))
      .def_prop_ro("address", [](const Buffer& b) { return reinterpret_cast<std::uint64_t>(b.data()); })
      .def_prop_ro("nbytes", &Buffer::bytes);
  m.def("read_pointers", &read_pointers, nb::arg("addresses"), nb::arg("row_bytes"), nb::arg("distance"),
        nb::arg("level"), nb::arg("cores"), nb::arg("target"),
        "Seconds in which `cores` together read the rows at `addresses` (each a part of the list), writing nothing.");
  m.def("write_rate", &write_rate, nb::arg("nbytes"), nb::arg("page"), nb::arg("stores"), nb::arg("cores"),
        nb::arg("rounds"), nb::arg("target"),
        "Bytes per second at which `cores` together write a buffer of `nbytes` in order; the median round.");
  m.def(
      "time_reads",
      [](const Addresses& addresses, std::int64_t row_bytes, std::int64_t distance, const std::string& level,
         const std::vector<int>& cores, int rounds, const std::string& target) {
        return time_reads(addresses, row_bytes, distance, choose<Prefetch>(level, level_names), cores, rounds,
                          probes_of(target, row_bytes).read_rows);
      },
      nb::arg("addresses"), nb::arg("row_bytes"), nb::arg("distance"), nb::arg("level"), nb::arg("cores"),
      nb::arg("rounds"), nb::arg("target"), "Seconds ([rounds][cores] elapsed, worked) of reading rows, each round its own part of the list.");
  m.def(
      "time_chase",
      [](const Addresses& addresses, const std::vector<int>& cores, int rounds) {
        return time_reads(addresses, 4, 0, Prefetch::none, cores, rounds, probes_of("scalar").chase);
      },
      nb::arg("addresses"), nb::arg("cores"), nb::arg("rounds"),
      "Seconds ([rounds][cores] elapsed, worked) of loads that wait for one another.");
  m.def("time_sequential", &time_sequential, nb::arg("access"), nb::arg("addresses"), nb::arg("nbytes"),
        nb::arg("passes"), nb::arg("cores"), nb::arg("rounds"), nb::arg("target"),
        "Seconds ([rounds][cores] elapsed, worked) of `passes` over `nbytes` of each core's own memory: read, write or stream_write.");
  m.def("time_columns", &time_columns, nb::arg("access"), nb::arg("addresses"), nb::arg("rows"), nb::arg("row_bytes"),
        nb::arg("all_columns"), nb::arg("first_column"), nb::arg("columns"), nb::arg("cores"), nb::arg("target"),
        "Seconds ([1][cores] elapsed, worked) of filling `columns` of the columns of each core's array of `rows` rows, "
        "one after the other: write or stream_write.");
  m.def("time_lookups", &time_lookups, nb::kw_only(), nb::arg("target"), nb::arg("flow"), nb::arg("row_dtype"),
        nb::arg("dim"), nb::arg("tables"), nb::arg("rows"), nb::arg("stride"), nb::arg("ids"), nb::arg("pooling"),
        nb::arg("batch"), nb::arg("outs"), nb::arg("stream"), nb::arg("distance"), nb::arg("level"), nb::arg("cores"),
        nb::arg("rounds"), nb::arg("scratch_bytes") = 0,
        "Seconds ([rounds][cores] elapsed, worked) of the look-up kernel, call after call of `batch` samples, other ids in each round.");
  m.def(
      "time_handoffs",
      [](int here, int there, int rounds, double asleep_s) {
        check(rounds > 0, "rounds must be positive");
        nb::gil_scoped_release released;
        return calibration::time_handoffs(here, there, rounds, asleep_s);
      },
      nb::arg("here"), nb::arg("there"), nb::arg("rounds"), nb::arg("asleep_s"),
      "Seconds of each round trip to a thread on another processor that spins, or has slept for `asleep_s`.");
  m.def(
      "flops_per_s",
      [](const std::vector<int>& cores, std::int64_t steps, const std::string& target) {
        check(steps > 0, "steps must be positive");
        const Probes& probes = probes_of(target);
        const auto spans = timed(cores, 1, [&](std::size_t) { return probes.multiply_add(steps); });
        return static_cast<double>(steps * 8 * 2 * probes.width) / wall_s(spans);
      },
      nb::arg("cores"), nb::arg("steps"), nb::arg("target"),
      "Multiplications and additions per second of each of `cores`, all active.");
}

}  // namespace recsmith
