#include <immintrin.h>

#include "quantise.h"

namespace rh {

void quantise_block_avx512(const float* values, Format kind, const BlockPlace& to) {
  const __m512 first = _mm512_loadu_ps(values), second = _mm512_loadu_ps(values + 16);
  if (kind == Format::activations_f32) {
    _mm512_storeu_ps(to.values, first);
    _mm512_storeu_ps(to.values + 64, second);
    return;
  }
  if (kind == Format::activations_bf16) {
    const __m512bh pairs = _mm512_cvtne2ps_pbh(second, first);
    __builtin_memcpy(to.values, &pairs, 64);
    return;
  }
  // As integers, floats without their sign compare alike, and NaN is the largest.
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i largest_bits = _mm512_max_epi32(_mm512_and_epi32(_mm512_castps_si512(first), magnitude),
                                                _mm512_and_epi32(_mm512_castps_si512(second), magnitude));
  const int bits = _mm512_reduce_max_epi32(largest_bits);
  float largest;
  __builtin_memcpy(&largest, &bits, 4);
  const __m512 inverse = _mm512_set1_ps(largest > 1e-36f ? 127.0f / largest : 0);
  const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(first, inverse));
  const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(second, inverse));
  const __m128i low_bytes = _mm512_cvtsepi32_epi8(low), high_bytes = _mm512_cvtsepi32_epi8(high);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to.values), low_bytes);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to.values + 16), high_bytes);
  // Sums of four, then of each half: bytes times one.
  const __m256i bytes = _mm256_set_m128i(high_bytes, low_bytes);
  __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), bytes);
  sums = _mm256_hadd_epi32(sums, sums);
  sums = _mm256_hadd_epi32(sums, sums);
  const int low_sum = _mm256_extract_epi32(sums, 0), high_sum = _mm256_extract_epi32(sums, 4);
  to.scale[0] = largest / 127.0f;
  to.scale[to.rows] = static_cast<float>(low_sum + high_sum);
  to.scale[2 * to.rows] = static_cast<float>(low_sum);
  to.scale[3 * to.rows] = static_cast<float>(high_sum);
}

}  // namespace rh
