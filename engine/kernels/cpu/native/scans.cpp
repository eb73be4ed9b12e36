// Recurrent operations. One implementation for a row and for many: sequences, and heads or channels
// within them, are shared among the threads, and each walks the rows of its own.
//
// A state is worked on where it is left. A slot that is not named as read may hold anything.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu_features.h"
#include "sequences.h"

namespace rh {

ScanKernels best_scan_kernels() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::scan_kernels();
  if (isa() == Isa::avx2) return avx2::scan_kernels();
#endif
  return portable::scan_kernels();
}

namespace {

constexpr int64_t kWorthTurning = 8;  // rows for which a state is turned about first

int64_t setting(const Call& call, int index) { return static_cast<int64_t>(call.settings[index]); }

// Rows of `from` into rows of `to`.
void copy_block(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; ++row) {
    std::memcpy(to + row * to_stride, from + row * from_stride, static_cast<size_t>(columns) * sizeof(float));
  }
}

struct Heads {
  int64_t count;
  int64_t keys;
  int64_t values;
};

// A recurrence of outer products over a state (slots, H, keys, values). fill(scan, sequence, head, column)
// says what a head's rows are, from a column of its values on.
template <typename F>
void scan_outer(const Call& call, Operand& state, const Heads& heads, void (*kernel)(const OuterScan&), const F& fill) {
  const ScanKernels table = best_scan_kernels();
  const int64_t size = heads.keys * heads.values;
  const int64_t blocks = (heads.values + table.block_columns - 1) / table.block_columns;
  const auto over_block = [&](const Sequence& sequence, int64_t part, int thread) {
    const int64_t head = part / blocks, column = part % blocks * table.block_columns;
    const int64_t columns = std::min(table.block_columns, heads.values - column);
    const int64_t room = 3 * heads.keys + table.lanes;
    float* own = call.workspace.own<float>(thread, static_cast<size_t>(room + heads.keys * table.block_columns));
    OuterScan scan{};
    scan.rows = sequence.rows;
    scan.keys = heads.keys;
    scan.columns = columns;
    scan.room = own + heads.keys * table.block_columns;
    scan.scale = 1;
    const int64_t at = head * size + column;
    float* to = state.f32() + sequence.write * state.width + at;
    const float* from = sequence.read < 0 ? nullptr : state.f32() + sequence.read * state.width + at;
    // One row alone finds the state where it is, if columns fill its vectors; many find it in one piece.
    const bool fills = columns == table.block_columns || columns == table.lanes || columns == 2 * table.lanes;
    const bool in_place = from == to && sequence.rows == 1 && fills;
    scan.state = in_place ? to : own;
    scan.state_stride = in_place ? heads.values : table.block_columns;
    if (!in_place) {
      if (from == nullptr || columns < table.block_columns) {
        std::memset(own, 0, static_cast<size_t>(heads.keys * table.block_columns) * sizeof(float));
      }
      if (from != nullptr) copy_block(own, table.block_columns, from, heads.values, heads.keys, columns);
    }
    scan.out = out_of(call) + sequence.first * call.out.width + head * heads.values + column;
    scan.out_stride = call.out.width;
    fill(scan, sequence, head, column);
    kernel(scan);
    if (!in_place) copy_block(to, heads.values, own, table.block_columns, heads.keys, columns);
  };
  over_sequences(call, heads.count * blocks, heads.count * size, over_block);
}

void run_gated_delta_rule(const Call& call) {
  const Operand &q = call.in[0], &k = call.in[1], &v = call.in[2], &decay = call.in[3], &beta = call.in[4];
  const int64_t num_heads = setting(call, 0), key_heads = setting(call, 1);
  const bool tiled = call.settings[2] != 0;
  const Heads heads{num_heads, q.width / key_heads, v.width / num_heads};
  const bool decay_is_one = decay.width == num_heads;
  const auto fill = [&](OuterScan& scan, const Sequence& sequence, int64_t head, int64_t column) {
    const int64_t key_head = tiled ? head % key_heads : head / (num_heads / key_heads);
    scan.q = from_row(q, sequence, key_head * heads.keys);
    scan.k = from_row(k, sequence, key_head * heads.keys);
    scan.v = from_row(v, sequence, head * heads.values + column);
    scan.decay = from_row(decay, sequence, decay_is_one ? head : head * heads.keys);
    scan.decay_is_one = decay_is_one;
    scan.beta = from_row(beta, sequence, head);
    scan.max_beta = static_cast<float>(call.settings[3]);
    scan.scale = 1.0f / std::sqrt(static_cast<float>(heads.keys));
  };
  scan_outer(call, call.in[5], heads, best_scan_kernels().delta, fill);
}
// q, k (T, Hk * dk), v (T, H * dv), decay (T, H) or (T, H * dk), beta (T, H), state (slots, H * dk * dv) ->
// (T, H * dv). Settings: H, Hk, tiled, max_beta.
RH_OP(gated_delta_rule, run_gated_delta_rule);

void run_rwkv6_scan(const Call& call) {
  const Operand &r = call.in[0], &v = call.in[2];
  const int64_t num_heads = setting(call, 0);
  const Heads heads{num_heads, r.width / num_heads, v.width / num_heads};
  const auto fill = [&](OuterScan& scan, const Sequence& sequence, int64_t head, int64_t column) {
    scan.q = from_row(r, sequence, head * heads.keys);
    scan.k = from_row(call.in[1], sequence, head * heads.keys);
    scan.v = from_row(v, sequence, head * heads.values + column);
    scan.decay = from_row(call.in[3], sequence, head * heads.keys);
    scan.bonus = call.in[4].f32() + head * heads.keys;
  };
  scan_outer(call, call.in[5], heads, best_scan_kernels().rwkv6, fill);
}
// r, k (T, H * dk), v (T, H * dv), log_decay (T, H * dk), bonus (H, dk), state (slots, H * dk * dv) ->
// (T, H * dv). Settings: H.
RH_OP(rwkv6_scan, run_rwkv6_scan);

void run_rwkv7_scan(const Call& call) {
  const Operand &r = call.in[0], &v = call.in[2];
  const int64_t num_heads = setting(call, 0);
  const Heads heads{num_heads, r.width / num_heads, v.width / num_heads};
  const auto fill = [&](OuterScan& scan, const Sequence& sequence, int64_t head, int64_t column) {
    scan.q = from_row(r, sequence, head * heads.keys);
    scan.k = from_row(call.in[1], sequence, head * heads.keys);
    scan.v = from_row(v, sequence, head * heads.values + column);
    scan.decay = from_row(call.in[3], sequence, head * heads.keys);
    scan.removal = from_row(call.in[4], sequence, head * heads.keys);
    scan.rate = from_row(call.in[5], sequence, head * heads.keys);
  };
  scan_outer(call, call.in[6], heads, best_scan_kernels().rwkv7, fill);
}
// r, k (T, H * dk), v (T, H * dv), log_decay, removal, rate (T, H * dk), state (slots, H * dk * dv) ->
// (T, H * dv). Settings: H.
RH_OP(rwkv7_scan, run_rwkv7_scan);

void run_linear_attention(const Call& call) {
  const Operand& qkv = call.in[0];
  const int64_t num_heads = call.in[1].width, size = call.out.width / num_heads;
  float* decays = call.workspace.shared<float>(static_cast<size_t>(num_heads));
  for (int64_t head = 0; head < num_heads; ++head) decays[head] = -call.in[1].f32()[head];
  const auto fill = [&](OuterScan& scan, const Sequence& sequence, int64_t head, int64_t column) {
    scan.q = from_row(qkv, sequence, 3 * head * size);
    scan.k = from_row(qkv, sequence, (3 * head + 1) * size);
    scan.v = from_row(qkv, sequence, (3 * head + 2) * size + column);
    scan.decay = {decays + head, 0};
  };
  scan_outer(call, call.in[2], {num_heads, size, size}, best_scan_kernels().linear, fill);
}
// qkv (T, H * 3 * d), slopes (H,), state (slots, H * d * d) -> (T, H * d).
RH_OP(linear_attention, run_linear_attention);

void run_ssd_scan(const Call& call) {
  const Operand &x = call.in[0], &dt = call.in[1], &b = call.in[3];
  Operand& state = call.in[7];
  const int64_t num_heads = dt.width, groups = setting(call, 0), per_group = num_heads / groups;
  const int64_t size = x.width / num_heads, numbers = b.width / groups;
  const ScanKernels table = best_scan_kernels();
  const int64_t blocks = (size + table.block_columns - 1) / table.block_columns;
  over_sequences(call, num_heads * blocks, state.width, [&](const Sequence& sequence, int64_t part, int thread) {
    const int64_t head = part / blocks, group = head / per_group, first = part % blocks * table.block_columns;
    const int64_t count = std::min(table.block_columns, size - first), at = head * size + first;
    float* own = moved(state.f32(), state.width, sequence, at * numbers, count * numbers);
    const auto of_head = [&](int index) { return call.in[index].f32()[head]; };
    const SsdScan scan{sequence.rows, count, numbers, own, from_row(x, sequence, at), from_row(dt, sequence, head),
                       from_row(b, sequence, group * numbers), from_row(call.in[4], sequence, group * numbers),
                       out_of(call) + sequence.first * x.width + at, x.width, of_head(2), of_head(5), of_head(6),
                       static_cast<float>(call.settings[1]), static_cast<float>(call.settings[2])};
    if (sequence.rows < kWorthTurning) return table.ssd(scan);
    table.ssd_by_columns(scan, call.workspace.own<float>(thread, static_cast<size_t>(numbers * table.block_columns)));
  });
}
// x (T, H * p), dt (T, H), a (H,), b, c (T, G * N), d, dt_bias (H,), state (slots, H * p * N) -> (T, H * p).
// Settings: G, the least dt, the most.
RH_OP(ssd_scan, run_ssd_scan);

void run_selective_scan(const Call& call) {
  const Operand &x = call.in[0], &a = call.in[2];
  Operand& state = call.in[7];
  const int64_t width = x.width, numbers = a.width;
  const ScanKernels table = best_scan_kernels();
  const int64_t parts = (width + table.lanes - 1) / table.lanes;
  over_sequences(call, parts, 8 * state.width, [&](const Sequence& sequence, int64_t part, int thread) {
    const int64_t first = part * table.lanes, count = std::min(table.lanes, width - first);
    float* own = moved(state.f32(), state.width, sequence, first * numbers, count * numbers);
    float* room = call.workspace.own<float>(thread, static_cast<size_t>(2 * numbers * table.lanes));
    table.selective({sequence.rows, count, numbers, own, a.f32() + first * numbers, from_row(x, sequence, first),
                     from_row(call.in[1], sequence, first), from_row(call.in[3], sequence, 0),
                     from_row(call.in[4], sequence, 0), out_of(call) + sequence.first * width + first, width,
                     call.in[5].f32() + first, call.in[6].f32() + first, room});
  });
}
// x, dt (T, n), a (n, N), b, c (T, N), d, dt_bias (n,), state (slots, n * N) -> (T, n).
RH_OP(selective_scan, run_selective_scan);

}  // namespace
}  // namespace rh
