#include <cstring>

#include "streams.h"

namespace rh::portable {
#include "vectors.inc"

#include "streams.inc"
}  // namespace rh::portable
