#pragma once

#include <cstdint>

#include "paxos/types.h"

namespace storage {

/// What a volume has room for, and why.
struct SpaceFigures {
  paxos::DiskRoom room = paxos::DiskRoom::enough;
  std::uint64_t free = 0;     ///< bytes of the volume, for this user
  std::uint64_t held = 0;     ///< by the reserve's file
  std::uint64_t reserve = 0;  ///< what it holds while there is enough; 0: none is kept
};

}  // namespace storage
