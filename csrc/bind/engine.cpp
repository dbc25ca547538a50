// The engine and its memory: checks arguments, unwraps arrays, releases the GIL, calls.
#include "engine/engine.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "bind/areas.hpp"
#include "bind/arrays.hpp"
#include "bind/outputs.hpp"
#include "engine/affinity.hpp"
#include "engine/arena.hpp"
#include "engine/scratch.hpp"

namespace nb = nanobind;

namespace recsmith {
namespace {

using engine::After;
using engine::Engine;
using engine::Fault;
using engine::Input;
using engine::Outcome;

// (address, rows, stride in bytes, dim, row type)
using TableArgs = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int32_t, std::int32_t>;
// (table, column, pooling, weighted, padding id or None, policy, default row)
using FeatureArgs = std::tuple<std::size_t, std::int64_t, std::int32_t, bool, std::optional<std::int64_t>, std::int32_t,
                               std::int64_t>;
// (feature, stage, lane), (first row, last row), (start, parts, stop, parts), flow, (distance, level, block, stream)
using TaskArgs = std::tuple<std::tuple<std::int32_t, std::int32_t, std::int32_t>,
                            std::tuple<std::int64_t, std::int64_t>,
                            std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>, std::int32_t,
                            std::tuple<std::int32_t, std::int32_t, std::int64_t, bool>>;
// (largest batch or None, stages, tasks, samples a block of the last stage when it is fused or 0)
using BucketArgs = std::tuple<std::optional<std::int64_t>, std::int32_t, std::vector<TaskArgs>, std::int64_t>;
// (kind, self terms of dot or rectified of sum, length of the caller's vectors)
using JointArgs = std::tuple<std::int32_t, bool, std::int64_t>;

const Target& find(const std::string& name) {
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t i = 0; i < count; ++i) {
    if (name == all[i]->name && all[i]->supported()) return *all[i];
  }
  throw nb::value_error(("this processor cannot run '" + name + "'").c_str());
}

engine::Feature feature(const FeatureArgs& args, const std::vector<TableArgs>& tables) {
  const auto& [table, column, pooling, weighted, padding, policy, default_row] = args;
  const auto& [address, rows, stride, dim, type] = tables.at(table);
  return {{reinterpret_cast<const std::byte*>(address), rows, stride, dim, static_cast<RowType>(type)},
          column,
          static_cast<engine::Pooling>(pooling),
          weighted,
          padding.has_value(),
          padding.value_or(0),
          static_cast<engine::Policy>(policy),
          default_row};
}

engine::BucketSpec bucket(const BucketArgs& args) {
  const auto& [up_to, stages, tasks, block] = args;
  engine::BucketSpec spec{up_to.value_or(engine::Bucket::any), stages, {}, block};
  for (const auto& [where, rows, share, flow, tuning] : tasks) {
    const auto& [feature, stage, lane] = where;
    const auto& [start, start_parts, stop, stop_parts] = share;
    const auto& [distance, level, block, stream] = tuning;
    spec.tasks.push_back({feature,
                          stage,
                          lane,
                          std::get<0>(rows),
                          std::get<1>(rows),
                          {start, start_parts, stop, stop_parts},
                          static_cast<Flow>(flow),
                          {static_cast<Prefetch>(level), distance, block, stream}});
  }
  return spec;
}

// The engine with what it reads from, shared by calls that are under way when it is closed.
struct Bound {
  Engine engine;
  nb::object memory;
};

class Executor {
 public:
  Executor(const std::string& target, const std::vector<TableArgs>& tables, const std::vector<FeatureArgs>& features,
           const std::vector<BucketArgs>& buckets, std::vector<int> processors, std::int64_t width,
           std::optional<JointArgs> joint, nb::object memory, nb::object fault, nb::object malformed)
      : width_(width),
        joint_(joint ? shape(*joint, width) : Shape{}),
        outputs_(width),
        joined_(joint_.columns),
        fault_(std::move(fault)),
        malformed_(std::move(malformed)) {
    std::vector<engine::Feature> made;
    for (const FeatureArgs& args : features) {
      made.push_back(feature(args, tables));
      unpooled_ |= made.back().pooling == engine::Pooling::none;
    }
    std::vector<engine::BucketSpec> specs;
    for (const BucketArgs& args : buckets) specs.push_back(bucket(args));
    bound_ = std::make_shared<Bound>(Engine(find(target), std::move(made), specs, std::move(processors)),
                                     std::move(memory));
  }

  // The pooled vectors.
  nb::object lookup(nb::handle values, nb::handle offsets, nb::handle weights, nb::handle out) {
    return guarded([&]() -> nb::object {
      if (unpooled_) throw ArrayError("this model", "has unpooled features; call lookup(Jagged) instead");
      Arrays arrays;
      open(arrays, values, offsets, weights);
      nb::object result = out.is_none() ? outputs_.take(arrays.batch) : nb::borrow(out);
      arrays.out.matrix(result.ptr(), "out", arrays.batch, width_);
      replaced_ += dispatch(arrays, nullptr, After::spin);
      return result;
    });
  }

  // The pooled vectors and how many ids were replaced. `sequences` holds an array a feature, None for pooled ones.
  std::tuple<nb::object, std::int64_t> run(nb::handle values, nb::handle offsets, nb::handle weights, std::int64_t batch,
                                           nb::handle out, nb::handle sequences, bool rest) {
    return guarded([&]() -> std::tuple<nb::object, std::int64_t> {
      Arrays arrays;
      open(arrays, values, offsets, weights);
      check_batch(arrays, batch);
      nb::object result = out.is_none() ? outputs_.take(arrays.batch) : nb::borrow(out);
      arrays.out.matrix(result.ptr(), "out", arrays.batch, width_);
      const After after = rest ? After::sleep : After::spin;
      if (!unpooled_) return {result, dispatch(arrays, nullptr, after)};
      const Sequences places(bound_->engine.features(), arrays, sequences);
      return {result, dispatch(arrays, places.data(), after)};
    });
  }

  // The pooled vectors joined with the caller's.
  nb::object interact(nb::handle values, nb::handle offsets, nb::handle weights, nb::handle first, nb::handle out) {
    return guarded([&]() -> nb::object {
      if (unpooled_) throw ArrayError("this model", "has unpooled features; call interact(Jagged, ..) instead");
      Arrays arrays;
      open(arrays, values, offsets, weights);
      nb::object result = open_joint(arrays, first, out);
      replaced_ += dispatch(arrays, nullptr, After::spin);
      return result;
    });
  }

  // The same and how many ids were replaced.
  std::tuple<nb::object, std::int64_t> join(nb::handle values, nb::handle offsets, nb::handle weights, std::int64_t batch,
                                            nb::handle first, nb::handle out, nb::handle sequences, bool rest) {
    return guarded([&]() -> std::tuple<nb::object, std::int64_t> {
      Arrays arrays;
      open(arrays, values, offsets, weights);
      check_batch(arrays, batch);
      nb::object result = open_joint(arrays, first, out);
      const After after = rest ? After::sleep : After::spin;
      if (!unpooled_) return {result, dispatch(arrays, nullptr, after)};
      const Sequences places(bound_->engine.features(), arrays, sequences);
      return {result, dispatch(arrays, places.data(), after)};
    });
  }

  void close() { bound_.reset(); }
  std::int64_t replaced() const { return replaced_; }
  int threads() const { return bound_ ? bound_->engine.lanes() : 0; }
  std::string target() const { return bound_ ? bound_->engine.target().name : ""; }

 private:
  // What an interaction makes of the vectors.
  struct Shape {
    engine::Join kind = engine::Join::dot;
    bool flag = false;  // self terms of dot, rectified of sum
    std::int64_t first_dim = 0;
    std::int64_t columns = 0;  // of the output; 0 without an interaction
  };

  struct Arrays {
    View values, offsets, weights, out, first;
    engine::Joint joint{};
    bool joined = false;
    std::vector<std::int32_t> narrow;  // offsets that came in the other type
    std::vector<std::int64_t> wide;
    bool jagged = false, weighted = false;
    std::int64_t batch = 0;

    template <class Index>
    const Index* bag_offsets() const {
      if (!jagged) return nullptr;
      if constexpr (sizeof(Index) == 4) {
        return narrow.empty() ? offsets.data<Index>() : narrow.data();
      } else {
        return wide.empty() ? offsets.data<Index>() : wide.data();
      }
    }
  };

  void open(Arrays& arrays, nb::handle values, nb::handle offsets, nb::handle weights) const {
    if (!bound_) throw ArrayError("this executable", "is closed");
    if (!arrays.values.integers(values.ptr(), "values")) throw ArrayError("values", "is None");
    arrays.jagged = arrays.offsets.integers(offsets.ptr(), "offsets");
    arrays.weighted = arrays.weights.floats(weights.ptr(), "weights");
    const auto features = static_cast<std::int64_t>(bound_->engine.features().size());
    const std::int64_t length = arrays.values.size();
    const std::int64_t bags = arrays.jagged ? arrays.offsets.size() - 1 : length;
    if (bags < 0 || bags % features != 0) {
      const std::string count = std::to_string(arrays.jagged ? bags + 1 : bags);
      throw ArrayError(arrays.jagged ? "offsets" : "values",
                       "has " + count + " elements, which is no whole number of samples for " +
                           std::to_string(features) + " features" + (arrays.jagged ? " (F * B + 1)" : ""));
    }
    arrays.batch = bags / features;
    if (arrays.weighted && arrays.weights.size() != length) {
      throw ArrayError("weights", "has " + std::to_string(arrays.weights.size()) + " elements for " +
                                      std::to_string(length) + " values");
    }
    if (arrays.jagged && arrays.offsets.itemsize() != arrays.values.itemsize()) convert_offsets(arrays);
  }

  // Where the vectors of unpooled features go.
  class Sequences {
   public:
    Sequences(const std::vector<engine::Feature>& features, const Arrays& arrays, nb::handle given)
        : places_(features.size(), nullptr), views_(features.size()) {
      for (std::size_t f = 0; f < features.size(); ++f) {
        if (features[f].pooling != engine::Pooling::none) continue;
        const nb::object array = nb::borrow(given)[f];
        views_[f].matrix(array.ptr(), "sequence", ids_of(arrays, f), features[f].rows.dim);
        places_[f] = views_[f].data<float>();
      }
    }
    float* const* data() const { return places_.data(); }

   private:
    std::vector<float*> places_;
    std::vector<View> views_;
  };

  static Shape shape(const JointArgs& args, std::int64_t width) {
    const auto& [kind, flag, first_dim] = args;
    const auto join = static_cast<engine::Join>(kind);
    if (join == engine::Join::cat) return {join, false, first_dim, first_dim + width};
    if (join == engine::Join::sum) return {join, flag, first_dim, first_dim};
    return {join, flag, first_dim, first_dim + pairs_of(1 + width / first_dim, flag)};
  }

  static void check_batch(const Arrays& arrays, std::int64_t batch) {
    if (arrays.batch == batch) return;
    throw ArrayError(arrays.jagged ? "offsets" : "values",
                     "give " + std::to_string(arrays.batch) + " samples, but the batch has " + std::to_string(batch));
  }

  // Opens the caller's vectors and the output, which is returned.
  nb::object open_joint(Arrays& arrays, nb::handle first, nb::handle out) {
    if (joint_.columns == 0) throw ArrayError("this model", "has no interaction");
    if (joint_.first_dim > 0) arrays.first.matrix(first.ptr(), "bottom", arrays.batch, joint_.first_dim, View::Use::read);
    nb::object result = out.is_none() ? joined_.take(arrays.batch) : nb::borrow(out);
    arrays.out.matrix(result.ptr(), "out", arrays.batch, joint_.columns);
    arrays.joined = true;
    arrays.joint = {joint_.kind,
                    joint_.flag && joint_.kind == engine::Join::dot,
                    joint_.flag && joint_.kind == engine::Join::sum,
                    joint_.first_dim > 0 ? arrays.first.data<float>() : nullptr,
                    joint_.first_dim,
                    joint_.first_dim > 0 ? arrays.first.row_stride() : 0,
                    arrays.out.data<float>(),
                    arrays.out.row_stride()};
    return result;
  }

  // Offsets in the integer type of the values.
  static void convert_offsets(Arrays& arrays) {
    const auto count = static_cast<std::size_t>(arrays.offsets.size());
    if (arrays.values.itemsize() == 8) {
      const auto* given = arrays.offsets.data<std::int32_t>();
      arrays.wide.assign(given, given + count);
      return;
    }
    const auto* given = arrays.offsets.data<std::int64_t>();
    arrays.narrow.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      arrays.narrow[i] = static_cast<std::int32_t>(given[i]);
      if (arrays.narrow[i] != given[i]) throw ArrayError("offsets", "do not fit in the int32 type of the values");
    }
  }

  // Vectors of an unpooled feature; what the offsets say is checked by the engine.
  static std::int64_t ids_of(const Arrays& arrays, std::size_t feature) {
    const std::int64_t at = static_cast<std::int64_t>(feature) * arrays.batch;
    if (!arrays.jagged) return arrays.batch;
    const bool narrow = arrays.offsets.itemsize() == 4;
    auto offset = [&](std::int64_t i) {
      return narrow ? std::int64_t{arrays.offsets.data<std::int32_t>()[i]} : arrays.offsets.data<std::int64_t>()[i];
    };
    // Unsigned, since they may be anything; the array's length is compared with it.
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(offset(at + arrays.batch)) -
                                     static_cast<std::uint64_t>(offset(at)));
  }

  std::int64_t dispatch(const Arrays& arrays, float* const* sequences, After after) {
    const Outcome outcome = arrays.values.itemsize() == 4 ? engine_run<std::int32_t>(arrays, sequences, after)
                                                          : engine_run<std::int64_t>(arrays, sequences, after);
    if (outcome.fault.kind != Fault::Kind::none) raise(outcome.fault, arrays.batch);
    return outcome.replaced;
  }

  template <class Index>
  Outcome engine_run(const Arrays& arrays, float* const* sequences, After after) {
    const Input<Index> input{.values = arrays.values.data<Index>(),
                             .length = arrays.values.size(),
                             .offsets = arrays.bag_offsets<Index>(),
                             .weights = arrays.weighted ? arrays.weights.data<float>() : nullptr,
                             .batch = arrays.batch,
                             // Concatenated vectors go straight to their columns.
                             .out = arrays.out.data<float>() + (arrays.joined ? joint_.first_dim : 0),
                             .out_stride = arrays.out.row_stride(),
                             .sequences = sequences,
                             .joint = arrays.joined ? &arrays.joint : nullptr};
    // Below this a call is over before another thread could use the time.
    if (input.length + input.batch < released_from) return bound_->engine.run(input, after);
    const std::shared_ptr<Bound> held = bound_;
    nb::gil_scoped_release released;
    return held->engine.run(input, after);
  }

  [[noreturn]] void raise(const Fault& fault, std::int64_t batch) const {
    const nb::object error = fault_(static_cast<std::int32_t>(fault.kind), fault.feature, fault.position, fault.found,
                                    fault.limit, batch);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    throw nb::python_error();
  }

  template <class Body>
  auto guarded(Body body) -> decltype(body()) {
    try {
      return body();
    } catch (const ArrayError& error) {
      const nb::object made = malformed_(error.what());
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
      throw nb::python_error();
    }
  }

  static constexpr std::int64_t released_from = 1024;

  std::int64_t width_;
  Shape joint_;
  bool unpooled_ = false;
  std::int64_t replaced_ = 0;
  Outputs outputs_, joined_;
  nb::object fault_, malformed_;
  std::shared_ptr<Bound> bound_;
};

void bind_arena(nb::module_& m) {
  using engine::Arena;
  nb::class_<Arena>(m, "Arena", "Memory for tables: zeros until written to.")
      .def("__init__",
           [](Arena* self, std::size_t bytes, bool huge) {
             new (self) Arena(bytes, huge ? engine::Pages::huge : engine::Pages::small);
           },
           nb::arg("bytes"), nb::kw_only(), nb::arg("huge"))
      .def_prop_ro("address", [](const Arena& self) { return reinterpret_cast<std::uintptr_t>(self.data()); })
      .def_prop_ro("bytes", &Arena::bytes)
      .def("huge_bytes", &Arena::huge_bytes, "Bytes that are on huge pages now.")
      .def("place", &Arena::place, nb::arg("offset"), nb::arg("bytes"), nb::arg("node"),
           "Asks for a part to lie on a NUMA node (negative: spread); whether the system agreed.")
      .def(
          "copy",
          [](Arena& self, std::size_t offset, std::size_t stride, std::uintptr_t source, std::size_t source_stride,
             std::size_t row_bytes, std::size_t rows, int threads) {
            if (rows > 0 && (row_bytes > stride || offset > self.bytes() ||
                             (rows - 1) * stride + row_bytes > self.bytes() - offset)) {
              throw nb::value_error("the rows do not fit in the arena");
            }
            nb::gil_scoped_release released;
            self.copy(offset, stride, reinterpret_cast<const std::byte*>(source), source_stride, row_bytes, rows,
                      threads);
          },
          nb::arg("offset"), nb::arg("stride"), nb::arg("source"), nb::arg("source_stride"), nb::arg("row_bytes"),
          nb::arg("rows"), nb::arg("threads"), "Copies rows that lie at address `source`.");
}

}  // namespace

void bind_engine(nb::module_& m) {
  bind_arena(m);
  m.def("allowed_processors", &engine::allowed_processors, "Processors that this thread may run on.");
  m.def("quota_processors", &engine::quota_processors, "Processors' worth of time that the control group grants.");
  nb::class_<Executor>(m, "Engine", "A plan bound to memory.")
      .def(nb::init<const std::string&, const std::vector<TableArgs>&, const std::vector<FeatureArgs>&,
                    const std::vector<BucketArgs>&, std::vector<int>, std::int64_t, std::optional<JointArgs>, nb::object,
                    nb::object, nb::object>(),
           nb::arg("target"), nb::arg("tables"), nb::arg("features"), nb::arg("buckets"), nb::arg("processors"),
           nb::arg("width"), nb::arg("joint").none(), nb::arg("memory"), nb::arg("fault"), nb::arg("malformed"))
      .def("lookup", &Executor::lookup, nb::arg("values").none(), nb::arg("offsets") = nb::none(),
           nb::arg("weights") = nb::none(), nb::arg("out") = nb::none(),
           "Pooled vectors [B, width] of the ids; `out` is written to when given.")
      .def("run", &Executor::run, nb::arg("values").none(), nb::arg("offsets").none(),
           nb::arg("weights").none(), nb::arg("batch"), nb::arg("out").none(), nb::arg("sequences").none(), nb::arg("rest"),
           "Looks ids up into `out` and `sequences`: (pooled, ids replaced). `rest` sends the threads to sleep.")
      .def("interact", &Executor::interact, nb::arg("values").none(), nb::arg("offsets") = nb::none(),
           nb::arg("weights") = nb::none(), nb::arg("bottom") = nb::none(), nb::arg("out") = nb::none(),
           "Pooled vectors joined with the rows of `bottom`; `out` is written to when given.")
      .def("join", &Executor::join, nb::arg("values").none(), nb::arg("offsets").none(), nb::arg("weights").none(),
           nb::arg("batch"), nb::arg("bottom").none(), nb::arg("out").none(), nb::arg("sequences").none(), nb::arg("rest"),
           "The same: (joined, ids replaced). `rest` sends the threads to sleep.")
      .def("close", &Executor::close, "Gives back threads and memory.")
      .def_prop_ro("replaced", &Executor::replaced, "Ids that calls of `lookup` have replaced so far.")
      .def_prop_ro("threads", &Executor::threads)
      .def_prop_ro("target", &Executor::target);
}

}  // namespace recsmith
