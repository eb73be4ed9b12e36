#include "paged_attention.h"

namespace rh::portable {
#include "vectors.inc"

#include "paged_attention.inc"
}  // namespace rh::portable
