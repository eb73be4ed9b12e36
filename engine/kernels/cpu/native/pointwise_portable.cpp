#include <cstring>

#include "pointwise.h"

namespace rh::portable {
constexpr int kLanes = 4;
#include "vectors.inc"

#include "pointwise.inc"
}  // namespace rh::portable
