#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/rtt.h"
#include "paxos/slot_log.h"

namespace paxos {

/// The learner: what is chosen, what may be applied, and the pull of what is missing from any peer.
class Learner {
 public:
  Learner(Env& env, SlotLog& log) : env_(env), log_(log), handed_out_(log.applied()) {
    peers_.resize(env.options.capacity());
    if (out_of_reach()) pull_at_ = Time::min();
  }

  /// A quorum's votes for the slot are known here (leader), or it is known from elsewhere.
  void chosen(Slot slot) { log_.mark_chosen(slot); }
  /// A decree known to be chosen. Keeps what the log already holds when it is the same.
  void learn(const ChosenDecree& chosen);

  /// Every slot up to `prefix` is chosen, says the leader of `ballot`.
  void on_commit(ReplicaId from, Ballot ballot, Slot prefix);
  /// An Accept at `ballot` for `slot` was just handled: where it was voted for, the Commit may have come
  /// before.
  void voted(Slot slot, Ballot ballot);
  /// A peer says that it knows every slot up to `prefix` to be chosen.
  void peer_prefix(ReplicaId from, Slot prefix);

  /// Pulls at once, from a peer that has just said that it knows more, whoever was asked before and is
  /// silent. Requires behind().
  void pull_from(ReplicaId from);

  void on_learn_request(ReplicaId from, const LearnRequest& m);
  void on_learn_reply(ReplicaId from, const LearnReply& m);
  /// Answer to a LogReadWish.
  void log_read(const LogReadWish& wish, std::vector<ChosenDecree> decrees);

  /// Nobody reachable has the next slot any more: nothing but a snapshot helps.
  [[nodiscard]] bool stranded() const;
  /// The lowest slot that is missing. Requires stranded().
  [[nodiscard]] Slot missing() const {
    return out_of_reach() ? log_.applied() + 1 : log_.chosen_prefix() + 1;
  }
  /// True once whenever it is time to say so.
  [[nodiscard]] bool take_cry() { return std::exchange(cries_, false); }

  /// Moves what is chosen, contiguous and synced here to Ready::to_apply, as far as the state machine has
  /// room. What is on the disk only is asked for, and comes by log_read().
  void hand_out();
  /// The state machine applied the next one of those, a decree of so many bytes.
  void applied(std::size_t bytes) { handed_out_bytes_ -= bytes; }
  [[nodiscard]] Slot handed_out() const { return handed_out_; }
  /// The configuration that the slot, which was just applied, puts in the place of the present one; nothing:
  /// it puts none. To be asked of each slot.
  [[nodiscard]] std::optional<Configuration> take_configuration(Slot applied);
  /// Another directory stands for this id from now on: what the one before knew and had is no more.
  void replaced(ReplicaId id) { peers_[id.n] = {}; }
  /// While held, nothing is handed out and nothing is pulled: the state machine's disk does not keep up.
  void hold(bool held) { held_ = held; }
  /// What is chosen here next is not synced yet.
  [[nodiscard]] bool waits_for_sync() const { return handed_out_ < log_.chosen_prefix(); }
  void tick();
  [[nodiscard]] Time deadline() const { return pull_at_; }
  [[nodiscard]] bool behind() const { return log_.chosen_prefix() < target_; }
  /// The highest chosen prefix that anybody told of.
  [[nodiscard]] Slot target() const { return target_; }

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Peer {
    Slot prefix;  ///< it knows this much to be chosen
    Slot first;   ///< and has trimmed what is below
  };
  /// The log here was trimmed beyond the state, which was lost.
  [[nodiscard]] bool out_of_reach() const { return log_.applied() + 1 < log_.first_slot(); }
  /// Asks for the next page of what has to be redone, once the one before is applied but for a little.
  void redo();
  void redone(const LogReadWish& wish, std::vector<ChosenDecree> decrees);
  void arm(Duration wait);
  void pull();
  void give(ChosenDecree chosen);

  Env& env_;
  SlotLog& log_;
  std::vector<Peer> peers_;
  Slot handed_out_;                   ///< last slot given to to_apply
  std::size_t handed_out_bytes_ = 0;  ///< of those not applied yet
  std::deque<ChosenDecree> changes_;  ///< handed out and not applied: those that decide a configuration
  Slot target_;                       ///< highest prefix heard of
  Ballot commit_ballot_;
  Slot commit_prefix_;
  Slot commit_scanned_;
  Time pull_at_ = time_never;
  Slot prefix_when_armed_;
  std::optional<ReplicaId> asked_;   ///< whose answer is outstanding
  std::optional<ReplicaId> source_;  ///< who answered last with something new
  bool held_ = false;
  std::optional<Slot> stranded_at_;  ///< the chosen prefix above which nobody had anything
  bool cries_ = false;
  unsigned silent_ = 0;  ///< pulls in a row without an answer, or with one that brought nothing
};

}  // namespace paxos
