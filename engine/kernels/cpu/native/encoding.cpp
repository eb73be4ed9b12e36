// What encoders do across the rows of a sequence, all of which are in one step.
//
// Attention both ways is attention over a cache of one block, whose keys are the step's own: a row that
// sees `reach` tokens to either side stands, to the kernels, that much further on and has a window of all.
#include <algorithm>

#include "cpu_features.h"
#include "op.h"
#include "paged_attention.h"
#include "parts.h"

namespace rh {
namespace {

constexpr double kFlopsPerNanosecond = 40;  // that one core computes
constexpr double kBytesPerNanosecond = 8;   // and reads and writes
constexpr int64_t kOneBlock = 0;
constexpr int64_t kEndless = int64_t{1} << 40;

AttendKernels kernels() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::attend_kernels();
  if (isa() == Isa::avx2) return avx2::attend_kernels();
#endif
  return portable::attend_kernels();
}

struct Attention {
  const Operand& q;
  const Operand& k;
  const Operand& v;
  float* out;
  float scale;
  int64_t reach;
  int64_t key_heads;
  int64_t head_size;

  int64_t heads() const { return q.width / head_size; }
  int64_t group() const { return heads() / key_heads; }
  int64_t heads_at_once() const { return std::min(group(), kAttendRows); }
  int64_t rows_at_once() const { return kAttendRows / heads_at_once(); }
};

// Some rows of a sequence, and heads of queries that read one of keys.
struct Tile {
  int64_t start;  // of the sequence
  int64_t end;
  int64_t row;
  int64_t rows;
  int64_t head;
  int64_t heads;
};

template <typename F>
void over_tiles(const Attention& a, const Layout& layout, const F& f) {
  for (int64_t sequence = 0; sequence < layout.num_sequences; ++sequence) {
    const int64_t start = layout.query_starts[sequence], end = layout.query_starts[sequence + 1];
    for (int64_t head = 0, heads; head < a.heads(); head += heads) {
      heads = std::min(a.heads_at_once(), a.group() - head % a.group());
      for (int64_t row = start; row < end; row += a.rows_at_once()) {
        f(Tile{start, end, row, std::min(a.rows_at_once(), end - row), head, heads});
      }
    }
  }
}

AttendPiece piece_of(const Attention& a, const Tile& tile, float* scratch) {
  const int64_t length = tile.end - tile.start, place = tile.row - tile.start;
  const int64_t reach = std::min(a.reach, length);
  const int64_t offset = tile.start * a.k.width + tile.head / a.group() * a.head_size;
  AttendPiece piece{};
  piece.q = a.q.f32() + tile.row * a.q.width + tile.head * a.head_size;
  piece.q_stride = a.q.width;
  piece.rows = tile.rows;
  piece.group = tile.heads;
  piece.first_position = place + reach;
  piece.window = 2 * reach + 1;
  piece.key_size = piece.value_size = a.head_size;
  piece.keys = reinterpret_cast<const uint8_t*>(a.k.f32() + offset);
  piece.values = reinterpret_cast<const uint8_t*>(a.v.f32() + offset);
  piece.key_stride = piece.value_stride = a.k.width * static_cast<int64_t>(sizeof(float));
  piece.blocks = &kOneBlock;
  piece.block_size = kEndless;
  piece.first = std::max<int64_t>(0, place - reach);
  piece.last = std::min(length, place + tile.rows + reach);
  piece.scale = a.scale;
  piece.maxima = scratch + attend_scratch(a.head_size, a.head_size);
  piece.sums = piece.maxima + kAttendRows;
  piece.weighted = piece.sums + kAttendRows;
  piece.scratch = scratch;
  return piece;
}

int64_t scratch_size(const Attention& a) {
  return attend_scratch(a.head_size, a.head_size) + kAttendRows * (a.head_size + 2);
}

void run_tile(const Attention& a, const Tile& tile, float* scratch) {
  const AttendPiece piece = piece_of(a, tile, scratch);
  kernels().attend_f32(piece);
  for (int64_t m = 0; m < tile.rows * tile.heads; ++m) {
    float* to = a.out + (tile.row + m / tile.heads) * a.q.width + (tile.head + m % tile.heads) * a.head_size;
    const float* from = piece.weighted + m * a.head_size;
    for (int64_t i = 0; i < a.head_size; ++i) to[i] = from[i] / piece.sums[m];
  }
}

void run_encoder_attention(const Call& call) {
  const auto reach = static_cast<int64_t>(call.settings[1]);
  const Attention a{call.in[0],
                    call.in[1],
                    call.in[2],
                    static_cast<float*>(call.out.data),
                    static_cast<float>(call.settings[0]),
                    reach < 0 ? kEndless : reach,
                    static_cast<int64_t>(call.settings[2]),
                    static_cast<int64_t>(call.settings[3])};
  int64_t count = 0;
  double flops = 0;
  over_tiles(a, *call.layout, [&](const Tile& tile) {
    const int64_t seen = std::min(tile.end - tile.start, 2 * a.reach + tile.rows);
    flops += static_cast<double>(4 * tile.rows * tile.heads * seen * a.head_size);
    count += 1;
  });
  if (count == 0) return;
  auto* tiles = call.workspace.shared<Tile>(static_cast<size_t>(count));
  over_tiles(a, *call.layout, [&](const Tile& tile) { *tiles++ = tile; });
  tiles -= count;
  over_parts_of(call, count, flops / kFlopsPerNanosecond / static_cast<double>(count), [&](int64_t i, int thread) {
    run_tile(a, tiles[i], call.workspace.own<float>(thread, static_cast<size_t>(scratch_size(a))));
  });
}
// q (T, H * d), k and v (T, Hkv * d). Settings: scale, reach or -1 for all, Hkv, d.
RH_OP(encoder_attention, run_encoder_attention);

enum Pooling { kMean, kFirst, kLast };

// To the mean of `count` rows, of which there is one at least.
void mean_of(const float* rows, int64_t count, int64_t width, float* to) {
  std::copy_n(rows, width, to);
  for (int64_t row = 1; row < count; ++row) {
    for (int64_t i = 0; i < width; ++i) to[i] += rows[row * width + i];
  }
  for (int64_t i = 0; i < width; ++i) to[i] /= static_cast<float>(count);
}

void run_pool_rows(const Call& call) {
  const Operand& x = call.in[0];
  const auto pooling = static_cast<Pooling>(call.settings[0]);
  const Layout& layout = *call.layout;
  const double bytes = static_cast<double>(x.rows * x.width * 4) / static_cast<double>(layout.num_sequences);
  over_parts_of(call, layout.num_sequences, bytes / kBytesPerNanosecond, [&](int64_t sequence, int) {
    const int64_t start = layout.query_starts[sequence], end = layout.query_starts[sequence + 1];
    float* to = static_cast<float*>(call.out.data) + sequence * x.width;
    if (pooling == kMean) return mean_of(x.f32() + start * x.width, end - start, x.width, to);
    std::copy_n(x.f32() + (pooling == kFirst ? start : end - 1) * x.width, x.width, to);
  });
}
// x (T, n) to (B, n). Settings: 0 for the mean of a sequence's rows, 1 for the first, 2 for the last.
RH_OP(pool_rows, run_pool_rows);

}  // namespace
}  // namespace rh
