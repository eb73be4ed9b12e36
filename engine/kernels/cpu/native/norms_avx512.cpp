#include "norms.h"

namespace rh::avx512 {
#include "vectors.inc"
#include "norms.inc"
}  // namespace rh::avx512
