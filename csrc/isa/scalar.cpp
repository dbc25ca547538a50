#include "isa/list.hpp"
#include "lookup/menu.hpp"
#include "simd/scalar.hpp"

namespace recsmith {

namespace {
bool supported() { return true; }
}  // namespace

extern constexpr Target scalar_target = target<simd::Scalar>("scalar", supported);

}  // namespace recsmith
