// Where threads run, and whom they let run: what the system's scheduler cannot know of a step.
#pragma once

#include <atomic>
#include <chrono>

namespace rh {

// Whoever has a step's next operation. Others may ask where it is.
class Leader {
 public:
  // Says where the calling thread is.
  void is_here();

  // Moves the calling thread to another core, if it shares the leader's. The system sees no reason to,
  // where a foreign process has a core for itself: then two threads would do the work of one.
  void keep_away() const;

 private:
  std::atomic<int> core_{-1};
};

// Offers a core every so often to whoever else wants it. A thread that is made to leave it has work in
// hand that all others wait for, some 4 ms; one that leaves by itself holds up nobody.
class Offers {
 public:
  // To be called between two chunks, of 5 to 50 us.
  void offer();

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  int chunks_ = 0;
};

}  // namespace rh
