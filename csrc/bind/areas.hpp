// One function a file of this folder: what it adds to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace recsmith {

void bind_calibration(nanobind::module_& m);
void bind_dhe(nanobind::module_& m);
void bind_kernels(nanobind::module_& m);
void bind_engine(nanobind::module_& m);

}  // namespace recsmith
