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
inline void load_two(const uint8_t* tile, int j, __m512 scale, __m512* first, __m512* second) {
  if constexpr (format == Format::tiled_f32) {
    *first = _mm512_loadu_ps(tile + 128 * j);
    *second = _mm512_loadu_ps(tile + 128 * j + 64);
  } else if constexpr (format == Format::tiled_bf16) {
    const __m512i both = load(tile + 64 * j);
    *first = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    *second = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  } else if constexpr (format == Format::tiled_f16) {
    *first = halves(tile + 64 * j);
    *second = halves(tile + 64 * j + 32);
  } else {
    // With its exponent in a float16's, an FP8 number is 2 ** 8 times too small: `scale` has that.
    const __m512i wide = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile + 32 * j)));
    const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(wide, _mm512_set1_epi16(0x80)), 8);
    const __m512i rest = _mm512_slli_epi16(_mm512_and_si512(wide, _mm512_set1_epi16(0x7f)), 7);
    // 0x7f is NaN, which is all ones in a float16's exponent.
    const __mmask32 nan = _mm512_cmpeq_epi16_mask(rest, _mm512_set1_epi16(0x3f80));
    const __m512i bits = _mm512_mask_mov_epi16(_mm512_or_si512(sign, rest), nan, _mm512_set1_epi16(0x7e00));
    *first = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_castsi512_si256(bits)), scale);
    *second = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1)), scale);
  }
}

template <Format format, int rows>
void multiply_numbers(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  __m512 even[rows], odd[rows];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) even[m] = odd[m] = _mm512_setzero_ps();
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = left < kGroup ? static_cast<int>(left) : kGroup;
    const uint8_t* header = tile;
    tile += header_bytes(format, in_group);
    for (int block = 0; block < in_group; ++block) {
      __m512 scale = _mm512_setzero_ps();
      if constexpr (format == Format::tiled_f8) {
        scale = _mm512_mul_ps(_mm512_loadu_ps(header + block / 4 * 64), _mm512_set1_ps(256));
      }
      for (int j = 0; j < 16; ++j) {
        if constexpr (rows <= 4) {
          for (int line = 0; line < tile_bytes(format) / 16; line += 64) {
            _mm_prefetch(tile + kAhead + tile_bytes(format) / 16 * j + line, _MM_HINT_T0);
          }
        }
        __m512 first, second;
        load_two<format>(tile, j, scale, &first, &second);
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) {
          even[m] = _mm512_fmadd_ps(first, number(x + 128 * m + 8 * j), even[m]);
          odd[m] = _mm512_fmadd_ps(second, number(x + 128 * m + 8 * j + 4), odd[m]);
        }
      }
      tile += tile_bytes(format);
      x += 128 * rows;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) _mm512_storeu_ps(y + m * stride, _mm512_add_ps(even[m], odd[m]));
}

template <Format format>
Kernel numbers_kernel(int index) {
  static constexpr Kernel kernels[kNumKernels - 1] = {
      multiply_numbers<format, 1>, multiply_numbers<format, 2>, multiply_numbers<format, 3>,
      multiply_numbers<format, 4>, multiply_numbers<format, 6>, multiply_numbers<format, 8>,
      multiply_numbers<format, 12>};
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
    const Kernel found = kernel_of_legacy_avx512(weight, index);
    return found != nullptr ? found : kernel_of_k_avx512(weight, index);
  }
  if (activations == Format::activations_bf16) return pairs_kernel(index);
  switch (weight) {
    case Format::tiled_f32: return numbers_kernel<Format::tiled_f32>(index);
    case Format::tiled_bf16: return numbers_kernel<Format::tiled_bf16>(index);
    case Format::tiled_f16: return numbers_kernel<Format::tiled_f16>(index);
    case Format::tiled_f8: return numbers_kernel<Format::tiled_f8>(index);
    default: return nullptr;
  }
}

}  // namespace rh
