#include "norms.h"

namespace rh::avx2 {
#include "vector_math.inc"
#include "norms.inc"
}  // namespace rh::avx2
