#pragma once

#include <cstdint>
#include <string>

namespace explore {

/// What is explored. Everything in it is a bound: below it, every interleaving.
struct Config {
  std::string name;
  std::uint8_t replicas = 3;
  std::uint8_t proposers = 2;  ///< replicas 0 .. proposers - 1 may campaign
  std::uint8_t ballots = 2;    ///< campaigns in all
  std::uint8_t slots = 1;
  std::uint8_t crashes = 0;  ///< crash-restarts in all, anywhere
  std::uint8_t skips = 0;    ///< slots left empty on purpose
  std::uint8_t page = 0;    ///< slots in a page of a promise, at most; 0: as shipped, far more than there are
  std::uint8_t window = 0;  ///< slots proposed and not applied, at most; 0: as shipped
  bool syncs = true;        ///< a sync takes time: the end of it is an event. Else it ends within the turn
  bool late = false;        ///< the core hears of a sync some inputs after its messages have left
  bool pulls = true;        ///< the learner's pull timer
  bool repeats = false;     ///< repeated Accepts, which carry a newer chosen prefix
  bool stops = false;       ///< proposers that give up by themselves
  bool reduce = true;       ///< see search.h; the same violations, fewer states

  [[nodiscard]] std::size_t quorum() const { return replicas / 2U + 1; }
};

}  // namespace explore
