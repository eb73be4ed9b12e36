// Each row times the matrices of its experts: rows are gathered by expert, multiplied, and put back.
#include <algorithm>

#include "matmul.h"

namespace rh {
namespace {

// A row and one of its experts; `place` counts them as `chosen` does.
struct Pair {
  int64_t expert;
  int64_t place;
  int64_t row;  // among the expert's own
};

// Sorts pairs by expert, in their order otherwise; starts[e] is the first of expert e.
void sort_pairs(const int64_t* chosen, int64_t count, int64_t num_experts, Pair* pairs, int64_t* starts) {
  std::fill_n(starts, num_experts + 1, int64_t{0});
  for (int64_t i = 0; i < count; ++i) ++starts[chosen[i] + 1];
  for (int64_t expert = 0; expert < num_experts; ++expert) starts[expert + 1] += starts[expert];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = starts[chosen[i]]++;
    pairs[at] = {chosen[i], i, 0};
  }
  for (int64_t expert = num_experts; expert > 0; --expert) starts[expert] = starts[expert - 1];
  starts[0] = 0;
  for (int64_t i = 0; i < count; ++i) pairs[i].row = i - starts[pairs[i].expert];
}

void run_expert_linear(const Call& call) {
  const Operand &x = call.in[0], &weight = call.in[1], &chosen = call.in[2];
  const float* bias = call.num_in > 3 ? call.in[3].f32() : nullptr;
  const int64_t num_experts = static_cast<int64_t>(call.settings[0]);
  const int64_t width = weight.width, out = weight.rows / num_experts, top_k = chosen.width;
  const int64_t count = chosen.rows * top_k;
  const Format kind = activations_for(weight.format, false);
  Workspace& workspace = call.workspace;

  auto* pairs = workspace.shared<Pair>(static_cast<size_t>(count));
  auto* starts = workspace.shared<int64_t>(static_cast<size_t>(num_experts + 1));
  auto* places = workspace.shared<int64_t>(static_cast<size_t>(count));
  auto* products = workspace.shared<Product>(static_cast<size_t>(num_experts));
  sort_pairs(chosen.i64(), count, num_experts, pairs, starts);

  int64_t bytes = 0;
  for (int64_t expert = 0; expert < num_experts; ++expert) {
    bytes += activation_bytes(kind, starts[expert + 1] - starts[expert], width) + 64;
  }
  uint8_t* data = workspace.shared<uint8_t>(static_cast<size_t>(bytes));
  for (int64_t expert = 0; expert < num_experts; ++expert) {
    const int64_t first = starts[expert], rows = starts[expert + 1] - first;
    const Target to{static_cast<float*>(call.out.data), out, bias ? bias + expert * out : nullptr, nullptr,
                    places + first};
    const Matrix matrix{weight.format, weight.bytes(), width, expert * out, (expert + 1) * out};
    products[expert] = {matrix, {kind, rows, width, data}, to};
    data += (activation_bytes(kind, rows, width) + 63) & ~int64_t{63};
  }

  const bool is_shared = x.width == width;
  const int64_t at_once = std::max<int64_t>(1, 32768 / width);
  call.pool.parallel((count + at_once - 1) / at_once, [&](int64_t chunk, int) {
    for (int64_t i = chunk * at_once; i < std::min(count, (chunk + 1) * at_once); ++i) {
      places[i] = pairs[i].place;
      const int64_t row = is_shared ? pairs[i].place / top_k : pairs[i].place;
      quantise_row(x.f32() + row * width, products[pairs[i].expert].x, pairs[i].row);
    }
  });
  const auto end = std::remove_if(products, products + num_experts, [](const Product& p) { return p.x.rows == 0; });
  for (Product* product = products; product != end; ++product) finish_rows(product->x);
  multiply_all(call.pool, products, end - products);
}

// x (T, in) float32, or (T, top_k * in) with a row for each expert; weight (E * out, in) tiled;
// chosen (T, top_k) int64; bias (E, out) or none -> (T, top_k * out). Settings: E.
RH_OP(expert_linear, run_expert_linear);

}  // namespace
}  // namespace rh
