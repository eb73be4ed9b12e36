// How an operand's values are stored. The numbers are those of `engine.kernels.cpu.layouts`.
#pragma once

#include <cstdint>

namespace rh {

enum class Format : int32_t {
  none = 0,
  f32 = 1,
  bf16 = 2,
  f16 = 3,
  i64 = 4,
  q8_0 = 5,  // rows of int8 in blocks of 32, and behind them a float16 scale for each
  // What a matrix is multiplied by, made of float32 rows by `quantise` (see quantise.h).
  activations_int8 = 8,
  activations_bf16 = 9,
  activations_f32 = 10,
  // Matrices in tiles of 16 rows (see tiles.h), by the format that they were stored in.
  tiled_f32 = 16,
  tiled_bf16,
  tiled_f16,
  tiled_q8_0,
  tiled_q4_0,
  tiled_q4_1,
  tiled_q5_0,
  tiled_q5_1,
  tiled_q4_k,
  tiled_q5_k,
  tiled_q6_k,
  tiled_q2_k,
  tiled_q3_k,
  tiled_iq4_nl,
  tiled_iq4_xs,
  tiled_mxfp4,
  tiled_f8,
  tiled_i4_32,
  tiled_i4_128,
  tiled_i8_32,
  tiled_i8_128,
};

}  // namespace rh
