// Matrices as they are multiplied: tiles of 16 rows x 32 inputs, flat bytes, alike for every CPU.
//
// A matrix is row tiles, 16 rows each, the last filled up with zeros. A row tile is groups of up to
// 8 blocks of 32 inputs, and a group is a header with the scales of its rows, then a tile for each
// block. Everything begins at a multiple of 64 bytes.
//
// A tile of codes is 64-byte vectors: byte 4 * r + i of vector j is row r, input 4 * j + i, so one
// vector and 4 inputs' activations are what an instruction for dot products of bytes takes. Codes of
// fewer bits share a vector: its low nibbles are vector j, its high ones vector j + 4 (so inputs 0-15
// and 16-31), its pairs of bits are vectors j, j + 2, j + 4, j + 6. Upper bits follow in vectors of
// their own, in pairs like those, or bit j of every byte for vector j.
//
// A tile of numbers is, for each input, its 16 rows; bfloat16 for each two inputs 16 pairs.
#pragma once

#include <cstdint>
#include <cstring>

#include "format.h"

namespace rh {

constexpr int kTileRows = 16;
constexpr int kBlock = 32;
constexpr int kGroup = 8;

// How codes become values: (code - zero) * scale + minimum; a code may stand for a step of a table.
enum class Steps : uint8_t { even, iq4, mxfp4 };

// What a group's header holds; "factors" are bytes that are multiplied by a float16 of each row.
enum class Scales : uint8_t {
  none,
  half,                // blocks x 16 float16
  half_minimum,        // blocks x (16 float16 scales, 16 float16 minima)
  factor,              // 16 float16, blocks x 16 int8
  factor_minimum,      // 16 + 16 float16, blocks x (16 + 16 uint8); minima are subtracted
  two_factors,         // 16 float16, blocks x (16 int8 for inputs 0-15, 16 for inputs 16-31)
  two_factors_minima,  // 16 + 16 float16, blocks x 2 x 16 bytes: low nibble scale, high nibble minimum
  power,               // blocks x 16 bytes e: half of 2 ** (e - 127)
  wide,                // 2 x 16 float32, each for 128 inputs
  wide_zeros,          // runs x (16 float32, 16 uint8 zeros), each for `blocks_per_scale` blocks
};

// low_bits: of a code, in the tile's first vectors; a number's bits where `Scales` is none or wide.
// zero: of all codes; with `wide_zeros`, of those that have none of their own, the middle.
struct Tiling {
  int low_bits;
  int high_bits;
  int zero;
  Scales scales;
  Steps steps = Steps::even;
  int blocks_per_scale = 1;
};

// Internal linkage: files for an instruction set must not lend their copy to those of another.
static constexpr Tiling tiling(Format format) {
  switch (format) {
    case Format::tiled_f32: return {32, 0, 0, Scales::none};
    case Format::tiled_bf16: return {16, 0, 0, Scales::none};
    case Format::tiled_f16: return {16, 0, 0, Scales::none};
    case Format::tiled_f8: return {8, 0, 0, Scales::wide};
    case Format::tiled_i4_32: return {4, 0, 8, Scales::wide_zeros};
    case Format::tiled_i4_128: return {4, 0, 8, Scales::wide_zeros, Steps::even, 4};
    case Format::tiled_i8_32: return {8, 0, 128, Scales::wide_zeros};
    case Format::tiled_i8_128: return {8, 0, 128, Scales::wide_zeros, Steps::even, 4};
    case Format::tiled_q8_0: return {8, 0, 128, Scales::half};
    case Format::tiled_q4_0: return {4, 0, 8, Scales::half};
    case Format::tiled_q4_1: return {4, 0, 0, Scales::half_minimum};
    case Format::tiled_q5_0: return {4, 1, 16, Scales::half};
    case Format::tiled_q5_1: return {4, 1, 0, Scales::half_minimum};
    case Format::tiled_q4_k: return {4, 0, 0, Scales::factor_minimum};
    case Format::tiled_q5_k: return {4, 1, 0, Scales::factor_minimum};
    case Format::tiled_q6_k: return {4, 2, 32, Scales::two_factors};
    case Format::tiled_q2_k: return {2, 0, 0, Scales::two_factors_minima};
    case Format::tiled_q3_k: return {2, 1, 4, Scales::two_factors};
    case Format::tiled_iq4_nl: return {4, 0, 128, Scales::half, Steps::iq4};
    case Format::tiled_iq4_xs: return {4, 0, 128, Scales::factor, Steps::iq4};
    case Format::tiled_mxfp4: return {4, 0, 16, Scales::power, Steps::mxfp4};
    default: return {0, 0, 0, Scales::none};
  }
}

static constexpr bool is_tiled(Format format) { return tiling(format).low_bits != 0; }

static constexpr bool has_codes(Format format) {
  return tiling(format).scales != Scales::none && tiling(format).scales != Scales::wide;
}

// Scales for each half of a block.
static constexpr bool is_halved(Format format) {
  return tiling(format).scales == Scales::two_factors || tiling(format).scales == Scales::two_factors_minima;
}

// Where `wide_zeros` has a block's scales; zeros are 64 bytes further.
static constexpr int wide_offset(Format format, int block) { return block / tiling(format).blocks_per_scale * 80; }

static constexpr int header_bytes(Format format, int num_blocks) {
  int bytes = 0;
  switch (tiling(format).scales) {
    case Scales::none: bytes = 0; break;
    case Scales::half: bytes = 32 * num_blocks; break;
    case Scales::half_minimum: bytes = 64 * num_blocks; break;
    case Scales::factor: bytes = 32 + 16 * num_blocks; break;
    case Scales::factor_minimum: bytes = 64 + 32 * num_blocks; break;
    case Scales::two_factors: bytes = 32 + 32 * num_blocks; break;
    case Scales::two_factors_minima: bytes = 64 + 32 * num_blocks; break;
    case Scales::power: bytes = 16 * num_blocks; break;
    case Scales::wide: bytes = 128; break;
    case Scales::wide_zeros: bytes = wide_offset(format, num_blocks - 1) + 80; break;
  }
  return (bytes + 63) & ~63;
}

static constexpr int tile_bytes(Format format) {
  return 64 * (tiling(format).low_bits + tiling(format).high_bits);
}

static constexpr int group_bytes(Format format, int num_blocks) {
  return header_bytes(format, num_blocks) + num_blocks * tile_bytes(format);
}

static constexpr int64_t blocks_of(int64_t width) { return (width + kBlock - 1) / kBlock; }

static constexpr int64_t tiles_of(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }

static constexpr int64_t row_tile_bytes(Format format, int64_t width) {
  const int64_t blocks = blocks_of(width);
  const int rest = static_cast<int>(blocks % kGroup);
  return blocks / kGroup * group_bytes(format, kGroup) + (rest ? group_bytes(format, rest) : 0);
}

// What a code stands for, plus the format's zero: codes of uneven steps become bytes like the others.
constexpr uint8_t kIq4Steps[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                   129, 141, 153, 166, 181, 197, 217, 241};
constexpr uint8_t kMxfp4Steps[16] = {16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4};

// One row of a tile, its values in the order of the inputs, float32. `block` counts in the group.
// Equal, bit for bit, to what `engine.quant` makes of the row that was tiled.
void untile_row(Format format, const uint8_t* group, int num_blocks, int block, int row, float* values);

// All of a tile, input by input: 16 rows' values of each.
void untile_columns(Format format, const uint8_t* group, int num_blocks, int block, float* values);

// A row of a matrix: `width` values.
void untile(Format format, const uint8_t* matrix, int64_t width, int64_t row, float* values);

// The codes of a tile's row, each in a byte: 8 words of 4.
void codes_of(Format format, const uint8_t* tile, int row, uint32_t* words);

// The scales and minima of a block's row, two of each: for inputs 0-15 and 16-31.
void scales_of(Format format, const uint8_t* header, int block, int row, float* scales, float* minima);

float float_of_half(uint16_t half);

}  // namespace rh
