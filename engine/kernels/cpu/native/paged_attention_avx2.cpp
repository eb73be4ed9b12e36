#include <immintrin.h>

#include "paged_attention.h"

namespace rh::avx2 {
#include "vectors.inc"

#include "paged_attention.inc"
}  // namespace rh::avx2
