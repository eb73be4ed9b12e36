#include <cstring>

#include "streams.h"

namespace rh::avx2 {
#include "vectors.inc"

#include "streams.inc"
}  // namespace rh::avx2
