// What this CPU can do, and which of our code paths is taken for it.
#pragma once

namespace rh {

enum class Isa { portable = 0, avx2 = 1, avx512 = 2, neon = 3 };

// The best path for this CPU (AVX-512 wants VNNI and BF16 too, NEON dot products of bytes), or a lesser
// one that was asked for.
Isa isa();

// Takes a lesser path than the CPU's best; with any other, the best.
void limit_isa(Isa limit);

}  // namespace rh
