// What runs over the values of elementwise operations.
#pragma once

#include <cstdint>

namespace rh {

enum class Pointwise {
  add,
  scale,
  mul,
  silu_mul,
  gelu_tanh_mul,
  clamped_swiglu,
  sigmoid_mul,
  silu,
  gelu,
  gelu_tanh,
  relu_squared,
  sigmoid,
  tanh,
  exp,
  lerp,
  clamp,
  softcap,
  log_decay,  // z softplus(x + y)
};

// out[i] of x[i], y[i] and z[i], as far as it has those, and the numbers a and b.
using PointwiseKernel = void (*)(const float* x, const float* y, const float* z, float* out, int64_t count, float a,
                               float b);

namespace portable {
PointwiseKernel pointwise_kernel(Pointwise which);
}
namespace avx2 {
PointwiseKernel pointwise_kernel(Pointwise which);
}
namespace avx512 {
PointwiseKernel pointwise_kernel(Pointwise which);
}

}  // namespace rh
