// What looks only a few rows back: convolutions along a sequence, and shifts.
#include <algorithm>

#include "sequences.h"

namespace rh {
namespace {

constexpr int64_t kChannels = 256;  // that are convolved together
constexpr int64_t kMaxTaps = 32;

// Of some channels: their weights by tap, and the rows before a sequence's first.
struct Filter {
  int64_t taps;
  int64_t count;
  float* weights;  // (taps, kChannels)
  float* before;   // (taps - 1, kChannels)
};

Filter filter_of(const Operand& weight, const float* state, int64_t first, int64_t count, float* room) {
  const Filter filter{weight.width, count, room, room + weight.width * kChannels};
  const int64_t kept = filter.taps - 1;
  for (int64_t channel = 0; channel < count; ++channel) {
    for (int64_t k = 0; k < filter.taps; ++k) {
      filter.weights[k * kChannels + channel] = weight.f32()[(first + channel) * filter.taps + k];
    }
    for (int64_t k = 0; k < kept; ++k) {
      filter.before[k * kChannels + channel] = state == nullptr ? 0.0f : state[(first + channel) * kept + k];
    }
  }
  return filter;
}

// One row of some channels, a channel at a time: their weights and what is kept of them are as they are stored.
template <int Taps>
void convolve_row(const float* x, const float* weights, const float* bias, const float* from, int64_t count, float* to,
                  float* out) {
  constexpr int kept = Taps - 1;
  for (int64_t channel = 0; channel < count; ++channel) {
    float inputs[Taps];
    for (int k = 0; k < kept; ++k) inputs[k] = from == nullptr ? 0.0f : from[channel * kept + k];
    inputs[kept] = x[channel];
    float sum = bias == nullptr ? 0.0f : bias[channel];
    for (int k = 0; k < Taps; ++k) sum += weights[channel * Taps + k] * inputs[k];
    for (int k = 0; k < kept; ++k) to[channel * kept + k] = inputs[k + 1];
    out[channel] = sum;
  }
}

using ConvolveRow = void (*)(const float*, const float*, const float*, const float*, int64_t, float*, float*);

// None for numbers of taps that models don't have.
ConvolveRow convolve_row_of(int64_t taps) {
  if (taps == 3) return convolve_row<3>;
  return taps == 4 ? convolve_row<4> : nullptr;
}

void run_causal_conv(const Call& call) {
  const Operand &x = call.in[0], &weight = call.in[1];
  const float* bias = call.in[2].f32();
  Operand& state = call.in[3];
  const int64_t taps = weight.width, kept = taps - 1;
  const ConvolveRow of_row = convolve_row_of(taps);
  const ScanKernels table = best_scan_kernels();
  const int64_t parts = (x.width + kChannels - 1) / kChannels;
  over_sequences(call, parts, 3 * x.width * taps, [&](const Sequence& sequence, int64_t part, int thread) {
    const int64_t first = part * kChannels, count = std::min(kChannels, x.width - first);
    const float* own_bias = bias == nullptr ? nullptr : bias + first;
    const float* from = sequence.read < 0 ? nullptr : state.f32() + sequence.read * state.width;
    const RowVectors rows = from_row(x, sequence, first);
    float* to = state.f32() + sequence.write * state.width + first * kept;
    float* out = out_of(call) + sequence.first * x.width + first;
    if (sequence.rows == 1 && of_row != nullptr) {
      const float* own = from == nullptr ? nullptr : from + first * kept;
      return of_row(rows.data, weight.f32() + first * taps, own_bias, own, count, to, out);
    }
    float* room = call.workspace.own<float>(thread, static_cast<size_t>(2 * taps * kChannels));
    const Filter filter = filter_of(weight, from, first, count, room);
    const auto input = [&](int64_t row) { return row < 0 ? filter.before + (kept + row) * kChannels : rows.at(row); };
    const float* inputs[kMaxTaps];
    for (int64_t row = 0; row < sequence.rows; ++row) {
      for (int64_t k = 0; k < taps; ++k) inputs[k] = input(row - kept + k);
      table.convolve(inputs, taps, filter.weights, kChannels, own_bias, count, out + row * x.width);
    }
    for (int64_t k = 0; k < kept; ++k) inputs[k] = input(sequence.rows - kept + k);
    for (int64_t channel = 0; channel < count; ++channel) {
      for (int64_t k = 0; k < kept; ++k) to[channel * kept + k] = inputs[k][channel];
    }
  });
}
// x (T, C), weight (C, K), K at most 32, bias (C,) or none, state (slots, C * (K - 1)) -> (T, C).
RH_OP(causal_conv, run_causal_conv);

void run_token_shift(const Call& call) {
  const Operand& x = call.in[0];
  Operand& state = call.in[1];
  const int64_t width = x.width;
  over_sequences(call, 1, width, [&](const Sequence& sequence, int64_t, int) {
    const auto bytes = [&](int64_t rows) { return static_cast<size_t>(rows * width) * sizeof(float); };
    float* kept = moved(state.f32(), width, sequence, 0, width);
    if (sequence.rows == 0) return;
    const float* rows = x.f32() + sequence.first * width;
    float* out = out_of(call) + sequence.first * width;
    std::memcpy(out, kept, bytes(1));
    std::memcpy(out + width, rows, bytes(sequence.rows - 1));
    std::memcpy(kept, rows + (sequence.rows - 1) * width, bytes(1));
  });
}
// x (T, n), state (slots, n) -> (T, n).
RH_OP(token_shift, run_token_shift);

}  // namespace
}  // namespace rh
