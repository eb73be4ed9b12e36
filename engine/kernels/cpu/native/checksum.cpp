// Checksums of images: sums over words, so that any thread may take any part in any order.
#include <cstdint>
#include <cstring>

#include "abi.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace rh {
namespace {

constexpr int kLanes = 8;
constexpr int kStripe = 8 * kLanes;
constexpr uint64_t kStep = 0x9E3779B97F4A7C15u;

// The product depends on where a word is; the word itself is added since a factor may be 0.
void add_words(const uint8_t* data, int64_t count, uint64_t first_word, uint64_t* sums) {
  for (int64_t i = 0; i < count; ++i) {
    uint64_t word;
    std::memcpy(&word, data + 8 * i, 8);
    const uint64_t keyed = word ^ (first_word + i + 1) * kStep;
    sums[i % kLanes] += (keyed & 0xffffffffu) * (keyed >> 32) + (word << 32 | word >> 32);
  }
}

void add_stripes(const uint8_t* data, int64_t count, uint64_t first_word, uint64_t* sums) {
#if defined(__SSE2__)
  constexpr int kVectors = kLanes / 2;
  constexpr int64_t kAhead = 2048;  // with it, memory gives half as much again
  const __m128i step = _mm_set1_epi64x(static_cast<int64_t>(kLanes * kStep));
  __m128i sum[kVectors], key[kVectors];
  for (int j = 0; j < kVectors; ++j) {
    sum[j] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(sums) + j);
    const uint64_t word = first_word + 2 * j;
    key[j] = _mm_set_epi64x(static_cast<int64_t>((word + 2) * kStep), static_cast<int64_t>((word + 1) * kStep));
  }
  for (int64_t i = 0; i < count; ++i, data += kStripe) {
    _mm_prefetch(reinterpret_cast<const char*>(data + kAhead), _MM_HINT_T0);
    for (int j = 0; j < kVectors; ++j) {
      const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + j);
      const __m128i keyed = _mm_xor_si128(words, key[j]);
      const __m128i product = _mm_mul_epu32(keyed, _mm_srli_epi64(keyed, 32));
      sum[j] = _mm_add_epi64(sum[j], _mm_add_epi64(product, _mm_shuffle_epi32(words, 0xB1)));
      key[j] = _mm_add_epi64(key[j], step);
    }
  }
  for (int j = 0; j < kVectors; ++j) _mm_storeu_si128(reinterpret_cast<__m128i*>(sums) + j, sum[j]);
#else
  add_words(data, count * kLanes, first_word, sums);
#endif
}

}  // namespace
}  // namespace rh

// Adds what `bytes` bytes contribute to the 8 sums of a run of bytes in which they are stripe
// `first_stripe` (64 bytes each) and what follows; the end is filled up with zeros.
RH_API void rh_checksum(const uint8_t* data, int64_t bytes, int64_t first_stripe, uint64_t* sums) {
  const uint64_t first_word = static_cast<uint64_t>(first_stripe) * rh::kLanes;
  const int64_t whole = bytes / rh::kStripe;
  rh::add_stripes(data, whole, first_word, sums);
  uint8_t last[rh::kStripe] = {};
  std::memcpy(last, data + whole * rh::kStripe, static_cast<size_t>(bytes % rh::kStripe));
  if (bytes % rh::kStripe) rh::add_words(last, rh::kLanes, first_word + static_cast<uint64_t>(whole) * rh::kLanes, sums);
}
