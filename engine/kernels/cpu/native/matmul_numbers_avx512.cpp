// Weights that are numbers, times bfloat16 or float32 activations.
#include "matmul_codes_avx512.h"

namespace rh {
namespace {

__m512bh pairs(__m512i bits) {
  __m512bh v;
  __builtin_memcpy(&v, &bits, 64);
  return v;
}

// Two sums for each row, so that an addition need not wait for the last.
template <int rows>
void multiply_pairs(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  __m512 even[rows], odd[rows];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) even[m] = odd[m] = _mm512_setzero_ps();
  for (int64_t block = 0; block < num_blocks; ++block) {
    for (int j = 0; j < 16; j += 2) {
      if constexpr (rows <= 4) {
        _mm_prefetch(tile + kAhead, _MM_HINT_T0);
        _mm_prefetch(tile + kAhead + 64, _MM_HINT_T0);
      }
      const __m512bh first = pairs(load(tile)), second = pairs(load(tile + 64));
#pragma GCC unroll 16
      for (int m = 0; m < rows; ++m) {
        even[m] = _mm512_dpbf16_ps(even[m], first, pairs(word(x + 64 * m + 4 * j)));
        odd[m] = _mm512_dpbf16_ps(odd[m], second, pairs(word(x + 64 * m + 4 * j + 4)));
      }
      tile += 128;
    }
    x += 64 * rows;
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) _mm512_storeu_ps(y + m * stride, _mm512_add_ps(even[m], odd[m]));
}

// The tile's 16 rows of inputs 2 * j and 2 * j + 1.
template <Format format>
inline void load_two(const uint8_t* tile, int j, __m512* first, __m512* second) {
  if constexpr (format == Format::tiled_f32) {
    *first = _mm512_loadu_ps(tile + 128 * j);
    *second = _mm512_loadu_ps(tile + 128 * j + 64);
  } else if constexpr (format == Format::tiled_bf16) {
    const __m512i both = load(tile + 64 * j);
    *first = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    *second = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  } else {
    *first = halves(tile + 64 * j);
    *second = halves(tile + 64 * j + 32);
  }
}

template <Format format, int rows>
void multiply_numbers(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  __m512 even[rows], odd[rows];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) even[m] = odd[m] = _mm512_setzero_ps();
  for (int64_t block = 0; block < num_blocks; ++block) {
    for (int j = 0; j < 16; ++j) {
      if constexpr (rows <= 4) {
        for (int line = 0; line < tile_bytes(format) / 16; line += 64) {
          _mm_prefetch(tile + kAhead + tile_bytes(format) / 16 * j + line, _MM_HINT_T0);
        }
      }
      __m512 first, second;
      load_two<format>(tile, j, &first, &second);
#pragma GCC unroll 16
      for (int m = 0; m < rows; ++m) {
        even[m] = _mm512_fmadd_ps(first, number(x + 128 * m + 8 * j), even[m]);
        odd[m] = _mm512_fmadd_ps(second, number(x + 128 * m + 8 * j + 4), odd[m]);
      }
    }
    tile += tile_bytes(format);
    x += 128 * rows;
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) _mm512_storeu_ps(y + m * stride, _mm512_add_ps(even[m], odd[m]));
}

// Whether any of a tile's FP8 codes is 0x7f or 0xff, which is NaN.
inline bool has_nan(const uint8_t* tile) {
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80)), ones = _mm512_set1_epi8(-1);
  __mmask64 found = 0;
  for (int j = 0; j < 8; ++j) found |= _mm512_cmpeq_epi8_mask(_mm512_or_si512(load(tile + 64 * j), sign), ones);
  return found != 0;
}

// 32 FP8 numbers as float16: with its exponent in a float16's, one is 2 ** 8 times too small.
inline __m512i halves_of_f8(const uint8_t* codes, bool with_nan) {
  const __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
  const __m512i bits = _mm512_and_si512(_mm512_slli_epi16(wide, 7), _mm512_set1_epi16(static_cast<short>(0xbfff)));
  if (!with_nan) return bits;
  const __m512i rest = _mm512_and_si512(bits, _mm512_set1_epi16(0x3f80));
  const __mmask32 nan = _mm512_cmpeq_epi16_mask(rest, _mm512_set1_epi16(0x3f80));
  return _mm512_mask_mov_epi16(bits, nan, _mm512_set1_epi16(0x7e00));
}

// The sum over each 128 inputs takes their scale once.
template <int rows>
void multiply_f8(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  __m512 sums[rows];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) sums[m] = _mm512_setzero_ps();
  const uint8_t* header = tile;
  for (int64_t first = 0; first < num_blocks; first += 4) {
    if (first % kGroup == 0) {
      header = tile;
      tile += header_bytes(Format::tiled_f8, kGroup);
    }
    __m512 even[rows], odd[rows];
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) even[m] = odd[m] = _mm512_setzero_ps();
    for (int64_t block = first; block < first + 4 && block < num_blocks; ++block) {
      const bool with_nan = has_nan(tile);
      for (int j = 0; j < 16; ++j) {
        if constexpr (rows <= 4) _mm_prefetch(tile + kAhead + 32 * j, _MM_HINT_T0);
        const __m512i bits = halves_of_f8(tile + 32 * j, with_nan);
        const __m512 one = _mm512_cvtph_ps(_mm512_castsi512_si256(bits));
        const __m512 two = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1));
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) {
          even[m] = _mm512_fmadd_ps(one, number(x + 128 * m + 8 * j), even[m]);
          odd[m] = _mm512_fmadd_ps(two, number(x + 128 * m + 8 * j + 4), odd[m]);
        }
      }
      tile += tile_bytes(Format::tiled_f8);
      x += 128 * rows;
    }
    const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(header + first % kGroup * 16), _mm512_set1_ps(256));
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) sums[m] = _mm512_fmadd_ps(_mm512_add_ps(even[m], odd[m]), scale, sums[m]);
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) _mm512_storeu_ps(y + m * stride, sums[m]);
}

template <Format format>
Kernel numbers_kernel(int index) {
  static constexpr Kernel kernels[kNumKernels - 1] = {
      multiply_numbers<format, 1>, multiply_numbers<format, 2>, multiply_numbers<format, 3>,
      multiply_numbers<format, 4>, multiply_numbers<format, 6>, multiply_numbers<format, 8>,
      multiply_numbers<format, 12>};
  return kernels[index];
}

Kernel f8_kernel(int index) {
  static constexpr Kernel kernels[kNumKernels - 1] = {multiply_f8<1>, multiply_f8<2>, multiply_f8<3>, multiply_f8<4>,
                                                      multiply_f8<6>, multiply_f8<8>, multiply_f8<12>};
  return kernels[index];
}

Kernel pairs_kernel(int index) {
  static constexpr Kernel kernels[kNumKernels - 1] = {multiply_pairs<1>, multiply_pairs<2>, multiply_pairs<3>,
                                                      multiply_pairs<4>, multiply_pairs<6>, multiply_pairs<8>,
                                                      multiply_pairs<12>};
  return kernels[index];
}

}  // namespace

Kernel kernel_avx512(Format weight, Format activations, int index) {
  if (activations == Format::activations_int8) {
    constexpr decltype(&kernel_of_k_avx512) finds[] = {kernel_of_legacy_avx512, kernel_of_k_avx512,
                                                       kernel_of_wide_avx512};
    for (const auto find : finds) {
      if (const Kernel found = find(weight, index)) return found;
    }
    return nullptr;
  }
  if (activations == Format::activations_bf16) return pairs_kernel(index);
  switch (weight) {
    case Format::tiled_f32: return numbers_kernel<Format::tiled_f32>(index);
    case Format::tiled_bf16: return numbers_kernel<Format::tiled_bf16>(index);
    case Format::tiled_f16: return numbers_kernel<Format::tiled_f16>(index);
    case Format::tiled_f8: return f8_kernel(index);
    default: return nullptr;
  }
}

}  // namespace rh
