#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "paxos/replica_parts.h"
#include "tests/explore/archive.h"

namespace paxos {

/// Saves and loads whole states of a Replica in a canonical form: two states with the same bytes behave the
/// same from here on.
///
/// Every role is taken apart by a structured binding that names *all* of its members: who adds one gets a
/// compile error here and decides whether it belongs to the state. What does not, and why:
///  - the clock, deadlines, round trip times, backoffs: time is not part of the state. set_timers() puts all
///  of
///    them far ahead before each event, but the one whose turn it is;
///  - the random generator: what it may decide is a choice of the explorer's (set_timers() again);
///  - heartbeats, reads, the hash watch: their messages are not delivered, so that they never change; of
///  birth what the end of a membership changes is left;
///  - counters and ages for people;
///  - what a proposer's next phase sets anew before it reads it.
/// The explorer holds this list against the code: a replica that lived through a path of events must answer
/// like one that was loaded from its saved state before each of them (walk.h).
struct StateAccess {
  static constexpr Time epoch{std::chrono::seconds{1}};
  static constexpr Duration far{std::chrono::hours{1}};

  /// Whose deadline has come.
  enum class Due : std::uint8_t { none, commit, pull, repeat, give_up, lost_quorum };

  template <class Archive>
  static void visit(Archive& a, Replica& replica) {
    auto& [env, introduction, log, acceptor, learner, proposer, election, reads, birth, lives, hashes,
           trimmer, trim_group, applied_hash, sync_age, prefix_recorded, redo_from, redoes_much, cried_for,
           diverged, withdrawn, outdated, asker, waits] = *replica.parts_;
    PAXOS_ASSERT(!diverged && withdrawn.empty() && sync_age == Duration{} && applied_hash == Hash{});
    const std::uint64_t synced = visit_env(a, env);
    visit_log(a, log, synced);
    visit_acceptor(a, acceptor);
    visit_learner(a, learner, log.chosen_prefix());
    visit_proposer(a, proposer, synced);
    visit_election(a, election);
    visit_reads(reads);
    visit_birth(a, birth);
    if constexpr (Archive::loading) hashes.recent_.clear();  // it goes on from wherever this state stands
    (void)waits;                                             // decides nothing
    (void)trimmer;                                           // keeps everything
    PAXOS_ASSERT(trim_group == 0);
    // No life has a number: nobody asks for one, or is refused.
    PAXOS_ASSERT(introduction.lives.empty() && !outdated && asker.life.number == 0);
    (void)lives;
    PAXOS_ASSERT(!redoes_much && cried_for.none());
    (void)redo_from;  // tells people how far it is
    explore::field(a, prefix_recorded);
  }

  /// Time stands at the epoch, every deadline far ahead; only `due` has come (of `slot`, for a repeat). The
  /// next random choice between n possibilities takes number `choice` modulo n.
  static void set_timers(Replica& replica, Due due, Slot slot, std::uint64_t choice) {
    Parts& p = *replica.parts_;
    p.env.now = epoch;
    p.env.random = Random(seed_for(choice));

    Learner& learner = p.learner;
    if (learner.pull_at_ != time_never || learner.behind() || learner.asked_)
      learner.pull_at_ = due == Due::pull ? epoch : epoch + far;
    // A tick that finds the prefix moving waits once more and then pulls: the two are one event here.
    learner.prefix_when_armed_ = p.log.chosen_prefix();
    learner.silent_ = 0;

    Proposer& proposer = p.proposer;
    for (Proposer::Page& page : proposer.pages_)
      if (!page.complete) page.repeat.start(epoch, far);
    proposer.repeat_at_ = due == Due::repeat ? epoch : epoch + far;
    Flights& flights = proposer.flights_;
    for (Slot at = flights.first(); at < flights.next(); ++at) {
      Flight& flight = *flights.find(at);
      flight.first_sent = epoch;
      const bool now = due == Due::repeat && at == slot;
      flight.repeat.start(epoch, now ? Duration{0} : far);
    }
    if (proposer.commit_at_ != time_never) proposer.commit_at_ = due == Due::commit ? epoch : epoch + far;
    proposer.learning_since_ = due == Due::give_up ? epoch - 2 * p.env.options.election_timeout : epoch;

    // All are connected and nobody is discontent: ballots are raised by Replica::campaign alone.
    Election& election = p.election;
    for (Election::Peer& peer : election.peers_) {
      peer.heard = due == Due::lost_quorum ? Time::min() : epoch;
      peer.asked = epoch;
      peer.last = {};
      peer.last.configuration = p.env.configuration.number;
      peer.last.applied = p.log.applied();
      peer.strange = false;
      peer.promoted = false;
    }
    election.leader_since_ = Time::min();
    election.yielded_ = Time::min();
    election.discontent_since_ = epoch;
    election.patience_ = far;
    election.next_heartbeat_ = time_never;
    p.birth.next_ = time_never;
  }
  /// What the leader hears when the change is asked for: all are there and keep up, but for the lost one,
  /// whose place a directory announces itself for.
  static void set_surroundings(Replica& replica, const MemberChange& change, const Incarnation& newcomer) {
    Parts& p = *replica.parts_;
    if (change.kind != MemberChange::Kind::replace) return;
    p.election.peers_[change.id.n].heard = Time::min();
    p.birth.newcomers_[change.id.n] = {newcomer, epoch};
  }
  /// True when the generator was asked since set_timers(): there are other outcomes.
  [[nodiscard]] static bool random_was_used(const Replica& replica, std::uint64_t choice) {
    Random now = replica.parts_->env.random;
    return now.next() != Random(seed_for(choice)).next();
  }

  // What can happen next.
  [[nodiscard]] static bool commit_waits(const Replica& r) {
    return r.parts_->proposer.commit_at_ != time_never;
  }
  [[nodiscard]] static bool pull_waits(const Replica& r) {
    return r.parts_->learner.behind() || r.parts_->learner.asked_.has_value();
  }
  [[nodiscard]] static bool learning(const Replica& r) {
    return r.parts_->proposer.phase() == Proposer::Phase::learning;
  }
  [[nodiscard]] static bool proposing(const Replica& r) { return r.parts_->proposer.active(); }
  [[nodiscard]] static Slot next_slot(const Replica& r) { return r.parts_->proposer.next_slot(); }
  [[nodiscard]] static bool may_campaign(const Replica& r) {
    return r.parts_->voting() && r.parts_->election.may_campaign(r.parts_->around());
  }
  [[nodiscard]] static bool has_holes(const Replica& r) { return r.parts_->proposer.has_holes(); }
  /// Slots proposed and not known chosen: their Accepts are repeated.
  template <class Visit>
  static void each_flight(const Replica& r, Visit&& visit) {
    const Flights& flights = r.parts_->proposer.flights_;
    for (Slot slot = flights.first(); slot < flights.next(); ++slot)
      if (flights.find(slot)->state == Flight::State::proposed) visit(slot);
  }
  /// Every slot that the replica holds as chosen in memory.
  template <class Visit>
  static void each_chosen(const Replica& r, Visit&& visit) {
    const SlotLog& log = r.parts_->log;
    for (std::size_t i = 0; i < log.entries_.size(); ++i)
      if (log.entries_[i].chosen) visit(log.base_ + i, log.entries_[i].decree);
  }
  [[nodiscard]] static std::uint64_t last_group(const Replica& r) { return r.parts_->env.last_group; }
  [[nodiscard]] static Ballot promised(const Replica& r) { return r.parts_->acceptor.promised(); }
  [[nodiscard]] static Slot chosen_prefix(const Replica& r) { return r.parts_->log.chosen_prefix(); }

 private:
  using Parts = Replica::Parts;

  /// A generator whose next number is `choice` modulo 12, so also modulo 2, 3 and 4.
  static std::uint64_t seed_for(std::uint64_t choice) {
    static const auto seeds = [] {
      std::array<std::uint64_t, 12> out{};
      for (std::size_t c = 0; c < out.size(); ++c)
        while (Random(out[c]).next() % 12 != c) ++out[c];
      return out;
    }();
    return seeds[choice % 12];
  }

  /// Groups count from the last synced one, which is 0; older ones are 0 too.
  template <class A>
  static void group(A& a, std::uint64_t& number, std::uint64_t synced) {
    std::uint64_t relative = number <= synced ? 0 : number - synced;
    explore::field(a, relative);
    if constexpr (A::loading) number = relative;
  }

  /// Word of a prefix that is known here already is as good as none.
  template <class A>
  static void news(A& a, Slot& prefix, Slot known) {
    Slot value = prefix > known ? prefix : Slot{};
    explore::field(a, value);
    if constexpr (A::loading) prefix = value;
  }

  template <class A>
  static std::uint64_t visit_env(A& a, Env& env) {
    auto& [options, now, ready, random, last_group, synced_group, links, reading, records, held, held_now,
           reached, named, configuration, room] = env;
    (void)named;  // all of them, from the start on
    visit_configuration(a, configuration);
    PAXOS_ASSERT(room.takes && room.proposes);  // no disk is full
    PAXOS_ASSERT(ready.records.empty() && ready.send_now.empty() && ready.send_after_sync.empty() &&
                 ready.to_apply.empty() && ready.log_reads.empty());
    std::uint64_t unsynced = last_group - synced_group;
    explore::field(a, unsynced);
    explore::field(a, reading);
    if constexpr (A::loading) {
      last_group = unsynced;
      synced_group = 0;
    }
    // The bounds on what waits for the disk are far away here.
    PAXOS_ASSERT(records.bytes() < options.bounds.unsynced_bytes / 2 &&
                 held.bytes() < options.bounds.after_sync_bytes / 2);
    PAXOS_ASSERT(held_now == 0);
    return synced_group;
  }

  template <class A>
  static void visit_configuration(A& a, Configuration& configuration) {
    auto& [number, begins, members] = configuration;
    explore::field(a, number);
    explore::field(a, begins);
    explore::sequence(a, members, [&](Member& member) {
      auto& [incarnation, role, address, by_hand] = member;
      explore::field(a, incarnation);
      explore::field(a, role);
      PAXOS_ASSERT(address.empty());
      explore::field(a, by_hand);
    });
  }

  template <class A>
  static void visit_birth(A& a, BirthProtocol& birth) {
    auto& [env, self, state, members, configuration, replaced_in, removed, arrived, announces, newcomers,
           vector_group, announced, conflict, other_size, next, listens_until] = birth;
    using State = BirthProtocol::State;
    PAXOS_ASSERT(state == State::born || state == State::dormant);
    explore::field(a, state);
    explore::field(a, replaced_in);
    explore::field(a, removed);
    (void)members;        // what it tells others, who do not ask
    (void)configuration;  // whose they are: as the disk says at each start
    (void)newcomers;      // set_surroundings()
    PAXOS_ASSERT(arrived.size() == 0 && !announces && !conflict && other_size == 0);
    PAXOS_ASSERT(vector_group == 0 && announced.size() == 0);  // all were born before the search begins
  }

  template <class A>
  static void visit_log(A& a, SlotLog& log, std::uint64_t synced) {
    auto& [bounds, reached, entries, base, first_slot, redo_to, chosen_prefix, chosen_max, accepted_max,
           applied, change, bytes_total, bytes_hot, unchecked] = log;
    explore::sequence(a, entries, [&](SlotEntry& entry) {
      auto& [present, voted, chosen, ballot, entry_group, decree] = entry;
      explore::field(a, present);
      if (!present) return;
      explore::field(a, voted);
      explore::field(a, chosen);
      explore::field(a, ballot);
      group(a, entry_group, synced);
      explore::field(a, decree);
    });
    explore::field(a, base);
    explore::field(a, first_slot);
    PAXOS_ASSERT(redo_to <= applied);  // what is not applied is in memory
    explore::field(a, chosen_prefix);
    explore::field(a, chosen_max);
    explore::field(a, accepted_max);
    explore::field(a, applied);
    explore::field(a, change);
    explore::field(a, bytes_total);
    explore::field(a, bytes_hot);
    if constexpr (A::loading) unchecked = {};
  }

  template <class A>
  static void visit_acceptor(A& a, Acceptor& acceptor) {
    auto& [env, log, promised, accepted_to, accepted_ballot, accepted_slots, checked_promise] = acceptor;
    PAXOS_ASSERT(!accepted_to && accepted_slots.empty());  // a turn's end packs them
    explore::field(a, promised);
    if constexpr (A::loading) checked_promise = {};
  }

  template <class A>
  static void visit_learner(A& a, Learner& learner, Slot known) {
    auto& [env, log, peers, handed_out, handed_out_bytes, changes, target, commit_ballot, commit_prefix,
           commit_scanned, pull_at, prefix_when_armed, asked, source, held, stranded_at, cries, silent] =
        learner;
    PAXOS_ASSERT(changes.empty());  // what is handed out is applied in the same turn
    PAXOS_ASSERT(!held);            // the state machine keeps up
    for (Learner::Peer& peer : peers) {
      auto& [prefix, first] = peer;
      PAXOS_ASSERT(first.n <= 1);  // nobody trims here
      news(a, prefix, known);
    }
    explore::field(a, handed_out);
    explore::field(a, handed_out_bytes);
    news(a, target, known);
    explore::field(a, commit_ballot);
    news(a, commit_prefix, known);
    if constexpr (A::loading) commit_scanned = {};  // saves work only: what it passes over, voted() looks at
    explore::field(a, asked);
    explore::field(a, source);
    if constexpr (A::loading) pull_at = time_never;  // set_timers() arms it where something is to be pulled
  }

  template <class A>
  static void visit_proposer(A& a, Proposer& proposer, std::uint64_t synced) {
    auto& [env, log, acceptor, learner, phase, ballot, pages, own_promise_group, adopted, learn_to,
           adopted_max, closing, learning_since, learning_prefix, flights, own_votes, commit_sent, commit_at,
           repeat_at, rtt, retransmissions] = proposer;
    using Phase = Proposer::Phase;
    explore::field(a, phase);
    explore::field(a, closing);
    if (phase == Phase::idle) return;
    explore::field(a, ballot);
    explore::field(a, adopted_max);
    std::uint64_t adopted_slots = adopted.size();
    explore::field(a, adopted_slots);
    if constexpr (A::loading) {
      for (; adopted_slots != 0; --adopted_slots) {
        PromiseEntry entry;
        visit_entry(a, entry);
        adopted.emplace(entry.slot, entry);
      }
    } else {
      for (auto& [slot, entry] : adopted) visit_entry(a, entry);
    }
    if (phase == Phase::preparing) {
      group(a, own_promise_group, synced);
      explore::sequence(a, pages, [&](Proposer::Page& page) {
        auto& [page_next, complete, chosen_prefix, repeat] = page;
        explore::field(a, page_next);
        explore::field(a, complete);
        explore::field(a, chosen_prefix);
      });
    } else if (phase == Phase::learning) {
      explore::field(a, learn_to);
    } else {
      auto& [row, first, under_way, bytes_under_way] = flights;
      explore::field(a, first);
      explore::field(a, under_way);
      explore::field(a, bytes_under_way);
      explore::sequence(a, row, [&](Flight& flight) {
        auto& [state, decree, votes, first_sent, repeat] = flight;
        explore::field(a, state);
        if (state != Flight::State::proposed) return;  // nobody asks what it was, nor who voted
        explore::field(a, decree);
        explore::field(a, votes);
      });
      explore::sequence(a, own_votes, [&](Proposer::OwnVote& vote) {
        auto& [vote_group, slot] = vote;
        group(a, vote_group, synced);
        explore::field(a, slot);
      });
      explore::field(a, commit_sent);
      bool commit_due = commit_at != time_never;
      explore::field(a, commit_due);
      if constexpr (A::loading) commit_at = commit_due ? epoch + far : time_never;
    }
  }
  template <class A>
  static void visit_entry(A& a, PromiseEntry& entry) {
    auto& [slot, ballot, chosen, decree] = entry;
    explore::field(a, slot);
    explore::field(a, ballot);
    explore::field(a, chosen);
    explore::field(a, decree);
  }

  template <class A>
  static void visit_election(A& a, Election& election) {
    auto& [env, peers, own, leader, mood, candidate, quorum_connected, roomy_quorum, leader_since, yielded,
           discontent_since, patience, next_heartbeat, evaluated, leader_changes] = election;
    explore::field(a, own);
    explore::field(a, leader);
  }

  static void visit_reads(Reads& reads) {
    auto& [env, proposer, fresh, fresh_remote, round, asked] = reads;
    PAXOS_ASSERT(fresh.empty() && fresh_remote.empty() && !round && asked.empty());
  }
};

}  // namespace paxos
