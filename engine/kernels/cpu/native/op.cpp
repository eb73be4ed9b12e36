#include "op.h"

#include <cstring>
#include <new>
#include <vector>

#include "abi.h"

namespace rh {
namespace {

struct Named {
  const char* name;
  Op op;
};

std::vector<Named>& table() {
  static std::vector<Named> ops;  // made when the first one registers, whatever file that is in
  return ops;
}

}  // namespace

Registered::Registered(const char* name, Op op) { table().push_back({name, op}); }

int find_op(const char* name) {
  for (size_t index = 0; index < table().size(); ++index) {
    if (std::strcmp(table()[index].name, name) == 0) return static_cast<int>(index);
  }
  return -1;
}

Op op_at(int index) { return table()[index].op; }

}  // namespace rh

RH_API int rh_find_op(const char* name) { return rh::find_op(name); }

RH_API rh::Workspace* rh_workspace_new(int num_threads) { return new rh::Workspace(num_threads); }

RH_API void rh_workspace_delete(rh::Workspace* workspace) { delete workspace; }

// One operation by itself. 0, or 1 where memory did not suffice: what it writes is then undefined.
RH_API int rh_run_op(int op, rh::Pool* pool, rh::Workspace* workspace, const rh::Layout* layout,
                     rh::Operand* in, int num_in, const rh::Operand* out, const double* settings,
                      int num_settings) {
  const std::lock_guard<std::mutex> turn(pool->turn());
  workspace->reset();
  try {
    rh::op_at(op)({*pool, *workspace, layout, in, num_in, *out, settings, num_settings});
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}
