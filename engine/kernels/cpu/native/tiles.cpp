#include "tiles.h"

#include <algorithm>

#include "abi.h"
#include "pool.h"

namespace rh {
namespace {

template <typename T>
T read(const uint8_t* bytes, int64_t index = 0) {
  T value;
  std::memcpy(&value, bytes + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float half_at(const uint8_t* bytes, int index) { return float_of_half(read<uint16_t>(bytes, index)); }

float half_power(uint8_t exponent) {
  const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1u) << 23;
  return read<float>(reinterpret_cast<const uint8_t*>(&bits));
}

float float_of_f8(uint8_t code) {
  const uint16_t half = static_cast<uint16_t>((code & 0x80) << 8 | (code & 0x7f) << 7);
  return (code & 0x7f) == 0x7f ? __builtin_nanf("") : float_of_half(half) * 256;
}

float number(Format format, const uint8_t* tile, int row, int input) {
  switch (format) {
    case Format::tiled_f32: return read<float>(tile, input * 16 + row);
    case Format::tiled_f16: return half_at(tile, input * 16 + row);
    case Format::tiled_f8: return float_of_f8(tile[input * 16 + row]);
    default: {
      const uint32_t bits = uint32_t{read<uint16_t>(tile, (input / 2 * 16 + row) * 2 + input % 2)} << 16;
      return read<float>(reinterpret_cast<const uint8_t*>(&bits));
    }
  }
}

}  // namespace

float float_of_half(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = half >> 10 & 31;
  const uint32_t mantissa = half & 1023u;
  uint32_t bits = 0;
  if (exponent == 31) {
    bits = 0x7f800000u | mantissa << 13;
  } else if (exponent != 0) {
    bits = (exponent + 112) << 23 | mantissa << 13;
  } else {  // mantissa * 2 ** -24, which float32 has as a normal number
    const float small = static_cast<float>(mantissa) * 0x1p-24f;
    std::memcpy(&bits, &small, 4);
  }
  bits |= sign;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void codes_of(Format format, const uint8_t* tile, int row, uint32_t* words) {
  const Tiling kind = tiling(format);
  const int per_vector = 8 / kind.low_bits;
  const int vectors = 8 / per_vector;
  const uint32_t low = 0x01010101u * ((1u << kind.low_bits) - 1);
  for (int j = 0; j < 8; ++j) {
    const uint32_t word = read<uint32_t>(tile + 64 * (j % vectors) + 4 * row);
    words[j] = word >> (j / vectors * kind.low_bits) & low;
  }
  const uint8_t* upper = tile + 64 * kind.low_bits;
  for (int j = 0; kind.high_bits == 1 && j < 8; ++j) {
    words[j] |= (read<uint32_t>(upper + 4 * row) >> j & 0x01010101u) << kind.low_bits;
  }
  for (int j = 0; kind.high_bits == 2 && j < 8; ++j) {
    const uint32_t word = read<uint32_t>(upper + 64 * (j % 2) + 4 * row);
    words[j] |= (word >> (j / 2 * 2) & 0x03030303u) << kind.low_bits;
  }
  if (kind.steps == Steps::even) return;
  const uint8_t* steps = kind.steps == Steps::iq4 ? kIq4Steps : kMxfp4Steps;
  uint8_t bytes[kBlock];
  std::memcpy(bytes, words, kBlock);
  for (uint8_t& byte : bytes) byte = steps[byte];
  std::memcpy(words, bytes, kBlock);
}

void scales_of(Format format, const uint8_t* header, int block, int row, float* scales, float* minima) {
  const uint8_t* factors = header + 32 + 16 * block + row;
  minima[0] = minima[1] = 0;
  switch (tiling(format).scales) {
    case Scales::none: scales[0] = scales[1] = 1; break;
    case Scales::half: scales[0] = scales[1] = half_at(header, 16 * block + row); break;
    case Scales::half_minimum:
      scales[0] = scales[1] = half_at(header, 32 * block + row);
      minima[0] = minima[1] = half_at(header, 32 * block + 16 + row);
      break;
    case Scales::factor:
      scales[0] = scales[1] = half_at(header, row) * static_cast<float>(static_cast<int8_t>(*factors));
      break;
    case Scales::factor_minimum:
      factors = header + 64 + 32 * block + row;
      scales[0] = scales[1] = half_at(header, row) * static_cast<float>(factors[0]);
      minima[0] = minima[1] = -(half_at(header, 16 + row) * static_cast<float>(factors[16]));
      break;
    case Scales::two_factors:
      factors = header + 32 + 32 * block + row;
      for (int half = 0; half < 2; ++half) {
        scales[half] = half_at(header, row) * static_cast<float>(static_cast<int8_t>(factors[16 * half]));
      }
      break;
    case Scales::two_factors_minima:
      factors = header + 64 + 32 * block + row;
      for (int half = 0; half < 2; ++half) {
        scales[half] = half_at(header, row) * static_cast<float>(factors[16 * half] & 15);
        minima[half] = -(half_at(header, 16 + row) * static_cast<float>(factors[16 * half] >> 4));
      }
      break;
    case Scales::power: scales[0] = scales[1] = half_power(header[16 * block + row]); break;
    case Scales::wide: scales[0] = scales[1] = read<float>(header, block / 4 * 16 + row); break;
    case Scales::wide_zeros:
      scales[0] = scales[1] = read<float>(header + wide_offset(format, block), row);
      break;
  }
}

void untile_row(Format format, const uint8_t* group, int num_blocks, int block, int row, float* values) {
  const uint8_t* tile = group + header_bytes(format, num_blocks) + block * tile_bytes(format);
  float scales[2], minima[2];
  scales_of(format, group, block, row, scales, minima);
  if (!has_codes(format)) {
    for (int input = 0; input < kBlock; ++input) values[input] = number(format, tile, row, input) * scales[0];
    return;
  }
  const Tiling kind = tiling(format);
  const bool has_minima = kind.scales == Scales::half_minimum || kind.scales == Scales::factor_minimum ||
                          kind.scales == Scales::two_factors_minima;
  uint32_t words[8];
  uint8_t codes[kBlock];
  codes_of(format, tile, row, words);
  std::memcpy(codes, words, kBlock);
  const bool has_zeros = kind.scales == Scales::wide_zeros;
  const int zero = has_zeros ? group[wide_offset(format, block) + 64 + row] : kind.zero;
  for (int input = 0; input < kBlock; ++input) {
    values[input] = static_cast<float>(codes[input] - zero) * scales[input / 16];
  }
  if (!has_minima) return;  // adding zero would make a zero of -0
  for (int input = 0; input < kBlock; ++input) values[input] += minima[input / 16];
}

void untile_columns(Format format, const uint8_t* group, int num_blocks, int block, float* values) {
  if (format == Format::tiled_bf16) {
    const uint8_t* tile = group + block * tile_bytes(format);
    for (int two = 0; two < kBlock / 2; ++two) {
      uint32_t pairs[kTileRows], columns[2 * kTileRows];
      std::memcpy(pairs, tile + two * sizeof(pairs), sizeof(pairs));
      for (int row = 0; row < kTileRows; ++row) {
        columns[row] = pairs[row] << 16;
        columns[kTileRows + row] = pairs[row] & 0xffff0000u;
      }
      std::memcpy(values + two * 2 * kTileRows, columns, sizeof(columns));
    }
    return;
  }
  for (int row = 0; row < kTileRows; ++row) {
    float of_row[kBlock];
    untile_row(format, group, num_blocks, block, row, of_row);
    for (int input = 0; input < kBlock; ++input) values[input * kTileRows + row] = of_row[input];
  }
}

void untile(Format format, const uint8_t* matrix, int64_t width, int64_t row, float* values) {
  const uint8_t* group = matrix + row / kTileRows * row_tile_bytes(format, width);
  const int in_tile = static_cast<int>(row % kTileRows);
  const int64_t blocks = blocks_of(width);
  for (int64_t first = 0; first < blocks; first += kGroup) {
    const int num_blocks = static_cast<int>(std::min<int64_t>(kGroup, blocks - first));
    for (int block = 0; block < num_blocks; ++block) {
      float padded[kBlock];
      const int64_t start = (first + block) * kBlock;
      untile_row(format, group, num_blocks, block, in_tile, padded);
      std::memcpy(values + start, padded, static_cast<size_t>(std::min<int64_t>(kBlock, width - start)) * 4);
    }
    group += group_bytes(format, num_blocks);
  }
}

}  // namespace rh

RH_API int64_t rh_tiled_bytes(int format, int64_t rows, int64_t width) {
  return rh::tiles_of(rows) * rh::row_tile_bytes(static_cast<rh::Format>(format), width);
}

// The values of some rows, float32: those that `which` (count) names, or the first ones where it is null.
RH_API void rh_untile(rh::Pool* pool, int format, const uint8_t* matrix, int64_t width, const int64_t* which,
                      int64_t count, float* values) {
  const auto run = [&](int64_t i, int) {
    rh::untile(static_cast<rh::Format>(format), matrix, width, which ? which[i] : i, values + i * width);
  };
  if (pool != nullptr) return pool->parallel(count, run);
  for (int64_t i = 0; i < count; ++i) run(i, 0);
}
