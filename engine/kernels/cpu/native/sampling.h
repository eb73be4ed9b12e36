// Choosing a token of each row of logits: what runs over all of a row.
#pragma once

#include <cstdint>

namespace rh {

struct SamplingKernels {
  // The greatest of a row; a NaN is passed over.
  float (*most)(const float* logits, int64_t width);

  // Whether all of a row are finite.
  bool (*is_sound)(const float* logits, int64_t width);

  // weights[i] = e ** ((logits[i] - best) / temperature); gives their sum.
  double (*weigh)(const float* logits, int64_t width, float best, float temperature, float* weights);
};

namespace portable {
SamplingKernels sampling_kernels();
}
namespace avx2 {
SamplingKernels sampling_kernels();
}
namespace avx512 {
SamplingKernels sampling_kernels();
}

}  // namespace rh
