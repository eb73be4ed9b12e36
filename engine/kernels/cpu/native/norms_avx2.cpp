#include "norms.h"

namespace rh::avx2 {
#include "vectors.inc"
#include "norms.inc"
}  // namespace rh::avx2
