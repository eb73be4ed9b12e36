#include <cmath>
#include <cstring>

#include "sampling.h"

namespace rh::avx2 {
#include "sampling.inc"
}  // namespace rh::avx2
