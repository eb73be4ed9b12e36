// What Python calls, by ctypes: plain C, raw pointers, sizes in elements unless they say bytes.
// Nothing here throws, and nothing keeps a pointer beyond its call unless it says so.
#pragma once

#define RH_API extern "C" __attribute__((visibility("default")))
