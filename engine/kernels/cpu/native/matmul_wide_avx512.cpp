#include "matmul_codes_avx512.h"

namespace rh {

Kernel kernel_of_wide_avx512(Format weight, int index) {
  switch (weight) {
    case Format::tiled_i4_32: return codes_kernel<Format::tiled_i4_32>(index);
    case Format::tiled_i4_128: return codes_kernel<Format::tiled_i4_128>(index);
    case Format::tiled_i8_32: return codes_kernel<Format::tiled_i8_32>(index);
    case Format::tiled_i8_128: return codes_kernel<Format::tiled_i8_128>(index);
    default: return nullptr;
  }
}

}  // namespace rh
