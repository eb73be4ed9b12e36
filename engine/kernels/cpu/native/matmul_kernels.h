// The kernels for a tile of 16 rows, by instruction set. No code is shared between the files that
// define them: what one compiles for AVX-512 must not serve another.
#pragma once

#include <cstdint>

#include "format.h"

namespace rh {

// y[m][0..15] = the tile's 16 rows times each of a number of activation rows. tile: `num_blocks`
// blocks in groups, see tiles.h. x: activations as `quantise` leaves them, see quantise.h. `stride`
// is that of y's rows. What it gives for a row does not depend on how many rows there are.
using Kernel = void (*)(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride);

// The numbers of rows that there are kernels for; for float activations up to 12.
constexpr int kKernelRows[] = {1, 2, 3, 4, 6, 8, 12, 16};
constexpr int kNumKernels = 8;

// For rows kKernelRows[index] of activations of a kind, or null where there is none.
Kernel kernel_portable(Format weight, Format activations, int index);
Kernel kernel_avx2(Format weight, Format activations, int index);
Kernel kernel_avx512(Format weight, Format activations, int index);
Kernel kernel_neon(Format weight, Format activations, int index);


}  // namespace rh
