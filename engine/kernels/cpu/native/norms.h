// Kernels of norms and of rotations, each over one vector, for each instruction set.
#pragma once

#include <cstdint>

namespace rh {

struct NormKernels {
  // x * factor * weight, factor = 1 / sqrt(sum(x^2) / divisor + eps); weight may be null.
  void (*rms)(const float* x, const float* weight, float* out, int64_t width, float divisor, float eps);
  void (*layer)(const float* x, const float* weight, const float* bias, float* out, int64_t width, float eps);
  // relu(x - mean - deviations * deviation)
  void (*sparsify)(const float* x, float* out, int64_t width, float deviations);
  float (*mean_square)(const float* x, int64_t width);
  // Pairs (i, i + half) of `width` values by the angles of cos and sin (half,); the rest is copied.
  void (*rotate)(const float* x, const float* cos, const float* sin, float* out, int64_t half, int64_t width);
  // To bfloat16.
  void (*narrow)(const float* x, uint16_t* out, int64_t count);
};

namespace portable {
NormKernels norm_kernels();
}
namespace avx2 {
NormKernels norm_kernels();
}
namespace avx512 {
NormKernels norm_kernels();
}

// Of the instruction set in use.
const NormKernels& norms();

}  // namespace rh
