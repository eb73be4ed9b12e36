// Memory that operations use while they run, kept from one to the next and never given back. Where the
// system has none, std::bad_alloc: the pool brings it to whoever called, and calls from Python return 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace rh {

class Workspace {
 public:
  explicit Workspace(int num_threads) : threads_(num_threads) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() {
    for (Buffer& buffer : shared_) std::free(buffer.data);
    for (Buffer& buffer : threads_) std::free(buffer.data);
  }

  // Of an operation, common to its threads, aligned to 64 bytes; several may be had one after another.
  template <typename T>
  T* shared(size_t count) {
    if (used_ == shared_.size()) shared_.push_back({});
    return static_cast<T*>(grown(shared_[used_++], count * sizeof(T)));
  }

  // Of one thread, as long as its chunk; a second call gives the same memory.
  template <typename T>
  T* own(int thread, size_t count) {
    return static_cast<T*>(grown(threads_[thread], count * sizeof(T)));
  }

  // What was shared may be had again.
  void reset() { used_ = 0; }

 private:
  struct alignas(64) Buffer {
    void* data = nullptr;
    size_t bytes = 0;
  };

  static void* grown(Buffer& buffer, size_t bytes) {
    if (bytes > buffer.bytes) {
      std::free(buffer.data);
      buffer = {};  // as it stays where there is no memory
      const size_t wanted = (bytes + 4095) & ~size_t{4095};
      buffer.data = std::aligned_alloc(64, wanted);
      if (buffer.data == nullptr) throw std::bad_alloc();
      buffer.bytes = wanted;
    }
    return buffer.data;
  }

  std::vector<Buffer> shared_;
  std::vector<Buffer> threads_;
  size_t used_ = 0;
};

}  // namespace rh
