// Sharing an operation's parts among threads, where that is worth their while.
#pragma once

#include <cstdint>

#include "op.h"

namespace rh {

constexpr double kNanosecondsAlone = 15000;  // less than that in all is sooner done by one thread
constexpr double kNanosecondsAtOnce = 5000;  // and less than that not handed out by itself

// f(part, thread) for parts 0..count that take about so many nanoseconds each.
template <typename F>
void over_parts_of(const Call& call, int64_t count, double nanoseconds, const F& f) {
  if (nanoseconds * static_cast<double>(count) <= kNanosecondsAlone) {
    for (int64_t part = 0; part < count; ++part) f(part, 0);
    return;
  }
  const int64_t least = 1 + static_cast<int64_t>(kNanosecondsAtOnce / (nanoseconds + 1));
  call.pool.parallel((count + least - 1) / least, [&](int64_t chunk, int thread) {
    const int64_t end = (chunk + 1) * least < count ? (chunk + 1) * least : count;
    for (int64_t part = chunk * least; part < end; ++part) f(part, thread);
  });
}

}  // namespace rh
