#include <cstring>

#include "pointwise.h"

namespace rh::avx512 {
#include "vectors.inc"

#include "pointwise.inc"
}  // namespace rh::avx512
