// The kernels with AVX2: a vector of a tile is two of 8 rows.
#include <immintrin.h>

#include "matmul_kernels.h"
#include "tiles.h"

namespace rh {
namespace {

__m256i load(const uint8_t* bytes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)); }

void store(uint8_t* bytes, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes), v); }

template <Format format>
void decode(const uint8_t* tile, uint8_t* codes) {
  constexpr Tiling kind = tiling(format);
  constexpr int vectors = kind.low_bits;
  const __m256i low = _mm256_set1_epi8(static_cast<char>((1 << kind.low_bits) - 1));
  const __m256i high = _mm256_set1_epi8(static_cast<char>(((1 << kind.high_bits) - 1) << kind.low_bits));
  const uint8_t* steps = kind.steps == Steps::mxfp4 ? kMxfp4Steps : kIq4Steps;
  const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(steps)));
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    for (int side = 0; side < 64; side += 32) {
      __m256i v = load(tile + 64 * (j % vectors) + side);
      if constexpr (kind.low_bits < 8) v = _mm256_and_si256(_mm256_srli_epi32(v, j / vectors * kind.low_bits), low);
      if constexpr (kind.high_bits > 0) {
        const int from = kind.high_bits == 1 ? j : j / 2 * 2;
        const __m256i upper = load(tile + 64 * (kind.low_bits + (kind.high_bits == 1 ? 0 : j % 2)) + side);
        const __m256i moved = from > kind.low_bits ? _mm256_srli_epi32(upper, from - kind.low_bits)
                                                   : _mm256_slli_epi32(upper, kind.low_bits - from);
        v = _mm256_or_si256(v, _mm256_and_si256(moved, high));
      }
      if constexpr (kind.steps != Steps::even) v = _mm256_shuffle_epi8(table, v);
      // Pairs of products of codes beyond 127 would not fit 16 bits: those are made signed, and their
      // zero is gone.
      if constexpr (kind.zero == 128) v = _mm256_xor_si256(v, _mm256_set1_epi8(static_cast<char>(0x80)));
      store(codes + 64 * j + side, v);
    }
  }
}

template <Format format>
__m256i products(__m256i codes, __m256i x) {
  const __m256i pairs = tiling(format).zero == 128
                            ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
                            : _mm256_maddubs_epi16(codes, x);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

__m256 halves(const uint8_t* from) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }

__m128i bytes8(const uint8_t* from) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)); }

__m256 unsigned_bytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }

__m256 signed_bytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }

__m256 half_powers(__m128i exponents) {
  const __m256i e = _mm256_cvtepu8_epi32(exponents);
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

// Of 8 rows, `side` 0 or 1, and a half of the block. Minima take in a zero that is still in codes.
template <Format format>
void scales_of_side(const uint8_t* header, int block, int side, int half, __m256* scale, __m256* minimum) {
  constexpr Tiling kind = tiling(format);
  const uint8_t* rows = header + 16 * side;
  if constexpr (kind.scales == Scales::half_minimum) {
    *scale = halves(rows + 64 * block);
    *minimum = halves(rows + 64 * block + 32);
  } else if constexpr (kind.scales == Scales::factor_minimum) {
    const uint8_t* factors = header + 64 + 32 * block + 8 * side;
    *scale = _mm256_mul_ps(halves(rows), unsigned_bytes(bytes8(factors)));
    *minimum = _mm256_sub_ps(_mm256_setzero_ps(),
                             _mm256_mul_ps(halves(rows + 32), unsigned_bytes(bytes8(factors + 16))));
  } else if constexpr (kind.scales == Scales::two_factors_minima) {
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i both = bytes8(header + 64 + 32 * block + 16 * half + 8 * side);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), nibble);
    *scale = _mm256_mul_ps(halves(rows), unsigned_bytes(_mm_and_si128(both, nibble)));
    *minimum = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(halves(rows + 32), unsigned_bytes(high)));
  } else if constexpr (kind.scales == Scales::wide_zeros) {
    const uint8_t* from = header + wide_offset(format, block);
    *scale = _mm256_loadu_ps(reinterpret_cast<const float*>(from + 32 * side));
    const __m256 middle = _mm256_set1_ps(static_cast<float>(kind.zero == 128 ? 128 : 0));
    *minimum = _mm256_mul_ps(_mm256_sub_ps(middle, unsigned_bytes(bytes8(from + 64 + 8 * side))), *scale);
  } else {
    if constexpr (kind.scales == Scales::half) *scale = halves(rows + 32 * block);
    if constexpr (kind.scales == Scales::power) *scale = half_powers(bytes8(header + 16 * block + 8 * side));
    if constexpr (kind.scales == Scales::factor) {
      *scale = _mm256_mul_ps(halves(rows), signed_bytes(bytes8(header + 32 + 16 * block + 8 * side)));
    }
    if constexpr (kind.scales == Scales::two_factors) {
      const uint8_t* factors = header + 32 + 32 * block + 16 * half + 8 * side;
      *scale = _mm256_mul_ps(halves(rows), signed_bytes(bytes8(factors)));
    }
    const float zero = static_cast<float>(kind.zero == 128 ? 0 : -kind.zero);
    *minimum = _mm256_mul_ps(_mm256_set1_ps(zero), *scale);
  }
}

__m256i word(const uint8_t* from) {
  int32_t value;
  __builtin_memcpy(&value, from, 4);
  return _mm256_set1_epi32(value);
}

__m256 number(const uint8_t* from) {
  float value;
  __builtin_memcpy(&value, from, 4);
  return _mm256_set1_ps(value);
}

// One side of a tile times one row's block.
template <Format format>
__m256 multiply_side(const uint8_t* codes, const __m256* scales, const __m256* minima, const uint8_t* x,
                     const uint8_t* numbers, int rows, __m256 sum) {
  constexpr int count = is_halved(format) ? 2 : 1;
  __m256 product = _mm256_setzero_ps();
#pragma GCC unroll 2
  for (int half = 0; half < count; ++half) {
    constexpr int vectors = 8 / count;
    __m256i dots = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int j = half * vectors; j < (half + 1) * vectors; ++j) {
      dots = _mm256_add_epi32(dots, products<format>(load(codes + 64 * j), word(x + 4 * j)));
    }
    const __m256 of_values = number(numbers + 4 * (count == 1 ? rows : (2 + half) * rows));
    product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scales[half], product);
    product = _mm256_fmadd_ps(minima[half], of_values, product);
  }
  return _mm256_fmadd_ps(product, number(numbers), sum);
}

template <Format format, int rows>
void multiply_codes(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  constexpr int count = is_halved(format) ? 2 : 1;
  __m256 sums[rows][2];
  for (int m = 0; m < rows; ++m) sums[m][0] = sums[m][1] = _mm256_setzero_ps();
  alignas(64) uint8_t codes[16 * kBlock];
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = left < kGroup ? static_cast<int>(left) : kGroup;
    const uint8_t* header = tile;
    tile += header_bytes(format, in_group);
    for (int block = 0; block < in_group; ++block) {
      decode<format>(tile, codes);
      for (int side = 0; side < 2; ++side) {
        __m256 scales[count], minima[count];
        for (int half = 0; half < count; ++half) {
          scales_of_side<format>(header, block, side, half, &scales[half], &minima[half]);
        }
        for (int m = 0; m < rows; ++m) {
          sums[m][side] = multiply_side<format>(codes + 32 * side, scales, minima, x + kBlock * m,
                                                x + kBlock * rows + 4 * m, rows, sums[m][side]);
        }
      }
      tile += tile_bytes(format);
      x += 48 * rows;
    }
  }
  for (int m = 0; m < rows; ++m) {
    _mm256_storeu_ps(y + m * stride, sums[m][0]);
    _mm256_storeu_ps(y + m * stride + 8, sums[m][1]);
  }
}

// 8 rows of input i.
template <Format format>
__m256 load_numbers(const uint8_t* tile, int i, int side, __m256 scale) {
  if constexpr (format == Format::tiled_f32) return _mm256_loadu_ps(reinterpret_cast<const float*>(tile + 64 * i + 32 * side));
  if constexpr (format == Format::tiled_f16) return halves(tile + 32 * i + 16 * side);
  if constexpr (format == Format::tiled_bf16) {
    const __m256i both = load(tile + 64 * (i / 2) + 32 * side);
    const __m256i upper = _mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
    return _mm256_castsi256_ps(i % 2 ? upper : _mm256_slli_epi32(both, 16));
  }
  // With its exponent in a float16's, an FP8 number is 2 ** 8 times too small: `scale` has that.
  const __m128i wide = _mm_cvtepu8_epi16(bytes8(tile + 16 * i + 8 * side));
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
  const __m128i rest = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x7f)), 7);
  const __m128i nan = _mm_and_si128(_mm_cmpeq_epi16(rest, _mm_set1_epi16(0x3f80)), _mm_set1_epi16(0x7e00));
  return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(_mm_or_si128(sign, rest), nan)), scale);
}

template <Format format, int rows>
void multiply_side_numbers(const uint8_t* tile, int64_t num_blocks, int side, const uint8_t* x, float* y, int64_t stride) {
  __m256 sums[rows];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) sums[m] = _mm256_setzero_ps();
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = left < kGroup ? static_cast<int>(left) : kGroup;
    const uint8_t* header = tile;
    tile += header_bytes(format, in_group);
    for (int block = 0; block < in_group; ++block) {
      __m256 scale = _mm256_setzero_ps();
      if constexpr (format == Format::tiled_f8) {
        const float* scales = reinterpret_cast<const float*>(header) + block / 4 * 16 + 8 * side;
        scale = _mm256_mul_ps(_mm256_loadu_ps(scales), _mm256_set1_ps(256));
      }
      for (int i = 0; i < kBlock; ++i) {
        const __m256 weights = load_numbers<format>(tile, i, side, scale);
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) sums[m] = _mm256_fmadd_ps(weights, number(x + 128 * m + 4 * i), sums[m]);
      }
      tile += tile_bytes(format);
      x += 128 * rows;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) _mm256_storeu_ps(y + m * stride + 8 * side, sums[m]);
}

template <Format format, int rows>
void multiply_numbers(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  for (int side = 0; side < 2; ++side) multiply_side_numbers<format, rows>(tile, num_blocks, side, x, y, stride);
}

template <Format format>
Kernel kernel(int index) {
  if constexpr (has_codes(format)) {
    static constexpr Kernel kernels[kNumKernels] = {
        multiply_codes<format, 1>, multiply_codes<format, 2>, multiply_codes<format, 3>,  multiply_codes<format, 4>,
        multiply_codes<format, 6>, multiply_codes<format, 8>, multiply_codes<format, 12>, multiply_codes<format, 16>};
    return kernels[index];
  } else {
    static constexpr Kernel kernels[kNumKernels - 1] = {
        multiply_numbers<format, 1>, multiply_numbers<format, 2>, multiply_numbers<format, 3>,
        multiply_numbers<format, 4>, multiply_numbers<format, 6>, multiply_numbers<format, 8>,
        multiply_numbers<format, 12>};
    return kernels[index];
  }
}

#include "matmul_switch.inc"

}  // namespace

Kernel kernel_avx2(Format weight, Format, int index) { return kernel_for(weight, index); }

}  // namespace rh
