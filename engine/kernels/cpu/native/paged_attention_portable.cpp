#include "paged_attention.h"

namespace rh::portable {
#include "vector_math.inc"

#include "paged_attention.inc"
}  // namespace rh::portable
