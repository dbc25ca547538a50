// Single kernels, for parity tests and calibration: checks, unwraps, releases the GIL, calls.
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <new>
#include <string>

#include "bind/areas.hpp"
#include "lookup/target.hpp"

namespace nb = nanobind;

namespace recsmith {
namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::device::cpu>;
using Vectors = nb::ndarray<float, nb::ndim<2>, nb::device::cpu>;
template <class T>
using Array = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

[[noreturn]] void fail(const std::string& problem) { throw nb::value_error(("[kernel] " + problem).c_str()); }

const Target& find_target(const std::string& name) {
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t i = 0; i < count; ++i) {
    if (name != all[i]->name) continue;
    if (!all[i]->supported()) fail("this processor cannot run target '" + name + "'.");
    return *all[i];
  }
  fail("there is no target '" + name + "'.");
}

std::vector<std::string> supported_targets() {
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    if (all[i]->supported()) names.emplace_back(all[i]->name);
  }
  return names;
}

// Position of `name` in a menu.
template <class Enum, std::size_t N>
Enum choose(const char* kind, const std::string& name, const char* const (&menu)[N]) {
  for (std::size_t i = 0; i < N; ++i) {
    if (name == menu[i]) return static_cast<Enum>(i);
  }
  fail("there is no " + std::string(kind) + " '" + name + "'.");
}

constexpr const char* flow_names[] = {"gm", "l1", "gm_ub", "l1_ub"};
constexpr const char* row_type_names[] = {"fp32", "fp16", "bf16", "int8", "int4"};
constexpr const char* level_names[] = {"none", "t0", "t1", "nta"};

template <class Index>
const IndexFunctions<Index>& functions_of(const Target& target) {
  if constexpr (sizeof(Index) == 4) {
    return target.int32;
  } else {
    return target.int64;
  }
}

std::int64_t wanted_row_bytes(RowType type, std::int64_t dim) {
  switch (type) {
    case RowType::fp32: return dim * 4;
    case RowType::int8: return dim + 4;
    case RowType::int4: return (dim + 1) / 2 + 4;
    default: return dim * 2;
  }
}

template <class Index>
std::string run_kernel(const std::string& target_name, const std::string& flow, const Bytes& rows,
                       const std::string& row_dtype, std::int32_t dim, const Array<Index>& ids,
                       const std::optional<Array<Index>>& offsets, const std::optional<Array<float>>& weights,
                       const Vectors& out, bool mean, bool stream, std::int32_t distance, const std::string& level,
                       std::int64_t scratch_bytes, const std::optional<Array<Index>>& next_ids) {
  const Target& target = find_target(target_name);
  const auto& functions = functions_of<Index>(target);
  const auto count = static_cast<std::int64_t>(ids.size());
  const auto total = static_cast<std::int64_t>(rows.shape(0));
  const auto samples = offsets ? static_cast<std::int64_t>(offsets->size()) - 1 : count;
  const auto type = choose<RowType>("row type", row_dtype, row_type_names);
  if (dim < 1 || distance < 0 || scratch_bytes < 0) fail("dim, distance or scratch_bytes is out of range.");
  if (rows.shape(1) > 0 && rows.stride(1) != 1) fail("the bytes of a row must be adjacent.");
  if (static_cast<std::int64_t>(rows.shape(1)) < wanted_row_bytes(type, dim)) fail("rows are too short for dim.");
  if (samples < 0) fail("offsets is empty.");
  if (offsets) {
    if (functions.first_fall(offsets->data(), samples) != samples) fail("offsets fall.");
    if (offsets->data()[0] < 0 || offsets->data()[samples] > count) fail("offsets point outside ids.");
  }
  if (functions.first_outside(ids.data(), count, total) != count) fail("an id lies outside the table.");
  if (weights && static_cast<std::int64_t>(weights->size()) != count) fail("weights and ids differ in length.");
  if (static_cast<std::int64_t>(out.shape(0)) != samples || static_cast<std::int64_t>(out.shape(1)) != dim ||
      (samples > 0 && out.stride(1) != 1)) {
    fail("out must be [samples, dim] with adjacent columns.");
  }
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  const auto scratch_size = static_cast<std::size_t>(scratch_bytes);
  std::unique_ptr<std::byte[], Free> scratch(new (std::align_val_t{64}) std::byte[scratch_size]);
  const Rows stored{reinterpret_cast<const std::byte*>(rows.data()), total, rows.stride(0), dim, type};
  Next<Index> next{};
  if (next_ids) {
    const auto next_count = static_cast<std::int64_t>(next_ids->size());
    if (functions.first_outside(next_ids->data(), next_count, total) != next_count) {
      fail("a next id lies outside the table.");
    }
    next = {stored, next_ids->data(), next_count};
  }
  Call<Index> call{};
  call.rows = stored;
  call.ids = ids.data();
  call.ids_end = ids.data() + count;
  call.offsets = offsets ? offsets->data() : nullptr;
  call.weights = weights ? weights->data() : nullptr;
  call.samples = samples;
  call.out = out.data();
  call.out_stride = out.stride(0);
  call.mean = mean;
  call.stream = stream;
  call.level = choose<Prefetch>("prefetch level", level, level_names);
  call.distance = distance;
  call.next = next_ids ? &next : nullptr;
  call.scratch = scratch.get();
  call.scratch_bytes = scratch_bytes;
  const Kernel<Index> kernel = functions.kernel(choose<Flow>("flow", flow, flow_names), type, dim);
  {
    nb::gil_scoped_release released;
    kernel(call);
  }
  return target.name;
}

template <class Index>
void bind_index(nb::module_& m) {
  m.def("kernel", &run_kernel<Index>, nb::arg("target"), nb::arg("flow"), nb::arg("rows"), nb::arg("row_dtype"),
        nb::arg("dim"), nb::arg("ids"), nb::arg("offsets").none(), nb::arg("weights").none(), nb::arg("out"),
        nb::kw_only(), nb::arg("mean") = false, nb::arg("stream") = false, nb::arg("distance") = 16,
        nb::arg("level") = "t1", nb::arg("scratch_bytes") = 0, nb::arg("next_ids").none() = nb::none(),
        "Runs one kernel over one feature and returns the name of the target that ran.");
  m.def(
      "first_outside",
      [](const std::string& target, const Array<Index>& ids, std::int64_t rows) {
        return functions_of<Index>(find_target(target)).first_outside(ids.data(), ids.size(), rows);
      },
      nb::arg("target"), nb::arg("ids"), nb::arg("rows"), "Position of the first id outside [0, rows), or len(ids).");
  m.def(
      "first_fall",
      [](const std::string& target, const Array<Index>& offsets) {
        if (offsets.size() == 0) fail("offsets is empty.");
        return functions_of<Index>(find_target(target)).first_fall(offsets.data(), offsets.size() - 1);
      },
      nb::arg("target"), nb::arg("offsets"), "Position of the first offset above its successor, or the bag count.");
  m.def(
      "one_each",
      [](const std::string& target, const Array<Index>& offsets) {
        if (offsets.size() == 0) fail("offsets is empty.");
        return functions_of<Index>(find_target(target)).one_each(offsets.data(), offsets.size() - 1);
      },
      nb::arg("target"), nb::arg("offsets"), "Whether each bag holds exactly one id.");
}

}  // namespace

void bind_kernels(nb::module_& m) {
  m.def("targets", &supported_targets, "Instruction sets that this processor can run, slowest first.");
  bind_index<std::int64_t>(m);
  bind_index<std::int32_t>(m);
}

}  // namespace recsmith
