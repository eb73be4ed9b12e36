#include "pool.h"

#include <algorithm>
#include <new>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rh {
namespace {

// About 50 us: longer than what lies between two operations of a step, shorter than a time slice.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint64_t chunks_of(int64_t next, int64_t end) {
  return static_cast<uint64_t>(end) << 32 | static_cast<uint64_t>(next);
}

// Takes the next chunk of a share; false when none is left.
bool take(std::atomic<uint64_t>& chunks, int64_t* chunk) {
  uint64_t seen = chunks.load(std::memory_order_acquire);
  while ((seen & 0xffffffffu) < seen >> 32) {
    if (chunks.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      *chunk = static_cast<int64_t>(seen & 0xffffffffu);
      return true;
    }
  }
  return false;
}

}  // namespace

Pool::Pool(int num_threads) : num_threads_(std::max(num_threads, 1)), shares_(num_threads_) {
  for (int thread = 1; thread < num_threads_; ++thread) {
    threads_.emplace_back([this, thread] { loop(thread); });
  }
}

Pool::~Pool() {
  stopping_.store(true);
  round_.fetch_add(1);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void Pool::run(int64_t num_chunks, Work work, void* context) {
  if (num_threads_ == 1 || num_chunks == 1) {
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) work(context, chunk, 0);
    return;
  }
  if (num_chunks <= 0) return;
  leader_.is_here();
  work_.store(work, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  left_.store(num_chunks, std::memory_order_relaxed);
  for (int thread = 0; thread < num_threads_; ++thread) {
    const int64_t begin = num_chunks * thread / num_threads_;
    const int64_t end = num_chunks * (thread + 1) / num_threads_;
    shares_[thread].chunks.store(chunks_of(begin, end), std::memory_order_release);
  }
  round_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) {
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  help(0, [] {});
  while (left_.load(std::memory_order_acquire) != 0) relax();
  if (out_of_memory_.exchange(false, std::memory_order_relaxed)) throw std::bad_alloc();
}

// Computes chunks, its own first, until none is left to take; `between` is called with none in hand.
template <typename F>
void Pool::help(int thread, const F& between) {
  int64_t chunk = 0;
  for (int offset = 0; offset < num_threads_; ++offset) {
    std::atomic<uint64_t>& chunks = shares_[(thread + offset) % num_threads_].chunks;
    while (take(chunks, &chunk)) {
      // A chunk in hand keeps its round from ending, so these are of its round.
      try {
        work_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), chunk, thread);
      } catch (const std::bad_alloc&) {
        out_of_memory_.store(true, std::memory_order_relaxed);
      }
      left_.fetch_sub(1, std::memory_order_acq_rel);
      between();
    }
  }
}

void Pool::loop(int thread) {
  uint32_t seen = 0;
  Offers offers;
  while (true) {
    await_round(seen);
    seen = round_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    leader_.keep_away();
    help(thread, [&] { offers.offer(); });
  }
}

// Returns when a round other than `seen` has begun: spins, then sleeps.
void Pool::await_round(uint32_t seen) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (round_.load(std::memory_order_acquire) != seen) return;
    relax();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  wake_.wait(lock, [&] { return round_.load(std::memory_order_seq_cst) != seen; });
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace rh
