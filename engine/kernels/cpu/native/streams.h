// Sums over vectors that stand beside each other: residual streams, experts' outputs, heads.
#pragma once

#include <cstdint>

namespace rh {

struct StreamKernels {
  // out[i] = sum over j of factors[j] * vectors[j * size + i].
  void (*mix)(const float* vectors, const float* factors, int64_t count, int64_t size, float* out);

  // out[i] = stream[i] + factor * (x[i] - first[i]).
  void (*correct)(const float* stream, const float* x, const float* first, float factor, int64_t size, float* out);

  // sum of x[i] * y[i] * z[i], or of x[i] * y[i] where z is null.
  float (*dot)(const float* x, const float* y, const float* z, int64_t size);

  // out[i] = x[i] * factor.
  void (*scale)(const float* x, float factor, int64_t size, float* out);

  // out[i] = x[i] + y[i].
  void (*add)(const float* x, const float* y, int64_t size, float* out);
};

namespace portable {
StreamKernels stream_kernels();
}
namespace avx2 {
StreamKernels stream_kernels();
}
namespace avx512 {
StreamKernels stream_kernels();
}

}  // namespace rh
