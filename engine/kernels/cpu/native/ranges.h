// Work over 0..count in ranges, side by side where there is enough of it.
//
// Not for files of an instruction set: a template is one function to the linker.
#pragma once

#include <algorithm>
#include <cstdint>

#include "pool.h"

namespace rh {

// f(first, last). nanoseconds: what one of `count` takes, roughly.
template <typename F>
void in_ranges(Pool& pool, int64_t count, double nanoseconds, const F& f) {
  constexpr double kWorthAThread = 10000;  // waking one costs a few microseconds
  const double total = nanoseconds * static_cast<double>(count);
  const int64_t wanted = std::min<int64_t>(static_cast<int64_t>(total / kWorthAThread), 4 * pool.num_threads());
  const int64_t parts = std::min(wanted, count);
  if (parts < 2) return f(int64_t{0}, count);
  pool.parallel(parts, [&](int64_t part, int) { f(count * part / parts, count * (part + 1) / parts); });
}

}  // namespace rh
