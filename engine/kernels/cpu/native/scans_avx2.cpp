#include <cstring>

#include "scans.h"

namespace rh::avx2 {
constexpr int kLanes = 8;
#include "vectors.inc"

#include "scans.inc"
}  // namespace rh::avx2
