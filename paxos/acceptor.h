#pragma once

#include <optional>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/slot_log.h"

namespace paxos {

/// The acceptor: its promise, and its votes in the slot log.
/// Source: Lamport, Paxos Made Simple (2001), section 2.2, P1a and the algorithm's phases; section 3 for
/// one promise that covers all slots.
/// Departure: each configuration has ballots of its own. Those of an earlier one than this replica has come
/// to are refused as if it had promised one of its own; those of a later one mean nothing to it yet.
class Acceptor {
 public:
  Acceptor(Env& env, SlotLog& log, Ballot promised) : env_(env), log_(log), promised_(promised) {}

  /// Never decreases (I6). At least the ballot of every vote in the log.
  [[nodiscard]] Ballot promised() const { return promised_; }

  /// This replica's own phase 1a. Requires ballot > promised(). Returns the group that makes it durable.
  std::uint64_t promise_self(Ballot ballot);
  /// This replica's own phase 2b. Requires ballot == promised(). Returns the group of the vote.
  std::uint64_t vote_self(Slot slot, Ballot ballot, const Decree& decree);

  /// Phase 1b. A page leaves only while the promise equals the ballot that asks, and after the sync.
  /// Errors: a lower ballot earns a Nack naming our promise.
  void on_prepare(ReplicaId from, const Prepare& m);
  /// Phase 2b. A ballot above our promise is accepted too (>=, and the promise rises with it): UDP may have
  /// lost its 1a. At or below the chosen prefix the answer is the chosen decree.
  void on_accept(ReplicaId from, const Accept& m);
  void on_read_confirm(ReplicaId from, const ReadConfirm& m);

  /// The Accepted of this turn's votes, one for all slots. Called before the Ready is taken.
  void send_accepted();

  void check_invariants() const;

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  void raise(Ballot ballot, bool with_record);
  /// What to answer a ballot with that this acceptor does not take; none: it takes it, or says nothing.
  [[nodiscard]] std::optional<Nack> refusal(Ballot ballot) const;
  [[nodiscard]] bool takes_part_in(Ballot ballot) const {
    return ballot.configuration == env_.configuration.number;
  }
  [[nodiscard]] Promise page(Ballot ballot, Slot from) const;
  void acknowledge(ReplicaId to, Ballot ballot, Slot slot);

  Env& env_;
  SlotLog& log_;
  Ballot promised_;
  std::optional<ReplicaId> accepted_to_;  ///< votes of this turn go to this proposer
  Ballot accepted_ballot_;
  std::vector<Slot> accepted_slots_;
  mutable Ballot checked_promise_;  ///< at the last check_invariants()
};

}  // namespace paxos
