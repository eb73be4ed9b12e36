#include <cstdint>

#include "abi.h"
#include "cpu_features.h"
#include "pool.h"

// Counts up whenever a signature or a layout changes: Python refuses a library of another version.
RH_API int rh_version() { return 2; }

// The code path in use: 0 portable, 1 AVX2, 2 AVX-512.
RH_API int rh_isa() { return static_cast<int>(rh::isa()); }

RH_API void rh_limit_isa(int isa) { rh::limit_isa(static_cast<rh::Isa>(isa)); }

RH_API rh::Pool* rh_pool_new(int num_threads) { return new rh::Pool(num_threads); }

RH_API void rh_pool_delete(rh::Pool* pool) { delete pool; }
