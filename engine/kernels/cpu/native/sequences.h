// Sequences of a batch as recurrent operations meet them. Not for files of an instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "op.h"
#include "parts.h"
#include "scans.h"

namespace rh {

constexpr double kNanosecondsPerValue = 0.1;  // of a state, for each row that passes it

// For this CPU.
ScanKernels best_scan_kernels();

inline float* out_of(const Call& call) { return static_cast<float*>(call.out.data); }

// What a sequence is: its rows, and its states' slots.
struct Sequence {
  int64_t first;
  int64_t rows;
  int64_t read;  // -1 where it begins
  int64_t write;
};

inline Sequence sequence_of(const Layout& layout, int64_t index) {
  const int64_t first = layout.query_starts[index];
  return {first, layout.query_starts[index + 1] - first, layout.state_reads[index], layout.state_writes[index]};
}

// f(sequence, part, thread) for `parts` of each sequence; together these pass `values` of state.
template <typename F>
void over_sequences(const Call& call, int64_t parts, int64_t values, const F& f) {
  const Layout& layout = *call.layout;
  const int64_t count = layout.num_sequences * parts;
  const double passed = static_cast<double>(values) * static_cast<double>(call.in[0].rows + layout.num_sequences);
  over_parts_of(call, count, kNanosecondsPerValue * passed / static_cast<double>(count), [&](int64_t i, int thread) {
    f(sequence_of(layout, i / parts), i % parts, thread);
  });
}

// Some of a state (slots, size) from the slot that is read to the one that is left, which it gives.
inline float* moved(float* state, int64_t size, const Sequence& sequence, int64_t first, int64_t count) {
  float* to = state + sequence.write * size + first;
  if (sequence.read < 0) {
    std::memset(to, 0, static_cast<size_t>(count) * sizeof(float));
  } else if (sequence.read != sequence.write) {
    std::memcpy(to, state + sequence.read * size + first, static_cast<size_t>(count) * sizeof(float));
  }
  return to;
}

inline RowVectors from_row(const Operand& x, const Sequence& sequence, int64_t offset) {
  return {x.f32() + sequence.first * x.width + offset, x.width};
}

}  // namespace rh
