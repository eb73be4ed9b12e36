#include "quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "abi.h"
#include "cpu_features.h"
#include "matmul_kernels.h"
#include "tiles.h"

namespace rh {
namespace {

int kernel_for(int64_t rows) {
  int index = 0;
  while (kKernelRows[index] < rows) ++index;
  return index;
}

// Dot products of bfloat16 pairs do twice the work of float32 in the same time on AMD's cores; on
// Intel's they were measured at 0.6 of it, so there the exact way is the fast one as well.
bool has_fast_pairs() {
#if defined(__x86_64__)
  static const bool is_fast = __builtin_cpu_is("amd");
  return is_fast;
#else
  return false;
#endif
}

QuantiseBlock quantise_block() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return quantise_block_avx512;
  if (isa() == Isa::avx2) return quantise_block_avx2;
#elif defined(__aarch64__)
  if (isa() == Isa::neon) return quantise_block_neon;
#endif
  return quantise_block_portable;
}

// A group's rows, padding included, and where it begins.
struct Group {
  int64_t rows;
  uint8_t* data;
};

Group group_of(const Activations& x, const Groups& groups, int64_t group) {
  const int64_t before = group * groups.rows_per_group * blocks_of(x.width) * activation_bytes(x.kind);
  const int kernel = group + 1 == groups.count ? groups.last_kernel : groups.kernel;
  return {kKernelRows[kernel], x.data + before};
}

BlockPlace place(const Activations& x, const Group& group, int64_t block, int64_t row) {
  uint8_t* data = group.data + block * group.rows * activation_bytes(x.kind);
  if (x.kind != Format::activations_int8) return {data + row * activation_bytes(x.kind), nullptr, 0};
  return {data + row * kBlock, reinterpret_cast<float*>(data + group.rows * kBlock) + row, group.rows};
}

uint16_t bf16_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void run_quantise(const Call& call) {
  const Operand& x = call.in[0];
  const Activations to{call.out.format, x.rows, x.width, static_cast<uint8_t*>(call.out.data)};
  quantise_rows(call.pool, x.f32(), x.width, to);
}

// x (T, in) float32 -> activations of the kind that out's format names, in `rh_activation_bytes`.
RH_OP(quantise, run_quantise);

}  // namespace

Format activations_for(Format weight, bool exact) {
  if (has_codes(weight)) return Format::activations_int8;
  const bool is_bf16 = weight == Format::tiled_bf16 && !exact && isa() == Isa::avx512;
  return is_bf16 && has_fast_pairs() ? Format::activations_bf16 : Format::activations_f32;
}

Groups groups_of(Format kind, int64_t rows) {
  const int64_t most = kind == Format::activations_int8 ? 16 : 12;
  const int64_t count = std::max<int64_t>(1, (rows + most - 1) / most);
  const int kernel = kernel_for((rows + count - 1) / count);
  const int64_t rows_per_group = kKernelRows[kernel];
  const int64_t groups = std::max<int64_t>(1, (rows + rows_per_group - 1) / rows_per_group);
  return {groups, rows_per_group, kernel, kernel_for(rows - (groups - 1) * rows_per_group)};
}

int64_t activation_bytes(Format kind, int64_t rows, int64_t width) {
  const Groups groups = groups_of(kind, rows);
  const int64_t padded = (groups.count - 1) * groups.rows_per_group + kKernelRows[groups.last_kernel];
  return padded * blocks_of(width) * activation_bytes(kind);
}

const uint8_t* group_at(const Activations& x, const Groups& groups, int64_t group) {
  return group_of(x, groups, group).data;
}

void quantise_row(const float* values, const Activations& x, int64_t row) {
  const Groups groups = groups_of(x.kind, x.rows);
  const Group group = group_of(x, groups, row / groups.rows_per_group);
  const QuantiseBlock quantise = quantise_block();
  const int64_t whole = x.width / kBlock;
  for (int64_t block = 0; block < whole; ++block) {
    quantise(values + block * kBlock, x.kind, place(x, group, block, row % groups.rows_per_group));
  }
  if (x.width % kBlock == 0) return;
  float padded[kBlock] = {};
  std::memcpy(padded, values + whole * kBlock, static_cast<size_t>(x.width % kBlock) * 4);
  quantise(padded, x.kind, place(x, group, whole, row % groups.rows_per_group));
}

void finish_rows(const Activations& x) {
  const Groups groups = groups_of(x.kind, x.rows);
  const Group last = group_of(x, groups, groups.count - 1);
  const int64_t rows = x.rows - (groups.count - 1) * groups.rows_per_group;
  for (int64_t row = rows; row < last.rows; ++row) {
    for (int64_t block = 0; block < blocks_of(x.width); ++block) {
      const BlockPlace to = place(x, last, block, row);
      std::memset(to.values, 0, x.kind == Format::activations_int8 ? kBlock : activation_bytes(x.kind));
      for (int i = 0; to.scale != nullptr && i < 4; ++i) to.scale[i * to.rows] = 0;
    }
  }
}

void quantise_rows(Pool& pool, const float* values, int64_t stride, const Activations& x) {
  const int64_t at_once = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, x.width));  // about 20 us
  pool.parallel((x.rows + at_once - 1) / at_once, [&](int64_t chunk, int) {
    for (int64_t row = chunk * at_once; row < std::min(x.rows, (chunk + 1) * at_once); ++row) {
      quantise_row(values + row * stride, x, row);
    }
  });
  finish_rows(x);
}

void quantise_block_portable(const float* values, Format kind, const BlockPlace& to) {
  if (kind == Format::activations_f32) {
    std::memcpy(to.values, values, kBlock * 4);
    return;
  }
  if (kind == Format::activations_bf16) {
    for (int i = 0; i < kBlock; ++i) reinterpret_cast<uint16_t*>(to.values)[i] = bf16_of(values[i]);
    return;
  }
  float largest = 0;
  bool is_nan = false;
  for (int i = 0; i < kBlock; ++i) {
    largest = std::max(largest, std::fabs(values[i]));
    is_nan |= std::isnan(values[i]);
  }
  // Below this, 127 / largest would be infinite.
  const float inverse = largest > 1e-36f ? 127.0f / largest : 0;
  int sums[2] = {0, 0};
  for (int i = 0; i < kBlock; ++i) {
    const float scaled = values[i] * inverse;
    const int code = std::isfinite(scaled) ? static_cast<int>(std::nearbyint(scaled)) : -128;
    to.values[i] = static_cast<uint8_t>(code);
    sums[i / 16] += code;
  }
  to.scale[0] = is_nan ? __builtin_nanf("") : largest / 127.0f;
  to.scale[to.rows] = static_cast<float>(sums[0] + sums[1]);
  to.scale[2 * to.rows] = static_cast<float>(sums[0]);
  to.scale[3 * to.rows] = static_cast<float>(sums[1]);
}

}  // namespace rh

RH_API int rh_activation_kind(int weight, int exact) {
  return static_cast<int>(rh::activations_for(static_cast<rh::Format>(weight), exact != 0));
}

RH_API int64_t rh_activation_bytes(int kind, int64_t rows, int64_t width) {
  return rh::activation_bytes(static_cast<rh::Format>(kind), rows, width);
}
