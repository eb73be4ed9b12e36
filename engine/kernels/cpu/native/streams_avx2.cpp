#include <cstring>

#include "streams.h"

namespace rh::avx2 {
constexpr int kLanes = 8;
#include "vectors.inc"

#include "streams.inc"
}  // namespace rh::avx2
