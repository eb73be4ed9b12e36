#include "matmul.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu_features.h"
#include "matmul_kernels.h"

namespace rh {
namespace {

// A chunk takes about this long at least: much longer than it takes to hand it out, and short
// enough for the threads to share a projection of the smallest models.
constexpr double kChunkSeconds = 5e-6;
constexpr double kBytesPerSecond = 12e9;     // what one core reads
constexpr double kProductsPerSecond = 1e11;  // and multiplies
constexpr int64_t kChunksPerThread = 8;      // so that threads that come late leave some to steal
constexpr int64_t kCacheBytes = 512 * 1024;  // of weights that several groups of rows meet again

Kernel kernel_of(Format weight, Format activations, int index) {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return kernel_avx512(weight, activations, index);
  if (isa() == Isa::avx2) return kernel_avx2(weight, activations, index);
#elif defined(__aarch64__)
  if (isa() == Isa::neon) return kernel_neon(weight, activations, index);
#endif
  return kernel_portable(weight, activations, index);
}

// Some rows' products with a tile, of which columns [skip, skip + count) are wanted.
struct Piece {
  int64_t row;
  int64_t rows;
  int64_t column;
  int64_t skip;
  int64_t count;
};

void write_piece(const Target& to, const Piece& piece, const float* products) {
  for (int64_t m = 0; m < piece.rows; ++m) {
    const int64_t row = to.places ? to.places[piece.row + m] : piece.row + m;
    const int64_t at = row * to.stride + piece.column;
    const float* from = products + m * kTileRows + piece.skip;
    for (int64_t i = 0; i < piece.count; ++i) {
      float value = from[i];
      if (to.bias != nullptr) value += to.bias[piece.column + i];
      if (to.addend != nullptr) value += to.addend[at + i];
      to.data[at + i] = value;
    }
  }
}

struct Group {
  const uint8_t* x;
  Kernel kernel;
  int64_t padded;
  int64_t row;
  int64_t rows;
};

void multiply_group(const Matrix& matrix, int64_t tile, const Group& group, const Target& to) {
  const int64_t first_row = tile * kTileRows;
  const int64_t begin = std::max(first_row, matrix.first), end = std::min(first_row + kTileRows, matrix.last);
  const Piece piece{group.row, group.rows, begin - matrix.first, begin - first_row, end - begin};
  const uint8_t* data = matrix.data + tile * row_tile_bytes(matrix.format, matrix.width);
  const bool is_plain = to.bias == nullptr && to.addend == nullptr && to.places == nullptr;
  if (is_plain && piece.count == kTileRows && group.rows == group.padded) {
    float* y = to.data + group.row * to.stride + piece.column;
    return group.kernel(data, blocks_of(matrix.width), group.x, y, to.stride);
  }
  alignas(64) float products[16 * kTileRows];
  group.kernel(data, blocks_of(matrix.width), group.x, products, kTileRows);
  write_piece(to, piece, products);
}

// How many tiles of a matrix make a chunk.
int64_t tiles_per_chunk(const Product& product, int64_t all_tiles, int num_threads) {
  const double bytes = static_cast<double>(row_tile_bytes(product.matrix.format, product.matrix.width));
  const double products = static_cast<double>(product.matrix.width * kTileRows * product.x.rows);
  const double seconds = std::max(bytes / kBytesPerSecond, products / kProductsPerSecond);
  const int64_t least = 1 + static_cast<int64_t>(kChunkSeconds / seconds);
  const int64_t most = std::max<int64_t>(least, static_cast<int64_t>(kCacheBytes / bytes));
  const int64_t even = (all_tiles + num_threads * kChunksPerThread - 1) / (num_threads * kChunksPerThread);
  return std::clamp(even, least, most);
}

// The chunks [first, last) are those of a product.
struct Share {
  int64_t first;
  int64_t tiles_per_chunk;
};

void run_linears(const Call& call) {
  const int count = (call.num_in - 1) / 3;
  Product products[16];
  float* beside = call.out ? static_cast<float*>(call.out.data) : nullptr;
  Activations made[3];
  int num_made = 0;
  for (int i = 0; i < count; ++i) {
    const Operand& weight = call.in[1 + 3 * i];
    const Format kind = call.in[0].format == Format::f32 ? activations_for(weight.format, false) : call.in[0].format;
    const auto* found = std::find_if(made, made + num_made, [&](const Activations& x) { return x.kind == kind; });
    if (found == made + num_made) made[num_made++] = activations_of(call, call.in[0], weight.format, false);
    const Target own{call.in[3 + 3 * i].f32(), weight.rows, call.in[2 + 3 * i].f32()};
    const Target shared{beside, call.out.width, call.in[2 + 3 * i].f32()};
    products[i] = {matrix_of(weight), *found, beside ? shared : own};
    if (beside != nullptr) beside += weight.rows;
  }
  multiply_all(call.pool, products, count);
}

void multiply_one(const Call& call, bool exact) {
  const Operand& weight = call.in[1];
  const float* bias = call.num_in > 2 ? call.in[2].f32() : nullptr;
  const float* addend = call.num_in > 3 ? call.in[3].f32() : nullptr;
  const Activations x = activations_of(call, call.in[0], weight.format, exact);
  const Product product{matrix_of(weight), x, {static_cast<float*>(call.out.data), call.out.width, bias, addend}};
  multiply_all(call.pool, &product, 1);
}

void run_linear(const Call& call) { multiply_one(call, false); }

void run_logits(const Call& call) { multiply_one(call, true); }

// A matrix for each head, and for each head's rows of x.
void run_head_linear(const Call& call) {
  const Operand& weight = call.in[1];
  const int64_t num_heads = static_cast<int64_t>(call.settings[0]);
  const int64_t first = static_cast<int64_t>(call.settings[1]), last = static_cast<int64_t>(call.settings[2]);
  const int64_t rows = call.in[0].rows, per_head = weight.rows / num_heads, size = weight.width;
  const Format kind = activations_for(weight.format, false);
  const int64_t bytes = (activation_bytes(kind, rows, size) + 63) & ~int64_t{63};
  uint8_t* data = call.workspace.shared<uint8_t>(static_cast<size_t>(bytes * num_heads));
  auto* products = call.workspace.shared<Product>(static_cast<size_t>(num_heads));
  call.pool.parallel(num_heads, [&](int64_t head, int) {
    const Activations x{kind, rows, size, data + head * bytes};
    for (int64_t row = 0; row < rows; ++row) {
      quantise_row(call.in[0].f32() + (row * num_heads + head) * size, x, row);
    }
    finish_rows(x);
    const Matrix matrix{weight.format, weight.bytes(), size, head * per_head + first, head * per_head + last};
    const int64_t width = last - first;
    products[head] = {matrix, x, {static_cast<float*>(call.out.data) + head * width, num_heads * width}};
  });
  multiply_all(call.pool, products, num_heads);
}

// Rows [first, last) of a tiled matrix, which begin and end anywhere in a tile.
struct Rows {
  int64_t first;
  int64_t last;

  int64_t first_tile() const { return first / kTileRows; }
  int64_t num_tiles() const { return tiles_of(last) - first_tile(); }
};

// Each row's factor in its place in the tiles, and zeros for the rows of theirs that are not wanted.
void spread(const Rows& rows, const float* x, float* factors) {
  std::fill_n(factors, rows.num_tiles() * kTileRows, 0.0f);
  std::copy_n(x, rows.last - rows.first, factors + rows.first % kTileRows);
}

// y[input] = the sum over all tiles' rows of factor times value. values: of a block, tile after tile.
void sum_columns(const float* values, int64_t num_tiles, const float* factors, int64_t width, float* y) {
  float sums[kBlock * kTileRows] = {};
  for (int64_t tile = 0; tile < num_tiles; ++tile, factors += kTileRows) {
    for (int input = 0; input < kBlock; ++input, values += kTileRows) {
      float* sum = sums + input * kTileRows;
      for (int row = 0; row < kTileRows; ++row) sum[row] += factors[row] * values[row];
    }
  }
  for (int64_t input = 0; input < width; ++input) {
    const float* sum = sums + input * kTileRows;
    y[input] = std::accumulate(sum, sum + kTileRows, 0.0f);
  }
}

// The same matrices, not transposed: sums over a head's rows. A block of inputs at a time, which every row
// of x meets while it is in the cache.
void run_head_linear_transposed(const Call& call) {
  const Operand& weight = call.in[1];
  const int64_t num_heads = static_cast<int64_t>(call.settings[0]);
  const int64_t first = static_cast<int64_t>(call.settings[1]), last = static_cast<int64_t>(call.settings[2]);
  const int64_t num_rows = call.in[0].rows, per_head = weight.rows / num_heads, size = weight.width;
  const int64_t blocks = blocks_of(size), groups = (blocks + kGroup - 1) / kGroup;
  const int64_t bytes = row_tile_bytes(weight.format, size), whole_group = group_bytes(weight.format, kGroup);
  float* y = static_cast<float*>(call.out.data);
  call.pool.parallel(num_heads * groups, [&](int64_t chunk, int thread) {
    const int64_t head = chunk / groups, group = chunk % groups;
    const Rows rows{head * per_head + first, head * per_head + last};
    const int64_t count = rows.num_tiles();
    float* factors = call.workspace.own<float>(thread, static_cast<size_t>(count * kTileRows * (1 + kBlock)));
    float* values = factors + count * kTileRows;
    const int num_blocks = static_cast<int>(std::min<int64_t>(kGroup, blocks - group * kGroup));
    const uint8_t* data = weight.bytes() + rows.first_tile() * bytes + group * whole_group;
    for (int block = 0; block < num_blocks; ++block) {
      for (int64_t tile = 0; tile < count; ++tile) {
        untile_columns(weight.format, data + tile * bytes, num_blocks, block, values + tile * kTileRows * kBlock);
      }
      const int64_t start = (group * kGroup + block) * kBlock;
      for (int64_t row = 0; row < num_rows; ++row) {
        spread(rows, call.in[0].f32() + (row * num_heads + head) * (last - first), factors);
        float* to = y + (row * num_heads + head) * size + start;
        sum_columns(values, count, factors, std::min<int64_t>(kBlock, size - start), to);
      }
    }
  });
}

// x (T, in) float32, or activations; weight (out, in) tiled; bias (out,) or none; addend (T, out) or
// none, which may be y itself -> y (T, out). y's width is its stride.
RH_OP(linear, run_linear);

// As linear, with bfloat16 weights' activations left in float32.
RH_OP(logits, run_logits);

// One x and up to 16 weights: x, then for each weight (out_i, in) its bias or none, and y_i. Where
// there is an `out`, (T, sum of out_i), the products go there side by side, and y_i are none.
RH_OP(linears, run_linears);

// x (T, H * in), weight (H * r, in) tiled -> (T, H * (last - first)). Settings: H, first, last.
RH_OP(head_linear, run_head_linear);

// x (T, H * (last - first)), weight (H * r, in) tiled -> (T, H * in). Settings: H, first, last.
RH_OP(head_linear_transposed, run_head_linear_transposed);

}  // namespace

void multiply_tiles(const Matrix& matrix, int64_t first, int64_t last, const Activations& x, const Target& to) {
  const Groups groups = groups_of(x.kind, x.rows);
  for (int64_t i = 0; i < groups.count; ++i) {
    const int index = i + 1 == groups.count ? groups.last_kernel : groups.kernel;
    const int64_t row = i * groups.rows_per_group;
    const Group group{group_at(x, groups, i), kernel_of(matrix.format, x.kind, index), kKernelRows[index], row,
                      std::min(groups.rows_per_group, x.rows - row)};
    for (int64_t tile = first; tile < last; ++tile) multiply_group(matrix, tile, group, to);
  }
}

void multiply_all(Pool& pool, const Product* products, int64_t count) {
  int64_t all_tiles = 0;
  for (int64_t i = 0; i < count; ++i) all_tiles += products[i].matrix.num_tiles();
  Share few[16];
  std::vector<Share> many(count > 16 ? count : 0);
  Share* shares = count > 16 ? many.data() : few;
  int64_t chunks = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool is_empty = products[i].matrix.num_tiles() == 0 || products[i].x.rows == 0;
    const int64_t size = is_empty ? 1 : tiles_per_chunk(products[i], all_tiles, pool.num_threads());
    shares[i] = {chunks, size};
    chunks += is_empty ? 0 : (products[i].matrix.num_tiles() + size - 1) / size;
  }
  pool.parallel(chunks, [&](int64_t chunk, int) {
    const Share* share = std::upper_bound(shares, shares + count, chunk,
                                          [](int64_t at, const Share& each) { return at < each.first; }) - 1;
    const Product& product = products[share - shares];
    const int64_t first = (chunk - share->first) * share->tiles_per_chunk;
    const int64_t last = std::min(first + share->tiles_per_chunk, product.matrix.num_tiles());
    const int64_t start = product.matrix.first_tile();
    multiply_tiles(product.matrix, start + first, start + last, product.x, product.to);
  });
}

Activations activations_of(const Call& call, const Operand& x, Format weight, bool exact) {
  if (x.format != Format::f32) return {x.format, x.rows, x.width, static_cast<uint8_t*>(x.data)};
  const Format kind = activations_for(weight, exact);
  auto* data = call.workspace.shared<uint8_t>(static_cast<size_t>(activation_bytes(kind, x.rows, x.width)));
  const Activations made{kind, x.rows, x.width, data};
  quantise_rows(call.pool, x.f32(), x.width, made);
  return made;
}

}  // namespace rh
