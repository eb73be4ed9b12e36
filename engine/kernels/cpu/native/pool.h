// Threads that share the chunks of one operation after another.
//
// Each thread starts with a share of its own and then takes what is left of the others' shares. A
// thread that holds no work is never waited for, so helpers offer their cores to others between two
// chunks, and keep away from the caller's. Threads spin shortly while a step runs and sleep between
// steps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "place.h"

namespace rh {

class Pool {
 public:
  // work(context, chunk, thread): computes one chunk; thread < num_threads names its scratch space.
  using Work = void (*)(void* context, int64_t chunk, int thread);

  explicit Pool(int num_threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int num_threads() const { return num_threads_; }

  // Held by whoever calls `run`, for all that must not be mixed with another's.
  std::mutex& turn() { return turn_; }

  // Computes chunks 0..num_chunks and returns when all are done. Throws std::bad_alloc, then, if one of
  // them did; what is left of the others is done nevertheless.
  void run(int64_t num_chunks, Work work, void* context);

  template <typename F>
  void parallel(int64_t num_chunks, const F& f) {
    run(num_chunks, [](void* context, int64_t chunk, int thread) { (*static_cast<const F*>(context))(chunk, thread); },
        const_cast<F*>(&f));
  }

 private:
  // The chunks that are left of one thread's share: the end in the upper 32 bits, the next in the
  // lower. The value says all, so a thread that comes late can only take a chunk that is there.
  struct alignas(128) Share {
    std::atomic<uint64_t> chunks{0};
  };

  void loop(int thread);
  template <typename F>
  void help(int thread, const F& between);
  void await_round(uint32_t seen);

  const int num_threads_;
  std::vector<Share> shares_;
  alignas(128) std::atomic<uint32_t> round_{0};
  alignas(128) std::atomic<int64_t> left_{0};
  std::atomic<Work> work_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> out_of_memory_{false};
  Leader leader_;
  std::mutex turn_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace rh
