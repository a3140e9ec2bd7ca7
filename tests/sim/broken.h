#pragma once

#include <string>

#include "tests/sim/observer.h"

/// How those who watch a run say what they saw.
namespace sim {

inline std::string name(std::uint8_t replica) { return "replica " + std::to_string(replica); }
inline std::string text(paxos::Slot slot) { return "slot " + std::to_string(slot.n); }

[[noreturn]] inline void broken(const char* invariant, const std::string& what) {
  throw Violation(std::string(invariant) + ": " + what);
}

}  // namespace sim
