#include <algorithm>

#include "op.h"
#include "tiles.h"

namespace rh {
namespace {

void run_embedding(const Call& call) {
  const Operand &ids = call.in[0], &weight = call.in[1];
  const int64_t count = ids.rows * ids.width;
  constexpr int64_t kAtOnce = 8;
  call.pool.parallel((count + kAtOnce - 1) / kAtOnce, [&](int64_t chunk, int) {
    for (int64_t i = chunk * kAtOnce; i < std::min(count, (chunk + 1) * kAtOnce); ++i) {
      float* values = static_cast<float*>(call.out.data) + i * weight.width;
      untile(weight.format, weight.bytes(), weight.width, ids.i64()[i], values);
    }
  });
}

// ids (T,) int64, weight (vocabulary, hidden) tiled -> (T, hidden), each value exactly the stored one.
RH_OP(embedding, run_embedding);

}  // namespace
}  // namespace rh
