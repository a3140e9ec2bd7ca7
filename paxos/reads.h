#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/proposer.h"
#include "paxos/rtt.h"

namespace paxos {

/// Linearizable reads without a log entry and without trusting a clock (DESIGN.md section 4, reads).
/// Source: Ongaro, Raft (dissertation, 2014), section 6.4 ReadIndex; departure: instead of a no-op of its own
/// term the leader takes the highest slot that it adopted in phase 1 into the index.
class Reads {
 public:
  Reads(Env& env, Proposer& proposer) : env_(env), proposer_(proposer) {}

  /// A read of this replica's own clients.
  void read(std::uint64_t id);
  /// A read that another replica asks about, for us as leader.
  void on_request(ReplicaId from, const ReadRequest& m);
  void on_confirmed(ReplicaId from, const ReadConfirmed& m);
  void on_reply(ReplicaId from, const ReadReply& m);

  /// Starts a round for what arrived in this turn. `leader`: whom to ask when we do not lead; never this
  /// replica then.
  void start_round(std::optional<ReplicaId> leader);
  /// False: start_round() has nothing to do.
  [[nodiscard]] bool waiting() const { return round_ || !fresh_.empty() || !fresh_remote_.empty(); }
  void tick(std::optional<ReplicaId> leader);
  [[nodiscard]] Time deadline() const;

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Remote {
    ReplicaId from;
    std::uint64_t id = 0;
  };
  struct Round {
    Ballot ballot;
    std::uint64_t nonce = 0;
    Slot index;
    ReplicaSet confirmed;
    std::vector<std::uint64_t> local;
    std::vector<Remote> remote;
    Backoff repeat;
  };
  struct Asked {
    std::vector<std::uint64_t> ids;
    ReplicaId leader;
    Time since{};
    Backoff repeat;
  };
  void finish(Round& round);
  void drop_round();
  void fail(const std::vector<std::uint64_t>& ids);

  Env& env_;
  Proposer& proposer_;
  std::vector<std::uint64_t> fresh_;  ///< local reads not yet in a round
  std::vector<Remote> fresh_remote_;
  std::optional<Round> round_;            ///< one at a time: the rest waits and shares the next
  std::map<std::uint64_t, Asked> asked_;  ///< by request id: rounds that we asked a leader for
};

}  // namespace paxos
