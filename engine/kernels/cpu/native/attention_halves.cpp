#include <cstring>

#include "paged_attention.h"

namespace rh {

uint16_t half_of_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (bits >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // nearer to 2 ** 16 than to 65504
  if (bits < 0x38800000) {                                            // below 2 ** -14: in steps of 2 ** -24
    float size;
    std::memcpy(&size, &bits, sizeof size);
    size += 0.5f;  // whose own steps are 2 ** -24, so that adding rounds
    std::memcpy(&bits, &size, sizeof bits);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000));
  }
  bits += 0xfff + (bits >> 13 & 1);
  return static_cast<uint16_t>(sign | (bits - 0x38000000) >> 13);
}

}  // namespace rh
