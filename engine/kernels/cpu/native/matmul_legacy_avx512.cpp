#include "matmul_codes_avx512.h"

namespace rh {

Kernel kernel_of_legacy_avx512(Format weight, int index) {
  switch (weight) {
    case Format::tiled_q8_0: return codes_kernel<Format::tiled_q8_0>(index);
    case Format::tiled_q4_0: return codes_kernel<Format::tiled_q4_0>(index);
    case Format::tiled_q4_1: return codes_kernel<Format::tiled_q4_1>(index);
    case Format::tiled_q5_0: return codes_kernel<Format::tiled_q5_0>(index);
    case Format::tiled_q5_1: return codes_kernel<Format::tiled_q5_1>(index);
    case Format::tiled_iq4_nl: return codes_kernel<Format::tiled_iq4_nl>(index);
    case Format::tiled_mxfp4: return codes_kernel<Format::tiled_mxfp4>(index);
    default: return nullptr;
  }
}

}  // namespace rh
