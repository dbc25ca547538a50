#include "simd/neon.hpp"

#include "isa/list.hpp"
#include "lookup/menu.hpp"

namespace recsmith {

namespace {
bool supported() { return true; }  // part of the base of aarch64
}  // namespace

extern constexpr Target neon_target = target<simd::Neon>("neon", supported);

}  // namespace recsmith
