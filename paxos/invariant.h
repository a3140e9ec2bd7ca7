#pragma once

#include <cstdio>
#include <cstdlib>

/// Checks something that only our own code controls; stays on in release builds (Meson's b_ndebug
/// removes assert()). Never use it on anything that a peer or a client sent: count that and drop it.
#define PAXOS_ASSERT(condition)                                                              \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
