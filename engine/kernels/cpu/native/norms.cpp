// Norms. Settings are in braces; n, the size of the axis that is normed, is by default the weight's
// width, or where there is none x's.
#include "norms.h"

#include "cpu_features.h"
#include "op.h"
#include "ranges.h"

namespace rh {

const NormKernels& norms() {
  static const NormKernels portable = portable::norm_kernels();
#if defined(__x86_64__)
  static const NormKernels avx2 = avx2::norm_kernels();
  static const NormKernels avx512 = avx512::norm_kernels();
  if (isa() == Isa::avx512) return avx512;
  if (isa() == Isa::avx2) return avx2;
#endif
  return portable;
}

namespace {

constexpr double kNanoseconds = 0.3;  // of one value

int64_t axis_of(const Call& call, int setting) {
  if (setting < call.num_settings && call.settings[setting] > 0) return static_cast<int64_t>(call.settings[setting]);
  return call.num_in > 1 && call.in[1] ? call.in[1].width : call.in[0].width;
}

// f(index, x, out) of each vector of n values.
template <typename F>
void for_vectors(const Call& call, int64_t n, const F& f) {
  const float* x = call.in[0].f32();
  float* out = static_cast<float*>(call.out.data);
  const int64_t count = call.in[0].rows * call.in[0].width / n;
  in_ranges(call.pool, count, kNanoseconds * static_cast<double>(n), [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) f(index, x + index * n, out + index * n);
  });
}

// Inputs: x, weight. Settings: {eps, n}.
void run_rms_norm(const Call& call) {
  const int64_t n = axis_of(call, 1);
  const float* weight = call.in[1].f32();
  const float eps = static_cast<float>(call.settings[0]);
  for_vectors(call, n, [&](int64_t, const float* x, float* out) {
    norms().rms(x, weight, out, n, static_cast<float>(n), eps);
  });
}

// Inputs: x. Settings: {eps, n}.
void run_l2_norm(const Call& call) {
  const int64_t n = axis_of(call, 1);
  const float eps = static_cast<float>(call.settings[0]);
  for_vectors(call, n, [&](int64_t, const float* x, float* out) { norms().rms(x, nullptr, out, n, 1.0f, eps); });
}

// Inputs: x, weight, bias, both of one row or of one for each head. Settings: {eps, n}.
void run_layer_norm(const Call& call) {
  const int64_t n = axis_of(call, 1);
  const Operand &weight = call.in[1], &bias = call.in[2];
  const float eps = static_cast<float>(call.settings[0]);
  for_vectors(call, n, [&](int64_t index, const float* x, float* out) {
    const float* factors = weight ? weight.f32() + index % weight.rows * n : nullptr;
    norms().layer(x, factors, bias ? bias.f32() + index % bias.rows * n : nullptr, out, n, eps);
  });
}

// Inputs: x. Settings: {deviations}.
void run_sparsify(const Call& call) {
  const int64_t n = call.in[0].width;
  const float deviations = static_cast<float>(call.settings[0]);
  for_vectors(call, n, [&](int64_t, const float* x, float* out) { norms().sparsify(x, out, n, deviations); });
}

RH_OP(rms_norm, run_rms_norm);
RH_OP(l2_norm, run_l2_norm);
RH_OP(layer_norm, run_layer_norm);
RH_OP(sparsify, run_sparsify);

}  // namespace
}  // namespace rh
