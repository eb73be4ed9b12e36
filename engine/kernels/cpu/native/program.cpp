// Programs: a model's forward as a list of operations over planned memory, run by one call.

#include <cstdint>
#include <new>
#include <vector>

#include "abi.h"
#include "op.h"

namespace rh {
namespace {

// How many rows a value has: as many as it says, as the step has tokens, or as logits are wanted.
enum class Rows : int32_t { fixed = 0, tokens = 1, logits = 2 };

// Where a value is: at `place` bytes in the arena, or what the caller binds under that number.
enum class Home : int32_t { arena = 0, bound = 1 };

constexpr int kMaxInputs = 16;

}  // namespace

struct Value {
  int64_t place;
  int64_t rows;
  int64_t width;
  Rows rows_kind;
  Home home;
  Format format;
  int32_t unused;
};

struct Node {
  int32_t op;
  int32_t num_inputs;
  int32_t inputs[kMaxInputs];  // values; -1 for an optional one that is not there
  int32_t output;              // a value, or -1
  int32_t first_setting;
  int32_t num_settings;
  int32_t unused;
};

class Program {
 public:
  Program(const Value* values, int64_t num_values, const Node* nodes, int64_t num_nodes,
          const double* settings, int64_t num_settings)
      : values_(values, values + num_values),
        nodes_(nodes, nodes + num_nodes),
        settings_(settings, settings + num_settings) {}

  void run(int64_t first, int64_t last, Pool& pool, Workspace& workspace, const Layout& layout, int64_t num_tokens,
           int64_t num_logits, uint8_t* arena, void* const* bound) const {
    const Step step{num_tokens, num_logits, arena, bound};
    Operand inputs[kMaxInputs];
    for (int64_t index = first; index < last; ++index) {
      const Node& node = nodes_[index];
      for (int32_t input = 0; input < node.num_inputs; ++input) inputs[input] = operand(node.inputs[input], step);
      workspace.reset();
      op_at(node.op)({pool, workspace, &layout, inputs, node.num_inputs, operand(node.output, step),
                      settings_.data() + node.first_setting, node.num_settings});
    }
  }

 private:
  struct Step {
    int64_t num_tokens;
    int64_t num_logits;
    uint8_t* arena;
    void* const* bound;
  };

  Operand operand(int32_t index, const Step& step) const {
    if (index < 0) return {nullptr, 0, 0, Format::none};
    const Value& value = values_[index];
    void* data = value.home == Home::arena ? step.arena + value.place : step.bound[value.place];
    const int64_t rows = value.rows_kind == Rows::fixed    ? value.rows
                         : value.rows_kind == Rows::tokens ? step.num_tokens
                                                           : step.num_logits;
    return {data, rows, value.width, value.format};
  }

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<double> settings_;
};

}  // namespace rh

RH_API rh::Program* rh_program_new(const rh::Value* values, int64_t num_values, const rh::Node* nodes,
                                   int64_t num_nodes, const double* settings, int64_t num_settings) {
  return new rh::Program(values, num_values, nodes, num_nodes, settings, num_settings);
}

RH_API void rh_program_delete(rh::Program* program) { delete program; }

// Nodes first..last; what they read of earlier ones must be in the arena. 0, or 1 where memory did not
// suffice.
RH_API int rh_program_run(const rh::Program* program, int64_t first, int64_t last, rh::Pool* pool,
                           rh::Workspace* workspace, const rh::Layout* layout, int64_t num_tokens, int64_t num_logits,
                           uint8_t* arena, void* const* bound) {
  const std::lock_guard<std::mutex> turn(pool->turn());
  try {
    program->run(first, last, *pool, *workspace, *layout, num_tokens, num_logits, arena, bound);
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}
