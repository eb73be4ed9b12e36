#include <cstring>

#include "streams.h"

namespace rh::portable {
constexpr int kLanes = 4;
#include "vectors.inc"

#include "streams.inc"
}  // namespace rh::portable
