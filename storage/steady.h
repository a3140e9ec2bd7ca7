#pragma once

#include <chrono>
#include <cstdint>

namespace storage {

/// The steady clock in nanoseconds since its epoch: what figures and watchdogs compare.
[[nodiscard]] inline std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace storage
