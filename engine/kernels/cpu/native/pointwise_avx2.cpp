#include <cstring>

#include "pointwise.h"

namespace rh::avx2 {
constexpr int kLanes = 8;
#include "vectors.inc"

#include "pointwise.inc"
}  // namespace rh::avx2
