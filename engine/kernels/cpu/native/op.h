// What an operation is to a program, and to Python: a function over operands, found by its name.
//
// The operations are those of `engine.kernels.ops` and some that a program's compiler makes of them.
// All values between them are float32, row-major, (rows, width); ids are int64. Settings are numbers
// in an order that each operation states beside its definition.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"
#include "pool.h"
#include "workspace.h"

namespace rh {

// A matrix of `rows` x `width` values, or none where data is null. What is tiled is constant.
struct Operand {
  void* data;
  int64_t rows;
  int64_t width;
  Format format;

  const float* f32() const { return static_cast<const float*>(data); }
  float* f32() { return static_cast<float*>(data); }
  const int64_t* i64() const { return static_cast<const int64_t*>(data); }
  const uint8_t* bytes() const { return static_cast<const uint8_t*>(data); }
  explicit operator bool() const { return data != nullptr; }
};

// As `engine.kernels.batch.BatchLayout`.
struct Layout {
  int64_t num_sequences;
  int64_t max_blocks;
  int64_t block_size;
  const int64_t* query_starts;
  const int64_t* context_lens;
  const int64_t* block_tables;
  const int64_t* slots;
  const int64_t* state_reads;
  const int64_t* state_writes;
};

struct Call {
  Pool& pool;
  Workspace& workspace;
  const Layout* layout;  // null outside of a step
  Operand* in;
  int num_in;
  Operand out;  // none where an operation changes one of its inputs
  const double* settings;
  int num_settings;
};

using Op = void (*)(const Call& call);

// Its index, or -1 where there is no operation of that name.
int find_op(const char* name);

Op op_at(int index);

// Put one in a source file for each operation: RH_OP(rms_norm, run_rms_norm);
struct Registered {
  Registered(const char* name, Op op);
};
#define RH_OP(name, function) static const ::rh::Registered registered_##name(#name, function)

}  // namespace rh
