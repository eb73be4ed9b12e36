#include <cstring>

#include "pointwise.h"

namespace rh::avx2 {
#include "vectors.inc"

#include "pointwise.inc"
}  // namespace rh::avx2
