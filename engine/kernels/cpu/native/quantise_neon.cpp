#include <arm_neon.h>

#include "quantise.h"

namespace rh {
namespace {

float largest_of(const float* values) {
  // As integers, floats without their sign compare alike, and NaN is the largest.
  int32x4_t largest = vdupq_n_s32(0);
  for (int i = 0; i < 32; i += 4) {
    const int32x4_t bits = vreinterpretq_s32_f32(vld1q_f32(values + i));
    largest = vmaxq_s32(largest, vandq_s32(bits, vdupq_n_s32(0x7fffffff)));
  }
  const int bits = vmaxvq_s32(largest);
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// Rounded to even, as everywhere. What is not finite becomes any code: the scale says what it is.
int16x8_t codes_of(const float* values, float inverse) {
  const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values), inverse));
  const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(values + 4), inverse));
  return vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
}

// 16 of them, and their sum.
int quantise_half(const float* values, float inverse, uint8_t* to) {
  const int16x8_t low = codes_of(values, inverse), high = codes_of(values + 8, inverse);
  const int8x16_t codes = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
  vst1q_u8(to, vreinterpretq_u8_s8(codes));
  return vaddlvq_s8(codes);
}

}  // namespace

void quantise_block_neon(const float* values, Format kind, const BlockPlace& to) {
  if (kind != Format::activations_int8) return quantise_block_portable(values, kind, to);
  const float largest = largest_of(values);
  const float inverse = largest > 1e-36f ? 127.0f / largest : 0;
  const int low = quantise_half(values, inverse, to.values);
  const int high = quantise_half(values + 16, inverse, to.values + 16);
  to.scale[0] = largest / 127.0f;
  to.scale[to.rows] = static_cast<float>(low + high);
  to.scale[2 * to.rows] = static_cast<float>(low);
  to.scale[3 * to.rows] = static_cast<float>(high);
}

}  // namespace rh
