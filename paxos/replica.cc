#include "paxos/replica.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "paxos/acceptor.h"
#include "paxos/birth.h"
#include "paxos/election.h"
#include "paxos/env.h"
#include "paxos/invariant.h"
#include "paxos/learner.h"
#include "paxos/proposer.h"
#include "paxos/reads.h"
#include "paxos/slot_log.h"

namespace paxos {

const char* to_string(Role role) {
  switch (role) {
    case Role::follower:
      return "follower";
    case Role::candidate:
      return "candidate";
    case Role::leader:
      return "leader";
    case Role::unborn:
    case Role::dormant:
      return "unborn";
  }
  return "unborn";
}

/// Compares the hash chain with peers' at equal slots (I7).
class HashWatch {
 public:
  explicit HashWatch(std::size_t replicas) : pending_(replicas) {}

  void applied(Slot slot, const Hash& hash) {
    recent_.push_back({slot, hash});
    if (recent_.size() > limits::recent_hashes_max) recent_.pop_front();
    for (std::size_t id = 0; id < pending_.size(); ++id)
      if (pending_[id] && pending_[id]->slot == slot) compare(id);
  }
  void heard(ReplicaId from, Slot slot, const Hash& hash) {
    if (slot.none()) return;
    // A mark ahead of us is kept until we get there; a newer one would keep running away.
    if (pending_[from.n] && pending_[from.n]->slot > last()) return;
    pending_[from.n] = Mark{slot, hash};
    if (slot <= last()) compare(from.n);
  }
  [[nodiscard]] const ReplicaSet& disagreeing() const { return disagreeing_; }
  [[nodiscard]] Slot where() const { return where_; }

 private:
  struct Mark {
    Slot slot;
    Hash hash;
  };
  [[nodiscard]] Slot last() const { return recent_.empty() ? Slot{} : recent_.back().slot; }
  void compare(std::size_t id) {
    const Mark mark = *pending_[id];
    pending_[id].reset();
    const auto at = std::lower_bound(recent_.begin(), recent_.end(), mark.slot,
                                     [](const Mark& m, Slot slot) { return m.slot < slot; });
    if (at == recent_.end() || at->slot != mark.slot || at->hash == mark.hash) return;
    disagreeing_.insert(ReplicaId{static_cast<std::uint8_t>(id)});
    where_ = mark.slot;
  }
  std::deque<Mark> recent_;
  std::vector<std::optional<Mark>> pending_;
  ReplicaSet disagreeing_;
  Slot where_;
};

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
  bool was_leading = false;

  Parts(const Options& options, Recovered recovered, Time now)
      : env(options, recovered.last_group),
        self_incarnation(recovered.incarnation),
        log(recovered),
        acceptor(env, log, recovered.promised),
        learner(env, log),
        proposer(env, log, acceptor, learner),
        election(env, recovered.promised),
        reads(env, proposer),
        birth(env, recovered.incarnation, recovered.birth),
        hashes(options.replicas),
        applied_hash(recovered.hash),
        prefix_recorded(recovered.chosen_prefix) {
    PAXOS_ASSERT(options.replicas >= 1 && options.replicas <= limits::replicas_max);
    PAXOS_ASSERT(options.self.n < options.replicas);
    env.now = now;
    if (!log.applied().none()) hashes.applied(log.applied(), applied_hash);
    settle();
  }

  [[nodiscard]] bool voting() const { return birth.born() && !diverged; }

  [[nodiscard]] Election::Surroundings around() const {
    return {.voting = voting(),
            .proposing = proposer.active(),
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
    env.event("takes over: " + why);
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
  }

  void on_heartbeat_reply(ReplicaId from, const HeartbeatReply& m) {
    if (!election.on_reply(from, m)) return;
    learner.peer_prefix(from, m.chosen_prefix);
    // The leader's own word about its prefix is as good as a Commit, but only while it leads: one that was
    // deposed, and has not heard of it, learns slots in which other decrees than its own were chosen.
    if (m.happy && m.ballot == m.leader && m.ballot.replica == from && !m.ballot.none())
      learner.on_commit(from, m.ballot, m.chosen_prefix);
    hashes.heard(from, m.applied, m.hash);
    if (!diverged && hashes.disagreeing().size() >= env.options.quorum()) {
      diverged = "the hash chain here disagrees with a quorum at slot " + std::to_string(hashes.where().n) +
                 ": this replica's state is not to be trusted";
      env.event("diverged: " + *diverged);
    }
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
            if (m.ballot.replica == from && m.ballot == election.leader() && !proposer.active() &&
                election.quorum_connected()) {
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
            proposer.on_nack(from, m);
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

Replica::Replica(const Options& options, Recovered recovered, Time now)
    : parts_(std::make_unique<Parts>(options, std::move(recovered), now)) {}
Replica::~Replica() = default;

void Replica::step(Time now, ReplicaId from, const Incarnation& from_incarnation,
                   const PeerMessage& message) {
  Parts& p = *parts_;
  p.env.now = now;
  if (from.n >= p.env.options.replicas || from == p.env.options.self) return;
  if (const auto* birth = std::get_if<Birth>(&message)) {
    p.birth.on_birth(from, from_incarnation, *birth);
  } else if (p.voting() && p.birth.member(from, from_incarnation)) {
    p.handle(from, message);
  }
  p.settle();
}

void Replica::tick(Time now) {
  Parts& p = *parts_;
  p.env.now = now;
  p.birth.tick();
  if (p.voting()) {
    if (p.election.tick(p.around())) p.take_over("no leader that a quorum can work with");
    if (p.proposer.active() && !p.election.quorum_connected())
      p.proposer.stop("lost the connection to a quorum");
    p.proposer.tick();
    p.learner.tick();
    p.reads.tick(p.leader());
  }
  p.settle();
}

Time Replica::deadline() const {
  const Parts& p = *parts_;
  Time at = p.birth.deadline();
  if (!p.voting()) return at;
  at = std::min(at, p.election.deadline());
  at = std::min(at, p.proposer.deadline());
  at = std::min(at, p.learner.deadline());
  return std::min(at, p.reads.deadline());
}

bool Replica::can_propose() const { return parts_->voting() && parts_->proposer.can_propose(); }

Slot Replica::propose(Time now, Decree decree) {
  parts_->env.now = now;
  return parts_->proposer.propose(std::move(decree));
}

SkipResult Replica::skip(Time now, std::vector<Slot> slots) {
  parts_->env.now = now;
  return parts_->proposer.skip(std::move(slots));
}

SkipResult Replica::skip_next(Time now, std::size_t count) {
  parts_->env.now = now;
  std::vector<Slot> slots;
  // More than a window is refused, whatever the number: one slot beyond it is enough to be told so.
  count = std::min<std::size_t>(count, limits::window_slots + 1);
  for (std::size_t i = 0; i < count; ++i) slots.push_back(parts_->proposer.next_slot() + i);
  return parts_->proposer.skip(std::move(slots));
}

void Replica::read(Time now, std::uint64_t id) {
  parts_->env.now = now;
  parts_->reads.read(id);
}

bool Replica::forward(std::vector<Bytes> commands) {
  Parts& p = *parts_;
  const auto leader = p.leader();
  if (!leader || *leader == p.env.options.self) return false;
  p.env.send(*leader, Forward{std::move(commands)});
  return true;
}

bool Replica::hand_over(Time now) {
  Parts& p = *parts_;
  p.env.now = now;
  if (p.proposer.phase() != Proposer::Phase::leading) return false;
  const auto successor = p.election.successor();
  if (!successor) return false;
  p.env.event("hands over to replica " + std::to_string(successor->n));
  p.env.send(*successor, HandOver{p.proposer.ballot()});
  return true;
}

void Replica::campaign(Time now) {
  Parts& p = *parts_;
  p.env.now = now;
  if (!p.voting()) return;
  p.election.campaign(p.around());
  p.take_over("told to");
  p.settle();
}

void Replica::synced(Time now, std::uint64_t group) {
  Parts& p = *parts_;
  p.env.now = now;
  PAXOS_ASSERT(group <= p.env.last_group);
  p.env.synced_group = std::max(p.env.synced_group, group);
  p.birth.on_synced();
  p.proposer.on_synced();
  p.settle();
}

bool Replica::waits_for_sync() const {
  const Parts& p = *parts_;
  return p.env.synced_group < p.env.last_group &&
         (p.proposer.waits_for_sync() || !p.birth.born() || p.learner.waits_for_sync());
}

void Replica::set_sync_age(Time now, Duration age) {
  parts_->env.now = now;
  parts_->sync_age = age;
}

void Replica::applied(Time now, Slot slot, const Hash& hash) {
  Parts& p = *parts_;
  p.env.now = now;
  p.log.set_applied(slot);
  p.applied_hash = hash;
  p.hashes.applied(slot, hash);
  p.settle();
}

void Replica::log_read(Time now, const LogReadWish& wish, std::vector<ChosenDecree> decrees) {
  parts_->env.now = now;
  parts_->learner.log_read(wish, std::move(decrees));
}

Ready Replica::take_ready() {
  Parts& p = *parts_;
  p.acceptor.flush();
  p.proposer.flush();
  p.reads.flush(p.leader());
  Env& env = p.env;
  // A free ride: the prefix saves work after a restart, and is written now and then when something is written
  // anyway. A row of its own with every vote would be a third of what a lone command writes.
  if (!env.ready.records.empty() && p.log.chosen_prefix() >= p.prefix_recorded + limits::prefix_record_stride) {
    p.prefix_recorded = p.log.chosen_prefix();
    env.record(ChosenPrefixRecord{p.prefix_recorded});
  }
  if (!env.ready.records.empty()) ++env.last_group;
  env.ready.group = env.last_group;
  return std::exchange(env.ready, Ready{});
}

Status Replica::status() const {
  const Parts& p = *parts_;
  Status s;
  s.voting = p.voting();
  s.reason = p.diverged ? *p.diverged : p.birth.reason();
  switch (p.birth.state()) {
    case BirthProtocol::State::collecting:
    case BirthProtocol::State::announced:
      s.role = Role::unborn;
      break;
    case BirthProtocol::State::dormant:
      s.role = Role::dormant;
      break;
    case BirthProtocol::State::born:
      s.role = !p.proposer.active()                             ? Role::follower
               : p.proposer.phase() == Proposer::Phase::leading ? Role::leader
                                                                : Role::candidate;
      break;
  }
  s.ballot = p.acceptor.promised();
  s.leader_ballot = p.election.leader();
  s.leader = p.leader();
  s.first_slot = p.log.first_slot();
  s.accepted = p.log.accepted_max();
  s.chosen = p.log.chosen_prefix();
  s.applied = p.log.applied();
  s.chosen_max = p.log.chosen_max();
  s.hole = p.proposer.hole();
  s.inflight = p.proposer.inflight();
  s.ready_to_lead = is_leader();
  p.env.each_peer([&, connected = p.election.connected()](ReplicaId id) {
    if (connected.contains(id)) s.connected.push_back(id);
  });
  s.missing_at_birth = p.birth.missing();
  s.leader_changes = p.election.leader_changes();
  s.retransmissions = p.proposer.retransmissions();
  return s;
}

Outlook Replica::outlook() const {
  const Parts& p = *parts_;
  return {.leading = is_leader(),
          .voting = p.voting(),
          .diverged = p.diverged.has_value(),
          .round = p.acceptor.promised().round,
          .leader = p.leader(),
          .hole = p.proposer.hole(),
          .connected = p.election.connected()};
}

bool Replica::is_leader() const { return parts_->proposer.phase() == Proposer::Phase::leading; }
std::optional<ReplicaId> Replica::leader() const { return parts_->leader(); }
std::optional<std::string> Replica::diverged() const { return parts_->diverged; }

void Replica::check_invariants() const {
  const Parts& p = *parts_;
  p.log.check_invariants();
  p.acceptor.check_invariants();
  p.proposer.check_invariants();
  PAXOS_ASSERT(p.election.leader() >= p.acceptor.promised());
}

}  // namespace paxos
