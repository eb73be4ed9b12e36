#include <immintrin.h>

#include "quantise.h"

namespace rh {
namespace {

int sum_of(__m128i bytes) {
  const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), bytes);
  __m128i sums = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
  sums = _mm_hadd_epi32(sums, sums);
  return _mm_cvtsi128_si32(_mm_hadd_epi32(sums, sums));
}

float largest_of(const float* values) {
  // As integers, floats without their sign compare alike, and NaN is the largest.
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 32; i += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, magnitude));
  }
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(half));
}

}  // namespace

void quantise_block_avx2(const float* values, Format kind, const BlockPlace& to) {
  if (kind != Format::activations_int8) return quantise_block_portable(values, kind, to);
  const float largest = largest_of(values);
  const __m256 inverse = _mm256_set1_ps(largest > 1e-36f ? 127.0f / largest : 0);
  __m256i words[4];
  for (int i = 0; i < 4; ++i) {
    words[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + 8 * i), inverse));
  }
  const __m256i shorts = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                            _mm256_packs_epi32(words[2], words[3]));
  // Packing works in halves of a register: put the words of 4 bytes back in order.
  const __m256i bytes = _mm256_permutevar8x32_epi32(shorts, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to.values), bytes);
  const int low = sum_of(_mm256_castsi256_si128(bytes)), high = sum_of(_mm256_extracti128_si256(bytes, 1));
  to.scale[0] = largest / 127.0f;
  to.scale[to.rows] = static_cast<float>(low + high);
  to.scale[2 * to.rows] = static_cast<float>(low);
  to.scale[3 * to.rows] = static_cast<float>(high);
}

}  // namespace rh
