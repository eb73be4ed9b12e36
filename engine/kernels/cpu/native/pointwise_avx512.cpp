#include <cstring>

#include "pointwise.h"

namespace rh::avx512 {
constexpr int kLanes = 16;
#include "vectors.inc"

#include "pointwise.inc"
}  // namespace rh::avx512
