#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "chat/node.h"
#include "net/seal.h"
#include "tests/sim/disk.h"
#include "tests/sim/observer.h"

namespace sim {

/// Rules that replicas keep although breaking one loses nothing at once (docs/RELIABILITY.md, C1 to C10):
/// what is proposed, promised, confirmed and taken, judged by messages and records alone. Throws Violation.
class Conduct {
 public:
  Conduct(std::size_t replicas, std::uint64_t window) : replicas_(replicas), window_(window), of_(replicas) {}

  /// A new life of the replica.
  void started(std::uint8_t replica, const Disk& disk);
  /// `message` is about to be given to the replica's node.
  void hears(std::uint8_t replica, std::uint8_t from, const paxos::PeerMessage& message,
             const chat::Node& node, paxos::Slot acknowledged);
  void says(std::uint8_t replica, const paxos::Envelope& envelope, const Disk& disk);
  /// A turn has ended; its output is not carried out yet. `disk`: the replica's.
  void turn(std::uint8_t replica, const chat::Node& node, const chat::NodeOutput& out, const Disk& disk);
  void skips(std::uint8_t replica, const chat::Node& node, const paxos::SkipResult& result);
  /// The replica's disk holds it now.
  template <class Disks>
  void durable(std::uint8_t replica, const chat::GroupWrite& group, Disks&& disk_of) {
    for (const paxos::Record& record : group.records)
      if (const auto* birth = std::get_if<paxos::BirthRecord>(&record);
          birth != nullptr && birth->born && !born_) {
        born_ = true;
        for (std::uint8_t other = 0; other < replicas_; ++other)
          announced(replica, *birth, other, disk_of(other));
      }
  }
  void applied(paxos::Slot slot, const std::vector<chat::Row>& rows);
  /// net::Transport gave something out of this datagram.
  void taken(std::uint8_t replica, std::span<const std::byte> datagram);
  /// What that one said is an older copy's of its directory, whose boots mean nothing.
  void disowned(std::uint8_t replica, std::uint8_t sender, const paxos::Incarnation& incarnation) {
    of_[replica].boots.erase({sender, incarnation});
  }

 private:
  struct Round {
    std::uint64_t said = 0;  ///< when, in the order of all that is said and heard
    std::uint32_t confirmed = 0;
  };
  struct Request {
    std::uint64_t heard = 0;
    paxos::Slot acknowledged;
  };
  using CommandKey = std::tuple<chat::SessionId, std::uint64_t, std::size_t>;  ///< session, seq, content
  [[nodiscard]] static CommandKey key_of(const chat::CommandView& command);
  struct Own {
    std::size_t quorum = 1;  ///< of the configuration in which it is
    paxos::Ballot promised;  ///< by records handed out in earlier turns
    // As a leader of `ballot`.
    paxos::Ballot ballot;
    paxos::Slot adopted;  ///< may be phase 1's up to here
    bool leads = false;   ///< at the end of its last turn
    paxos::Slot applied;  ///< when it began, at most
    std::map<CommandKey, paxos::Slot> proposed;
    std::set<CommandKey> elsewhere;                 ///< what it applied in other slots while it led
    std::map<chat::SessionId, std::uint64_t> last;  ///< highest seq that it proposed
    std::map<paxos::Slot, paxos::Ballot> skipped;
    std::optional<paxos::Slot> noop_due;    ///< this turn proposes there, above what was just skipped
    paxos::Slot applied_before;             ///< at the end of the last turn
    std::map<std::uint64_t, Round> rounds;  ///< by nonce
    std::map<std::pair<std::uint8_t, std::uint64_t>, Request> requests;  ///< by who asks, id
    bool stale_hand_over = false;
    bool good_hand_over = false;
    std::unordered_set<std::uint64_t> datagrams;
    std::map<std::pair<std::uint8_t, paxos::Incarnation>, std::uint64_t> boots;
  };
  void announced(std::uint8_t replica, const paxos::BirthRecord& birth, std::uint8_t other,
                 const Disk& disk) const;
  void votes(std::uint8_t replica, Own& own, const chat::Node& node, const paxos::VoteRecord& vote);
  /// What this turn applied at a leader, that stands in slots other than those in which it proposed it.
  void decided_elsewhere(Own& own, const chat::NodeOutput& out, const Disk& disk);
  void proposes_in_order(std::uint8_t replica, Own& own, const chat::Node& node,
                         const paxos::VoteRecord& vote);

  std::size_t replicas_;
  std::uint64_t window_;
  std::vector<Own> of_;
  std::uint64_t order_ = 0;
  paxos::Slot voted_max_;  ///< by anyone, on disk or not
  bool born_ = false;
  std::int64_t clock_ms_ = 0;
  paxos::Slot clock_of_;
};

}  // namespace sim
