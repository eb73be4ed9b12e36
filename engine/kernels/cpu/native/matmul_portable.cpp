// The kernels in plain C++, for any CPU.
#include <algorithm>

#include "matmul_kernels.h"
#include "tiles.h"

namespace rh {
namespace {

// What every CPU's vectors hold; GCC and Clang know operations on it.
using Lanes = float __attribute__((vector_size(16)));

// A tile's values as `untile` has them: weights[i] holds the 16 rows of input i.
struct Block {
  Block(Format format, const uint8_t* group, int in_group, int block) {
    for (int row = 0; row < kTileRows; ++row) {
      float values[kBlock];
      untile_row(format, group, in_group, block, row, values);
      for (int i = 0; i < kBlock; ++i) weights[i][row / 4][row % 4] = values[i];
    }
  }

  void add_product(const float* x, float scale, float* y) const {
    Lanes a = {}, b = {}, c = {}, d = {};
    for (int i = 0; i < kBlock; ++i) {
      a += weights[i][0] * x[i];
      b += weights[i][1] * x[i];
      c += weights[i][2] * x[i];
      d += weights[i][3] * x[i];
    }
    const Lanes sums[4] = {a * scale, b * scale, c * scale, d * scale};
    for (int row = 0; row < kTileRows; ++row) y[row] += sums[row / 4][row % 4];
  }

  Lanes weights[kBlock][4];
};

// Calls f(group, blocks in it, block) for each block of a tile.
template <typename F>
void each_block(Format format, const uint8_t* tile, int64_t num_blocks, const F& f) {
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = static_cast<int>(std::min<int64_t>(left, kGroup));
    for (int block = 0; block < in_group; ++block) f(tile, in_group, block);
    tile += group_bytes(format, in_group);
  }
}

template <Format format, int rows>
void multiply_codes(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  for (int m = 0; m < rows; ++m) std::fill_n(y + m * stride, kTileRows, 0.0f);
  each_block(format, tile, num_blocks, [&](const uint8_t* group, int in_group, int block) {
    const Block weights(format, group, in_group, block);
    float scales[rows];
    std::memcpy(scales, x + kBlock * rows, sizeof scales);
    for (int m = 0; m < rows; ++m) {
      float values[kBlock];
      for (int i = 0; i < kBlock; ++i) values[i] = static_cast<int8_t>(x[kBlock * m + i]);
      weights.add_product(values, scales[m], y + m * stride);
    }
    x += 48 * rows;
  });
}

template <Format format, int rows>
void multiply_numbers(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  for (int m = 0; m < rows; ++m) std::fill_n(y + m * stride, kTileRows, 0.0f);
  each_block(format, tile, num_blocks, [&](const uint8_t* group, int in_group, int block) {
    const Block weights(format, group, in_group, block);
    for (int m = 0; m < rows; ++m) {
      weights.add_product(reinterpret_cast<const float*>(x + 128 * m), 1, y + m * stride);
    }
    x += 128 * rows;
  });
}

template <Format format, int rows>
constexpr Kernel kernel_of_rows() {
  return has_codes(format) ? multiply_codes<format, rows> : multiply_numbers<format, rows>;
}

template <Format format>
Kernel kernel(int index) {
  static constexpr Kernel kernels[kNumKernels] = {
      kernel_of_rows<format, 1>(), kernel_of_rows<format, 2>(), kernel_of_rows<format, 3>(),
      kernel_of_rows<format, 4>(), kernel_of_rows<format, 6>(), kernel_of_rows<format, 8>(),
      kernel_of_rows<format, 12>(), kernel_of_rows<format, 16>()};
  return kernels[index];
}

#include "matmul_switch.inc"

}  // namespace

Kernel kernel_portable(Format weight, Format, int index) { return kernel_for(weight, index); }

}  // namespace rh
