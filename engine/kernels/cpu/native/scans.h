// Recurrences over the rows of one sequence: what runs over them for each instruction set.
#pragma once

#include <cstdint>

namespace rh {

// A vector of each row. Always inline: else the linker would keep one copy for all instruction sets.
struct RowVectors {
  const float* data;
  int64_t stride;

  [[gnu::always_inline]] const float* at(int64_t row) const { return data + row * stride; }
};

// Some columns of one head's state (keys, columns), which no others depend on, and the rows that go
// over it. What stands behind the columns, up to whole vectors, is 0 and may be written.
struct OuterScan {
  int64_t rows;
  int64_t keys;
  int64_t columns;  // at most `block_columns`
  float* state;
  int64_t state_stride;
  RowVectors q;
  RowVectors k;
  RowVectors v;  // and out: from the first of the columns on
  float* out;
  int64_t out_stride;
  RowVectors decay;         // logarithms: of each key, or one number for all
  bool decay_is_one;
  RowVectors beta;          // the delta rule's
  float max_beta;
  RowVectors removal;       // RWKV-7's
  RowVectors rate;
  const float* bonus; // RWKV-6's
  float scale;        // of q
  float* room;        // 3 * keys and a vector
};

// One head of state space duality, or some of its values: the state is (size, numbers).
struct SsdScan {
  int64_t rows;
  int64_t size;
  int64_t numbers;
  float* state;
  RowVectors x;
  RowVectors dt;
  RowVectors b;
  RowVectors c;
  float* out;
  int64_t out_stride;
  float a;
  float d;
  float dt_bias;
  float least_dt;
  float most_dt;
};

// Channels, at most as many as a vector has lanes, each with so many numbers as its state.
struct SelectiveScan {
  int64_t rows;
  int64_t channels;
  int64_t numbers;
  float* state;    // (channels, numbers) and in place
  const float* a;  // (channels, numbers)
  RowVectors x;
  RowVectors dt;
  RowVectors b;
  RowVectors c;
  float* out;
  int64_t out_stride;
  const float* d;
  const float* dt_bias;
  float* room;  // 2 * numbers vectors
};

struct ScanKernels {
  int64_t lanes;
  int64_t block_columns;
  void (*delta)(const OuterScan& scan);
  void (*rwkv6)(const OuterScan& scan);
  void (*rwkv7)(const OuterScan& scan);
  void (*linear)(const OuterScan& scan);
  void (*ssd)(const SsdScan& scan);
  void (*ssd_by_columns)(const SsdScan& scan, float* room);  // numbers * block_columns; for many rows
  void (*selective)(const SelectiveScan& scan);

  // out[i] = sum over k of weights[k * stride + i] * taps[k][i], plus bias[i] where there is one.
  void (*convolve)(const float* const* taps, int64_t num_taps, const float* weights, int64_t stride,
                   const float* bias, int64_t count, float* out);
};

namespace portable {
ScanKernels scan_kernels();
}
namespace avx2 {
ScanKernels scan_kernels();
}
namespace avx512 {
ScanKernels scan_kernels();
}

}  // namespace rh
