#include <cstring>

#include "scans.h"

namespace rh::portable {
constexpr int kLanes = 4;
#include "vectors.inc"

#include "scans.inc"
}  // namespace rh::portable
