#include "cpu_features.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace rh {
namespace {

#if defined(__x86_64__)

Isa best_isa() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
                      __builtin_cpu_supports("avx512bf16");
  return avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::portable;
}

#elif defined(__aarch64__)

bool has_dot_products() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  int found = 0;
  size_t size = sizeof found;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &found, &size, nullptr, 0) == 0 && found != 0;
#else
  return false;
#endif
}

Isa best_isa() { return has_dot_products() ? Isa::neon : Isa::portable; }

#else

Isa best_isa() { return Isa::portable; }

#endif

bool is_lesser(Isa path, Isa than) {
  if (path == Isa::portable) return true;
  return (path == Isa::neon) == (than == Isa::neon) && path < than;
}

Isa chosen = best_isa();

}  // namespace

Isa isa() { return chosen; }

void limit_isa(Isa limit) {
  const Isa best = best_isa();
  chosen = is_lesser(limit, best) ? limit : best;
}

}  // namespace rh
