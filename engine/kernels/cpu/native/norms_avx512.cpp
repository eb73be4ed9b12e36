#include "norms.h"

namespace rh::avx512 {
#include "vector_math.inc"
#include "norms.inc"
}  // namespace rh::avx512
