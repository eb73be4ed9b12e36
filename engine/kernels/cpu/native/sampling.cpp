// Choosing a token of each row of logits.
//
// No row is ever sorted. What top_k and top_p keep is found by a histogram over the leading bits of
// the weights, whose order as integers is theirs as numbers, and by sorting the one bin in which the
// boundary lies. The token is then found in the order of the vocabulary.
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "abi.h"
#include "cpu_features.h"
#include "pool.h"
#include "workspace.h"

namespace rh {

// How a row is drawn from; temperature 0 takes the best. As `engine.api.Sampling`.
struct Draw {
  double uniform;  // in [0, 1)
  float temperature;
  float top_p;
  float min_p;
  int32_t top_k;  // 0 for all
};

namespace {

// What of a row came out instead of a token.
enum Outcome : int64_t { kUnsound = -1, kNoChoice = -2 };

constexpr int kBinShift = 20;  // sign, exponent and three bits of the fraction
constexpr int kBins = 0x3f800000 / (1 << kBinShift) + 1;  // weights are at most 1

int bin_of(float weight) {
  uint32_t bits;
  std::memcpy(&bits, &weight, sizeof bits);
  return static_cast<int>(bits >> kBinShift);
}

struct Bins {
  int64_t counts[kBins] = {};
  double masses[kBins] = {};
};

// Sets to 0 what is lighter than the first so many or the first so much: those, ordered by weight and
// among equals by place, stay whose predecessors are fewer than `count` and weigh less than `mass`.
// Gives the mass that stays. The heaviest always stays.
double keep_first(float* weights, int64_t width, int64_t count, double mass) {
  Bins bins;
  for (int64_t index = 0; index < width; ++index) {
    const int bin = bin_of(weights[index]);
    bins.counts[bin] += 1;
    bins.masses[bin] += weights[index];
  }
  int64_t before = 0;
  double weight_before = 0;
  int bin = kBins - 1;
  while (bin > 0 && before + bins.counts[bin] < count && weight_before + bins.masses[bin] < mass) {
    before += bins.counts[bin];
    weight_before += bins.masses[bin];
    --bin;
  }
  std::vector<int64_t> members;
  for (int64_t index = 0; index < width; ++index) {
    const int own = bin_of(weights[index]);
    if (own == bin) members.push_back(index);
    if (own < bin) weights[index] = 0;
  }
  std::sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
    return weights[a] != weights[b] ? weights[a] > weights[b] : a < b;
  });
  for (int64_t member : members) {
    const bool stays = before == 0 || (before < count && weight_before < mass);
    ++before;
    if (stays) {
      weight_before += weights[member];
    } else {
      weights[member] = 0;
    }
  }
  return weight_before;
}

// Sets to 0 what weighs less than `floor`.
void drop_below(float* weights, int64_t width, float floor) {
  for (int64_t index = 0; index < width; ++index) weights[index] = weights[index] < floor ? 0.0f : weights[index];
}

// The first place at which the sum of weights passes `uniform` of the whole.
int64_t invert(const float* weights, int64_t width, double uniform) {
  constexpr int64_t kRun = 256;
  std::vector<double> sums;
  double total = 0;
  for (int64_t start = 0; start < width; start += kRun) {
    double sum = 0;
    for (int64_t index = start; index < std::min(start + kRun, width); ++index) sum += weights[index];
    sums.push_back(total);
    total += sum;
  }
  const double target = std::min(uniform * total, std::nextafter(total, 0.0));
  const int64_t run = std::upper_bound(sums.begin(), sums.end(), target) - sums.begin() - 1;
  double sum = sums[run];
  int64_t last = -1;
  for (int64_t index = run * kRun; index < width; ++index) {
    if (weights[index] == 0) continue;
    sum += weights[index];
    last = index;
    if (sum > target) return index;
  }
  return last;  // rounding left nothing behind the target
}

// One row's token, or an Outcome. weights: `width` floats to write to.
int64_t choose(const SamplingKernels& kernels, const float* logits, int64_t width, const Draw& draw, bool check,
               float* weights) {
  if (check && !kernels.is_sound(logits, width)) return kUnsound;
  const float best = kernels.most(logits, width);
  if (!std::isfinite(best)) return kNoChoice;
  if (draw.temperature <= 0) return std::find(logits, logits + width, best) - logits;
  double mass = kernels.weigh(logits, width, best, draw.temperature, weights);
  const bool limits_k = draw.top_k > 0 && draw.top_k < width;
  if (limits_k) mass = keep_first(weights, width, draw.top_k, INFINITY);
  if (draw.top_p < 1) keep_first(weights, width, width, draw.top_p * mass);
  if (draw.min_p > 0) drop_below(weights, width, draw.min_p);  // the best weighs 1
  const int64_t place = invert(weights, width, draw.uniform);
  return place < 0 ? std::find(logits, logits + width, best) - logits : place;
}

SamplingKernels kernels() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::sampling_kernels();
  if (isa() == Isa::avx2) return avx2::sampling_kernels();
#endif
  return portable::sampling_kernels();
}

}  // namespace
}  // namespace rh

// Of each row of logits (rows, width) a token, or -1 where one is no finite number and check is set, or
// -2 where none may be drawn: without check -inf is a token that may not be. draws, chosen: one a row.
RH_API void rh_sample(rh::Pool* pool, rh::Workspace* workspace, const float* logits, int64_t rows, int64_t width,
                      const rh::Draw* draws, int check, int64_t* chosen) {
  const std::lock_guard<std::mutex> turn(pool->turn());
  const rh::SamplingKernels kernels = rh::kernels();
  pool->parallel(rows, [&](int64_t row, int thread) {
    float* weights = draws[row].temperature > 0 ? workspace->own<float>(thread, width) : nullptr;
    chosen[row] = rh::choose(kernels, logits + row * width, width, draws[row], check != 0, weights);
  });
}

// Of each row whether all its logits are finite.
RH_API void rh_is_sound(const float* logits, int64_t rows, int64_t width, uint8_t* sound) {
  const rh::SamplingKernels kernels = rh::kernels();
  for (int64_t row = 0; row < rows; ++row) sound[row] = kernels.is_sound(logits + row * width, width);
}
