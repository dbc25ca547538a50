// Deep hash embedding: codes of ids, and the slots of finished rows.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bind/areas.hpp"
#include "bind/team.hpp"
#include "dhe/call.hpp"
#include "dhe/slots.hpp"
#include "lookup/target.hpp"

namespace nb = nanobind;

namespace recsmith {
namespace {

template <class T>
using Array = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

[[noreturn]] void fail(const std::string& problem) { throw nb::value_error(("[dhe] " + problem).c_str()); }

Encoder find_encoder(const std::string& name) {
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t i = 0; i < count; ++i) {
    if (name == all[i]->name && all[i]->supported()) return all[i]->encode;
  }
  fail("there is no target '" + name + "' here.");
}

// Each part a run of ids.
void encode_with(Encoder encoder, const Encode& call, std::int64_t threads) {
  constexpr std::int64_t hashes_worth_a_thread = 1 << 16;
  const std::int64_t useful = std::max<std::int64_t>(1, call.count * call.k / hashes_worth_a_thread);
  const std::int64_t parts = std::min(threads, useful);
  const std::int64_t element = call.type == CodeType::fp32 ? 4 : 2;
  in_parts(parts, [&](std::int64_t i) {
    const std::int64_t start = call.count * i / parts, stop = call.count * (i + 1) / parts;
    Encode own = call;
    own.ids += start;
    own.count = stop - start;
    own.out = static_cast<char*>(call.out) + start * call.k * element;
    encoder(own);
  });
}

template <class Code>
void encode(const std::string& target, const Array<std::int64_t>& ids, const Array<std::int64_t>& a,
            const Array<std::int64_t>& b, std::int64_t prime, std::int64_t buckets, const Matrix<Code>& out,
            const std::optional<Matrix<const float>>& tables, std::int64_t threads) {
  Encode call{};
  call.ids = ids.data();
  call.count = static_cast<std::int64_t>(ids.size());
  call.k = static_cast<std::int64_t>(a.size());
  if (b.size() != a.size() || call.k < 1) fail("a and b must be of one length.");
  if (prime < 2 || buckets < 2 || buckets > prime || prime > std::int64_t{1} << 62) fail("prime or buckets is off.");
  if (static_cast<std::int64_t>(out.shape(0)) != call.count || static_cast<std::int64_t>(out.shape(1)) != call.k) {
    fail("out must be [ids, k].");
  }
  for (std::int64_t i = 0; i < call.count; ++i) {
    if (call.ids[i] < 0) fail("an id is negative.");
  }
  call.a = a.data();
  call.b = b.data();
  for (std::int64_t j = 0; j < call.k; ++j) {
    if (call.a[j] < 0 || call.a[j] >= prime || call.b[j] < 0 || call.b[j] >= prime) fail("a or b is off the prime.");
  }
  call.prime = prime;
  call.buckets = buckets;
  call.transform = tables ? Transform::gaussian : Transform::uniform;
  if (tables) {
    if (tables->shape(0) != 3 || static_cast<std::int64_t>(tables->shape(1)) != buckets || call.k % 2 != 0) {
      fail("tables must be [3, buckets], and k even.");
    }
    call.radius = tables->data();
    call.cosine = call.radius + buckets;
    call.sine = call.cosine + buckets;
  }
  call.type = sizeof(Code) == 4 ? CodeType::fp32 : CodeType::bf16;
  call.out = out.data();
  const Encoder encoder = find_encoder(target);
  nb::gil_scoped_release released;
  encode_with(encoder, call, threads);
}

// Slots 0, 1, ... + first for `ids`, in order.
Slots slots_of(const Array<std::int64_t>& ids, std::int64_t first) {
  Slots made(static_cast<std::int64_t>(ids.size()));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids.data()[i] < 0) fail("an id is negative.");
    made.find_or_add(ids.data()[i], first + static_cast<std::int64_t>(i));
  }
  return made;
}

template <class Index>
nb::tuple resolve_ids(const Slots& hot, const Array<Index>& ids, std::int64_t first,
                      const nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>& slots,
                      const nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>& missing) {
  const auto count = static_cast<std::int64_t>(ids.size());
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids.data()[i] < 0) fail("an id is negative.");
  }
  if (slots.size() < ids.size() || missing.size() < ids.size()) fail("slots and missing must be as long as ids.");
  std::int64_t hits = 0, found = 0;
  {
    nb::gil_scoped_release released;
    thread_local Slots fresh(0);
    fresh.clear(count);
    found = resolve(hot, fresh, ids.data(), count, first, slots.data(), missing.data(), hits);
  }
  return nb::make_tuple(found, hits);
}

}  // namespace

void bind_dhe(nb::module_& m) {
  m.def("encode", &encode<float>, nb::arg("target"), nb::arg("ids"), nb::arg("a"), nb::arg("b"), nb::arg("prime"),
        nb::arg("buckets"), nb::arg("out"), nb::arg("tables").none() = nb::none(), nb::arg("threads") = 1,
        "Writes the codes of ids to out [ids, k]: float32, or bits of bfloat16 (uint16). Gaussian with tables.");
  m.def("encode", &encode<std::uint16_t>, nb::arg("target"), nb::arg("ids"), nb::arg("a"), nb::arg("b"),
        nb::arg("prime"), nb::arg("buckets"), nb::arg("out"), nb::arg("tables").none() = nb::none(),
        nb::arg("threads") = 1);
  nb::class_<Slots>(m, "Slots", "Which ids have a finished row, and in which slot.")
      .def("__init__",
           [](Slots* self, const Array<std::int64_t>& ids, std::int64_t first) {
             new (self) Slots(slots_of(ids, first));
           },
           nb::arg("ids"), nb::arg("first") = 0)
      .def("__len__", &Slots::size)
      .def("resolve", &resolve_ids<std::int64_t>, nb::arg("ids"), nb::arg("first"), nb::arg("slots"),
           nb::arg("missing"),
           "Writes each id's slot and, once each, the ids that had none and get the next from `first` on; returns how "
           "many these are and how many ids were found.")
      .def("resolve", &resolve_ids<std::int32_t>, nb::arg("ids"), nb::arg("first"), nb::arg("slots"),
           nb::arg("missing"));
}

}  // namespace recsmith
