#include "paged_attention.h"

namespace rh::avx2 {
#include "vector_math.inc"

#include "paged_attention.inc"
}  // namespace rh::avx2
