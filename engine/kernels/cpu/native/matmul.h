// Tiled matrices times activations: which kernel, over which tiles, on which threads.
#pragma once

#include "op.h"
#include "quantise.h"
#include "tiles.h"

namespace rh {

// Rows [first, last) of a tiled matrix.
struct Matrix {
  Format format;
  const uint8_t* data;
  int64_t width;
  int64_t first;
  int64_t last;

  int64_t first_tile() const { return first / kTileRows; }
  int64_t num_tiles() const { return last > first ? tiles_of(last) - first_tile() : 0; }
};

inline Matrix matrix_of(const Operand& weight) {
  return {weight.format, weight.bytes(), weight.width, 0, weight.rows};
}

// Where products go: row m, matrix row r to data[m * stride + r - first]. `bias` (last - first) and
// `addend`, laid out as data, are added where they are not null. places: where not null, row m goes
// where row places[m] would.
struct Target {
  float* data;
  int64_t stride;
  const float* bias = nullptr;
  const float* addend = nullptr;
  const int64_t* places = nullptr;
};

// Tiles [first, last) of the matrix's own times all activation rows, on this thread.
void multiply_tiles(const Matrix& matrix, int64_t first, int64_t last, const Activations& x, const Target& to);

struct Product {
  Matrix matrix;
  Activations x;
  Target to;
};

// All products, whose chunks of tiles the pool's threads share.
void multiply_all(Pool& pool, const Product* products, int64_t count);

// The activations for a weight: x itself where it holds them, or made of its float32 rows.
Activations activations_of(const Call& call, const Operand& x, Format weight, bool exact);

}  // namespace rh
