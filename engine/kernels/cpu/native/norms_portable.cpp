#include "norms.h"

namespace rh::portable {
#include "vector_math.inc"
#include "norms.inc"
}  // namespace rh::portable
