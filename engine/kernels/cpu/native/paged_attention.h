// Attention over paged caches: what runs over one piece of the work.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rh {

constexpr int64_t kAttendRows = 64;  // query vectors of a piece, at most
constexpr int64_t kAttendKeys = 96;  // that are attended to at once
constexpr int64_t kFewHeads = 8;  // of a group, that one row is attended by key for key
constexpr float kLeastScore = -1e30f;  // below all, and a number, so that differences are

// Some rows of one sequence, of one cache head the query heads that read it, and a range of keys.
// Query vector m = row * group + head of the group.
struct AttendPiece {
  const float* q;  // of the first row's first head
  int64_t q_stride;
  int64_t rows;
  int64_t group;
  int64_t first_position;  // of the first row
  int64_t key_size;
  int64_t value_size;

  const uint8_t* keys;  // of the cache head in the first slot; values: the same memory for latents
  const uint8_t* values;
  int64_t key_stride;  // bytes between slots
  int64_t value_stride;
  const int64_t* blocks;
  int64_t block_size;
  const int64_t* chosen;  // positions of one row's keys, -1 for none; null where keys are a range
  int64_t first;          // of positions, or of chosen
  int64_t last;

  float scale;
  float softcap;        // 0 for none
  int64_t window;       // a row sees so many tokens, itself included
  const float* slopes;  // of the group's heads, or null

  float* maxima;  // of each query vector: its greatest score, the sum of weights under it,
  float* sums;
  float* weighted;  // and the weighted sum of values (m, value_size)
  float* scratch;   // attend_scratch floats
};

inline int64_t attend_scratch(int64_t key_size, int64_t value_size) {
  const int64_t widest = (key_size > value_size ? key_size : value_size) + 16;
  return kAttendRows * (key_size + value_size + 32) + kAttendKeys * (widest + kAttendRows) + 64;
}

struct AttendKernels {
  void (*attend_f32)(const AttendPiece& piece);
  void (*attend_bf16)(const AttendPiece& piece);
  void (*attend_q8_0)(const AttendPiece& piece);

  // To bfloat16.
  void (*narrow)(const float* from, int64_t count, uint16_t* to);

  // To a row of q8_0.
  void (*pack)(const float* from, int64_t size, uint8_t* row);
};

// To the nearest float16, ties to even, and back: for CPUs that have no instruction for it.
uint16_t half_of_float(float value);
float float_of_half(uint16_t half);

namespace portable {
AttendKernels attend_kernels();
}
namespace avx2 {
AttendKernels attend_kernels();
}
namespace avx512 {
AttendKernels attend_kernels();
}

}  // namespace rh
