// Writing to paged caches, and attention over them.
//
// Work is cut into tiles, some rows of a sequence and the heads that read one cache head, and where
// that makes too few of them for the threads, a tile's keys into pieces, whose results are merged.
#include "paged_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu_features.h"
#include "op.h"
#include "ranges.h"

namespace rh {
namespace {

constexpr double kBytesPerNanosecond = 12;  // what one core reads
constexpr double kFlopsPerNanosecond = 40;  // and computes
constexpr double kWorthThreads = 15000;     // nanoseconds
constexpr double kLeastPiece = 6000;
constexpr int64_t kPiecesPerThread = 6;  // so that a thread that comes late leaves some to steal
constexpr int64_t kDecodePieces = 16;    // at most, of a tile of a decode: their results take memory

AttendKernels kernels() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::attend_kernels();
  if (isa() == Isa::avx2) return avx2::attend_kernels();
#endif
  return portable::attend_kernels();
}

// Of a cache head's values of one token.
int64_t row_bytes(Format format, int64_t size) {
  if (format == Format::q8_0) return size + (size + 31) / 32 * 2;
  return size * (format == Format::bf16 ? 2 : 4);
}

// What all rows have in common.
struct Attention {
  const Operand& q;
  const Operand& keys;
  const Operand& values;
  const Operand* chosen;  // null where rows see all that is before them
  const float* sinks;
  const float* slopes;
  float scale;
  float softcap;
  int64_t window;
  int64_t num_heads;
  int64_t num_cache_heads;
  int64_t key_size;
  int64_t value_size;

  int64_t group() const { return num_heads / num_cache_heads; }
  int64_t heads_at_once() const { return std::min(group(), kAttendRows); }
  int64_t rows_at_once() const { return chosen != nullptr ? 1 : kAttendRows / heads_at_once(); }
  int64_t key_bytes() const { return row_bytes(keys.format, key_size); }
  int64_t value_bytes() const { return row_bytes(keys.format, value_size); }
};

struct Tile {
  int64_t sequence;
  int64_t row;  // of the batch
  int64_t rows;
  int64_t first_position;
  int64_t head;  // the first of `heads`
  int64_t heads;
  int64_t first;  // of the keys, or of the chosen
  int64_t last;
  int64_t first_piece;
  int64_t pieces;

  int64_t vectors() const { return rows * heads; }
};

// How many heads from one on share a tile.
int64_t next_head(const Attention& a, int64_t head) {
  return std::min(a.heads_at_once(), a.group() - head % a.group());
}

// f(tile) for each tile of the batch.
template <typename F>
void over_tiles(const Attention& a, const Layout& layout, const F& f) {
  for (int64_t sequence = 0; sequence < layout.num_sequences; ++sequence) {
    const int64_t start = layout.query_starts[sequence], end = layout.query_starts[sequence + 1];
    const int64_t behind = layout.context_lens[sequence] - end;  // a row's position is its number and this
    for (int64_t head = 0; head < a.num_heads; head += next_head(a, head)) {
      for (int64_t row = start; row < end; row += a.rows_at_once()) {
        const int64_t rows = std::min(a.rows_at_once(), end - row), position = row + behind;
        const int64_t first = a.chosen != nullptr ? 0 : std::max<int64_t>(0, position - a.window + 1);
        const int64_t last = a.chosen != nullptr ? a.chosen->width : position + rows;
        f(Tile{sequence, row, rows, position, head, next_head(a, head), first, last, 0, 1});
      }
    }
  }
}

double nanoseconds_of(const Attention& a, const Tile& tile) {
  const int64_t tokens = tile.last - tile.first;
  const auto bytes = static_cast<double>(tokens * (a.key_bytes() + a.value_bytes()));
  const auto flops = static_cast<double>(tokens * (a.key_size + a.value_size) * 2 * tile.vectors());
  return std::max(bytes / kBytesPerNanosecond, flops / kFlopsPerNanosecond);
}

// The maxima, sums and weighted values of some query vectors over some keys.
struct Result {
  float* data;
  int64_t vectors;

  float* maxima() const { return data; }
  float* sums() const { return data + vectors; }
  float* weighted() const { return data + 2 * vectors; }
};

int64_t result_size(const Attention& a) { return a.heads_at_once() * a.rows_at_once() * (a.value_size + 2); }

// All of a tile, but which keys.
AttendPiece piece_of(const Attention& a, const Layout& layout, const Tile& tile, const Result& to, float* scratch) {
  const int64_t cache_head = tile.head / a.group();
  AttendPiece piece{};
  piece.q = a.q.f32() + tile.row * a.q.width + tile.head * a.key_size;
  piece.q_stride = a.q.width;
  piece.rows = tile.rows;
  piece.group = tile.heads;
  piece.first_position = tile.first_position;
  piece.key_size = a.key_size;
  piece.value_size = a.value_size;
  piece.keys = a.keys.bytes() + cache_head * a.key_bytes();
  piece.values = a.values.bytes() + cache_head * a.value_bytes();
  piece.key_stride = a.num_cache_heads * a.key_bytes();
  piece.value_stride = a.values.data == a.keys.data ? piece.key_stride : a.num_cache_heads * a.value_bytes();
  piece.blocks = layout.block_tables + tile.sequence * layout.max_blocks;
  piece.block_size = layout.block_size;
  piece.chosen = a.chosen != nullptr ? a.chosen->i64() + tile.row * a.chosen->width : nullptr;
  piece.scale = a.scale;
  piece.softcap = a.softcap;
  piece.window = a.window;
  piece.slopes = a.slopes != nullptr ? a.slopes + tile.head : nullptr;
  piece.maxima = to.maxima();
  piece.sums = to.sums();
  piece.weighted = to.weighted();
  piece.scratch = scratch;
  return piece;
}

// Sums of the pieces' weighted values by those of their weights, and of the sinks'.
void finish(const Attention& a, const Tile& tile, float* results, int64_t size, const Operand& out) {
  for (int64_t m = 0; m < tile.vectors(); ++m) {
    const int64_t head = tile.head + m % tile.heads;
    float most = a.sinks != nullptr ? a.sinks[head] : kLeastScore;
    for (int64_t piece = 0; piece < tile.pieces; ++piece) {
      most = std::max(most, Result{results + piece * size, tile.vectors()}.maxima()[m]);
    }
    float total = a.sinks != nullptr ? std::exp(a.sinks[head] - most) : 0.0f;
    for (int64_t piece = 0; piece < tile.pieces; ++piece) {
      const Result result{results + piece * size, tile.vectors()};
      total += result.sums()[m] * std::exp(result.maxima()[m] - most);
    }
    float* to = static_cast<float*>(out.data) + (tile.row + m / tile.heads) * out.width + head * a.value_size;
    std::fill_n(to, a.value_size, 0.0f);
    for (int64_t piece = 0; piece < tile.pieces; ++piece) {
      const Result result{results + piece * size, tile.vectors()};
      const float factor = std::exp(result.maxima()[m] - most) / total;
      const float* from = result.weighted() + m * a.value_size;
      for (int64_t i = 0; i < a.value_size; ++i) to[i] += from[i] * factor;
    }
  }
}

struct Plan {
  Tile* tiles;
  int64_t count;
  int64_t pieces;
  bool is_short;  // not worth a second thread
};

// Into how many pieces a tile's keys are cut, if `wanted` nanoseconds each keep the threads busy.
//
// A row alone in its sequence is a decode, and cut by its own keys only: whatever runs beside it, its
// sums are the same to the last bit. Quantised activations would make much more of a last bit.
int64_t pieces_of(const Call& call, const Attention& a, const Tile& tile, double wanted) {
  const int64_t* starts = call.layout->query_starts + tile.sequence;
  const bool is_decode = starts[1] - starts[0] == 1;
  const int64_t most = std::max<int64_t>(1, (tile.last - tile.first + kAttendKeys - 1) / kAttendKeys);
  const auto pieces = static_cast<int64_t>(nanoseconds_of(a, tile) / (is_decode ? kLeastPiece : wanted));
  return std::clamp<int64_t>(pieces, 1, is_decode ? std::min(most, kDecodePieces) : most);
}

Plan plan_of(const Call& call, const Attention& a) {
  Plan plan{};
  double total = 0;
  over_tiles(a, *call.layout, [&](const Tile& tile) {
    plan.count += 1;
    total += nanoseconds_of(a, tile);
  });
  plan.tiles = call.workspace.shared<Tile>(static_cast<size_t>(plan.count));
  plan.is_short = total < kWorthThreads || call.pool.num_threads() == 1;
  const double even = total / static_cast<double>(call.pool.num_threads() * kPiecesPerThread);
  const double wanted = std::max(kLeastPiece, even);
  Tile* next = plan.tiles;
  over_tiles(a, *call.layout, [&](const Tile& tile) {
    *next = tile;
    next->pieces = call.pool.num_threads() == 1 ? 1 : pieces_of(call, a, tile, wanted);
    next->first_piece = plan.pieces;
    plan.pieces += next++->pieces;
  });
  return plan;
}

// One piece; of a tile that is not cut, to the end.
void run_piece(const Call& call, const Attention& a, const Plan& plan, int64_t number, float* results, int thread) {
  const Tile& tile = *(std::upper_bound(plan.tiles, plan.tiles + plan.count, number,
                                        [](int64_t at, const Tile& each) { return at < each.first_piece; }) -
                       1);
  const int64_t size = result_size(a), scratch = attend_scratch(a.key_size, a.value_size);
  float* own = call.workspace.own<float>(thread, static_cast<size_t>(scratch + size));
  float* to = tile.pieces == 1 ? own + scratch : results + number * size;
  AttendPiece piece = piece_of(a, *call.layout, tile, {to, tile.vectors()}, own);
  const int64_t part = number - tile.first_piece, count = tile.last - tile.first;
  piece.first = tile.first + count * part / tile.pieces;
  piece.last = tile.first + count * (part + 1) / tile.pieces;
  const AttendKernels table = kernels();
  const auto run = a.keys.format == Format::q8_0   ? table.attend_q8_0
                   : a.keys.format == Format::bf16 ? table.attend_bf16
                                                   : table.attend_f32;
  run(piece);
  if (tile.pieces == 1) finish(a, tile, to, size, call.out);
}

void attend(const Call& call, const Attention& a) {
  const Plan plan = plan_of(call, a);
  const int64_t size = result_size(a);
  const bool is_cut = plan.pieces > plan.count;
  float* results = is_cut ? call.workspace.shared<float>(static_cast<size_t>(plan.pieces * size)) : nullptr;
  if (plan.is_short) {
    for (int64_t number = 0; number < plan.pieces; ++number) run_piece(call, a, plan, number, results, 0);
  } else {
    call.pool.parallel(plan.pieces, [&](int64_t number, int thread) {
      run_piece(call, a, plan, number, results, thread);
    });
  }
  if (!is_cut) return;
  const double nanoseconds = static_cast<double>(plan.pieces * size / plan.count) / 4;
  in_ranges(call.pool, plan.count, nanoseconds, [&](int64_t first, int64_t last) {
    for (const Tile* tile = plan.tiles + first; tile < plan.tiles + last; ++tile) {
      if (tile->pieces > 1) finish(a, *tile, results + tile->first_piece * size, size, call.out);
    }
  });
}

int64_t whole(const Call& call, int setting) { return static_cast<int64_t>(call.settings[setting]); }

void run_paged_attention(const Call& call) {
  const int64_t window = whole(call, 1), cache_heads = whole(call, 4), value_size = whole(call, 6);
  const Attention a{call.in[0],
                    call.in[1],
                    call.in[2],
                    nullptr,
                    call.num_in > 3 ? call.in[3].f32() : nullptr,
                    call.num_in > 4 ? call.in[4].f32() : nullptr,
                    static_cast<float>(call.settings[0]),
                    static_cast<float>(call.settings[2]),
                    window > 0 ? window : int64_t{1} << 40,
                    whole(call, 3),
                    cache_heads,
                    whole(call, 5),
                    value_size};
  attend(call, a);
}

void run_latent_attention(const Call& call) {
  const int64_t size = whole(call, 3);
  const Operand* chosen = call.num_in > 2 && call.in[2] ? &call.in[2] : nullptr;
  const Attention a{call.in[0], call.in[1], call.in[1], chosen, nullptr, nullptr, static_cast<float>(call.settings[0]),
                    0.0f, int64_t{1} << 40, whole(call, 2), 1, size, whole(call, 1)};
  attend(call, a);
}

// Rows (T, heads * size) to the layout's slots of a cache (blocks, block_size * heads * a row).
void write_rows(const Call& call, const Operand& rows, const Operand& cache, int64_t heads) {
  const int64_t width = rows.width, size = width / heads, bytes = row_bytes(cache.format, size);
  const int64_t* slots = call.layout->slots;
  const AttendKernels table = kernels();
  in_ranges(call.pool, rows.rows, 0.3 * static_cast<double>(width), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      if (slots[row] < 0) continue;
      const float* from = rows.f32() + row * width;
      uint8_t* to = static_cast<uint8_t*>(cache.data) + slots[row] * heads * bytes;
      if (cache.format == Format::q8_0) {
        for (int64_t head = 0; head < heads; ++head) table.pack(from + head * size, size, to + head * bytes);
      } else if (cache.format == Format::bf16) {
        table.narrow(from, width, reinterpret_cast<uint16_t*>(to));
      } else {
        std::memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
      }
    }
  });
}

void run_cache_write(const Call& call) {
  const int64_t heads = whole(call, 0);
  write_rows(call, call.in[0], call.in[2], heads);
  write_rows(call, call.in[1], call.in[3], heads);
}

void run_latent_write(const Call& call) { write_rows(call, call.in[0], call.in[1], 1); }

// k (T, Hkv * d), v (T, Hkv * e), caches (blocks, block_size * Hkv * d) and (... e), bf16, f32 or rows of
// q8_0, which it writes to. Settings: Hkv.
RH_OP(cache_write, run_cache_write);

// latent (T, n), cache (blocks, block_size * n), bf16 or f32, which it writes to. No settings.
RH_OP(latent_write, run_latent_write);

// q (T, H * d), caches as cache_write has them, sinks (H,) or none, slopes of ALiBi (H,) or none ->
// (T, H * e). Settings: scale, window or 0, softcap or 0, H, Hkv, d, e.
RH_OP(paged_attention, run_paged_attention);

// q (T, H * n), cache (blocks, block_size * n), chosen (T, k) int64 or none -> (T, H * value_dim).
// Settings: scale, value_dim, H, n.
RH_OP(latent_attention, run_latent_attention);

}  // namespace
}  // namespace rh
