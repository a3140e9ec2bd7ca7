#include "paxos/replica.h"

#include <algorithm>
#include <utility>

#include "paxos/replica_parts.h"

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
      return "unborn";
    case Role::dormant:
      return "dormant";
    case Role::learner:
      return "learner";
    case Role::removed:
      return "removed";
  }
  return "unborn";
}

Replica::Replica(const Options& options, Recovered recovered, Time now)
    : parts_(std::make_unique<Parts>(options, std::move(recovered), now)) {}
Replica::~Replica() = default;

void Replica::step(Time now, ReplicaId from, const Origin& origin, const PeerMessage& message) {
  Parts& p = *parts_;
  p.env.now = now;
  if (from.n >= p.env.options.capacity() || from == p.env.options.self) return;
  if (const auto* birth = std::get_if<Birth>(&message)) {
    p.birth.on_birth(from, origin.incarnation, *birth);
  } else if (p.takes_part()) {
    if (p.env.configuration.member(from, origin.incarnation))
      p.handle(from, origin, message);
    else
      p.hear_stranger(from, origin, message);
  } else if (std::holds_alternative<HeartbeatRequest>(message) && !p.birth.removed()) {
    p.birth.overheard(from);
  } else if (p.birth.removed()) {
    // The next configuration may need what only this one and its leader have, until the host ends it.
    if (const auto* wanted = std::get_if<LearnRequest>(&message)) p.learner.on_learn_request(from, *wanted);
    if (const auto* asked = std::get_if<HeartbeatRequest>(&message))
      p.election.on_request(from, *asked, p.around());
  }
  p.conclude();
}

std::optional<Outdated> Replica::outdated(ReplicaId from, const Origin& origin) const {
  const Parts& p = *parts_;
  if (from.n >= p.env.options.capacity() || from == p.env.options.self || !p.birth.born() ||
      !p.env.configuration.member(from, origin.incarnation) ||
      p.lives.judge(from, origin) != Lives::Word::outdated)
    return std::nullopt;
  return p.lives.outdated(from, origin);
}

void Replica::tick(Time now) {
  Parts& p = *parts_;
  p.env.now = now;
  p.birth.tick();
  if (p.takes_part()) {
    if (p.election.tick(p.around())) p.take_over("no leader that a quorum can work with");
    if (p.proposer.active() && !p.election.quorum_connected()) {
      p.proposer.stop("lost the connection to a quorum");
      p.election.yield();
    }
    p.promote_learners();
    p.proposer.tick();
    p.learner.tick();
    p.reads.tick(p.leader());
  }
  p.conclude();
}

Time Replica::deadline() const {
  const Parts& p = *parts_;
  Time at = p.birth.deadline();
  if (!p.takes_part()) return at;
  at = std::min(at, p.election.deadline());
  at = std::min(at, p.proposer.deadline());
  at = std::min(at, p.learner.deadline());
  return std::min(at, p.reads.deadline());
}

bool Replica::can_propose() const { return parts_->voting() && parts_->proposer.can_propose(); }

Slot Replica::propose(Time now, Decree decree) {
  parts_->env.now = now;
  const Slot slot = parts_->proposer.propose(std::move(decree));
  parts_->watch_waits();
  return slot;
}

SkipResult Replica::skip(Time now, std::vector<Slot> slots) {
  parts_->env.now = now;
  SkipResult result = parts_->proposer.skip(std::move(slots));
  parts_->watch_waits();
  return result;
}

SkipResult Replica::skip_next(Time now, std::size_t count) {
  std::vector<Slot> slots;
  // More than a window is refused, whatever the number: one slot beyond it is enough to be told so.
  count = std::min<std::size_t>(count, parts_->env.options.bounds.window_slots + 1);
  for (std::size_t i = 0; i < count; ++i) slots.push_back(parts_->proposer.next_slot() + i);
  return skip(now, std::move(slots));
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

bool Replica::hand_over(Time now, std::optional<ReplicaId> to) {
  Parts& p = *parts_;
  p.env.now = now;
  if (!p.proposer.leading()) return false;
  if (to && (to->n >= p.env.options.capacity() || *to == p.env.options.self || !p.election.candidate(*to)))
    return false;
  const auto successor = to ? to : p.election.successor();
  if (!successor) return false;
  p.env.event("hand_over", "hands over to replica " + std::to_string(successor->n));
  p.env.send(*successor, HandOver{p.proposer.ballot()});
  return true;
}

void Replica::campaign(Time now) {
  Parts& p = *parts_;
  p.env.now = now;
  if (!p.voting() || !p.election.may_campaign(p.around())) return;
  p.election.campaign(p.around());
  p.take_over("told to");
  p.conclude();
}

void Replica::synced(Time now, std::uint64_t group) {
  Parts& p = *parts_;
  p.env.now = now;
  PAXOS_ASSERT(group <= p.env.last_group);
  p.env.synced(group);
  p.birth.on_synced();
  p.proposer.on_synced();
  p.conclude();
}

bool Replica::waits_for_sync() const {
  const Parts& p = *parts_;
  return p.env.synced_group < p.env.last_group && (p.proposer.waits_for_sync() || !p.birth.born() ||
                                                   p.learner.waits_for_sync() || p.lives.waits_for_sync());
}

void Replica::set_sync_age(Time now, Duration age) {
  parts_->env.now = now;
  parts_->sync_age = age;
}

void Replica::set_room(Time now, DiskRoom room) {
  Parts& p = *parts_;
  p.env.now = now;
  const bool fills = p.env.room.own == DiskRoom::enough && room != DiskRoom::enough;
  p.env.room.own = room;
  p.conclude();
  // At once, not when the others have noticed.
  if (fills) static_cast<void>(hand_over(now));
}

void Replica::hold_applying(Time now, bool held) {
  parts_->env.now = now;
  parts_->learner.hold(held);
  parts_->conclude();
}

void Replica::withdraw(Time now, std::string why) {
  Parts& p = *parts_;
  p.env.now = now;
  if (!p.withdrawn.empty()) return;
  p.withdrawn = std::move(why);
  p.conclude();
}

void Replica::applied(Time now, Slot slot, const Hash& hash) {
  Parts& p = *parts_;
  p.env.now = now;
  // What is redone was not handed out from memory, and was in the log at the start.
  if (const SlotEntry* entry = p.log.find(slot)) {
    p.learner.applied(entry->decree.value.size());
    p.trimmer.applied(slot, entry->decree.value.size());
  }
  p.log.set_applied(slot);
  p.applied_hash = hash;
  p.hashes.applied(slot, hash);
  if (p.redoes_much && !p.log.redoing()) {
    p.redoes_much = false;
    p.env.event("redone", "has redone its own log up to slot " + std::to_string(slot.n), {}, slot);
  }
  p.judge_hashes();
  if (auto next = p.learner.take_configuration(slot)) p.enter(std::move(*next));
  p.conclude();
}

ChangeResult Replica::change(Time now, const MemberChange& change) {
  parts_->env.now = now;
  return parts_->propose_change(change);
}

const Configuration& Replica::configuration() const { return parts_->env.configuration; }
bool Replica::removed() const { return parts_->birth.removed(); }
bool Replica::may_leave() const { return parts_->birth.may_leave(); }
std::optional<Incarnation> Replica::newcomer(ReplicaId id) const {
  return id.n < parts_->env.options.capacity() ? parts_->birth.newcomer(id) : std::nullopt;
}

std::uint64_t Replica::replace_applied(Time now, ChosenDecree chosen) {
  Parts& p = *parts_;
  p.env.now = now;
  PAXOS_ASSERT(chosen.slot <= p.log.applied());
  if (chosen.slot < p.log.first_slot()) {
    p.log.replace_applied(chosen.slot, std::move(chosen.decree), p.env.synced_group);
    return p.trim_group > p.env.synced_group ? p.trim_group : 0;  // until then it is still on the disk
  }
  const std::uint64_t group = p.env.record(ChosenRecord{chosen.slot, chosen.ballot, chosen.decree});
  p.log.replace_applied(chosen.slot, std::move(chosen.decree), group);
  return group;
}

void Replica::set_slack(Time now, std::optional<TrimSlack> slack) {
  parts_->env.now = now;
  parts_->trimmer.set_slack(slack);
}

void Replica::state_durable(Time now, Slot slot) {
  Parts& p = *parts_;
  p.env.now = now;
  PAXOS_ASSERT(slot <= p.log.applied());
  p.trimmer.durable(slot);
  p.conclude();
}

void Replica::cut_log(Time now, Slot first) {
  Parts& p = *parts_;
  p.env.now = now;
  p.trimmer.cut(first);
  p.conclude();
}

void Replica::hold_log(Time now, ReplicaId peer, Slot from, Time until) {
  parts_->env.now = now;
  parts_->trimmer.hold(peer, from, until);
}

void Replica::log_read(Time now, const LogReadWish& wish, std::vector<ChosenDecree> decrees) {
  parts_->env.now = now;
  parts_->learner.log_read(wish, std::move(decrees));
  parts_->conclude();
}

Ready Replica::take_ready() {
  Ready out;
  if (!take_ready(out)) out.group = parts_->env.last_group;
  return out;
}

bool Replica::take_ready(Ready& out) {
  Parts& p = *parts_;
  p.acceptor.send_accepted();
  p.proposer.send_commit();
  if (p.reads.waiting()) p.reads.start_round(p.leader());
  Env& env = p.env;
  // A free ride: the prefix saves work after a restart, and is written now and then when something is written
  // anyway. A row of its own with every vote would be a third of what a lone command writes.
  if (!env.ready.records.empty() &&
      p.log.chosen_prefix() >= p.prefix_recorded + env.options.bounds.prefix_stride) {
    env.reached(Bound::prefix_stride);
    p.prefix_recorded = p.log.chosen_prefix();
    env.record(ChosenPrefixRecord{p.prefix_recorded});
  }
  if (!env.ready.records.empty()) p.lives.ride_along(4 * env.options.bounds.prefix_stride);
  if (!env.ready.records.empty()) ++env.last_group;
  env.ready.group = env.last_group;
  env.end_turn();
  if (env.ready.empty()) return false;
  out.swap(env.ready);  // each side goes on with the other's memory
  return true;
}

Status Replica::status() const {
  const Parts& p = *parts_;
  Status s;
  s.voting = p.voting();
  s.reason = p.diverged ? *p.diverged : !p.withdrawn.empty() ? p.withdrawn : p.birth.reason();
  if (s.reason.empty() && !s.voting) s.reason = p.why_no_voter();
  s.configuration = p.env.configuration;
  if (p.proposer.leading())
    p.env.each_peer([&](ReplicaId id) {
      if (p.env.configuration.learns(id) && p.election.keeps_up(id, p.log.applied())) s.keep_up.push_back(id);
    });
  s.announces = p.birth.announces();
  for (std::uint8_t id = 0; id < p.env.options.capacity(); ++id)
    if (p.birth.newcomer({id})) s.newcomers.push_back({id});
  switch (p.birth.state()) {
    case BirthProtocol::State::collecting:
    case BirthProtocol::State::announced:
      s.role = Role::unborn;
      break;
    case BirthProtocol::State::dormant:
      s.role = p.birth.removed() ? Role::removed : Role::dormant;
      break;
    case BirthProtocol::State::born:
      s.role = !p.proposer.active() ? Role::follower : p.proposer.leading() ? Role::leader : Role::candidate;
      if (p.env.configuration.learns(p.env.options.self)) s.role = Role::learner;
      break;
  }
  if (p.outdated) s.role = Role::dormant;
  s.ballot = p.acceptor.promised();
  s.leader_ballot = p.election.leader();
  s.leader = p.leader();
  s.first_slot = p.log.first_slot();
  s.accepted = p.log.accepted_max();
  s.chosen = p.log.chosen_prefix();
  s.applied = p.log.applied();
  s.chosen_max = p.log.chosen_max();
  s.hole = p.proposer.hole();
  s.waiting = p.waits.oldest();
  s.inflight = p.proposer.inflight();
  s.ready_to_lead = is_leader();
  if (p.log.redoing()) s.redoing = SlotRange{p.redo_from, p.log.redo_to()};
  if (p.learner.stranded()) s.snapshot_wanted = p.snapshot_wish();
  p.env.each_peer([&, connected = p.election.connected()](ReplicaId id) {
    if (connected.contains(id)) s.connected.push_back(id);
  });
  for (std::uint8_t id = 0; id < p.env.options.capacity(); ++id)
    if (p.hashes.disagreeing().contains(ReplicaId{id})) s.disagreeing.push_back(ReplicaId{id});
  s.disagrees_since = p.hashes.since();
  s.disputed = p.hashes.disputed();
  s.missing_at_birth = p.birth.missing();
  s.room = p.env.room.own;
  for (std::uint8_t id = 0; id < p.env.options.capacity(); ++id)
    if (p.full().contains(ReplicaId{id})) s.full.push_back(ReplicaId{id});
  s.blocked = p.env.room.blocked;
  s.leader_changes = p.election.leader_changes();
  s.retransmissions = p.proposer.retransmissions();
  return s;
}

Outlook Replica::outlook() const {
  const Parts& p = *parts_;
  return {.leading = is_leader(),
          .voting = p.voting(),
          .diverged = p.diverged.has_value(),
          .disagreeing = p.hashes.disagreeing(),
          .disagrees_since = p.hashes.since(),
          .disputed = p.hashes.disputed(),
          .behind = p.proposer.phase() == Proposer::Phase::learning ||
                    std::max(p.learner.target(), p.log.redo_to()).n >
                        p.log.applied().n + p.env.options.bounds.window_slots,
          .round = p.acceptor.promised().round,
          .leader = p.leader(),
          .hole = p.proposer.hole(),
          .connected = p.election.connected(),
          .quorum_connected = p.quorum_connected(),
          .full = p.full(),
          .blocked = p.env.room.blocked,
          .stands_still = p.env.room.left_behind,
          .short_of_room = !p.env.room.proposes};
}

std::optional<std::uint16_t> Replica::rules_known_by_all() const {
  return parts_->election.rules_known_by_all();
}

Slot Replica::chosen() const { return parts_->log.chosen_prefix(); }

Slot Replica::chosen_max() const { return parts_->log.chosen_max(); }

std::vector<std::pair<Slot, Ballot>> Replica::chosen_ahead() const { return parts_->log.chosen_ahead(); }

std::uint64_t Replica::round() const { return parts_->acceptor.promised().round; }
bool Replica::is_leader() const { return parts_->proposer.leading(); }
std::optional<ReplicaId> Replica::leader() const { return parts_->leader(); }
std::optional<std::string> Replica::diverged() const { return parts_->diverged; }
const std::string& Replica::withdrawn() const { return parts_->withdrawn; }

Replica::Held Replica::held() const {
  const Parts& p = *parts_;
  return {.unapplied_slots = p.log.accepted_max() - p.log.floor(),
          .unapplied_bytes = p.log.bytes_unapplied(),
          .unsynced_bytes = p.env.records.bytes(),
          .after_sync_bytes = p.env.held.bytes(),
          .handed_out_slots = p.learner.handed_out() - p.log.applied(),
          .redoing = p.log.redoing()};
}
const BoundsReached& Replica::bounds_reached() const { return parts_->env.reached; }

void Replica::check_invariants() const {
  const Parts& p = *parts_;
  p.log.check_invariants();
  p.acceptor.check_invariants();
  p.log.checked();
  p.proposer.check_invariants();
  PAXOS_ASSERT(p.election.leader() >= p.acceptor.promised());
}

}  // namespace paxos
