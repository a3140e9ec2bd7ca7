#pragma once

#include <cstdint>

#include "tests/explore/model.h"

namespace explore {

struct Walked {
  std::uint64_t steps = 0;
  std::uint64_t walks = 0;
};

/// Holds the canonical form (access.h) against the code: replicas that live through random runs without ever
/// being saved and loaded must send the same letters, and save to the same bytes, as the model says. A member
/// that the form forgets shows as a difference as soon as it matters. Throws Violation.
Walked walk(Model& model, std::uint64_t walks, std::uint64_t seed);

}  // namespace explore
