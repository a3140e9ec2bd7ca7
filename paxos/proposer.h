#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "paxos/acceptor.h"
#include "paxos/env.h"
#include "paxos/learner.h"
#include "paxos/messages.h"
#include "paxos/rtt.h"
#include "paxos/slot_log.h"

namespace paxos {

/// The proposer: phase 1 once per leadership, then phase 2, pipelined, slots independent.
/// Source: Lamport, Paxos Made Simple (2001), section 2.2 and 3; departures: a Promise names w, the slot up
/// to which its acceptor knows everything to be chosen, and comes in pages (DESIGN.md section 4).
///
/// Invariants: active() implies ballot() == the acceptor's promise; in phase 2 every slot in
/// (chosen prefix, next) is under way, chosen, or skipped; nothing at or below w was proposed.
class Proposer {
 public:
  enum class Phase : std::uint8_t {
    idle,       ///< no leadership of ours
    preparing,  ///< phase 1: pulling promises
    learning,   ///< a quorum promised; slots up to its highest w are being learned
    leading,    ///< phase 2
  };

  Proposer(Env& env, SlotLog& log, Acceptor& acceptor, Learner& learner);

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] bool active() const { return phase_ != Phase::idle; }
  [[nodiscard]] Ballot ballot() const { return ballot_; }

  /// Phase 1a with a ballot of ours above the acceptor's promise. The Prepare leaves after the sync.
  void prepare(Ballot ballot);
  /// Ends the leadership or the candidacy. What is under way is left to whoever leads next.
  void stop(const std::string& why);

  void on_promise(ReplicaId from, const Promise& m);
  void on_accepted(ReplicaId from, const Accepted& m);
  /// Stops the proposer when the Nack is for the ballot in use; raises nothing.
  void on_nack(ReplicaId from, const Nack& m);
  /// Groups up to env.synced_group are on disk: our own promise and votes count.
  void on_synced();
  /// Our own promise or vote is what the next step lacks. A vote that others must join first is counted when theirs
  /// come.
  [[nodiscard]] bool waits_for_sync() const;

  [[nodiscard]] bool can_propose() const;
  Slot propose(Decree decree);
  SkipResult skip(std::vector<Slot> slots);
  [[nodiscard]] Slot next_slot() const { return next_; }
  /// The highest slot that this leadership has to finish, proposed or not yet; none while it does not lead.
  [[nodiscard]] Slot last_to_finish() const {
    return phase_ == Phase::leading ? std::max(Slot{next_.n - 1}, adopted_max_) : Slot{};
  }

  /// Moves on as far as it goes: end of learning, adopted slots within the window, chosen slots.
  void advance();
  /// Tells the others what is chosen, if no Accept does.
  void flush();
  void tick();
  [[nodiscard]] Time deadline() const;

  /// max(highest slot adopted in phase 1, contiguous chosen prefix): the index of a read that arrived before.
  [[nodiscard]] Slot read_index() const;
  [[nodiscard]] std::optional<Slot> hole() const;
  [[nodiscard]] std::size_t inflight() const { return unchosen_; }
  [[nodiscard]] std::uint64_t retransmissions() const { return retransmissions_; }

  void check_invariants() const;

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Page {
    Slot next;  ///< the page to pull; none: this acceptor's promise is complete
    bool complete = false;
    Slot chosen_prefix;  ///< its w
    Backoff repeat;
  };
  struct Flight {
    bool used = false;  ///< proposed at ballot_ (else skipped)
    bool chosen = false;
    Decree decree;
    ReplicaSet votes;
    Time first_sent{};
    Backoff repeat;
  };
  struct OwnVote {
    std::uint64_t group = 0;
    Slot slot;
  };

  void adopt(const PromiseEntry& entry);
  void promised_by_quorum();
  void lead();
  void propose_in(Slot slot, Decree decree);
  void vote(ReplicaId from, Slot slot);
  void settle();
  [[nodiscard]] Duration timeout() const;
  /// For something new in `slot`.
  [[nodiscard]] bool window_open(Slot slot) const;
  /// For what phase 1 found, in `next_`.
  [[nodiscard]] bool may_finish(std::size_t bytes) const;
  Flight* flight(Slot slot);
  [[nodiscard]] const Flight* flight(Slot slot) const { return const_cast<Proposer*>(this)->flight(slot); }

  Env& env_;
  SlotLog& log_;
  Acceptor& acceptor_;
  Learner& learner_;

  Phase phase_ = Phase::idle;
  Ballot ballot_;

  // Phase 1.
  std::vector<Page> pages_;
  std::uint64_t own_promise_group_ = 0;
  std::map<Slot, PromiseEntry> adopted_;  ///< highest accepted ballot per slot, of all pages that came
  Slot learn_to_;                         ///< highest w of the promise quorum
  Slot adopted_max_;                      ///< highest slot adopted: slots up to here are ours to finish
  Time learning_since_{};
  Slot learning_prefix_;

  // Phase 2.
  Slot next_;                   ///< next slot to propose in
  std::deque<Flight> flights_;  ///< flights_[i] is slot flights_base_ + i
  Slot flights_base_{1};
  std::size_t unchosen_ = 0;
  std::size_t unchosen_bytes_ = 0;
  std::deque<OwnVote> own_votes_;
  std::set<Slot> skipped_;
  Slot commit_sent_;  ///< the others were told of this chosen prefix
  Time commit_at_ = time_never;
  Time repeat_at_ = time_never;  ///< no flight repeats before this
  std::vector<RttEstimator> rtt_;
  std::uint64_t retransmissions_ = 0;
};

}  // namespace paxos
