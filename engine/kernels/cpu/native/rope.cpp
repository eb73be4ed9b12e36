// Positions. Settings are in braces.
#include <cmath>

#include "norms.h"
#include "op.h"
#include "ranges.h"

namespace rh {
namespace {

void fill_table(float position, const float* frequencies, int64_t n, float factor, float* table) {
  for (int64_t index = 0; index < n; ++index) {
    const float angle = position * frequencies[index];
    table[index] = std::cos(angle) * factor;
    table[n + index] = std::sin(angle) * factor;
  }
}

constexpr double kOfAngle = 20;  // nanoseconds

// Inputs: positions int64, inv_freq (n,). Settings: {factor}.
void run_rope_table(const Call& call) {
  const int64_t n = call.in[1].width;
  const float factor = static_cast<float>(call.settings[0]);
  float* out = static_cast<float*>(call.out.data);
  in_ranges(call.pool, call.out.rows, kOfAngle * static_cast<double>(n), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      fill_table(static_cast<float>(call.in[0].i64()[row]), call.in[1].f32(), n, factor, out + row * 2 * n);
    }
  });
}

// Inputs: positions, lengths int64, short, long (n,). Settings: {switch, factor of short, of long}.
void run_longrope_table(const Call& call) {
  const int64_t n = call.in[2].width, limit = static_cast<int64_t>(call.settings[0]);
  float* out = static_cast<float*>(call.out.data);
  in_ranges(call.pool, call.out.rows, kOfAngle * static_cast<double>(n), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const bool is_long = call.in[1].i64()[row] > limit;
      const float factor = static_cast<float>(call.settings[is_long ? 2 : 1]);
      const float position = static_cast<float>(call.in[0].i64()[row]);
      fill_table(position, call.in[is_long ? 3 : 2].f32(), n, factor, out + row * 2 * n);
    }
  });
}

// Inputs: x, table (T, 2 * n). Settings: {d}, the size of a head.
void run_rope(const Call& call) {
  const Operand &x = call.in[0], &table = call.in[1];
  const int64_t d = static_cast<int64_t>(call.settings[0]), half = table.width / 2;
  float* out = static_cast<float*>(call.out.data);
  in_ranges(call.pool, x.rows, 0.4 * static_cast<double>(x.width), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* cos = table.f32() + row * table.width;
      for (int64_t at = row * x.width; at < (row + 1) * x.width; at += d) {
        norms().rotate(x.f32() + at, cos, cos + half, out + at, half, d);
      }
    }
  });
}

// Inputs: x, positions int64. Settings: {beta, period}.
void run_scale_by_position(const Call& call) {
  const Operand& x = call.in[0];
  const float beta = static_cast<float>(call.settings[0]);
  const int64_t period = static_cast<int64_t>(call.settings[1]);
  float* out = static_cast<float*>(call.out.data);
  in_ranges(call.pool, x.rows, 0.3 * static_cast<double>(x.width), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float factor = 1 + beta * std::log1p(static_cast<float>(call.in[1].i64()[row] / period));
      for (int64_t at = row * x.width; at < (row + 1) * x.width; ++at) out[at] = x.f32()[at] * factor;
    }
  });
}

RH_OP(rope_table, run_rope_table);
RH_OP(longrope_table, run_longrope_table);
RH_OP(rope, run_rope);
RH_OP(scale_by_position, run_scale_by_position);

}  // namespace
}  // namespace rh
