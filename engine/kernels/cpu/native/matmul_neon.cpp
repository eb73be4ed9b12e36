// The kernels with NEON's dot products of bytes: a vector of a tile is four of 4 rows, "quads".
#include <arm_neon.h>

#include "matmul_kernels.h"
#include "tiles.h"

namespace rh {
namespace {

// Bits of every byte moved up by so many places, or down. A shift by a constant, once loops are unrolled.
inline uint8x16_t moved(uint8x16_t v, int up) { return vshlq_u8(v, vdupq_n_s8(static_cast<int8_t>(up))); }

// Four rows' codes, signed: v[j] has inputs 4 * j to 4 * j + 3 of each. tile: from the quad's first byte.
// A zero of 128 is taken off: products are of signed bytes.
template <Format format>
inline void load_codes(const uint8_t* tile, int8x16_t (&v)[8]) {
  constexpr Tiling kind = tiling(format);
  constexpr int vectors = kind.low_bits;
  constexpr auto low = static_cast<uint8_t>((1 << kind.low_bits) - 1);
  constexpr auto high = static_cast<uint8_t>(((1 << kind.high_bits) - 1) << kind.low_bits);
  const uint8x16_t table = vld1q_u8(kind.steps == Steps::mxfp4 ? kMxfp4Steps : kIq4Steps);
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    uint8x16_t codes = vld1q_u8(tile + 64 * (j % vectors));
    if constexpr (kind.low_bits < 8) codes = moved(codes, -(j / vectors * kind.low_bits)) & low;
    if constexpr (kind.high_bits > 0) {
      const int from = kind.high_bits == 1 ? j : j / 2 * 2;
      const uint8x16_t upper = vld1q_u8(tile + 64 * (kind.low_bits + (kind.high_bits == 1 ? 0 : j % 2)));
      codes |= moved(upper, kind.low_bits - from) & high;
    }
    if constexpr (kind.steps != Steps::even) codes = vqtbl1q_u8(table, codes);
    if constexpr (kind.zero == 128) codes ^= 0x80;
    v[j] = vreinterpretq_s8_u8(codes);
  }
}

// The dot products of four rows with 16 activations, from vector `first`.
template <int first>
inline int32x4_t dot(const int8x16_t (&v)[8], int8x16_t x) {
  int32x4_t sum = vdupq_n_s32(0);
  sum = vdotq_laneq_s32(sum, v[first], x, 0);
  sum = vdotq_laneq_s32(sum, v[first + 1], x, 1);
  sum = vdotq_laneq_s32(sum, v[first + 2], x, 2);
  return vdotq_laneq_s32(sum, v[first + 3], x, 3);
}

inline float number(const uint8_t* from) {
  float value;
  __builtin_memcpy(&value, from, 4);
  return value;
}

inline float32x4_t floats(const uint8_t* from) { return vreinterpretq_f32_u8(vld1q_u8(from)); }

inline float32x4_t halves(const uint8_t* from) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from))); }

inline uint16x4_t wide_bytes(const uint8_t* from) {
  uint32_t four;
  __builtin_memcpy(&four, from, 4);
  return vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))));
}

inline float32x4_t unsigned_bytes(const uint8_t* from) { return vcvtq_f32_u32(vmovl_u16(wide_bytes(from))); }

inline float32x4_t signed_bytes(const uint8_t* from) {
  const int16x4_t wide = vreinterpret_s16_u16(vshl_n_u16(wide_bytes(from), 8));
  return vcvtq_f32_s32(vshrq_n_s32(vshll_n_s16(wide, 8), 16));
}

// Half of 2 ** (e - 127), which is subnormal where e is 0 or 1.
inline float32x4_t half_powers(const uint8_t* from) {
  const uint32x4_t e = vmovl_u16(wide_bytes(from));
  const uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
  return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), subnormal, (e - 1) << 23));
}

struct Scale {
  float32x4_t scale;
  float32x4_t minimum;  // takes in a zero that is still in the codes
};

// Of a quad's rows, for a half of the block where halves have their own.
template <Format format>
inline Scale scale_of(const uint8_t* header, int block, int quad, int half) {
  constexpr Tiling kind = tiling(format);
  const uint8_t* rows = header + 8 * quad;
  if constexpr (kind.scales == Scales::half_minimum) {
    return {halves(rows + 64 * block), halves(rows + 64 * block + 32)};
  } else if constexpr (kind.scales == Scales::factor_minimum) {
    const uint8_t* factors = header + 64 + 32 * block + 4 * quad;
    return {halves(rows) * unsigned_bytes(factors), -halves(rows + 32) * unsigned_bytes(factors + 16)};
  } else if constexpr (kind.scales == Scales::two_factors_minima) {
    const uint32x4_t both = vmovl_u16(wide_bytes(header + 64 + 32 * block + 16 * half + 4 * quad));
    return {halves(rows) * vcvtq_f32_u32(both & 15), -halves(rows + 32) * vcvtq_f32_u32(both >> 4)};
  } else if constexpr (kind.scales == Scales::wide_zeros) {
    const uint8_t* from = header + wide_offset(format, block);
    const float32x4_t scale = floats(from + 16 * quad), middle = vdupq_n_f32(kind.zero == 128 ? 128.0f : 0.0f);
    return {scale, (middle - unsigned_bytes(from + 64 + 4 * quad)) * scale};
  } else {
    float32x4_t scale;
    if constexpr (kind.scales == Scales::half) {
      scale = halves(rows + 32 * block);
    } else if constexpr (kind.scales == Scales::power) {
      scale = half_powers(header + 16 * block + 4 * quad);
    } else if constexpr (kind.scales == Scales::factor) {
      scale = halves(rows) * signed_bytes(header + 32 + 16 * block + 4 * quad);
    } else {
      static_assert(kind.scales == Scales::two_factors);
      scale = halves(rows) * signed_bytes(header + 32 + 32 * block + 16 * half + 4 * quad);
    }
    return {scale, vmulq_n_f32(scale, kind.zero == 128 ? 0.0f : static_cast<float>(-kind.zero))};
  }
}

// A quad's block times that of each row.
template <Format format, int rows>
inline void multiply_quad(const uint8_t* tile, const uint8_t* header, int block, int quad, const uint8_t* x,
                          float32x4_t (&sums)[rows]) {
  int8x16_t v[8];
  load_codes<format>(tile + 16 * quad, v);
  const Scale scale = scale_of<format>(header, block, quad, 0);
  const Scale second = is_halved(format) ? scale_of<format>(header, block, quad, 1) : scale;
  const uint8_t* numbers = x + kBlock * rows;
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
    const auto* values = reinterpret_cast<const int8_t*>(x + kBlock * m);
    const int32x4_t front = dot<0>(v, vld1q_s8(values)), back = dot<4>(v, vld1q_s8(values + 16));
    float32x4_t product;
    if constexpr (is_halved(format)) {
      product = vmulq_f32(vcvtq_f32_s32(front), scale.scale);
      product = vfmaq_f32(product, vcvtq_f32_s32(back), second.scale);
      product = vfmaq_n_f32(product, scale.minimum, number(numbers + 4 * (2 * rows + m)));
      product = vfmaq_n_f32(product, second.minimum, number(numbers + 4 * (3 * rows + m)));
    } else {
      product = vmulq_f32(vcvtq_f32_s32(vaddq_s32(front, back)), scale.scale);
      product = vfmaq_n_f32(product, scale.minimum, number(numbers + 4 * (rows + m)));
    }
    sums[m] = vfmaq_n_f32(sums[m], product, number(numbers + 4 * m));
  }
}

template <int rows>
inline void store_quad(float* y, int64_t stride, int quad, const float32x4_t (&sums)[rows]) {
  for (int m = 0; m < rows; ++m) vst1q_f32(y + m * stride + 4 * quad, sums[m]);
}

template <Format format, int rows>
void multiply_codes(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  float32x4_t sums[4][rows] = {};
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = left < kGroup ? static_cast<int>(left) : kGroup;
    const uint8_t* header = tile;
    tile += header_bytes(format, in_group);
    for (int block = 0; block < in_group; ++block) {
#pragma GCC unroll 4
      for (int quad = 0; quad < 4; ++quad) multiply_quad<format>(tile, header, block, quad, x, sums[quad]);
      tile += tile_bytes(format);
      x += 48 * rows;
    }
  }
  for (int quad = 0; quad < 4; ++quad) store_quad(y, stride, quad, sums[quad]);
}

// Four rows of input i. scale: an FP8 number's.
template <Format format>
inline float32x4_t load_numbers(const uint8_t* tile, int i, int quad, float32x4_t scale) {
  if constexpr (format == Format::tiled_f32) {
    return floats(tile + 64 * i + 16 * quad);
  } else if constexpr (format == Format::tiled_f16) {
    return halves(tile + 32 * i + 8 * quad);
  } else if constexpr (format == Format::tiled_bf16) {
    const uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8(tile + 64 * (i / 2) + 16 * quad));
    return vreinterpretq_f32_u32(i % 2 ? both & 0xffff0000u : both << 16);
  } else {
    // With its exponent in a float16's, an FP8 number is 2 ** 8 times too small: `scale` has that.
    const uint16x4_t wide = wide_bytes(tile + 16 * i + 4 * quad);
    const uint16x4_t rest = vshl_n_u16(vand_u16(wide, vdup_n_u16(0x7f)), 7);
    const uint16x4_t nan = vand_u16(vceq_u16(rest, vdup_n_u16(0x3f80)), vdup_n_u16(0x7e00));
    const uint16x4_t sign = vshl_n_u16(vand_u16(wide, vdup_n_u16(0x80)), 8);
    return vcvt_f32_f16(vreinterpret_f16_u16(vorr_u16(vorr_u16(sign, rest), nan))) * scale;
  }
}

// Two quads at once: as many sums as there are registers for.
template <Format format, int rows>
void multiply_side(const uint8_t* tile, int64_t num_blocks, int quad, const uint8_t* x, float* y, int64_t stride) {
  float32x4_t first[rows] = {}, second[rows] = {};
  for (int64_t left = num_blocks; left > 0; left -= kGroup) {
    const int in_group = left < kGroup ? static_cast<int>(left) : kGroup;
    const uint8_t* header = tile;
    tile += header_bytes(format, in_group);
    for (int block = 0; block < in_group; ++block) {
      float32x4_t scales[2] = {};
      if constexpr (format == Format::tiled_f8) {
        for (int i = 0; i < 2; ++i) scales[i] = 256.0f * floats(header + block / 4 * 64 + 16 * (quad + i));
      }
      for (int i = 0; i < kBlock; ++i) {
        const float32x4_t upper = load_numbers<format>(tile, i, quad, scales[0]);
        const float32x4_t lower = load_numbers<format>(tile, i, quad + 1, scales[1]);
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) {
          const float value = number(x + 128 * m + 4 * i);
          first[m] = vfmaq_n_f32(first[m], upper, value);
          second[m] = vfmaq_n_f32(second[m], lower, value);
        }
      }
      tile += tile_bytes(format);
      x += 128 * rows;
    }
  }
  store_quad(y, stride, quad, first);
  store_quad(y, stride, quad + 1, second);
}

template <Format format, int rows>
void multiply_numbers(const uint8_t* tile, int64_t num_blocks, const uint8_t* x, float* y, int64_t stride) {
  for (int quad = 0; quad < 4; quad += 2) multiply_side<format, rows>(tile, num_blocks, quad, x, y, stride);
}

template <Format format, int rows>
constexpr Kernel kernel_of_rows() {
  if constexpr (has_codes(format)) {
    return multiply_codes<format, rows>;
  } else {
    return rows > 12 ? nullptr : multiply_numbers<format, rows>;
  }
}

template <Format format>
Kernel kernel(int index) {
  static constexpr Kernel kernels[kNumKernels] = {
      kernel_of_rows<format, 1>(), kernel_of_rows<format, 2>(), kernel_of_rows<format, 3>(),
      kernel_of_rows<format, 4>(), kernel_of_rows<format, 6>(), kernel_of_rows<format, 8>(),
      kernel_of_rows<format, 12>(), kernel_of_rows<format, 16>()};
  return kernels[index];
}

#include "matmul_switch.inc"

}  // namespace

Kernel kernel_neon(Format weight, Format, int index) { return kernel_for(weight, index); }

}  // namespace rh
