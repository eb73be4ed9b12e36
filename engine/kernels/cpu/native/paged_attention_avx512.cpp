#include <immintrin.h>

#include "paged_attention.h"

namespace rh::avx512 {
#include "vectors.inc"

#include "paged_attention.inc"
}  // namespace rh::avx512
