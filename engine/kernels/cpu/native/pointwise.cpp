// Elementwise operations: values are shared out in runs, or in rows where an operand is one row that is
// met by all.
#include "pointwise.h"

#include <algorithm>

#include "cpu_features.h"
#include "op.h"

namespace rh {
namespace {

PointwiseKernel kernel_of(Pointwise which) {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::pointwise_kernel(which);
  if (isa() == Isa::avx2) return avx2::pointwise_kernel(which);
#endif
  return portable::pointwise_kernel(which);
}

// Values of a chunk: several microseconds of work, whatever is done to them.
constexpr int64_t kRun = 16384;

float* out_of(const Call& call) { return static_cast<float*>(call.out.data); }

float setting(const Call& call, int index) { return static_cast<float>(call.settings[index]); }

// f(begin, end) over all of `count`, at least `least` of them in a chunk.
template <typename F>
void in_runs(const Call& call, int64_t count, int64_t least, const F& f) {
  if (count <= 2 * least) return f(int64_t{0}, count);
  const int64_t chunks = (count + least - 1) / least;
  call.pool.parallel(chunks, [&](int64_t chunk, int) {
    f(chunk * least, std::min(count, (chunk + 1) * least));
  });
}

// f(begin, end) over rows of so many values.
template <typename F>
void in_rows(const Call& call, int64_t rows, int64_t width, const F& f) {
  in_runs(call, rows, std::max<int64_t>(1, kRun / std::max<int64_t>(width, 1)), f);
}

struct Side {
  const float* data;
  bool is_one_row;
};

const float* at(const Side& side, int64_t row, int64_t width) {
  return side.data == nullptr || side.is_one_row ? side.data : side.data + row * width;
}

// A side of one row beside several goes with each of them.
Side side_of(const Call& call, int index) {
  if (index >= call.num_in || !call.in[index]) return {nullptr, false};
  return {call.in[index].f32(), call.in[index].rows == 1 && call.in[0].rows > 1};
}

void run_over_values(const Call& call, Pointwise which, float a, float b) {
  const PointwiseKernel kernel = kernel_of(which);
  const int64_t rows = call.in[0].rows, width = call.in[0].width;
  const float* x = call.in[0].f32();
  const Side y = side_of(call, 1), z = side_of(call, 2);
  float* out = out_of(call);
  if (!y.is_one_row && !z.is_one_row) {
    return in_runs(call, rows * width, kRun, [&](int64_t i, int64_t end) {
      kernel(x + i, y.data ? y.data + i : nullptr, z.data ? z.data + i : nullptr, out + i, end - i, a, b);
    });
  }
  in_rows(call, rows, width, [&](int64_t row, int64_t end) {
    for (; row < end; ++row) {
      kernel(x + row * width, at(y, row, width), at(z, row, width), out + row * width, width, a, b);
    }
  });
}

template <Pointwise which>
void run_plain(const Call& call) {
  const float a = call.num_settings > 0 ? setting(call, 0) : 0.0f;
  const float b = call.num_settings > 1 ? setting(call, 1) : 0.0f;
  run_over_values(call, which, a, b);
}

// x (T, n), y (T, n) or (n,) -> (T, n).
constexpr auto run_add = run_plain<Pointwise::add>;
RH_OP(add, run_add);

// x. Settings: factor.
constexpr auto run_scale = run_plain<Pointwise::scale>;
RH_OP(scale, run_scale);

// gate, up.
constexpr auto run_silu_mul = run_plain<Pointwise::silu_mul>;
RH_OP(silu_mul, run_silu_mul);

// gate, up.
constexpr auto run_gelu_tanh_mul = run_plain<Pointwise::gelu_tanh_mul>;
RH_OP(gelu_tanh_mul, run_gelu_tanh_mul);

// gate, up. Settings: alpha, limit.
constexpr auto run_clamped_swiglu = run_plain<Pointwise::clamped_swiglu>;
RH_OP(clamped_swiglu, run_clamped_swiglu);

constexpr auto run_silu = run_plain<Pointwise::silu>;
RH_OP(silu, run_silu);

constexpr auto run_gelu = run_plain<Pointwise::gelu>;
RH_OP(gelu, run_gelu);

constexpr auto run_gelu_tanh = run_plain<Pointwise::gelu_tanh>;
RH_OP(gelu_tanh, run_gelu_tanh);

constexpr auto run_relu_squared = run_plain<Pointwise::relu_squared>;
RH_OP(relu_squared, run_relu_squared);

constexpr auto run_sigmoid = run_plain<Pointwise::sigmoid>;
RH_OP(sigmoid, run_sigmoid);

constexpr auto run_tanh = run_plain<Pointwise::tanh>;
RH_OP(tanh, run_tanh);

constexpr auto run_exp = run_plain<Pointwise::exp>;
RH_OP(exp, run_exp);

// x, y (T, n), factors (T, n) or (n,).
constexpr auto run_lerp = run_plain<Pointwise::lerp>;
RH_OP(lerp, run_lerp);

// x. Settings: limit.
constexpr auto run_clamp = run_plain<Pointwise::clamp>;
RH_OP(clamp, run_clamp);

// x. Settings: cap.
constexpr auto run_softcap = run_plain<Pointwise::softcap>;
RH_OP(softcap, run_softcap);

void run_mul(const Call& call) {
  const Operand& factors = call.in[1];
  if (factors.width != 1 || call.in[0].width == 1) return run_over_values(call, Pointwise::mul, 0, 0);
  const Call alone{call.pool, call.workspace, call.layout, call.in, 1, call.out, call.settings, call.num_settings};
  run_over_values(alone, Pointwise::scale, factors.f32()[0], 0);
}
// x (T, n), factors (T, n), (n,) or (1,).
RH_OP(mul, run_mul);

void run_sigmoid_mul(const Call& call) {
  const Operand &gate = call.in[0], &x = call.in[1];
  if (gate.width == x.width) return run_over_values(call, Pointwise::sigmoid_mul, 0, 0);
  const PointwiseKernel sigmoid = kernel_of(Pointwise::sigmoid), scale = kernel_of(Pointwise::scale);
  in_rows(call, x.rows, x.width, [&](int64_t row, int64_t end) {
    for (; row < end; ++row) {
      float factor;
      sigmoid(gate.f32() + row, nullptr, nullptr, &factor, 1, 0, 0);
      scale(x.f32() + row * x.width, nullptr, nullptr, out_of(call) + row * x.width, x.width, factor, 0);
    }
  });
}
// gate (T, n) or (T, 1), x (T, n).
RH_OP(sigmoid_mul, run_sigmoid_mul);

void run_log_decay(const Call& call) {
  const Operand &x = call.in[0], &factor = call.in[1], &bias = call.in[2];
  const int64_t per_head = x.width / factor.width;
  float* factors = call.workspace.shared<float>(static_cast<size_t>(x.width));
  for (int64_t head = 0; head < factor.width; ++head) {
    std::fill_n(factors + head * per_head, per_head, factor.f32()[head]);
  }
  const PointwiseKernel kernel = kernel_of(Pointwise::log_decay);
  in_rows(call, x.rows, x.width, [&](int64_t row, int64_t end) {
    for (; row < end; ++row) {
      kernel(x.f32() + row * x.width, bias.f32(), factors, out_of(call) + row * x.width, x.width, 0, 0);
    }
  });
}
// x (T, H * d), factor (H,), bias (H * d,).
RH_OP(log_decay, run_log_decay);

}  // namespace
}  // namespace rh
