#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "paxos/acceptor.h"
#include "paxos/env.h"
#include "paxos/flights.h"
#include "paxos/learner.h"
#include "paxos/messages.h"
#include "paxos/rtt.h"
#include "paxos/slot_log.h"

namespace paxos {

/// The proposer: phase 1 once per leadership, then phase 2, pipelined, slots independent.
/// Source: Lamport, Paxos Made Simple (2001), section 2.2 and 3; departures: a Promise names w, the slot up
/// to which its acceptor knows everything to be chosen, and comes in pages (DESIGN.md section 4). A decree
/// that changes the configuration is its last slot: nothing is proposed above it (docs/DECISIONS.md,
/// "Configurations").
///
/// One class, cut by role: proposer.cc has the way of a leadership from its beginning to its end, the other
/// files what is done on it. Invariants: active() implies ballot() == the acceptor's promise; in phase 2
/// nothing at or below w was proposed, nor above closing_.
class Proposer {
 public:
  enum class Phase : std::uint8_t {
    idle,       ///< no leadership of ours
    preparing,  ///< phase 1: pulling promises
    learning,   ///< a quorum promised; slots up to its highest w are being learned
    leading,    ///< phase 2
  };

  Proposer(Env& env, SlotLog& log, Acceptor& acceptor, Learner& learner);

  // --- the way of a leadership: proposer.cc ---

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] bool active() const { return phase_ != Phase::idle; }
  [[nodiscard]] bool leading() const { return phase_ == Phase::leading; }
  [[nodiscard]] Ballot ballot() const { return ballot_; }

  /// Ends the leadership or the candidacy. What is under way is left to whoever leads next.
  void stop(const std::string& why);
  /// Moves on as far as it goes: end of learning, adopted slots within the window, chosen slots.
  void advance();
  /// Stops the proposer when the Nack is for the ballot in use; raises nothing.
  void on_nack(ReplicaId from, const Nack& m);
  /// Groups up to env.synced_group are on disk: our own promise and votes count.
  void on_synced();
  /// Our own promise or vote is what the next step lacks. A vote that others must join first is counted when
  /// theirs come.
  [[nodiscard]] bool waits_for_sync() const;
  /// The highest slot that this leadership has to finish, proposed or not yet; none while it does not lead.
  [[nodiscard]] Slot last_to_finish() const {
    return leading() ? std::max(Slot{flights_.next().n - 1}, adopted_max_) : Slot{};
  }
  void check_invariants() const;

  // --- phase 1: proposer_phase1.cc ---

  /// Phase 1a with a ballot of ours above the acceptor's promise. The Prepare leaves after the sync.
  void prepare(Ballot ballot);
  void on_promise(ReplicaId from, const Promise& m);
  /// max(highest slot adopted in phase 1, contiguous chosen prefix): the index of a read that arrived before.
  [[nodiscard]] Slot read_index() const;

  // --- phase 2: proposer_phase2.cc ---

  [[nodiscard]] bool can_propose() const;
  Slot propose(Decree decree);
  [[nodiscard]] Slot next_slot() const { return flights_.next(); }
  /// The next configuration's decree, as the last one of this leadership. Requires can_propose().
  Slot propose_change(Decree decree);
  /// A change of the configuration was proposed, or is to be finished: nothing comes above it, and no read is
  /// confirmed, since others may be past it already.
  [[nodiscard]] bool closing() const { return !closing_.none(); }
  /// Slots that a skip left empty are not filled yet.
  [[nodiscard]] bool has_holes() const;
  [[nodiscard]] std::size_t inflight() const { return flights_.under_way(); }
  void on_accepted(ReplicaId from, const Accepted& m);
  /// Tells the others what is chosen, when no Accept did for a while.
  void send_commit();

  // --- skip: proposer_skip.cc ---

  SkipResult skip(std::vector<Slot> slots);
  /// The next slot to be applied, where this leader has left it empty.
  [[nodiscard]] std::optional<Slot> hole() const;

  // --- repeating until answered: proposer_repeats.cc ---

  void tick();
  [[nodiscard]] Time deadline() const;
  [[nodiscard]] std::uint64_t retransmissions() const { return retransmissions_; }

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  /// How far an acceptor's promise has come.
  struct Page {
    Slot next;  ///< the page to pull
    bool complete = false;
    Slot chosen_prefix;  ///< its w
    Backoff repeat;
  };
  struct OwnVote {
    std::uint64_t group = 0;
    Slot slot;
  };

  // Phase 1.
  void adopt(const PromiseEntry& entry);
  void count_promises();
  /// Ends what was adopted with the change of the configuration in it, where it may have been chosen.
  void settle_change();
  /// Ends where everything up to w is learned.
  void watch_learning();

  // Phase 2.
  void lead();
  void finish_adopted();
  void propose_in(Slot slot, Decree decree);
  void count_vote(ReplicaId from, Slot slot);
  void count_own_votes();
  /// Takes note of what became chosen, by votes or by word of others, and forgets what is done.
  void note_chosen();
  /// Is the window open for something new in `slot`?
  [[nodiscard]] bool window_open(Slot slot) const;
  /// Is there room to finish, in the next slot, what phase 1 found there?
  [[nodiscard]] bool may_finish(std::size_t bytes) const;

  /// Why none of them can be skipped; empty when they can. Requires ascending ones.
  [[nodiscard]] std::string refusal(const std::vector<Slot>& slots) const;

  [[nodiscard]] ReplicaSet with_self(ReplicaSet set) const {
    set.insert(env_.options.self);
    return set;
  }

  // Repeating until answered.
  [[nodiscard]] Duration timeout() const;
  void repeat_prepares();
  void repeat_accepts();

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
  Slot closing_;  ///< the slot of a change that ends this leadership; none: there is none
  Time learning_since_{};
  Slot learning_prefix_;

  // Phase 2.
  Flights flights_;
  std::deque<OwnVote> own_votes_;  ///< that are not counted yet
  Slot commit_sent_;               ///< the others were told of this chosen prefix
  Time commit_at_ = time_never;

  // Repeating until answered.
  Time repeat_at_ = time_never;  ///< no flight repeats before this
  std::vector<RttEstimator> rtt_;
  std::uint64_t retransmissions_ = 0;
};

}  // namespace paxos
