#include <cstring>

#include "scans.h"

namespace rh::avx512 {
#include "vectors.inc"

#include "scans.inc"
}  // namespace rh::avx512
