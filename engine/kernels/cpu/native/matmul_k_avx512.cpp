#include "matmul_codes_avx512.h"

namespace rh {

Kernel kernel_of_k_avx512(Format weight, int index) {
  switch (weight) {
    case Format::tiled_q4_k: return codes_kernel<Format::tiled_q4_k>(index);
    case Format::tiled_q5_k: return codes_kernel<Format::tiled_q5_k>(index);
    case Format::tiled_q6_k: return codes_kernel<Format::tiled_q6_k>(index);
    case Format::tiled_q2_k: return codes_kernel<Format::tiled_q2_k>(index);
    case Format::tiled_q3_k: return codes_kernel<Format::tiled_q3_k>(index);
    case Format::tiled_iq4_xs: return codes_kernel<Format::tiled_iq4_xs>(index);
    default: return nullptr;
  }
}

}  // namespace rh
