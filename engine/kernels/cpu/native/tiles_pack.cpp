// From the blocks of a checkpoint's rows to tiles.
#include <algorithm>

#include "abi.h"
#include "pool.h"
#include "tiles.h"

namespace rh {
namespace {

// Where a row's blocks are, and its scales where they are stored apart.
struct Row {
  const uint8_t* blocks;
  const uint8_t* scales;
};

// A row of a group while it is packed: its codes, and the places in the header that are its own.
struct Target {
  uint8_t* codes;
  uint8_t* header;
  int row;

  void byte(int offset, int value) const { header[offset + row] = static_cast<uint8_t>(value); }
  void half(int offset, const uint8_t* from) const { std::memcpy(header + offset + 2 * row, from, 2); }
};

// `bytes` bytes as their low nibbles, then their high ones.
void spread_nibbles(const uint8_t* from, int bytes, uint8_t* codes) {
  for (int i = 0; i < bytes; ++i) {
    codes[i] = from[i] & 15;
    codes[bytes + i] = from[i] >> 4;
  }
}

uint64_t eight_at(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

constexpr uint64_t kEach = 0x0101010101010101;

// Of each byte the bits of `mask`, `shift` up, are added to a code, `to` up.
void add_bits(const uint8_t* from, int bytes, int shift, uint64_t mask, int to, uint8_t* codes) {
  for (int i = 0; i < bytes; i += 8) {
    const uint64_t word = eight_at(codes + i) | (eight_at(from + i) >> shift & kEach * mask) << to;
    std::memcpy(codes + i, &word, 8);
  }
}

// A code for each bit, the lowest first.
void take_five(const uint8_t* bits, const uint8_t* nibbles, uint8_t* codes) {
  spread_nibbles(nibbles, 16, codes);
  for (int i = 0; i < 4; ++i) {
    const uint64_t chosen = bits[i] * kEach & 0x8040201008040201;
    // A byte that is not zero carries into its top bit, unless that is the very bit set in it.
    const uint64_t fifth = ((((chosen & kEach * 127) + kEach * 127) | chosen) >> 7 & kEach) << 4;
    const uint64_t word = eight_at(codes + 8 * i) | fifth;
    std::memcpy(codes + 8 * i, &word, 8);
  }
}

void take_q8_0(Row row, int b, const Target& to) {
  const uint8_t* block = row.blocks + 34 * b;
  to.half(32 * b, block);
  for (int i = 0; i < kBlock; ++i) to.codes[kBlock * b + i] = block[2 + i] ^ 0x80;
}

void take_q4_0(Row row, int b, const Target& to) {  // and IQ4_NL
  const uint8_t* block = row.blocks + 18 * b;
  to.half(32 * b, block);
  spread_nibbles(block + 2, 16, to.codes + kBlock * b);
}

void take_q4_1(Row row, int b, const Target& to) {
  const uint8_t* block = row.blocks + 20 * b;
  to.half(64 * b, block);
  to.half(64 * b + 32, block + 2);
  spread_nibbles(block + 4, 16, to.codes + kBlock * b);
}

void take_q5_0(Row row, int b, const Target& to) {
  const uint8_t* block = row.blocks + 22 * b;
  to.half(32 * b, block);
  take_five(block + 2, block + 6, to.codes + kBlock * b);
}

void take_q5_1(Row row, int b, const Target& to) {
  const uint8_t* block = row.blocks + 24 * b;
  to.half(64 * b, block);
  to.half(64 * b + 32, block + 2);
  take_five(block + 4, block + 8, to.codes + kBlock * b);
}

void take_mxfp4(Row row, int b, const Target& to) {
  if (row.scales == nullptr) {
    to.byte(16 * b, row.blocks[17 * b]);
    spread_nibbles(row.blocks + 17 * b + 1, 16, to.codes + kBlock * b);
    return;
  }
  to.byte(16 * b, row.scales[b]);  // as Hugging Face has it: neighbours share a byte
  for (int i = 0; i < 16; ++i) {
    const uint8_t pair = row.blocks[16 * b + i];
    to.codes[kBlock * b + 2 * i] = pair & 15;
    to.codes[kBlock * b + 2 * i + 1] = pair >> 4;
  }
}

// The 6-bit factors of Q4_K and Q5_K, see `engine.quant.kquants._scales_and_minima`.
void take_factors(const uint8_t* block, const Target& to) {
  const uint8_t* first = block + 4;
  to.half(0, block);
  to.half(32, block + 2);
  for (int i = 0; i < 4; ++i) {
    to.byte(64 + 32 * i, first[i] & 63);
    to.byte(64 + 32 * i + 16, first[4 + i] & 63);
    to.byte(64 + 32 * (4 + i), (first[8 + i] & 15) | (first[i] >> 2 & 0x30));
    to.byte(64 + 32 * (4 + i) + 16, first[8 + i] >> 4 | (first[4 + i] >> 2 & 0x30));
  }
}

void take_q4_k(const uint8_t* block, const Target& to) {
  take_factors(block, to);
  for (int i = 0; i < 4; ++i) spread_nibbles(block + 16 + 32 * i, 32, to.codes + 64 * i);
}

void take_q5_k(const uint8_t* block, const Target& to) {
  take_factors(block, to);
  for (int i = 0; i < 4; ++i) spread_nibbles(block + 48 + 32 * i, 32, to.codes + 64 * i);
  for (int i = 0; i < 8; ++i) add_bits(block + 16, 32, i, 1, 4, to.codes + 32 * i);
}

void take_q6_k(const uint8_t* block, const Target& to) {
  to.half(0, block + 208);
  for (int i = 0; i < 16; ++i) to.byte(32 + 16 * i, block[192 + i]);
  for (int half = 0; half < 2; ++half) {
    uint8_t* codes = to.codes + 128 * half;
    spread_nibbles(block + 64 * half, 64, codes);
    for (int i = 0; i < 4; ++i) add_bits(block + 128 + 32 * half, 32, 2 * i, 3, 4, codes + 32 * i);
  }
}

void spread_pairs(const uint8_t* from, uint8_t* codes) {
  std::memset(codes, 0, 256);
  for (int i = 0; i < 8; ++i) add_bits(from + i / 4 * 32, 32, i % 4 * 2, 3, 0, codes + 32 * i);
}

void take_q2_k(const uint8_t* block, const Target& to) {
  to.half(0, block + 80);
  to.half(32, block + 82);
  for (int i = 0; i < 16; ++i) to.byte(64 + 16 * i, block[i]);
  spread_pairs(block + 16, to.codes);
}

void take_q3_k(const uint8_t* block, const Target& to) {
  to.half(0, block + 108);
  for (int i = 0; i < 16; ++i) {
    const int low = block[96 + i % 8] >> (i / 8 * 4) & 15;
    const int high = block[104 + i % 4] >> (i / 4 * 2) & 3;
    to.byte(32 + 16 * i, (low | high << 4) - 32);
  }
  spread_pairs(block + 32, to.codes);
  for (int i = 0; i < 8; ++i) add_bits(block, 32, i, 1, 2, to.codes + 32 * i);
}

void take_iq4_xs(const uint8_t* block, const Target& to) {
  to.half(0, block);
  for (int i = 0; i < 8; ++i) {
    const int low = block[4 + i / 2] >> (i % 2 * 4) & 15;
    const int high = block[2 + i / 4] >> (i % 4 * 2) & 3;
    to.byte(32 + 16 * i, (low | high << 4) - 32);
    spread_nibbles(block + 8 + 16 * i, 16, to.codes + kBlock * i);
  }
}

template <typename Take>
void take_each(Row row, int num_blocks, const Target& to, Take take) {
  for (int block = 0; block < num_blocks; ++block) take(row, block, to);
}

void take_row(Format format, Row row, int num_blocks, const Target& to) {
  switch (format) {
    case Format::tiled_q8_0: return take_each(row, num_blocks, to, take_q8_0);
    case Format::tiled_iq4_nl:
    case Format::tiled_q4_0: return take_each(row, num_blocks, to, take_q4_0);
    case Format::tiled_q4_1: return take_each(row, num_blocks, to, take_q4_1);
    case Format::tiled_q5_0: return take_each(row, num_blocks, to, take_q5_0);
    case Format::tiled_q5_1: return take_each(row, num_blocks, to, take_q5_1);
    case Format::tiled_mxfp4: return take_each(row, num_blocks, to, take_mxfp4);
    case Format::tiled_q4_k: return take_q4_k(row.blocks, to);
    case Format::tiled_q5_k: return take_q5_k(row.blocks, to);
    case Format::tiled_q6_k: return take_q6_k(row.blocks, to);
    case Format::tiled_q2_k: return take_q2_k(row.blocks, to);
    case Format::tiled_q3_k: return take_q3_k(row.blocks, to);
    case Format::tiled_iq4_xs: return take_iq4_xs(row.blocks, to);
    default: return;
  }
}

// Bytes of a group of blocks in a row of a checkpoint.
int source_bytes(Format format, int num_blocks, bool apart) {
  switch (format) {
    case Format::tiled_q8_0: return 34 * num_blocks;
    case Format::tiled_iq4_nl:
    case Format::tiled_q4_0: return 18 * num_blocks;
    case Format::tiled_q4_1: return 20 * num_blocks;
    case Format::tiled_q5_0: return 22 * num_blocks;
    case Format::tiled_q5_1: return 24 * num_blocks;
    case Format::tiled_mxfp4: return (apart ? 16 : 17) * num_blocks;
    case Format::tiled_q4_k: return 144;
    case Format::tiled_q5_k: return 176;
    case Format::tiled_q6_k: return 210;
    case Format::tiled_q2_k: return 84;
    case Format::tiled_q3_k: return 110;
    case Format::tiled_iq4_xs: return 136;
    default: return 0;
  }
}

// The 16 rows of a vector are put side by side: word r of vector j is row r's codes 4 * j to 4 * j + 3.
template <int low_bits, int high_bits>
void write_tile(const uint8_t* codes, uint8_t* tile) {
  constexpr int per_vector = 8 / low_bits;
  constexpr int vectors = 8 / per_vector;
  constexpr uint32_t low = 0x01010101u * ((1u << low_bits) - 1);
  for (int row = 0; row < kTileRows; ++row) {
    uint32_t words[8];
    std::memcpy(words, codes + row * kBlock * kGroup, sizeof words);
    uint8_t* at = tile + 4 * row;
    for (int j = 0; j < vectors; ++j) {
      uint32_t packed = 0;
      for (int i = 0; i < per_vector; ++i) packed |= (words[j + i * vectors] & low) << (i * low_bits);
      std::memcpy(at + 64 * j, &packed, 4);
    }
    at += 64 * low_bits;
    for (int j = 0; j < high_bits; ++j) {
      uint32_t packed = 0;
      constexpr uint32_t mask = high_bits == 2 ? 0x03030303u : 0x01010101u;
      for (int i = 0; i < 8 / (high_bits ? high_bits : 1); ++i) {
        packed |= (words[j + i * high_bits] >> low_bits & mask) << (i * high_bits);
      }
      std::memcpy(at + 64 * j, &packed, 4);
    }
  }
}

void write_tile(Format format, const uint8_t* codes, uint8_t* tile) {
  const Tiling kind = tiling(format);
  if (kind.low_bits == 8) return write_tile<8, 0>(codes, tile);
  if (kind.low_bits == 4 && kind.high_bits == 0) return write_tile<4, 0>(codes, tile);
  if (kind.low_bits == 4 && kind.high_bits == 1) return write_tile<4, 1>(codes, tile);
  if (kind.low_bits == 4) return write_tile<4, 2>(codes, tile);
  if (kind.high_bits == 0) return write_tile<2, 0>(codes, tile);
  return write_tile<2, 1>(codes, tile);
}

struct Source {
  Format format;
  const uint8_t* rows;
  int64_t row_bytes;
  const uint8_t* scales;  // null where they are in the rows
  int64_t scale_bytes;    // of a row
  int64_t num_rows;
  int64_t width;
};

// Codes of which neighbours share a byte, the first of them its low bits, or that are a byte each;
// pairs of a float32 scale and a float32 zero.
void take_wide(const Source& from, int64_t row, int64_t first, int num_blocks, const Target& to) {
  const int bits = tiling(from.format).low_bits, shared = tiling(from.format).blocks_per_scale;
  const int64_t start = first * kBlock;
  const int64_t inputs = std::min<int64_t>(from.width - start, num_blocks * kBlock);
  const uint8_t* stored = from.rows + row * from.row_bytes + start * bits / 8;
  std::memset(to.codes, 0, static_cast<size_t>(num_blocks * kBlock));
  for (int64_t i = 0; i < inputs; ++i) {
    to.codes[i] = bits == 8 ? stored[i] : static_cast<uint8_t>(stored[i / 2] >> (i % 2 * 4) & 15);
  }
  for (int block = 0; block < num_blocks; block += shared) {
    float pair[2];
    std::memcpy(pair, from.scales + row * from.scale_bytes + (first + block) / shared * 8, sizeof pair);
    std::memcpy(to.header + wide_offset(from.format, block) + 4 * to.row, pair, 4);
    to.byte(wide_offset(from.format, block) + 64, static_cast<int>(pair[1]));
  }
}

// Rows of a few hundred bytes at a time, 16 by turns, are no pattern that a CPU would foresee.
void fetch(const uint8_t* from, int bytes) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
}

void pack_codes(const Source& from, int64_t tile, uint8_t* out) {
  const Format format = from.format;
  const int64_t blocks = blocks_of(from.width);
  const int rows = static_cast<int>(std::min<int64_t>(kTileRows, from.num_rows - tile * kTileRows));
  alignas(64) uint8_t codes[kTileRows * kBlock * kGroup] = {};
  int64_t offset = 0;
  for (int64_t first = 0; first < blocks; first += kGroup) {
    const int num_blocks = static_cast<int>(std::min<int64_t>(kGroup, blocks - first));
    const int header = header_bytes(format, num_blocks);
    const int bytes = source_bytes(format, num_blocks, from.scales != nullptr);
    std::memset(out, 0, header);
    for (int row = 0; row < rows; ++row) {
      const int64_t at = tile * kTileRows + row;
      const Target to{codes + row * kBlock * kGroup, out, row};
      if (tiling(format).scales == Scales::wide_zeros) {
        take_wide(from, at, first, num_blocks, to);
        continue;
      }
      const uint8_t* scales = from.scales ? from.scales + at * from.scale_bytes + first : nullptr;
      if (at + kTileRows < from.num_rows) fetch(from.rows + (at + kTileRows) * from.row_bytes + offset, bytes);
      take_row(format, {from.rows + at * from.row_bytes + offset, scales}, num_blocks, to);
    }
    for (int block = 0; block < num_blocks; ++block) {
      write_tile(format, codes + block * kBlock, out + header + block * tile_bytes(format));
    }
    out += group_bytes(format, num_blocks);
    offset += bytes;
  }
}

template <typename T>
void pack_numbers(const Source& from, int64_t tile, int64_t first, int num_blocks, int in_a_row, uint8_t* out) {
  T* values = reinterpret_cast<T*>(out);
  const int64_t rows = std::min<int64_t>(kTileRows, from.num_rows - tile * kTileRows);
  const int64_t start = first * kBlock;
  const int64_t inputs = std::min<int64_t>(from.width - start, num_blocks * kBlock);
  std::memset(out, 0, sizeof(T) * kTileRows * kBlock * num_blocks);
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t* source = from.rows + (tile * kTileRows + row) * from.row_bytes + start * sizeof(T);
    for (int64_t input = 0; input < inputs; ++input) {
      const int64_t at = (input / in_a_row * kTileRows + row) * in_a_row + input % in_a_row;
      std::memcpy(values + at, source + input * sizeof(T), sizeof(T));
    }
  }
}

// The scales of two runs of 128 inputs; a row that has one scale has it for all of them.
void pack_wide_scales(const Source& from, int64_t tile, int64_t first, uint8_t* header) {
  float scales[2 * kTileRows] = {};
  const int64_t rows = std::min<int64_t>(kTileRows, from.num_rows - tile * kTileRows);
  const int64_t last = from.scale_bytes / 4 - 1;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t at = std::min(last, first * kBlock / 128 + half);
      std::memcpy(scales + half * kTileRows + row,
                  from.scales + (tile * kTileRows + row) * from.scale_bytes + 4 * at, 4);
    }
  }
  std::memcpy(header, scales, sizeof scales);
}

void pack(const Source& from, int64_t tile, uint8_t* out) {
  if (has_codes(from.format)) return pack_codes(from, tile, out);
  const int64_t blocks = blocks_of(from.width);
  for (int64_t first = 0; first < blocks; first += kGroup) {
    const int num_blocks = static_cast<int>(std::min<int64_t>(kGroup, blocks - first));
    if (from.format == Format::tiled_f8) pack_wide_scales(from, tile, first, out);
    uint8_t* numbers = out + header_bytes(from.format, num_blocks);
    switch (from.format) {
      case Format::tiled_f32: pack_numbers<uint32_t>(from, tile, first, num_blocks, 1, numbers); break;
      case Format::tiled_bf16: pack_numbers<uint16_t>(from, tile, first, num_blocks, 2, numbers); break;
      case Format::tiled_f16: pack_numbers<uint16_t>(from, tile, first, num_blocks, 1, numbers); break;
      default: pack_numbers<uint8_t>(from, tile, first, num_blocks, 1, numbers); break;
    }
    out += group_bytes(from.format, num_blocks);
  }
}

}  // namespace
}  // namespace rh

// Tiles [first, last) of a matrix, written to where the matrix's tiles begin (`out`). Rows are
// GGML's, `row_bytes` apart, or plain numbers; FP8 has float32 `scales` of `scale_bytes` a row, I4 and
// I8 have pairs of float32, scale and zero, and MXFP4 may have bytes. Ranges of tiles may be packed by several threads at once.
RH_API void rh_tile(rh::Pool* pool, int format, const uint8_t* rows, int64_t row_bytes, const uint8_t* scales,
                    int64_t scale_bytes, int64_t num_rows, int64_t width, int64_t first, int64_t last, uint8_t* out) {
  const rh::Source from{static_cast<rh::Format>(format), rows, row_bytes, scales, scale_bytes, num_rows, width};
  const int64_t stride = rh::row_tile_bytes(from.format, width);
  const auto run = [&](int64_t chunk, int) { rh::pack(from, first + chunk, out + (first + chunk) * stride); };
  if (pool != nullptr) return pool->parallel(last - first, run);
  for (int64_t chunk = 0; chunk < last - first; ++chunk) run(chunk, 0);
}
