#include "bind/areas.hpp"

NB_MODULE(_native, m) {
  m.doc() = "Native parts of recsmith: kernels, engine, calibration.";
  recsmith::bind_kernels(m);
  recsmith::bind_engine(m);
  recsmith::bind_calibration(m);
  recsmith::bind_dhe(m);
}
