// What matrices are multiplied by: rows of activations, in the form that a kernel reads them.
//
// Rows stand in groups of as many as a kernel takes at once, filled up with zeros; within a group,
// block by block of 32 values: all rows' values, then for int8 all rows' scales, their sums over the
// block, and over its first and its second half (float32, of the int8 values). So a kernel reads one
// stream from front to back.
#pragma once

#include <cstdint>

#include "op.h"

namespace rh {

struct Activations {
  Format kind;
  int64_t rows;
  int64_t width;
  uint8_t* data;
};

// What a weight's kernels take on this CPU. `exact`: not rounded to bfloat16, either.
Format activations_for(Format weight, bool exact);

// Index in kKernelRows of the kernel for a group, which starts at row `index` * rows_per_group.
struct Groups {
  int64_t count;
  int64_t rows_per_group;
  int kernel;       // of all groups but the last
  int last_kernel;  // the last may have fewer rows
};
Groups groups_of(Format kind, int64_t rows);

// Of one row of one block.
constexpr int64_t activation_bytes(Format kind) {
  return kind == Format::activations_int8 ? 48 : kind == Format::activations_bf16 ? 64 : 128;
}

int64_t activation_bytes(Format kind, int64_t rows, int64_t width);

const uint8_t* group_at(const Activations& x, const Groups& groups, int64_t group);

// Writes row `row`. All rows of it, then `finish_rows`, make it complete.
void quantise_row(const float* values, const Activations& x, int64_t row);

// Zeroes what fills up the last group.
void finish_rows(const Activations& x);

// All rows, `stride` apart, on the pool's threads where that pays.
void quantise_rows(Pool& pool, const float* values, int64_t stride, const Activations& x);

// Where a block goes: values, and where int8, scales that are `rows` floats apart from their sums.
struct BlockPlace {
  uint8_t* values;
  float* scale;
  int64_t rows;
};

using QuantiseBlock = void (*)(const float* values, Format kind, const BlockPlace& to);
void quantise_block_portable(const float* values, Format kind, const BlockPlace& to);
void quantise_block_avx2(const float* values, Format kind, const BlockPlace& to);
void quantise_block_avx512(const float* values, Format kind, const BlockPlace& to);
void quantise_block_neon(const float* values, Format kind, const BlockPlace& to);

}  // namespace rh
