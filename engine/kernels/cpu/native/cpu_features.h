// What this CPU can do, and which of our code paths is taken for it.
#pragma once

namespace rh {

enum class Isa { portable = 0, avx2 = 1, avx512 = 2 };

// The best path for this CPU (AVX-512 wants VNNI and BF16 too), or a lesser one that was asked for.
Isa isa();

// Takes a lesser path than the CPU's best, for tests; a greater one is ignored.
void limit_isa(Isa limit);

}  // namespace rh
