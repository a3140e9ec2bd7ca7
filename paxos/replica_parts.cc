#include "paxos/replica_parts.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <variant>

#include "paxos/invariant.h"

namespace paxos {

Replica::Parts::Parts(const Options& options, Recovered recovered, Time now)
    : env(options, recovered.last_group, recovered.configuration),
      introduction{recovered.last_group, std::move(recovered.lives)},
      log(recovered, env.options.bounds, env.reached),
      acceptor(env, log, recovered.promised),
      learner(env, log),
      proposer(env, log, acceptor, learner),
      election(env, recovered.promised),
      reads(env, proposer),
      birth(env, recovered.incarnation, recovered.birth, recovered.promised.configuration > 1),
      lives(env, recovered.peers),
      hashes(options.self, options.capacity(), env.configuration, env.options.bounds, env.reached),
      trimmer(recovered.first_slot, recovered.applied, std::max(recovered.applied, recovered.redo_to),
              recovered.log_bytes, options.capacity(), env.options.bounds, env.reached),
      applied_hash(recovered.hash),
      prefix_recorded(recovered.chosen_prefix),
      redo_from(recovered.applied + 1),
      waits(options.election_timeout / 16, log.applied(), now) {
  PAXOS_ASSERT(options.replicas >= 1 && options.capacity() <= limits::replicas_max);
  PAXOS_ASSERT(options.self.n < options.replicas);
  options.bounds.check();
  env.now = now;
  if (recovered.configuration) birth.judge();
  if (recovered.outdated) be_outdated(*recovered.outdated);
  if (!log.applied().none()) hashes.applied(log.applied(), applied_hash);
  redoes_much = lags();
  if (redoes_much)
    env.event("redo",
              "the state is at slot " + std::to_string(log.applied().n) + ": redoes its own log up to slot " +
                  std::to_string(log.redo_to().n),
              {}, log.redo_to());
  conclude();
}

Election::Surroundings Replica::Parts::around() const {
  // Whoever has no life itself speaks the first format, which has no room for these. (Where this one has none
  // either, nobody speaks any.)
  const bool told = asker.life.number != 0;
  return {.proposing = proposer.active(),
          .promised = acceptor.promised(),
          .chosen_prefix = log.chosen_prefix(),
          .applied = log.applied(),
          .hash = applied_hash,
          .sync_age = sync_age,
          .lags = lags(),
          .groups = told ? env.synced_group : 0,
          .entitled = voting() && !log.change_ahead(),
          .voting = voting(),
          .full = env.room.own != DiskRoom::enough,
          .tells_full = told || introduction.lives.empty()};
}

bool Replica::Parts::lags() const {
  return learner.stranded() || log.redo_to().n > log.applied().n + env.options.bounds.window_slots;
}

std::optional<ReplicaId> Replica::Parts::leader() const {
  if (proposer.leading()) return env.options.self;
  if (!takes_part() || election.leader().none() || election.leader().replica == env.options.self)
    return std::nullopt;
  if (!election.content()) return std::nullopt;
  return election.leader().replica;
}

bool Replica::Parts::quorum_connected() const {
  ReplicaSet connected;
  connected.insert(env.options.self);
  env.each_peer([&](ReplicaId id) {
    if (election.counted(id)) connected.insert(id);
  });
  return env.configuration.is_quorum(connected);
}

ReplicaSet Replica::Parts::full() const {
  ReplicaSet out = election.full();
  if (env.room.own != DiskRoom::enough && env.configuration.votes(env.options.self))
    out.insert(env.options.self);
  return out;
}

void Replica::Parts::judge_room() {
  const ReplicaSet full = this->full();
  const bool was_blocked = env.room.blocked;
  if (full.size() == 0) {
    env.room = {.own = env.room.own, .takes = env.room.own == DiskRoom::enough};
  } else {
    ReplicaSet roomy = election.roomy();
    ReplicaSet others = env.configuration.voters();
    if (env.room.own == DiskRoom::enough) roomy.insert(env.options.self);
    env.each_peer([&](ReplicaId id) {
      if (full.contains(id)) others.erase(id);
    });
    if (full.contains(env.options.self)) others.erase(env.options.self);
    const bool quorum = env.configuration.is_quorum(roomy);
    // What a full one votes for without need would be taken from what it can finish later. Nobody proposes
    // anything new where it is needed.
    env.room.left_behind = env.room.own != DiskRoom::enough && quorum;
    env.room.takes = env.room.own != DiskRoom::none && !env.room.left_behind;
    env.room.proposes = env.room.own == DiskRoom::enough && quorum;
    env.room.blocked = !env.configuration.is_quorum(others);
  }
  if (env.room.blocked == was_blocked) return;
  if (!env.room.blocked)
    return env.event("disks_have_room", "enough disks have room again: new commands are taken");
  std::string ids;
  for (std::uint8_t id = 0; id < env.options.capacity(); ++id)
    if (full.contains({id})) ids += (ids.empty() ? "" : ", ") + std::to_string(id);
  env.event("disks_full", (full.size() == 1 ? "the disk of replica " + ids + " is"
                                            : "the disks of replicas " + ids + " are") +
                              " full: no new command is taken until there is room");
}

void Replica::Parts::take_over(const std::string& why) {
  env.event("take_over", "takes over: " + why);
  proposer.prepare(election.own_ballot());
}

void Replica::Parts::enter(Configuration next) {
  const Slot last{next.begins.n - 1};
  const bool led = proposer.leading();
  // Who voted for it at this ballot need not ask what was chosen: nobody will lead here any more.
  if (led) env.broadcast(Commit{proposer.ballot(), last});
  if (proposer.active()) proposer.stop("configuration " + std::to_string(next.number) + " begins");
  ReplicaSet changed;
  ReplicaSet promoted;
  for (std::uint8_t n = 0; n < env.options.capacity(); ++n) {
    const ReplicaId id{n};
    const Member* before = env.configuration.find(id);
    const Member* after = next.find(id);
    const Incarnation none;
    if ((before == nullptr ? none : before->incarnation) == (after == nullptr ? none : after->incarnation)) {
      if (env.configuration.learns(id) && next.votes(id) && id != env.options.self &&
          election.keeps_up(id, log.applied()))
        promoted.insert(id);
      continue;
    }
    changed.insert(id);
    learner.replaced(id);
    hashes.replaced(id);
    birth.replaced(id);
  }
  env.configuration = std::move(next);
  env.event("configuration",
            "configuration " + std::to_string(env.configuration.number) + " from slot " +
                std::to_string(env.configuration.begins.n) + " on",
            {}, last);
  // Before the first promise in it: whoever starts again with that one on its disk, and a state from before,
  // refuses everybody in the configuration before, so nobody could find out any more that it is closed.
  if (prefix_recorded < last) {
    prefix_recorded = log.chosen_prefix();
    env.record(ChosenPrefixRecord{prefix_recorded});
  }
  log.forget_votes(env.configuration.number);
  election.entered(changed, promoted);
  birth.judge();
  if (birth.removed()) election.leave();
  if (!led || !voting() || log.change_ahead() || log.redoing() || !election.may_campaign(around())) return;
  election.campaign(around());
  take_over("led the configuration before this one");
}

std::string Replica::Parts::why_no_voter() const {
  if (env.configuration.members.empty())
    return "this data directory has joined, and catches up: what it may do is known once it has come to the "
           "configuration that it is in";
  const std::string number = std::to_string(env.configuration.number);
  if (const Member* self = env.configuration.find(env.options.self);
      self != nullptr && self->role == MemberRole::learner)
    return "this replica is a learner in configuration " + number +
           (self->by_hand ? ": it votes once `paxosctl member promote` says so"
                          : ": the leader makes it a voter once it keeps up");
  return "this replica is no voter of configuration " + number;
}

void Replica::Parts::conclude() {
  judge_room();
  if (proposer.active() && acceptor.promised() > proposer.ballot())
    proposer.stop("promised ballot " + to_string(acceptor.promised()));
  if (proposer.active() && !voting()) proposer.stop("this replica does not vote");
  // A peer leads with a higher ballot, or is happy with one: without a write of ours no Nack would tell.
  if (proposer.active() && election.leader() > proposer.ballot())
    proposer.stop("follows ballot " + to_string(election.leader()));
  // The slot that it closes with tells by itself when the next configuration begins.
  if (proposer.active() && log.change_ahead() && !proposer.closing())
    proposer.stop("slot " + std::to_string(log.change().n) + " closes the configuration");
  election.follow(acceptor.promised());
  proposer.advance();
  learner.hand_out();
  if (learner.handed_out() <= log.redo_to()) log.spill(env.synced_group);
  trim();
  cry();
  watch_waits();
}

void Replica::Parts::trim() {
  // Where the state may be wrong, or the disk is, the log is what can be looked into.
  if (!takes_part() || hashes.disputed()) return;
  const auto first = trimmer.next(env.now);
  if (!first) return;
  log.set_first(*first);
  trim_group = env.record(TrimRecord{*first});
}

void Replica::Parts::cry() {
  // (A state that is taken needs room as well.)
  if (!learner.take_cry() || env.room.own != DiskRoom::enough) return;
  SnapshotWish wish = snapshot_wish();
  if (wish.above != cried_for) {
    cried_for = wish.above;
    env.event("stranded",
              "nobody reachable has slot " + std::to_string(wish.above.n) +
                  " any more: a snapshot of a peer's state is needed",
              {}, wish.above);
  }
  env.ready.snapshot_wanted = std::move(wish);
}

SnapshotWish Replica::Parts::snapshot_wish() const {
  SnapshotWish wish{.above = learner.missing(), .from = {}, .voters = env.configuration};
  if (wish.voters.members.empty()) {
    wish.voters = Configuration::of_birth(birth.told().members);
    for (std::uint8_t id = 0; id < wish.voters.members.size(); ++id)
      if (wish.voters.members[id].incarnation.none() || ReplicaId{id} == env.options.self)
        wish.voters.members[id].role = MemberRole::removed;  // an id that stands for nobody; and its own word
  }
  const auto applied = [&](ReplicaId id) { return election.applied_of(id); };
  Slot most;
  env.each_peer([&](ReplicaId id) {
    if (!election.connected(id) || applied(id) < wish.above) return;
    wish.from.push_back(id);
    most = std::max(most, applied(id));
  });
  const auto rank = [&](ReplicaId id) {
    const bool lags = applied(id) + env.options.bounds.window_slots < most;
    return std::tuple(lags, id == election.leader().replica, Slot{UINT64_MAX - applied(id).n});
  };
  std::sort(wish.from.begin(), wish.from.end(), [&](ReplicaId a, ReplicaId b) { return rank(a) < rank(b); });
  return wish;
}

void Replica::Parts::watch_waits() {
  // A vote alone is nothing that waits: the next leader may never hear of it, and leave its slot to later.
  waits.saw(env.now, std::max({log.chosen_max(), learner.target(), proposer.last_to_finish()}),
            log.applied());
}

void Replica::Parts::judge_hashes() {
  for (const HashWatch::News& news : hashes.take_news())
    env.event(news.disagrees ? "disagrees" : "agrees", to_string(news), {}, news.slot);
  if (diverged || !hashes.outvoted()) return;
  diverged = "the hash chain here disagrees with a quorum at slot " + std::to_string(hashes.since().n) +
             ": this replica's state is not to be trusted";
  env.event("diverged", "diverged: " + *diverged, {}, hashes.since());
}

// --- messages ---

void Replica::Parts::handle(ReplicaId sender, const Origin& origin, const PeerMessage& message) {
  asker = origin;
  const auto* reply = std::get_if<HeartbeatReply>(&message);
  if (const auto* told = std::get_if<Introduction>(&message)) {
    const bool settled = !log.redoing() && !log.change_ahead();
    return lives.introduced(sender, origin, *told, settled);
  }
  if (reply != nullptr) lives.heard(sender, origin, reply->groups);
  switch (lives.judge(sender, origin)) {
    case Lives::Word::counts:
      return std::visit([&](const auto& m) { on(sender, m); }, message);
    case Lives::Word::not_yet:
      // Who is connected is no promise: so that it is known at once who could lead.
      if (reply != nullptr)
        static_cast<void>(election.on_reply(sender, *reply));
      else if (std::holds_alternative<HeartbeatRequest>(message) ||
               std::holds_alternative<Introduce>(message) || std::holds_alternative<Outdated>(message))
        std::visit([&](const auto& m) { on(sender, m); }, message);
      if (std::holds_alternative<HeartbeatRequest>(message) && lives.wonders(sender, origin))
        env.send(sender, Introduce{});
      return;
    case Lives::Word::outdated:
      return;
  }
}

void Replica::Parts::hear_stranger(ReplicaId from, const Origin& origin, const PeerMessage& message) {
  asker = origin;
  const std::uint32_t ours = env.configuration.number;
  if (const auto* request = std::get_if<HeartbeatRequest>(&message)) {
    if (request->configuration > ours) {
      env.named.insert(from);  // all that it knew may have been taken out while it slept
      on(from, *request);
    } else if (ours > 1) {
      env.send(from, birth.told());
    }
  } else if (const auto* reply = std::get_if<HeartbeatReply>(&message)) {
    if (reply->configuration > ours && election.on_reply(from, *reply, true))
      learner.peer_prefix(from, reply->chosen_prefix);
  } else if (const auto* wanted = std::get_if<LearnRequest>(&message)) {
    on(from, *wanted);  // what is chosen is so for everybody
  } else if (const auto* learned = std::get_if<LearnReply>(&message)) {
    on(from, *learned);
  } else if (const auto* ask = std::get_if<Introduce>(&message)) {
    on(from, *ask);
  } else if (const auto* later = std::get_if<Outdated>(&message)) {
    on(from, *later);
  }
}

void Replica::Parts::be_outdated(const OutdatedRecord& record) {
  outdated = true;
  withdrawn =
      "this data directory is an older copy: replica " + std::to_string(record.by.n) + " knows its boot " +
      std::to_string(record.known_boot) + ", with " + std::to_string(record.known_groups) +
      " groups of its log, and this one has forgotten what it promised since. It does not vote. Put the "
      "latest directory back, if it still exists; see 'An older copy of a directory' in OPERATIONS.md";
}

void Replica::Parts::on(ReplicaId from, const HeartbeatRequest& m) { election.on_request(from, m, around()); }

void Replica::Parts::on(ReplicaId from, const HeartbeatReply& m) {
  if (!election.on_reply(from, m)) return;
  learner.peer_prefix(from, m.chosen_prefix);
  // The leader's own word about its prefix is as good as a Commit, but only while it leads: one that was
  // deposed, and has not heard of it, learns slots in which other decrees than its own were chosen.
  if (m.happy && m.proposing() && m.ballot.replica == from)
    learner.on_commit(from, m.ballot, m.chosen_prefix);
  hashes.heard(from, m.applied, m.hash);
  judge_hashes();
}

void Replica::Parts::on(ReplicaId from, const HandOver& m) {
  // Of the leader that is followed; who follows a peer's ballot does not propose, so nothing of our own ends
  // here.
  if (m.ballot.replica != from || m.ballot != election.leader() || !election.quorum_connected() ||
      !election.may_campaign(around()))
    return;
  election.campaign(around());
  take_over("replica " + std::to_string(from.n) + " hands over");
}

void Replica::Parts::on(ReplicaId from, const Prepare& m) {
  if (voting()) acceptor.on_prepare(from, m);
}

void Replica::Parts::on(ReplicaId from, const Promise& m) { proposer.on_promise(from, m); }

void Replica::Parts::on(ReplicaId from, const Accept& m) {
  if (voting()) acceptor.on_accept(from, m);
  learner.voted(m.slot, m.ballot);
  if (m.ballot.replica == from) learner.on_commit(from, m.ballot, m.chosen_prefix);
}

void Replica::Parts::on(ReplicaId from, const Accepted& m) { proposer.on_accepted(from, m); }

void Replica::Parts::on(ReplicaId from, const Nack& m) {
  const bool active = proposer.active();
  proposer.on_nack(from, m);
  if (active && !proposer.active()) election.yield();
}

void Replica::Parts::on(ReplicaId from, const Commit& m) {
  if (m.ballot.replica == from) learner.on_commit(from, m.ballot, m.chosen_prefix);
}

void Replica::Parts::on(ReplicaId from, const LearnRequest& m) {
  // What it asks for next must not go meanwhile.
  if (m.from >= log.first_slot()) trimmer.hold(from, m.from, env.now + 4 * env.options.election_timeout);
  learner.on_learn_request(from, m);
}

void Replica::Parts::on(ReplicaId from, const LearnReply& m) { learner.on_learn_reply(from, m); }

void Replica::Parts::on(ReplicaId from, const ReadConfirm& m) {
  if (voting()) acceptor.on_read_confirm(from, m);
}

void Replica::Parts::on(ReplicaId from, const ReadConfirmed& m) { reads.on_confirmed(from, m); }

void Replica::Parts::on(ReplicaId from, const ReadRequest& m) { reads.on_request(from, m); }

void Replica::Parts::on(ReplicaId from, const ReadReply& m) { reads.on_reply(from, m); }

/// Replica::step() takes these before anything else, from whoever sends them.
void Replica::Parts::on(ReplicaId /*from*/, const Birth& /*m*/) {}

void Replica::Parts::on(ReplicaId from, const Introduce& /*m*/) {
  if (!introduction.lives.empty()) env.send(from, introduction);
}

/// handle() takes these.
void Replica::Parts::on(ReplicaId /*from*/, const Introduction& /*m*/) {}

void Replica::Parts::on(ReplicaId from, const Outdated& m) {
  if (outdated || introduction.lives.empty() || m.meant != introduction.lives.back()) return;
  const OutdatedRecord record{from, m.known_boot, m.known_groups};
  env.record(record);  // or it would come back with a boot that nobody knows
  be_outdated(record);
  env.event("outdated", withdrawn);
}

void Replica::Parts::on(ReplicaId /*from*/, const Forward& m) {
  if (proposer.leading())
    env.ready.forwarded.insert(env.ready.forwarded.end(), m.commands.begin(), m.commands.end());
}

}  // namespace paxos
