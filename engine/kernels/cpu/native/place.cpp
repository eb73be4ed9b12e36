#include "place.h"

#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace rh {
namespace {

// Below the shortest time that a scheduler lets a thread run which others wait for.
constexpr std::chrono::microseconds kBetweenOffers(1000);

// To look at the clock after every chunk would cost small models a hundredth.
constexpr int kChunksBetweenLooks = 8;

#if defined(__linux__)

int current_core() { return sched_getcpu(); }

// Until it is called again, or never where there is no other core.
void leave(int core) {
  static thread_local const cpu_set_t allowed = [] {
    cpu_set_t found;
    CPU_ZERO(&found);
    sched_getaffinity(0, sizeof(found), &found);
    return found;
  }();
  cpu_set_t others = allowed;
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof(others), &others);
}

#else

int current_core() { return -1; }
void leave(int) {}

#endif

}  // namespace

void Leader::is_here() { core_.store(current_core(), std::memory_order_relaxed); }

void Leader::keep_away() const {
  const int core = current_core();
  if (core >= 0 && core == core_.load(std::memory_order_relaxed)) leave(core);
}

void Offers::offer() {
  if (++chunks_ < kChunksBetweenLooks) return;
  chunks_ = 0;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kBetweenOffers) return;
  std::this_thread::yield();
  last_ = std::chrono::steady_clock::now();
}

}  // namespace rh
