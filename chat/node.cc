#include "chat/node.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace chat {

namespace {

template <class T>
void append(std::vector<T>& from, std::vector<T>& to) {
  if (to.empty())
    to.swap(from);
  else
    std::move(from.begin(), from.end(), std::back_inserter(to));
}

/// Where the state stands, it says in which configuration.
paxos::Recovered with_configuration(paxos::Recovered recovered, const Machine& machine) {
  recovered.configuration = machine.configuration();
  return recovered;
}

}  // namespace

void NodeOutput::clear() {
  groups.clear();
  send_now.clear();
  state.clear();
  replies.clear();
  history.clear();
  log_reads.clear();
  snapshot_wanted.reset();
  hashes_below.reset();
  forget.clear();
  erase_plans.clear();
  erasures.clear();
  own_rows.clear();
  events.clear();
  stop.clear();
  commits.clear();
}

Node::Node(const paxos::Options& options, paxos::Recovered recovered, Machine machine, paxos::Time now,
           const NodeBounds& bounds)
    : options_(options),
      bounds_(bounds),
      machine_(std::move(machine)),
      replica_(options, with_configuration(std::move(recovered), machine_), now),
      desk_(machine_, Desk::Options{.notice_every = options.heartbeat, .bounds = bounds}),
      redactor_(machine_.take_erasures()),
      forgetter_(machine_.kept_from()) {
  const paxos::Status status = replica_.status();
  PAXOS_ASSERT(status.applied == machine_.applied());
  // A crash may have come between a trim and this. (Behind a snapshot the log begins above the state.)
  if (status.first_slot.n > 1)
    trim_ = {.group = 0, .first = std::min(status.first_slot, std::max(status.applied, paxos::Slot{1}))};
  rules_as_of(machine_.applied());
  state_durable(now, machine_.applied());
}

void Node::rules_as_of(paxos::Slot slot) {
  if (may_trim_from_.none() && formats_of(machine_.rules()).log >= trimming_log)
    may_trim_from_ = std::max(slot, paxos::Slot{1});
}

const Standing& Node::standing() {
  if (!standing_stale_) return standing_;
  standing_stale_ = false;
  const paxos::Outlook outlook = replica_.outlook();
  standing_.leading = outlook.leading;
  standing_.can_propose = replica_.can_propose();
  // A leader that is still learning older slots would send its clients to itself.
  standing_.leader = outlook.leader == options_.self ? std::nullopt : outlook.leader;
  standing_.voting = outlook.voting;
  standing_.diverged = outlook.diverged;
  standing_.disputed = outlook.disputed;
  standing_.disagrees_since = outlook.disagrees_since;
  standing_.disagreeing.clear();
  standing_.behind = outlook.behind;
  standing_.quorum_connected = outlook.quorum_connected;
  standing_.hole = outlook.hole;
  // A ballot's round is never 0 and never used twice, so it names the leadership.
  standing_.leadership = outlook.leading ? outlook.round : 0;
  standing_.missing.clear();
  standing_.full.clear();
  standing_.blocked = outlook.blocked;
  standing_.stands_still = outlook.stands_still;
  standing_.short_of_room = outlook.leading && outlook.short_of_room;
  const paxos::Configuration& members = replica_.configuration();
  for (std::uint8_t id = 0; id < options_.capacity(); ++id) {
    const paxos::ReplicaId replica{id};
    if (!members.members.empty() ? !members.holds(replica) : id >= options_.replicas) continue;
    if (outlook.disagreeing.contains(replica)) standing_.disagreeing.push_back(replica);
    if (outlook.full.contains(replica)) standing_.full.push_back(replica);
    if (replica != options_.self && !outlook.connected.contains(replica))
      standing_.missing.push_back(replica);
  }
  return standing_;
}

void Node::peer_message(paxos::Time now, paxos::ReplicaId from, const paxos::Origin& origin,
                        const paxos::PeerMessage& message) {
  replica_.step(now, from, origin, message);
  standing_stale_ = true;
}

void Node::client_message(paxos::Time now, const ClientAddress& from, const Credential& whose,
                          const ClientMessage& message) {
  desk_.on_message(now, from, whose, message, standing());
}

void Node::synced(paxos::Time now, std::uint64_t group) {
  replica_.synced(now, group);
  redactor_.synced(group);
  synced_ = group;
  standing_stale_ = true;
}

void Node::hold_applying(paxos::Time now, bool held) {
  held_ = held;
  if (!held && !to_apply_.empty()) unfinished_at_ = now;
  replica_.hold_applying(now, held);
  standing_stale_ = true;
}

void Node::withdraw(paxos::Time now, std::string why) {
  replica_.withdraw(now, std::move(why));
  standing_stale_ = true;
}

void Node::set_sync_age(paxos::Time now, paxos::Duration age) { replica_.set_sync_age(now, age); }

void Node::set_room(paxos::Time now, paxos::DiskRoom room) {
  room_ = room;
  replica_.set_room(now, room);
  standing_stale_ = true;
}

void Node::history_read(paxos::Time now, std::uint64_t token, tl::expected<Page, std::string> page) {
  desk_.history_read(now, token, std::move(page));
}

void Node::log_read(paxos::Time now, const paxos::LogReadWish& wish,
                    std::vector<paxos::ChosenDecree> decrees) {
  replica_.log_read(now, wish, std::move(decrees));
}

void Node::set_slack(paxos::Time now, std::optional<paxos::TrimSlack> slack) {
  slack_ = slack;
  if (trims_) replica_.set_slack(now, slack_);
}

void Node::cut_log(paxos::Time now, paxos::Slot first) {
  cut_ = std::max(cut_, first);
  if (trims_) replica_.cut_log(now, cut_);
}

void Node::state_durable(paxos::Time now, paxos::Slot slot) {
  if (!trims_ && !may_trim_from_.none() && slot >= may_trim_from_) {
    trims_ = true;
    replica_.set_slack(now, slack_);
    if (!cut_.none()) replica_.cut_log(now, cut_);
  }
  replica_.state_durable(now, slot);
  standing_stale_ = true;
}

void Node::hold_log(paxos::Time now, paxos::ReplicaId peer, paxos::Slot from, paxos::Time until) {
  replica_.hold_log(now, peer, from, until);
}

void Node::tick(paxos::Time now) {
  replica_.tick(now);
  standing_stale_ = true;
  // Kept true without clients, too: the status line, the journal and `paxosctl` ask for it.
  const Standing& current = standing();
  desk_.follow_room(current);
  if (desk_.deadline() <= now) desk_.tick(now, current);
}

paxos::Time Node::deadline() const {
  const paxos::Time rest = held_ ? paxos::time_never : unfinished_at_;
  const paxos::Time redact = room_ == paxos::DiskRoom::enough ? redactor_.deadline() : paxos::time_never;
  return std::min({rest, replica_.deadline(), desk_.deadline(), redact, forgetter_.deadline()});
}

paxos::SkipResult Node::skip(paxos::Time now, std::vector<paxos::Slot> slots) {
  standing_stale_ = true;
  return replica_.skip(now, std::move(slots));
}

paxos::SkipResult Node::skip_next(paxos::Time now, std::size_t count) {
  standing_stale_ = true;
  return replica_.skip_next(now, count);
}

bool Node::hand_over(paxos::Time now, std::optional<paxos::ReplicaId> to) {
  return replica_.hand_over(now, to);
}

paxos::ChangeResult Node::change(paxos::Time now, const paxos::MemberChange& change) {
  if (machine_.rules() < rules_configurations)
    return {.refused =
                "members can be changed once all replicas run this version, and the rules are raised: "
                "see 'Upgrading' in OPERATIONS.md"};
  standing_stale_ = true;
  return replica_.change(now, change);
}

void Node::campaign(paxos::Time now) {
  replica_.campaign(now);
  standing_stale_ = true;
}

NodeOutput Node::turn(paxos::Time now, std::int64_t wall_ms) {
  NodeOutput out;
  turn(now, wall_ms, out);
  return out;
}

void Node::turn(paxos::Time now, std::int64_t wall_ms, NodeOutput& out) {
  out.clear();
  done_ = {};
  unfinished_at_ = paxos::time_never;
  if (machine_.rules() < options_.rules) raise_rules(now);
  for (bool more = true; more && out.stop.empty();) {
    while (replica_.can_propose() && desk_.may_have_batch(replica_.round())) {
      standing_stale_ = true;
      auto decree = desk_.next_batch(now, wall_ms, standing());
      if (!decree) break;
      note_proposed(now, replica_.propose(now, std::move(*decree)));
    }
    more = drain_replica(now, out);
    if (drain_desk(now, out)) more = true;
    // The rest in the next turn, which comes at once: in between, heartbeats are answered and rows are
    // counted.
    if (const auto bound = enough(); bound && (more || !to_apply_.empty())) {
      desk_.bounds_reached()(*bound);
      unfinished_at_ = now;
      break;
    }
  }
  if (!out.stop.empty()) return;
  drain_redactor(now, out);
  drain_forgetter(now, out);
  drop_hashes(out);
}

/// Only when the trim is synced: a log that comes back at a crash comes with them.
void Node::drop_hashes(NodeOutput& out) {
  if (!trim_ || trim_->group > synced_) return;
  out.hashes_below = trim_->first;
  trim_.reset();
}

void Node::erase_planned(paxos::Time now, ErasePlan plan) {
  again_ = redactor_.planned(now, std::move(plan), machine_.applied());
  const ErasePlan* ready = redactor_.to_place();
  if (ready == nullptr) return;
  std::uint64_t group = 0;
  for (const paxos::ChosenDecree& decree : ready->decrees)
    group = std::max(group, replica_.replace_applied(now, decree));
  redactor_.placed(group);
  if (group == 0) redactor_.synced(group);
}

void Node::erased(paxos::Time now, std::uint64_t token, const std::string& fault) {
  Redactor::Erased done = redactor_.erased(now, token, fault);
  append(done.rows, own_rows_);
  std::move(done.messages.begin(), done.messages.end(), std::back_inserter(erased_));
}

void Node::drain_redactor(paxos::Time now, NodeOutput& out) {
  // What is taken off a disk is taken off by writing the rest anew, which needs room.
  if (room_ == paxos::DiskRoom::enough) {
    if (again_) out.erase_plans.push_back(std::move(*again_));
    again_.reset();
    if (auto plan = redactor_.next_plan(now)) out.erase_plans.push_back(std::move(*plan));
    if (auto erasure = redactor_.next_erasure()) out.erasures.push_back(std::move(*erasure));
  }
  append(own_rows_, out.own_rows);
  own_rows_.clear();
  for (const MessageName& message : erased_)
    out.events.push_back({.name = "redacted",
                          .text = "the text of message " + std::to_string(message.seq) + " of room '" +
                                  message.room + "' is off this replica's disk",
                          .ballot = {},
                          .slot = {}});
  erased_.clear();
}

/// A message that waits to be redacted stays until that is done: where it stands tells where its text is in
/// the log.
void Node::drain_forgetter(paxos::Time now, NodeOutput& out) {
  out.forget =
      forgetter_.next(now, [this](const std::string& room) { return redactor_.first_waiting(room); });
}

std::optional<Bound> Node::enough() const {
  if (done_.slots >= bounds_.turn_slots) return Bound::turn_slots;
  if (done_.bytes >= bounds_.turn_bytes) return Bound::turn_bytes;
  if (done_.rows_bytes >= bounds_.turn_rows_bytes) return Bound::turn_rows_bytes;
  return std::nullopt;
}

void Node::raise_rules(paxos::Time now) {
  // One at a time: if the last one did not make it, another leader may have raised them meanwhile, or nobody.
  if (!replica_.can_propose() || machine_.applied() < raise_slot_) return;
  const auto known = replica_.rules_known_by_all();
  if (!known || *known <= machine_.rules()) return;
  raise_slot_ = replica_.propose(now, make_rules_decree(machine_.rules() + 1));
  standing_stale_ = true;
}

void Node::note_proposed(paxos::Time now, paxos::Slot slot) {
  // Also when a leadership was lost and won again between two turns: its phase 1 found our own votes.
  PAXOS_ASSERT(proposed_.empty() || proposed_.back().slot < slot);
  proposed_.push_back({slot, now});
  ++figures_.proposed;
}

void Node::note_applied(paxos::Time now, const Applied& applied, NodeOutput& out) {
  PAXOS_ASSERT(proposed_.empty() ||
               proposed_.front().slot >= applied.slot);  // each goes when its slot is applied
  if (!proposed_.empty() && proposed_.front().slot == applied.slot) {
    out.commits.push_back(now - proposed_.front().at);
    proposed_.pop_front();
  }
  if (applied.noop) ++figures_.noops;
  for (const Outcome& outcome : applied.outcomes)
    ++figures_.verdicts[static_cast<std::size_t>(outcome.verdict)];
}

/// True when something new may have become possible.
bool Node::drain_replica(paxos::Time now, NodeOutput& out) {
  paxos::Ready& ready = ready_;
  const bool any = replica_.take_ready(ready);
  standing_stale_ = true;
  // What another leader decides in these slots is not ours to time.
  if (!replica_.is_leader()) {
    proposed_.clear();
    desk_.leadership_ended();
  }
  if (!any) return apply(now, out);
  for (const paxos::Record& record : ready.records)
    if (const auto* trim = std::get_if<paxos::TrimRecord>(&record))
      trim_ = {.group = ready.group, .first = trim->first};
  if (!ready.records.empty() || !ready.send_after_sync.empty())
    out.groups.push_back({ready.group, std::move(ready.records), std::move(ready.send_after_sync)});
  append(ready.send_now, out.send_now);
  append(ready.log_reads, out.log_reads);
  if (ready.lost)
    out.stop = "slot " + std::to_string(ready.lost->n) +
               " is missing from its log, or does not read, and every slot up to " +
               std::to_string(replica_.chosen().n) + " was there: the log is damaged";
  if (ready.snapshot_wanted) out.snapshot_wanted = std::move(ready.snapshot_wanted);
  const bool told = !ready.events.empty();
  append(ready.events, out.events);
  std::move(ready.to_apply.begin(), ready.to_apply.end(), std::back_inserter(to_apply_));
  const bool applied = apply(now, out);
  if (!out.stop.empty()) {
    ready.clear();
    return false;
  }
  standing_stale_ = true;
  if (!ready.forwarded.empty()) desk_.on_forwarded(now, ready.forwarded, standing());
  // Before anything is served: what a read would show here may be wrong. A dispute begins with an event.
  if ((told || !ready.reads.empty()) && standing().disputed) desk_.fail_reads(standing());
  for (const paxos::ReadIndex& read : ready.reads) desk_.read_index(read.id, read.index);
  for (std::uint64_t id : ready.reads_failed) desk_.read_failed(id, standing());
  const bool more = applied || !ready.forwarded.empty() || !ready.reads.empty();
  ready.clear();
  return more;
}

bool Node::apply(paxos::Time now, NodeOutput& out) {
  const std::size_t before = done_.slots;
  while (!to_apply_.empty() && !held_ && !enough()) {
    const paxos::ChosenDecree chosen = std::move(to_apply_.front());
    to_apply_.pop_front();
    Applied applied = machine_.apply(chosen.slot, chosen.decree);
    if (!applied.refused.empty()) {
      out.stop = applied.refused + ": install a newer version";
      return false;
    }
    ++done_.slots;
    done_.bytes += chosen.decree.value.size();
    redactor_.on_applied(applied);
    forgetter_.on_applied(applied.kept_from);
    for (const Row& row : applied.rows)
      done_.rows_bytes += row.key.size() + (row.value ? row.value->size() : 0);
    rules_as_of(chosen.slot);
    if (const auto rules = rules_in(chosen.decree))
      out.events.push_back({.name = "rules",
                            .text = "rules " + std::to_string(machine_.rules()) + " from slot " +
                                    std::to_string(chosen.slot.n + 1) + " on",
                            .ballot = chosen.ballot,
                            .slot = chosen.slot});
    replica_.applied(now, chosen.slot, applied.hash);
    PAXOS_ASSERT(!machine_.configuration() ||
                 machine_.configuration()->number == replica_.configuration().number);
    desk_.on_applied(now, applied);
    note_applied(now, applied, out);
    out.state.push_back({chosen.slot, std::move(applied.rows)});
  }
  return done_.slots > before;
}

bool Node::drain_desk(paxos::Time now, NodeOutput& out) {
  if (!desk_.has_output()) return false;
  DeskOutput desk = desk_.take_output();
  append(desk.replies, out.replies);
  append(desk.history, out.history);
  for (std::uint64_t id : desk.reads) replica_.read(now, id);
  bool passed_on = false;
  for (auto& commands : desk.forward) passed_on |= replica_.forward(std::move(commands));
  return !desk.reads.empty() || passed_on;
}

}  // namespace chat
