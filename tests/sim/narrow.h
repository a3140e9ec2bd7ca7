#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tests/sim/queue.h"

namespace sim {

/// What a link does with a datagram that is larger than it carries.
enum class Narrow : std::uint8_t {
  refuse_cut,  ///< its sender's kernel cuts no such segments; one by one they pass, in fragments
  refuse,      ///< nor do they one by one
  swallow,     ///< lost, and nobody is told: a black hole
};

/// From `at` on the link carries `bytes`, both ways or one.
struct Narrowing {
  Nanos at = 0;
  std::uint8_t from = 0;  ///< net::client_sender: between clients and `to`
  std::uint8_t to = 0;
  bool both = false;
  std::size_t bytes = SIZE_MAX;  ///< SIZE_MAX: whatever comes
  Narrow kind = Narrow::refuse;
};

/// Links that carry less than the datagrams that they are given. None of it is a fault that has to heal:
/// progress is owed all the same.
struct Narrowings {
  std::vector<Narrowing> all;  ///< ascending by time
  bool swallow = false;        ///< some of them do
};

}  // namespace sim
