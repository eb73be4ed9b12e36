// Operations that move rows and columns as they are.
#include <algorithm>
#include <cstring>

#include "op.h"

namespace rh {
namespace {

constexpr int64_t kRun = 32768;  // values that a chunk moves, at least

// f(row) for each row of so many values.
template <typename F>
void each_row(const Call& call, int64_t rows, int64_t width, const F& f) {
  const int64_t least = std::max<int64_t>(1, kRun / std::max<int64_t>(width, 1));
  const auto some = [&](int64_t chunk, int) {
    for (int64_t row = chunk * least; row < std::min(rows, (chunk + 1) * least); ++row) f(row);
  };
  if (rows > 2 * least) return call.pool.parallel((rows + least - 1) / least, some);
  for (int64_t row = 0; row < rows; ++row) f(row);
}

void copy(float* to, const float* from, int64_t count) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

float* out_of(const Call& call) { return static_cast<float*>(call.out.data); }

int64_t setting(const Call& call, int index) { return static_cast<int64_t>(call.settings[index]); }

void run_select_columns(const Call& call) {
  const int64_t size = setting(call, 0), first = setting(call, 1), count = setting(call, 2) - first;
  const int64_t heads = call.in[0].width / size;
  each_row(call, call.in[0].rows, heads * count, [&](int64_t row) {
    const float* from = call.in[0].f32() + row * heads * size + first;
    float* to = out_of(call) + row * heads * count;
    for (int64_t head = 0; head < heads; ++head) copy(to + head * count, from + head * size, count);
  });
}
// x (T, H * d). Settings: d, first, last.
RH_OP(select_columns, run_select_columns);

void run_concat(const Call& call) {
  const int64_t left = setting(call, 0), right = setting(call, 1), both = left + right;
  const int64_t heads = call.in[0].width / left;
  each_row(call, call.in[0].rows, heads * both, [&](int64_t row) {
    const float* x = call.in[0].f32() + row * heads * left;
    const float* y = call.in[1].f32() + row * heads * right;
    float* to = out_of(call) + row * heads * both;
    for (int64_t head = 0; head < heads; ++head) {
      copy(to + head * both, x + head * left, left);
      copy(to + head * both + left, y + head * right, right);
    }
  });
}
// x (T, H * d), y (T, H * e). Settings: d, e.
RH_OP(concat, run_concat);

void run_select_rows(const Call& call) {
  const Operand &x = call.in[0], &rows = call.in[1];
  each_row(call, call.out.rows, x.width, [&](int64_t row) {
    copy(out_of(call) + row * x.width, x.f32() + rows.i64()[row] * x.width, x.width);
  });
}
// x (T, n), rows (R,) int64.
RH_OP(select_rows, run_select_rows);

void run_widen(const Call& call) {
  const Operand& x = call.in[0];
  each_row(call, x.rows, x.width, [&](int64_t row) {
    copy(out_of(call) + row * x.width, x.f32() + row * x.width, x.width);
  });
}
// x, which is float32 here already.
RH_OP(widen, run_widen);

void run_ids_below(const Call& call) {
  const int64_t limit = setting(call, 0), count = call.in[0].rows * call.in[0].width;
  auto* out = static_cast<int64_t*>(call.out.data);
  for (int64_t i = 0; i < count; ++i) out[i] = call.in[0].i64()[i] < limit ? call.in[0].i64()[i] : 0;
}
// token_ids int64. Settings: limit.
RH_OP(ids_below, run_ids_below);

void run_scale_by(const Call& call) {
  const int64_t count = call.in[0].rows * call.in[0].width;
  const float *x = call.in[0].f32(), *factors = call.in[1].f32();
  for (int64_t i = 0; i < count; ++i) out_of(call)[i] = x[i] * factors[call.in[2].i64()[i]];
}
// x (T, k), factors (n,), index (T, k) int64.
RH_OP(scale_by, run_scale_by);

}  // namespace
}  // namespace rh
