#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "chat/snapshot.h"
#include "paxos/types.h"

/// `paxosd rescue`: the state that can be made of the directories that a majority's loss has left.
namespace storage {

class NewCluster;
class Survivor;

/// Messages by room.
using RoomCounts = std::map<std::string, std::uint64_t>;

/// What is in it, and what may not be.
struct RescueReport {
  std::size_t best = 0;    ///< of the directories: its state is what the new cluster begins with
  std::vector<bool> used;  ///< whether the log of each goes on where that state ends
  paxos::Slot from;        ///< the slot of that state
  paxos::Slot slot;        ///< and the one that everything comes to, with the hash and the rules there
  paxos::Hash hash;
  std::uint16_t rules = 0;
  paxos::Slot raised;                   ///< a decree of ours that raises the rules; none: it was not needed
  paxos::Slot chosen;                   ///< every slot up to here is there, and known to be chosen
  std::optional<std::int64_t> said_ms;  ///< when the last batch of commands in it was proposed

  /// Kept, and it may be that it was never chosen: another decree may have been.
  struct Unsure {
    paxos::Slot slot;
    paxos::Ballot ballot;
    paxos::DecreeKind kind = paxos::DecreeKind::noop;
    std::vector<std::size_t> directories;  ///< that have this vote
    RoomCounts messages;                   ///< that it says now
  };
  std::vector<Unsure> unsure;
  /// Nobody here has a record of these; no-ops stand there now.
  struct Hole {
    paxos::Slot first, last;
    bool chosen = false;  ///< one of the directories knew these to be chosen, whatever stood there
  };
  std::vector<Hole> holes;
  /// A vote for another decree than the one that stands there.
  struct LeftOut {
    paxos::Slot slot;
    paxos::Ballot ballot;
    std::size_t directory = 0;
    RoomCounts messages;
  };
  std::vector<LeftOut> left_out;

  struct Doubt {
    std::uint64_t unsure = 0;   ///< messages that it has, and that may never have been chosen
    std::uint64_t missing = 0;  ///< messages that one of the directories holds, and that it has not
  };
  std::map<std::string, Doubt> rooms;
  /// Promised by one of them, above all that any of them voted for: somebody may have led, and chosen slots
  /// that nobody here has heard of.
  std::optional<paxos::Ballot> promised_above;
};

/// Walks through what these directories hold (loaded) above the best one's state, and applies what stands.
/// `into`: begun; gets all rows, and is finished; nullptr: nothing is written. `number`: random. Errors: a
/// sentence; nothing is finished then.
[[nodiscard]] tl::expected<RescueReport, std::string> rescue(
    const std::vector<std::unique_ptr<Survivor>>& survivors, std::uint16_t rules_known, NewCluster* into,
    std::uint64_t number);

}  // namespace storage
