#include <cstring>

#include "pointwise.h"

namespace rh::portable {
#include "vectors.inc"

#include "pointwise.inc"
}  // namespace rh::portable
