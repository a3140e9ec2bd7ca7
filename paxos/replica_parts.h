#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "paxos/acceptor.h"
#include "paxos/birth.h"
#include "paxos/election.h"
#include "paxos/env.h"
#include "paxos/hash_watch.h"
#include "paxos/invariant.h"
#include "paxos/learner.h"
#include "paxos/proposer.h"
#include "paxos/reads.h"
#include "paxos/replica.h"
#include "paxos/slot_log.h"
#include "paxos/wait_watch.h"

/// What a Replica is made of: the roles, and how they are joined. Internal: replica.cc, and tests that hold
/// whole states of a replica against each other (tests/explore).
namespace paxos {

struct Replica::Parts {
  Env env;
  Incarnation self_incarnation;
  SlotLog log;
  Acceptor acceptor;
  Learner learner;
  Proposer proposer;
  Election election;
  Reads reads;
  BirthProtocol birth;
  HashWatch hashes;
  Hash applied_hash;
  Duration sync_age{};
  Slot prefix_recorded;
  std::optional<std::string> diverged;
  std::string withdrawn;  ///< why its words do not count any more; empty: they do
  WaitWatch waits;

  Parts(const Options& options, Recovered recovered, Time now)
      : env(options, recovered.last_group),
        self_incarnation(recovered.incarnation),
        log(recovered, env.options.bounds, env.reached),
        acceptor(env, log, recovered.promised),
        learner(env, log),
        proposer(env, log, acceptor, learner),
        election(env, recovered.promised),
        reads(env, proposer),
        birth(env, recovered.incarnation, recovered.birth),
        hashes(options.replicas, options.quorum(), env.options.bounds, env.reached),
        applied_hash(recovered.hash),
        prefix_recorded(recovered.chosen_prefix),
        waits(options.election_timeout / 16, log.applied(), now) {
    PAXOS_ASSERT(options.replicas >= 1 && options.replicas <= limits::replicas_max);
    PAXOS_ASSERT(options.self.n < options.replicas);
    options.bounds.check();
    env.now = now;
    if (!log.applied().none()) hashes.applied(log.applied(), applied_hash);
    settle();
  }

  [[nodiscard]] bool voting() const { return birth.born() && !diverged && withdrawn.empty(); }

  [[nodiscard]] Election::Surroundings around() const {
    return {.proposing = proposer.active(),
            .promised = acceptor.promised(),
            .chosen_prefix = log.chosen_prefix(),
            .applied = log.applied(),
            .hash = applied_hash,
            .sync_age = sync_age};
  }

  [[nodiscard]] std::optional<ReplicaId> leader() const {
    if (proposer.phase() == Proposer::Phase::leading) return env.options.self;
    if (!voting() || election.leader().none() || election.leader().replica == env.options.self)
      return std::nullopt;
    if (!election.content()) return std::nullopt;
    return election.leader().replica;
  }

  void take_over(const std::string& why) {
    env.event("take_over", "takes over: " + why);
    proposer.prepare(election.own_ballot());
  }

  /// After every input: let each role draw its conclusions from what the others did.
  void settle() {
    if (proposer.active() && (acceptor.promised() > proposer.ballot()))
      proposer.stop("promised ballot " + to_string(acceptor.promised()));
    if (proposer.active() && !voting()) proposer.stop("this replica does not vote");
    // A peer leads with a higher ballot, or is happy with one: without a write of ours no Nack would tell.
    if (proposer.active() && election.leader() > proposer.ballot())
      proposer.stop("follows ballot " + to_string(election.leader()));
    election.follow(acceptor.promised());
    proposer.advance();
    learner.hand_out();
    watch_waits();
  }

  /// A vote alone is nothing that waits: the next leader may never hear of it, and leave its slot to later.
  void watch_waits() {
    waits.saw(env.now, std::max({log.chosen_max(), learner.target(), proposer.last_to_finish()}), log.applied());
  }

  void on_heartbeat_reply(ReplicaId from, const HeartbeatReply& m) {
    if (!election.on_reply(from, m)) return;
    learner.peer_prefix(from, m.chosen_prefix);
    // The leader's own word about its prefix is as good as a Commit, but only while it leads: one that was
    // deposed, and has not heard of it, learns slots in which other decrees than its own were chosen.
    if (m.happy && m.proposing() && m.ballot.replica == from)
      learner.on_commit(from, m.ballot, m.chosen_prefix);
    hashes.heard(from, m.applied, m.hash);
    judge_hashes();
  }

  /// Says what is new about disagreements; outvoted, this replica stops.
  void judge_hashes() {
    for (const HashWatch::News& news : hashes.take_news())
      env.event(news.disagrees ? "disagrees" : "agrees", to_string(news), {}, news.slot);
    if (diverged || !hashes.outvoted()) return;
    diverged = "the hash chain here disagrees with a quorum at slot " + std::to_string(hashes.since().n) +
               ": this replica's state is not to be trusted";
    env.event("diverged", "diverged: " + *diverged, {}, hashes.since());
  }

  void handle(ReplicaId from, const PeerMessage& message) {
    std::visit(
        [&](const auto& m) {
          using M = std::decay_t<decltype(m)>;
          if constexpr (std::is_same_v<M, HeartbeatRequest>) {
            election.on_request(from, m, around());
          } else if constexpr (std::is_same_v<M, HeartbeatReply>) {
            on_heartbeat_reply(from, m);
          } else if constexpr (std::is_same_v<M, HandOver>) {
            // Who follows a peer's ballot does not propose.
            if (m.ballot.replica == from && m.ballot == election.leader() && election.quorum_connected()) {
              election.campaign(around());
              take_over("replica " + std::to_string(from.n) + " hands over");
            }
          } else if constexpr (std::is_same_v<M, Prepare>) {
            acceptor.on_prepare(from, m);
          } else if constexpr (std::is_same_v<M, Promise>) {
            proposer.on_promise(from, m);
          } else if constexpr (std::is_same_v<M, Accept>) {
            acceptor.on_accept(from, m);
            learner.voted(m.slot, m.ballot);
            if (m.ballot.replica == from) learner.on_commit(from, m.ballot, m.chosen_prefix);
          } else if constexpr (std::is_same_v<M, Accepted>) {
            proposer.on_accepted(from, m);
          } else if constexpr (std::is_same_v<M, Nack>) {
            const bool active = proposer.active();
            proposer.on_nack(from, m);
            if (active && !proposer.active()) election.yield();
          } else if constexpr (std::is_same_v<M, Commit>) {
            if (m.ballot.replica == from) learner.on_commit(from, m.ballot, m.chosen_prefix);
          } else if constexpr (std::is_same_v<M, LearnRequest>) {
            learner.on_learn_request(from, m);
          } else if constexpr (std::is_same_v<M, LearnReply>) {
            learner.on_learn_reply(from, m);
          } else if constexpr (std::is_same_v<M, ReadConfirm>) {
            acceptor.on_read_confirm(from, m);
          } else if constexpr (std::is_same_v<M, ReadConfirmed>) {
            reads.on_confirmed(from, m);
          } else if constexpr (std::is_same_v<M, ReadRequest>) {
            reads.on_request(from, m);
          } else if constexpr (std::is_same_v<M, ReadReply>) {
            reads.on_reply(from, m);
          } else if constexpr (std::is_same_v<M, Forward>) {
            if (proposer.phase() == Proposer::Phase::leading)
              env.ready.forwarded.insert(env.ready.forwarded.end(), m.commands.begin(), m.commands.end());
          } else {
            static_assert(std::is_same_v<M, Birth>);
          }
        },
        message);
  }
};

}  // namespace paxos
