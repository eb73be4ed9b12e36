#include "norms.h"

namespace rh::portable {
#include "vectors.inc"
#include "norms.inc"
}  // namespace rh::portable
