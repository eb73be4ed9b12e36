// Which experts each row goes to, and what each of them counts for: `engine.kernels.routing`.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu_features.h"
#include "op.h"
#include "parts.h"
#include "pointwise.h"

namespace rh {
namespace {

enum class Score { softmax, sigmoid, chosen_softmax, sparsemixer };

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr double kNanosecondsPerExpert = 3;

// The settings of both operations, in this order.
struct Routing {
  Score score;
  bool renormalise;
  float scaling;
  int64_t num_groups;
  int64_t top_groups;
  int64_t counted;  // experts that a group is judged by
  float jitter;
};

Routing routing_of(const Call& call) {
  const double* s = call.settings;
  const auto whole = [](double number) { return static_cast<int64_t>(number); };
  return {static_cast<Score>(whole(s[0])), s[1] != 0, static_cast<float>(s[2]), whole(s[3]), whole(s[4]), whole(s[5]),
          static_cast<float>(s[6])};
}

struct Functions {
  PointwiseKernel exp;
  PointwiseKernel sigmoid;
};

Functions functions_of(PointwiseKernel (*kernel)(Pointwise)) {
  return {kernel(Pointwise::exp), kernel(Pointwise::sigmoid)};
}

Functions functions() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return functions_of(avx512::pointwise_kernel);
  if (isa() == Isa::avx2) return functions_of(avx2::pointwise_kernel);
#endif
  return functions_of(portable::pointwise_kernel);
}

// In place; what is -inf becomes 0.
void softmax(const Functions& functions, float* values, int64_t count) {
  const float best = *std::max_element(values, values + count);
  for (int64_t i = 0; i < count; ++i) values[i] -= best;
  functions.exp(values, nullptr, nullptr, values, count, 0, 0);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values[i];
  const float share = static_cast<float>(1 / sum);
  for (int64_t i = 0; i < count; ++i) values[i] *= share;
}

void write_scores(const Functions& functions, Score score, const float* logits, int64_t count, float* scores) {
  if (score == Score::sigmoid) return functions.sigmoid(logits, nullptr, nullptr, scores, count, 0, 0);
  std::copy_n(logits, count, scores);
  if (score == Score::softmax) softmax(functions, scores, count);
}

// A NaN comes before all numbers, so that every comparison has an answer.
bool is_better(float x, float y) { return x > y || (std::isnan(x) && !std::isnan(y)); }

// The places of the best, in order; of equals the first.
void find_best(const float* scores, int64_t count, int64_t wanted, int64_t* places) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = std::min(i, wanted);
    if (at == wanted && !is_better(scores[i], scores[places[wanted - 1]])) continue;
    if (at == wanted) --at;
    for (; at > 0 && is_better(scores[i], scores[places[at - 1]]); --at) places[at] = places[at - 1];
    places[at] = i;
  }
}

// Makes the experts of all but the best groups -inf. room: 2 * num_groups, places: those and 2 more.
void keep_best_groups(const Routing& routing, float* scores, int64_t count, float* room, int64_t* places) {
  const int64_t size = count / routing.num_groups, counted = std::min(routing.counted, size);
  for (int64_t group = 0; group < routing.num_groups; ++group) {
    find_best(scores + group * size, size, counted, places);
    room[group] = 0;
    for (int64_t i = 0; i < counted; ++i) room[group] += scores[group * size + places[i]];
  }
  find_best(room, routing.num_groups, routing.top_groups, places);
  for (int64_t group = 0; group < routing.num_groups; ++group) {
    const bool stays = std::find(places, places + routing.top_groups, group) != places + routing.top_groups;
    if (!stays) std::fill_n(scores + group * size, size, kNever);
  }
}

void run_choose_experts(const Call& call) {
  const Operand& logits = call.in[0];
  const float* bias = call.num_in > 1 ? call.in[1].f32() : nullptr;
  const int64_t count = logits.width, top_k = call.out.width;
  const Routing routing = routing_of(call);
  const Functions function = functions();
  const bool by_groups = routing.score != Score::sparsemixer && routing.top_groups < routing.num_groups;
  over_parts_of(call, logits.rows, kNanosecondsPerExpert * static_cast<double>(count), [&](int64_t row, int thread) {
    const int64_t num_places = std::max(routing.num_groups, top_k) + 2;
    int64_t* places = call.workspace.own<int64_t>(thread, static_cast<size_t>(num_places + count + routing.num_groups));
    float* scores = reinterpret_cast<float*>(places + num_places);
    write_scores(function, routing.score, logits.f32() + row * count, count, scores);
    if (bias != nullptr && routing.score != Score::sparsemixer) {
      for (int64_t i = 0; i < count; ++i) scores[i] += bias[i];
    }
    if (by_groups) keep_best_groups(routing, scores, count, scores + count, places);
    find_best(scores, count, top_k, static_cast<int64_t*>(call.out.data) + row * top_k);
  });
}
// logits (T, E), bias (E,) or none -> (T, top_k) int64. Settings: score (softmax, sigmoid,
// chosen_softmax, sparsemixer: 0 to 3), renormalise, scaling, num_groups, top_groups, experts that a
// group is judged by, jitter.
RH_OP(choose_experts, run_choose_experts);

// Each is weighed among those that are left and come near it.
void weigh_by_sparsemixer(const Functions& functions, const Routing& routing, const float* logits, int64_t count,
                          const int64_t* chosen, int64_t top_k, float* room, float* weights) {
  for (int64_t i = 0; i < top_k; ++i) {
    const float best = logits[chosen[i]];
    for (int64_t j = 0; j < count; ++j) {
      const float size = std::max(std::fabs(logits[j]), best);
      const bool is_gone = std::find(chosen, chosen + i, j) != chosen + i;
      room[j] = is_gone || (best - logits[j]) / size > 2 * routing.jitter ? kNever : logits[j];
    }
    softmax(functions, room, count);
    weights[i] = room[chosen[i]];
  }
}

void weigh(const Functions& functions, const Routing& routing, const float* logits, int64_t count,
           const int64_t* chosen, int64_t top_k, float* room, float* weights) {
  write_scores(functions, routing.score, logits, count, room);
  for (int64_t i = 0; i < top_k; ++i) weights[i] = room[chosen[i]];
  if (routing.score == Score::chosen_softmax) softmax(functions, weights, top_k);
  float factor = routing.scaling;
  if (routing.renormalise) {
    float sum = 0;
    for (int64_t i = 0; i < top_k; ++i) sum += weights[i];
    factor /= sum + 1e-20f;
  }
  for (int64_t i = 0; i < top_k; ++i) weights[i] *= factor;
}

void run_weigh_experts(const Call& call) {
  const Operand &logits = call.in[0], &chosen = call.in[1];
  const int64_t count = logits.width, top_k = chosen.width;
  const Routing routing = routing_of(call);
  const Functions function = functions();
  const auto by = routing.score == Score::sparsemixer ? weigh_by_sparsemixer : weigh;
  over_parts_of(call, logits.rows, kNanosecondsPerExpert * static_cast<double>(count), [&](int64_t row, int thread) {
    float* room = call.workspace.own<float>(thread, static_cast<size_t>(count));
    by(function, routing, logits.f32() + row * count, count, chosen.i64() + row * top_k, top_k, room,
       static_cast<float*>(call.out.data) + row * top_k);
  });
}
// logits (T, E), chosen (T, top_k) int64 -> (T, top_k). Settings: as of choose_experts.
RH_OP(weigh_experts, run_weigh_experts);

}  // namespace
}  // namespace rh
