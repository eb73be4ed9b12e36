#include <cmath>
#include <cstring>

#include "sampling.h"

namespace rh::portable {
#include "sampling.inc"
}  // namespace rh::portable
