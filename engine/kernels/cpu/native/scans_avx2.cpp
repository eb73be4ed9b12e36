#include <cstring>

#include "scans.h"

namespace rh::avx2 {
#include "vectors.inc"

#include "scans.inc"
}  // namespace rh::avx2
