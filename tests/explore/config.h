#pragma once

#include <cstdint>
#include <string>

namespace explore {

/// What one change may make of the configuration, at any time.
enum class Change : std::uint8_t {
  none,
  add,      ///< a learner becomes a voter, which is what an addition means for the votes
  remove,   ///< nobody stands for the id
  replace,  ///< another directory stands for the id
};

/// What is explored. Everything in it is a bound: below it, every interleaving.
struct Config {
  std::string name;
  std::uint8_t replicas = 3;   ///< ids, of members before the change or after it
  std::uint8_t proposers = 2;  ///< replicas 0 .. proposers - 1 may campaign
  std::uint8_t ballots = 2;    ///< campaigns in all
  std::uint8_t slots = 1;
  std::uint8_t crashes = 0;  ///< crash-restarts in all, anywhere
  std::uint8_t skips = 0;    ///< slots left empty on purpose
  Change change = Change::none;
  std::uint8_t changes = 1;  ///< proposals of it in all
  std::uint8_t member = 9;   ///< whom it is about; not below `replicas`: the last one
  bool outsiders = false;    ///< who has no vote answers as if it had one: it must count for nothing
  bool beside = false;       ///< the directory that is replaced was not lost: it runs beside the new one
  std::uint8_t page = 0;    ///< slots in a page of a promise, at most; 0: as shipped, far more than there are
  std::uint8_t window = 0;  ///< slots proposed and not applied, at most; 0: as shipped
  bool syncs = true;        ///< a sync takes time: the end of it is an event. Else it ends within the turn
  bool late = false;        ///< the core hears of a sync some inputs after its messages have left
  bool pulls = true;        ///< the learner's pull timer
  bool repeats = false;     ///< repeated Accepts, which carry a newer chosen prefix
  bool stops = false;       ///< proposers that give up by themselves
  bool reduce = true;       ///< see search.h; the same violations, fewer states

  /// Each may run, and has a disk of its own: see Members.
  [[nodiscard]] std::size_t directories() const { return replicas + (change == Change::replace ? 1U : 0U); }
  /// The id that the change is about.
  [[nodiscard]] std::uint8_t changed() const {
    return member < replicas ? member : static_cast<std::uint8_t>(replicas - 1);
  }
};

}  // namespace explore
