// Codes times int8 activations with AVX-512 VNNI. Included by the files that make kernels of it.
#pragma once

#include <immintrin.h>

#include "matmul_kernels.h"
#include "tiles.h"

namespace rh {
namespace {

inline __m512i load(const uint8_t* bytes) { return _mm512_loadu_si512(bytes); }


// Bits `from` and up of every byte moved to bit `to`, among others that the caller masks away.
template <int from, int to>
inline __m512i moved(__m512i v) {
  if constexpr (from > to) return _mm512_srli_epi32(v, from - to);
  if constexpr (from < to) return _mm512_slli_epi32(v, to - from);
  return v;
}

template <int low_bits, int high_bits, int j>
inline __m512i with_high_bits(__m512i v, const __m512i* upper) {
  constexpr int from = high_bits == 1 ? j : j / 2 * 2;
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1 << high_bits) - 1) << low_bits));
  // v | (bits & mask)
  return _mm512_ternarylogic_epi32(v, moved<from, low_bits>(upper[high_bits == 1 ? 0 : j % 2]), mask, 0xf8);
}

template <Format format>
inline void load_codes(const uint8_t* tile, __m512i (&v)[8]) {
  constexpr Tiling kind = tiling(format);
  constexpr int vectors = kind.low_bits;
  const __m512i low = _mm512_set1_epi8(static_cast<char>((1 << kind.low_bits) - 1));
#pragma GCC unroll 8
  for (int j = 0; j < vectors; ++j) {
    const __m512i packed = load(tile + 64 * j);
    if constexpr (kind.low_bits == 8) {
      v[j] = packed;
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < 8 / vectors; ++i) {
        const __m512i bits = i == 0 ? packed : _mm512_srli_epi32(packed, i * kind.low_bits);
        v[j + i * vectors] = _mm512_and_si512(bits, low);
      }
    }
  }
  if constexpr (kind.high_bits > 0) {
    __m512i upper[kind.high_bits];
    for (int j = 0; j < kind.high_bits; ++j) upper[j] = load(tile + 64 * (kind.low_bits + j));
    v[0] = with_high_bits<kind.low_bits, kind.high_bits, 0>(v[0], upper);
    v[1] = with_high_bits<kind.low_bits, kind.high_bits, 1>(v[1], upper);
    v[2] = with_high_bits<kind.low_bits, kind.high_bits, 2>(v[2], upper);
    v[3] = with_high_bits<kind.low_bits, kind.high_bits, 3>(v[3], upper);
    v[4] = with_high_bits<kind.low_bits, kind.high_bits, 4>(v[4], upper);
    v[5] = with_high_bits<kind.low_bits, kind.high_bits, 5>(v[5], upper);
    v[6] = with_high_bits<kind.low_bits, kind.high_bits, 6>(v[6], upper);
    v[7] = with_high_bits<kind.low_bits, kind.high_bits, 7>(v[7], upper);
  }
  if constexpr (kind.steps != Steps::even) {
    const uint8_t* steps = kind.steps == Steps::iq4 ? kIq4Steps : kMxfp4Steps;
    const __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(steps)));
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) v[j] = _mm512_shuffle_epi8(table, v[j]);
  }
}

inline __m512 halves(const uint8_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

inline __m128i bytes16(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }

inline __m512 unsigned_bytes(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }

inline __m512 signed_bytes(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }

inline __m512 half_powers(__m128i exponents) {
  const __m512i e = _mm512_cvtepu8_epi32(exponents);
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
  const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
  return _mm512_castsi512_ps(
      _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2)), normal, subnormal));
}

// What a group's rows have in common, and each block's scales and minima. Minima take the zero in:
// (code - zero) * scale = code * scale + (-zero * scale).
template <Format format>
struct GroupScales {
  static constexpr Tiling kind = tiling(format);
  static constexpr int count = is_halved(format) ? 2 : 1;
  static constexpr bool has_rows = kind.scales == Scales::factor || kind.scales == Scales::factor_minimum ||
                                   kind.scales == Scales::two_factors || kind.scales == Scales::two_factors_minima;
  static constexpr bool has_minima = kind.scales == Scales::factor_minimum || kind.scales == Scales::two_factors_minima;

  explicit GroupScales(const uint8_t* from) : header(from) {
    if constexpr (has_rows) delta = halves(header);
    if constexpr (has_minima) minimum = _mm512_sub_ps(_mm512_setzero_ps(), halves(header + 32));
  }

  inline void of(int block, __m512 (&scales)[count], __m512 (&minima)[count]) const {
    if constexpr (kind.scales == Scales::half) {
      scales[0] = halves(header + 32 * block);
    } else if constexpr (kind.scales == Scales::half_minimum) {
      scales[0] = halves(header + 64 * block);
      minima[0] = halves(header + 64 * block + 32);
      return;
    } else if constexpr (kind.scales == Scales::wide_zeros) {
      const uint8_t* from = header + wide_offset(format, block);
      scales[0] = _mm512_loadu_ps(from);
      minima[0] = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(unsigned_bytes(bytes16(from + 64)), scales[0]));
      return;
    } else if constexpr (kind.scales == Scales::power) {
      scales[0] = half_powers(bytes16(header + 16 * block));
    } else if constexpr (kind.scales == Scales::factor) {
      scales[0] = _mm512_mul_ps(delta, signed_bytes(bytes16(header + 32 + 16 * block)));
    } else if constexpr (kind.scales == Scales::two_factors) {
      scales[0] = _mm512_mul_ps(delta, signed_bytes(bytes16(header + 32 + 32 * block)));
      scales[1] = _mm512_mul_ps(delta, signed_bytes(bytes16(header + 48 + 32 * block)));
    } else if constexpr (kind.scales == Scales::factor_minimum) {
      scales[0] = _mm512_mul_ps(delta, unsigned_bytes(bytes16(header + 64 + 32 * block)));
      minima[0] = _mm512_mul_ps(minimum, unsigned_bytes(bytes16(header + 80 + 32 * block)));
      return;
    } else {
      const __m128i nibble = _mm_set1_epi8(15);
      for (int half = 0; half < 2; ++half) {
        const __m128i pairs = bytes16(header + 64 + 32 * block + 16 * half);
        scales[half] = _mm512_mul_ps(delta, unsigned_bytes(_mm_and_si128(pairs, nibble)));
        const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble);
        minima[half] = _mm512_mul_ps(minimum, unsigned_bytes(high));
      }
      return;
    }
    const __m512 zero = _mm512_set1_ps(static_cast<float>(-kind.zero));
    for (int i = 0; i < count; ++i) minima[i] = _mm512_mul_ps(zero, scales[i]);
  }

  const uint8_t* header;
  __m512 delta;
  __m512 minimum;
};

inline __m512i word(const uint8_t* from) {
  int32_t value;
  __builtin_memcpy(&value, from, 4);
  return _mm512_set1_epi32(value);
}

inline __m512 number(const uint8_t* from) {
  float value;
  __builtin_memcpy(&value, from, 4);
  return _mm512_set1_ps(value);
}

// The dot products of 16 rows with 4 * count activations, from vector `first`.
template <int first, int count>
inline __m512i dot(const __m512i (&v)[8], const uint8_t* x) {
  __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int j = first; j < first + count; ++j) sum = _mm512_dpbusd_epi32(sum, v[j], word(x + 4 * j));
  return sum;
}

// How far ahead of a tile the next ones are asked for: the fastest of 1, 2, 4 and 8 KiB where it was
// measured, by a sixth. Hardware by itself does not reach into the next page.
constexpr int kAhead = 2048;

template <Format format, int rows>
void multiply_codes(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  constexpr int count = GroupScales<format>::count;
  constexpr int share = group_bytes(format, kGroup) / kGroup;  // of each block, header included
  __m512 sums[rows];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) sums[m] = _mm512_setzero_ps();
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = left < kGroup ? static_cast<int>(left) : kGroup;
    const GroupScales<format> group(tile);
    const uint8_t* ahead = tile + kAhead;
    tile += header_bytes(format, in_group);
    for (int block = 0; block < in_group; ++block) {
      if constexpr (rows <= 4) {
        for (int line = 0; line < share; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T0);
        ahead += share;
      }
      __m512i v[8];
      __m512 scales[count], minima[count];
      load_codes<format>(tile, v);
      group.of(block, scales, minima);
      const uint8_t* numbers = x + kBlock * rows;
#pragma GCC unroll 16
      for (int m = 0; m < rows; ++m) {
        const uint8_t* row = x + kBlock * m;
        __m512 sum;
        if constexpr (count == 1) {
          const __m512i whole = rows > 2 ? dot<0, 8>(v, row) : _mm512_add_epi32(dot<0, 4>(v, row), dot<4, 4>(v, row));
          sum = _mm512_mul_ps(_mm512_cvtepi32_ps(whole), scales[0]);
          sum = _mm512_fmadd_ps(minima[0], number(numbers + 4 * (rows + m)), sum);
        } else {
          sum = _mm512_mul_ps(_mm512_cvtepi32_ps(dot<0, 4>(v, row)), scales[0]);
          sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot<4, 4>(v, row)), scales[1], sum);
          sum = _mm512_fmadd_ps(minima[0], number(numbers + 4 * (2 * rows + m)), sum);
          sum = _mm512_fmadd_ps(minima[1], number(numbers + 4 * (3 * rows + m)), sum);
        }
        sums[m] = _mm512_fmadd_ps(sum, number(numbers + 4 * m), sums[m]);
      }
      tile += tile_bytes(format);
      x += 48 * rows;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) _mm512_storeu_ps(y + m * stride, sums[m]);
}

template <Format format>
Kernel codes_kernel(int index) {
  static constexpr Kernel kernels[kNumKernels] = {
      multiply_codes<format, 1>, multiply_codes<format, 2>, multiply_codes<format, 3>,  multiply_codes<format, 4>,
      multiply_codes<format, 6>, multiply_codes<format, 8>, multiply_codes<format, 12>, multiply_codes<format, 16>};
  return kernels[index];
}

}  // namespace

// In files of their own, so that they compile side by side.
Kernel kernel_of_legacy_avx512(Format weight, int index);
Kernel kernel_of_k_avx512(Format weight, int index);
Kernel kernel_of_wide_avx512(Format weight, int index);

}  // namespace rh
