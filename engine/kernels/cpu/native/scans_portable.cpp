#include <cstring>

#include "scans.h"

namespace rh::portable {
#include "vectors.inc"

#include "scans.inc"
}  // namespace rh::portable
