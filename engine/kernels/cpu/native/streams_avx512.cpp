#include <cstring>

#include "streams.h"

namespace rh::avx512 {
#include "vectors.inc"

#include "streams.inc"
}  // namespace rh::avx512
