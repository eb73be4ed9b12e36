#include "streams.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu_features.h"
#include "op.h"
#include "parts.h"

namespace rh {
namespace {

constexpr double kNanosecondsPerValue = 0.3;
constexpr float kMinMeanSquare = 1e-5f;  // as `engine.kernels.reference_streams` has it

StreamKernels kernels() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::stream_kernels();
  if (isa() == Isa::avx2) return avx2::stream_kernels();
#endif
  return portable::stream_kernels();
}

float* out_of(const Call& call) { return static_cast<float*>(call.out.data); }

// f(row) for all rows, of so many values each.
template <typename F>
void each_row(const Call& call, int64_t width, const F& f) {
  const double nanoseconds = kNanosecondsPerValue * static_cast<double>(width);
  over_parts_of(call, call.out.rows, nanoseconds, [&](int64_t row, int) { f(row); });
}

void run_combine_experts(const Call& call) {
  const Operand &outputs = call.in[0], &weights = call.in[1];
  const int64_t count = weights.width, size = outputs.width / count;
  const StreamKernels kernel = kernels();
  each_row(call, outputs.width, [&](int64_t row) {
    const float *own = outputs.f32() + row * outputs.width, *factors = weights.f32() + row * count;
    kernel.mix(own, factors, count, size, out_of(call) + row * size);
  });
}
// outputs (T, k * n), weights (T, k) -> (T, n).
RH_OP(combine_experts, run_combine_experts);

void run_match_rms(const Call& call) {
  const Operand &x = call.in[0], &target = call.in[1];
  const int64_t size = target.width, count = x.width / size;
  const StreamKernels kernel = kernels();
  each_row(call, 2 * x.width, [&](int64_t row) {
    const float share = 1.0f / static_cast<float>(size);
    const float* like = target.f32() + row * size;
    const float wanted = kernel.dot(like, like, nullptr, size) * share;
    for (int64_t i = row * count; i < (row + 1) * count; ++i) {
      const float* own = x.f32() + i * size;
      const float found = kernel.dot(own, own, nullptr, size) * share;
      const float factor = std::sqrt(wanted / (found < kMinMeanSquare ? kMinMeanSquare : found));
      kernel.scale(own, factor, size, out_of(call) + i * size);
    }
  });
}
// x (T, k * n), target (T, n) -> (T, k * n).
RH_OP(match_rms, run_match_rms);

void run_mix_streams(const Call& call) {
  const Operand &streams = call.in[0], &coefficients = call.in[1];
  const int64_t count = static_cast<int64_t>(call.settings[0]), size = streams.width / count;
  const StreamKernels kernel = kernels();
  const int64_t squared = count * count;
  float* factors = call.workspace.shared<float>(static_cast<size_t>(streams.rows * squared));
  std::memcpy(factors, coefficients.f32(), static_cast<size_t>(streams.rows * squared) * sizeof(float));
  for (int64_t row = 0; row < streams.rows; ++row) {
    for (int64_t j = 0; j < count; ++j) factors[row * squared + j * (count + 1)] += 1;  // itself
  }
  each_row(call, count * streams.width, [&](int64_t row) {
    const float* own = streams.f32() + row * streams.width;
    for (int64_t j = 0; j < count; ++j) {
      kernel.mix(own, factors + row * squared + j * count, count, size, out_of(call) + row * streams.width + j * size);
    }
  });
}
// streams (T, k * n), coefficients (T, k * k) -> (T, k * n). Settings: k.
RH_OP(mix_streams, run_mix_streams);

void run_correct_streams(const Call& call) {
  const Operand &streams = call.in[0], &x = call.in[1], &coefficients = call.in[2];
  const int64_t size = x.width, count = streams.width / size;
  const StreamKernels kernel = kernels();
  each_row(call, streams.width, [&](int64_t row) {
    const float* first = streams.f32() + row * streams.width;
    for (int64_t j = 0; j < count; ++j) {
      const float factor = 1 + coefficients.f32()[row * count + j];
      kernel.correct(first + j * size, x.f32() + row * size, first, factor, size,
                     out_of(call) + row * streams.width + j * size);
    }
  });
}
// streams (T, k * n), x (T, n), coefficients (T, k) -> (T, k * n).
RH_OP(correct_streams, run_correct_streams);

void run_add_to_later(const Call& call) {
  const Operand &streams = call.in[0], &x = call.in[1];
  const int64_t size = x.width, count = streams.width / size;
  const StreamKernels kernel = kernels();
  each_row(call, streams.width, [&](int64_t row) {
    const float* own = streams.f32() + row * streams.width;
    float* to = out_of(call) + row * streams.width;
    std::memcpy(to, own, static_cast<size_t>(size) * sizeof(float));
    for (int64_t j = 1; j < count; ++j) kernel.add(own + j * size, x.f32() + row * size, size, to + j * size);
  });
}
// streams (T, k * n), x (T, n) -> (T, k * n).
RH_OP(add_to_later, run_add_to_later);

void run_select_stream(const Call& call) {
  const Operand& streams = call.in[0];
  const int64_t size = call.out.width, index = static_cast<int64_t>(call.settings[0]);
  each_row(call, size, [&](int64_t row) {
    std::memcpy(out_of(call) + row * size, streams.f32() + row * streams.width + index * size,
                static_cast<size_t>(size) * sizeof(float));
  });
}
// streams (T, k * n) -> (T, n). Settings: index.
RH_OP(select_stream, run_select_stream);

void run_rwkv7_bonus(const Call& call) {
  const Operand &r = call.in[0], &v = call.in[2];
  const int64_t heads = static_cast<int64_t>(call.settings[0]);
  const int64_t keys = r.width / heads, values = v.width / heads;
  const StreamKernels kernel = kernels();
  each_row(call, r.width + v.width, [&](int64_t row) {
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t at = row * r.width + head * keys, to = row * v.width + head * values;
      const float said = kernel.dot(r.f32() + at, call.in[1].f32() + at, call.in[3].f32() + head * keys, keys);
      kernel.scale(v.f32() + to, said, values, out_of(call) + to);
    }
  });
}
// r, k (T, H * dk), v (T, H * dv), factors (H, dk) -> (T, H * dv). Settings: H.
RH_OP(rwkv7_bonus, run_rwkv7_bonus);

}  // namespace
}  // namespace rh
