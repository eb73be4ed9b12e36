#include <cmath>
#include <cstring>

#include "sampling.h"

namespace rh::avx512 {
#include "sampling.inc"
}  // namespace rh::avx512
