#include "tests/paxos/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace paxos_test {

namespace {

Incarnation incarnation(std::size_t id, unsigned life) {
  Incarnation out;
  out.bytes[0] = static_cast<std::uint8_t>(id + 1);
  out.bytes[1] = static_cast<std::uint8_t>(life);
  return out;
}

/// The model of a state machine: a chain over slots and decrees.
Hash chain(const Hash& before, const ChosenDecree& chosen, bool corrupt) {
  std::uint64_t sum = corrupt ? 99 : 1;
  const auto mix = [&](std::uint64_t value) {
    sum ^= value + 0x9e3779b97f4a7c15ULL + (sum << 6) + (sum >> 2);
    sum *= 0xff51afd7ed558ccdULL;
    sum ^= sum >> 32;
  };
  for (std::uint8_t byte : before.bytes) mix(byte);
  mix(chosen.slot.n);
  mix(static_cast<std::uint64_t>(chosen.decree.kind));
  for (char c : chosen.decree.value.view()) mix(static_cast<std::uint8_t>(c));
  Hash out;
  for (std::size_t i = 0; i < 8; ++i) out.bytes[i] = static_cast<std::uint8_t>(sum >> (8 * i));
  return out;
}

}  // namespace

Cluster::Cluster(const Setup& setup)
    : setup_(setup),
      random_(setup.seed * 7919 + 17),
      nodes_(setup.replicas),
      cut_(setup.replicas, std::vector<bool>(setup.replicas)) {
  BirthRecord birth{.members = {}, .born = true};
  if (setup_.voters == 0) setup_.voters = size();
  for (std::size_t id = 0; id < setup_.voters; ++id) birth.members.push_back(incarnation(id, 0));
  for (std::size_t id = 0; id < size(); ++id) {
    nodes_[id].disk.incarnation = incarnation(id, 0);
    if (setup.born && id < setup_.voters) nodes_[id].disk.birth = birth;
    nodes_[id].config_size = std::max(setup_.voters, id + 1);  // a new machine's config names it
  }
  configurations_.push_back(Configuration::of_birth(birth.members));
  for (std::size_t id = 0; id < size(); ++id) start(id);
}

std::optional<Configuration> Cluster::configuration_at(std::size_t id) const {
  std::optional<Configuration> out;
  for (std::size_t i = 0; i < nodes_[id].state_durable; ++i)
    if (auto next = configuration_after(out ? out->number : 1, Slot{i + 1}, nodes_[id].applied[i].decree))
      out = std::move(next);
  return out;
}

void Cluster::configured(Configuration next) {
  if (next.number <= configurations_.size()) {
    if (configurations_[next.number - 1] != next) violation("two configurations have one number");
    return;
  }
  for (const auto& [slot, number] : chosen_under_)
    if (slot >= next.begins && number < next.number)
      violation("slot " + std::to_string(slot.n) + " was chosen in configuration " + std::to_string(number) +
                ", which ended below it");
  configurations_.push_back(std::move(next));
}

void Cluster::start(std::size_t id) {
  Node& n = nodes_[id];
  ++n.boot;
  n.applied.resize(n.state_durable);
  n.hashes.resize(n.state_durable);
  Options options{.self = ReplicaId{static_cast<std::uint8_t>(id)},
                  .replicas = n.config_size,
                  .founds = setup_.even_founds || n.config_size % 2 == 1,
                  .ids = size(),
                  .heartbeat = setup_.heartbeat,
                  .election_timeout = setup_.election_timeout,
                  .bounds = setup_.bounds,
                  .seed = setup_.seed * 1000003 + id * 101 + n.boot};
  Recovered recovered{.incarnation = n.disk.incarnation,
                      .boot = n.boot,
                      .birth = n.disk.birth,
                      .promised = n.disk.promised,
                      .chosen_prefix = std::max(n.disk.chosen_prefix, Slot{n.state_durable}),
                      .applied = Slot{n.state_durable},
                      .redo_to = std::max(n.disk.chosen_prefix, Slot{n.state_durable}),
                      .hash = n.hashes.empty() ? Hash{} : n.hashes.back(),
                      .configuration = configuration_at(id),
                      .first_slot = n.disk.first,
                      .last_group = n.disk.group,
                      .entries = {}};
  for (const auto& [slot, entry] : n.disk.entries) {
    if (slot > recovered.redo_to) recovered.entries.push_back(entry);
  }
  n.groups_written = n.disk.group;
  n.replica = std::make_unique<Replica>(options, std::move(recovered), time(id));
  if (n.room != DiskRoom::enough) n.replica->set_room(time(id), n.room);
  if (n.replica->status().ballot < n.disk.promised) violation("I6: a promise went back across a restart");
  drain(id);
}

void Cluster::violation(std::string what) {
  violations_.push_back(what);
  ADD_FAILURE() << what;
}

// --- inputs ---

void Cluster::propose(std::size_t id, std::string_view text) {
  ASSERT_TRUE(up(id));
  ASSERT_TRUE(nodes_[id].replica->can_propose()) << "replica " << id << " can't propose " << text;
  (*this)[id].propose(time(id), command(text));
  after(id);
}

bool Cluster::try_propose(std::size_t id, std::string_view text) {
  if (!up(id) || !(*this)[id].can_propose()) return false;
  (*this)[id].propose(time(id), command(text));
  after(id);
  return true;
}

void Cluster::read(std::size_t id, std::uint64_t read_id) {
  (*this)[id].read(time(id), read_id);
  after(id);
}

void Cluster::campaign(std::size_t id) {
  (*this)[id].campaign(time(id));
  after(id);
}

void Cluster::hold_applying(std::size_t id, bool held) {
  (*this)[id].hold_applying(time(id), held);
  after(id);
}

void Cluster::set_room(std::size_t id, DiskRoom room) {
  nodes_[id].room = room;
  if (!up(id)) return;
  (*this)[id].set_room(time(id), room);
  after(id);
}

void Cluster::tick(std::size_t id) {
  if (!up(id)) return;
  Node& n = nodes_[id];
  n.replica->set_sync_age(time(id), n.unsynced.empty() ? Duration{} : now_ - n.unsynced.front().since);
  n.replica->tick(time(id));
  after(id);
}

void Cluster::tick_all() {
  for (std::size_t id = 0; id < size(); ++id) tick(id);
}

SkipResult Cluster::skip(std::size_t id, std::vector<std::uint64_t> slots) {
  std::vector<Slot> named;
  for (std::uint64_t slot : slots) named.push_back(Slot{slot});
  SkipResult result = (*this)[id].skip(time(id), std::move(named));
  after(id);
  return result;
}

ChangeResult Cluster::replace(std::size_t at, std::size_t id) {
  return change(at, {.id = ReplicaId{static_cast<std::uint8_t>(id)}, .address = {}});
}

ChangeResult Cluster::change(std::size_t at, const MemberChange& change) {
  ChangeResult result = (*this)[at].change(time(at), change);
  after(at);
  return result;
}

void Cluster::step(std::size_t to, std::size_t from, const PeerMessage& message) {
  (*this)[to].step(time(to), ReplicaId{static_cast<std::uint8_t>(from)}, nodes_[from].disk.incarnation,
                   message);
  after(to);
}

bool Cluster::hand_over(std::size_t id) {
  const bool done = (*this)[id].hand_over(time(id));
  after(id);
  return done;
}

bool Cluster::forward(std::size_t id, std::string_view command) {
  const bool done = (*this)[id].forward({Bytes::copy_of(command)});
  after(id);
  return done;
}

void Cluster::after(std::size_t id) {
  drain(id);
  if (!up(id)) return;
  (*this)[id].check_invariants();
  const Replica& replica = (*this)[id];
  if (replica.is_leader() && replica.status().ballot > highest_leader_) {
    highest_leader_ = replica.status().ballot;
    ++leader_changes_;
  }
}

// --- effects ---

void Cluster::drain(std::size_t id) {
  for (;;) {
    Ready ready = (*this)[id].take_ready();
    const bool more = !ready.to_apply.empty() || !ready.log_reads.empty() || !ready.records.empty();
    take(id, std::move(ready));
    if (!more) return;
  }
}

void Cluster::take(std::size_t id, Ready ready) {
  Node& n = nodes_[id];
  if (on_ready) on_ready(id, ready);
  if (!ready.records.empty()) {
    if (ready.group != ++n.groups_written) violation("group numbers are not dense");
    for (const Record& record : ready.records) {
      if (const auto* vote = std::get_if<VoteRecord>(&record)) {
        auto [at, fresh] = proposed_.try_emplace({vote->slot, vote->ballot}, vote->decree);
        if (!fresh && at->second != vote->decree)
          violation("two decrees in slot " + std::to_string(vote->slot.n) + " at ballot " +
                    to_string(vote->ballot));
      }
    }
    n.unsynced.push_back({ready.group, std::move(ready.records), {}, now_});
  }
  if (ready.group != n.groups_written) violation("a Ready without records names another group");
  release(id, ready.send_now, false);
  if (n.unsynced.empty())
    release(id, ready.send_after_sync, true);
  else
    for (Envelope& envelope : ready.send_after_sync) n.unsynced.back().after.push_back(std::move(envelope));
  for (const ReadIndex& index : ready.reads) n.reads.push_back(index);
  for (std::uint64_t failed : ready.reads_failed) n.reads_failed.push_back(failed);
  for (Bytes& bytes : ready.forwarded) n.forwarded.push_back(std::move(bytes));
  for (paxos::Event& event : ready.events) n.events.push_back(std::move(event.text));
  apply(id, ready.to_apply);
  for (const LogReadWish& wish : ready.log_reads) {
    std::vector<ChosenDecree> decrees;
    std::size_t bytes = 0;
    for (Slot slot = wish.from; slot <= wish.last; ++slot) {
      const auto entry = n.disk.entries.find(slot);
      if (entry == n.disk.entries.end()) break;
      bytes += entry->second.decree.value.size();
      if (!decrees.empty() && bytes > limits::page_bytes_max) break;
      decrees.push_back({slot, entry->second.ballot, entry->second.decree});
    }
    n.replica->log_read(time(id), wish, std::move(decrees));
  }
  if (setup_.auto_sync && !n.disk_hangs) sync(id);
}

void Cluster::apply(std::size_t id, const std::vector<ChosenDecree>& decrees) {
  Node& n = nodes_[id];
  for (const ChosenDecree& chosen : decrees) {
    if (chosen.slot.n != n.applied.size() + 1) violation("I5: a hole in the applied prefix");
    auto [at, fresh] = truth_.try_emplace(chosen.slot, chosen.decree);
    if (!fresh && at->second != chosen.decree)
      violation("I1: slot " + std::to_string(chosen.slot.n) + " was applied with two decrees");
    if (!n.disk.entries.contains(chosen.slot))
      violation("slot " + std::to_string(chosen.slot.n) + " was applied before its record was synced");
    n.applied.push_back(chosen);
    n.hashes.push_back(chain(n.hashes.empty() ? Hash{} : n.hashes.back(), chosen, n.corrupt));
    if (!n.corrupt) {
      auto [known, first] = truth_hash_.try_emplace(chosen.slot, n.hashes.back());
      if (!first && known->second != n.hashes.back()) violation("I7: equal slots, different hashes");
    }
    std::uint32_t number = 1;  // of which the slot is
    for (const Configuration& c : configurations_)
      if (c.begins <= chosen.slot) number = c.number;
    if (auto next = configuration_after(number, chosen.slot, chosen.decree)) configured(std::move(*next));
    n.replica->applied(time(id), chosen.slot, n.hashes.back());
  }
}

void Cluster::release(std::size_t id, const std::vector<Envelope>& envelopes, bool synced) {
  for (const Envelope& envelope : envelopes) {
    check_leaving(id, envelope.message, synced);
    if (envelope.to) {
      post(id, envelope.to->n, envelope.message);
      continue;
    }
    for (std::size_t peer = 0; peer < size(); ++peer)
      if (peer != id) post(id, peer, envelope.message);
  }
}

void Cluster::check_leaving(std::size_t id, const PeerMessage& message, bool synced) {
  const Node& n = nodes_[id];
  const auto on_disk = [&](Ballot ballot, const char* what) {
    if (!synced || n.disk.promised < ballot)
      violation(std::string("I9: ") + what + " of replica " + std::to_string(id) + " left before its sync");
  };
  // A further page is asked for at once: the first Prepare of the ballot left after the sync.
  if (const auto* prepare = std::get_if<Prepare>(&message); prepare && n.disk.promised < prepare->ballot)
    violation("I9: a Prepare of replica " + std::to_string(id) + " left before its sync");
  if (const auto* promise = std::get_if<Promise>(&message)) {
    on_disk(promise->ballot, "a Promise");
    for (const PromiseEntry& entry : promise->entries)
      if (!n.disk.entries.contains(entry.slot)) violation("I9: a Promise tells of a vote that is not synced");
  }
  if (const auto* accepted = std::get_if<Accepted>(&message)) {
    on_disk(accepted->ballot, "an Accepted");
    for (const SlotRange& range : accepted->slots)
      for (Slot slot = range.first; slot <= range.last; ++slot)
        if (!n.disk.entries.contains(slot)) violation("I9: an Accepted left before its vote was synced");
  }
}

// --- disk ---

void Cluster::write(Node& n, const Record& record) {
  if (const auto* promise = std::get_if<PromiseRecord>(&record)) {
    if (promise->ballot < n.disk.promised) violation("I6: a lower promise was written");
    n.disk.promised = std::max(n.disk.promised, promise->ballot);
  } else if (const auto* vote = std::get_if<VoteRecord>(&record)) {
    if (vote->ballot < n.disk.promised) violation("P1a: a vote below the promise was written");
    n.disk.promised = std::max(n.disk.promised, vote->ballot);
    n.disk.entries[vote->slot] = {vote->slot, vote->ballot, false, vote->decree};
  } else if (const auto* chosen = std::get_if<ChosenRecord>(&record)) {
    n.disk.entries[chosen->slot] = {chosen->slot, chosen->ballot, true, chosen->decree};
  } else if (const auto* prefix = std::get_if<ChosenPrefixRecord>(&record)) {
    n.disk.chosen_prefix = std::max(n.disk.chosen_prefix, prefix->slot);
  } else if (const auto* trim = std::get_if<TrimRecord>(&record)) {
    if (trim->first.n > n.state_durable) violation("a slot is trimmed whose state is not on the disk");
    n.disk.first = trim->first;
    n.disk.entries.erase(n.disk.entries.begin(), n.disk.entries.lower_bound(trim->first));
  } else if (const auto* birth = std::get_if<BirthRecord>(&record)) {
    n.disk.birth = *birth;
  }
}

void Cluster::vote_durable(std::size_t id, const VoteRecord& vote) {
  const std::uint32_t number = vote.ballot.configuration;
  if (number > configurations_.size()) return violation("a vote in a configuration that nobody decided");
  const Configuration& of = configurations_[number - 1];
  const ReplicaId self{static_cast<std::uint8_t>(id)};
  if (!of.voter(self, nodes_[id].disk.incarnation))
    violation("replica " + std::to_string(id) + " votes in configuration " + std::to_string(number) +
              " and is no voter of it");
  if (vote.slot < of.begins)
    violation("a vote of configuration " + std::to_string(number) + " in a slot of an earlier one");
  ReplicaSet& voters = votes_[{vote.slot, vote.ballot}];
  voters.insert(self);
  if (!of.is_quorum(voters)) return;
  chosen_under_[vote.slot] = number;
  if (number < configurations_.size() && vote.slot >= configurations_[number].begins)
    violation("slot " + std::to_string(vote.slot.n) + " was chosen in configuration " +
              std::to_string(number) + ", which ended below it");
  // Chosen, whether anybody knows it or not.
  auto [at, fresh] = truth_.try_emplace(vote.slot, vote.decree);
  if (!fresh && at->second != vote.decree)
    violation("I1: slot " + std::to_string(vote.slot.n) + " was chosen with two decrees");
}

void Cluster::sync(std::size_t id, std::size_t count) {
  Node& n = nodes_[id];
  while (count-- > 0 && !n.unsynced.empty() && n.replica) {
    Group group = std::move(n.unsynced.front());
    n.unsynced.pop_front();
    for (const Record& record : group.records) {
      write(n, record);
      if (const auto* vote = std::get_if<VoteRecord>(&record)) vote_durable(id, *vote);
    }
    n.disk.group = group.number;
    release(id, group.after, true);
    n.replica->synced(time(id), group.number);
    after(id);
  }
}

void Cluster::crash(std::size_t id) {
  Node& n = nodes_[id];
  n.replica.reset();
  n.unsynced.clear();
  n.disk_hangs = false;
}

void Cluster::restart(std::size_t id) {
  crash(id);
  start(id);
}

void Cluster::wipe(std::size_t id) {
  crash(id);
  Node& n = nodes_[id];
  const auto life = static_cast<unsigned>(n.disk.incarnation.bytes[1] + 1);
  n.disk = Disk{};
  n.disk.incarnation = incarnation(id, life);
  n.state_durable = 0;
  start(id);
}

// --- network ---

void Cluster::post(std::size_t from, std::size_t to, const PeerMessage& message) {
  if (cut_[from][to] || !up(to)) return;
  Letter letter{.from = ReplicaId{static_cast<std::uint8_t>(from)},
                .to = ReplicaId{static_cast<std::uint8_t>(to)},
                .incarnation = nodes_[from].disk.incarnation,
                .to_boot = nodes_[to].boot,
                .due = now_,
                .message = message};
  if (on_post && on_post(letter)) return;
  const auto spread = static_cast<std::uint64_t>((setup_.latency_max - setup_.latency_min).count());
  const auto late = [&] {
    return now_ + setup_.latency_min + Duration{static_cast<std::int64_t>(random_.below(spread + 1))};
  };
  if (setup_.loss_percent > 0 && random_.below(100) < setup_.loss_percent) return;
  letter.due = late();
  if (setup_.duplicate_percent > 0 && random_.below(100) < setup_.duplicate_percent) {
    bag_.push_back(letter);
    bag_.back().due = late() + std::chrono::milliseconds{random_.below(30)};
  }
  bag_.push_back(std::move(letter));
}

void Cluster::deliver(Letter letter) {
  const std::size_t id = letter.to.n;
  if (!up(id) || letter.to_boot != nodes_[id].boot) return;
  if (on_deliver) on_deliver(letter);
  (*this)[id].step(time(id), letter.from, letter.incarnation, letter.message);
  after(id);
}

std::vector<Letter> Cluster::take_if(const Which& which) {
  std::vector<Letter> taken;
  std::vector<Letter> kept;
  for (Letter& letter : bag_) (which(letter) ? taken : kept).push_back(std::move(letter));
  bag_ = std::move(kept);
  return taken;
}

std::size_t Cluster::deliver_if(const Which& which) {
  std::vector<Letter> letters = take_if(which);
  const std::size_t count = letters.size();
  for (Letter& letter : letters) deliver(std::move(letter));
  return count;
}

std::size_t Cluster::drop_if(const Which& which) { return take_if(which).size(); }

std::size_t Cluster::count_if(const Which& which) const {
  return static_cast<std::size_t>(std::count_if(bag_.begin(), bag_.end(), which));
}

void Cluster::settle() {
  for (std::size_t i = 0; i < 100000; ++i) {
    if (bag_.empty()) return;
    Letter letter = std::move(bag_.front());
    bag_.erase(bag_.begin());
    deliver(std::move(letter));
  }
  ADD_FAILURE() << "the replicas never stop talking";
}

void Cluster::cut(std::size_t from, std::size_t to) {
  cut_[from][to] = true;
  drop_if([&](const Letter& l) { return l.from.n == from && l.to.n == to; });
}
void Cluster::cut_both(std::size_t a, std::size_t b) {
  cut(a, b);
  cut(b, a);
}
void Cluster::join(std::size_t from, std::size_t to) { cut_[from][to] = false; }
void Cluster::join_both(std::size_t a, std::size_t b) {
  join(a, b);
  join(b, a);
}
void Cluster::isolate(std::size_t id) {
  for (std::size_t peer = 0; peer < size(); ++peer)
    if (peer != id) cut_both(id, peer);
}
void Cluster::heal() {
  for (auto& row : cut_) std::fill(row.begin(), row.end(), false);
}
void Cluster::only_links(const std::vector<std::pair<std::size_t, std::size_t>>& links) {
  for (std::size_t id = 0; id < size(); ++id) isolate(id);
  for (const auto& [a, b] : links) join_both(a, b);
}

// --- time ---

void Cluster::run_for(Duration d) {
  const Time end = now_ + d;
  for (;;) {
    Time next = end;
    std::size_t who = SIZE_MAX;  // ticks
    std::size_t letter = SIZE_MAX;
    std::size_t disk = SIZE_MAX;
    for (std::size_t id = 0; id < size(); ++id) {
      if (!up(id)) continue;
      const Node& n = nodes_[id];
      if (const Time at = std::max(now_, n.replica->deadline() - n.clock_ahead);
          at < next && !n.clock_stands_at) {
        next = at;
        who = id;
      }
      if (n.unsynced.empty() || n.disk_hangs) continue;
      if (const Time at = std::max(now_, n.unsynced.front().since + setup_.disk_delay); at < next) {
        next = at;
        who = SIZE_MAX;
        disk = id;
      }
    }
    for (std::size_t i = 0; i < bag_.size(); ++i) {
      if (const Time at = std::max(now_, bag_[i].due); at < next) {
        next = at;
        letter = i;
      }
    }
    if (next >= end) break;
    now_ = next;
    if (letter != SIZE_MAX) {
      Letter chosen = std::move(bag_[letter]);
      bag_[letter] = std::move(bag_.back());
      bag_.pop_back();
      deliver(std::move(chosen));
    } else if (who != SIZE_MAX) {
      tick(who);
      // A deadline that stays in the past would spin: time passes for whoever can't make progress.
      if (up(who) && (*this)[who].deadline() <= time(who)) now_ += std::chrono::microseconds{10};
    } else if (disk != SIZE_MAX) {
      sync(disk, 1);
    }
  }
  now_ = end;
}

bool Cluster::run_until(const std::function<bool()>& condition, Duration at_most) {
  const Time end = now_ + at_most;
  while (!condition()) {
    if (now_ >= end) return false;
    run_for(std::chrono::milliseconds{1});
  }
  return true;
}

void Cluster::connect() {
  tick_all();
  settle();
}

void Cluster::elect(std::size_t id) {
  now_ += setup_.heartbeat;  // heartbeats are due for everybody
  connect();
  campaign(id);
  settle();
  ASSERT_TRUE((*this)[id].is_leader()) << "replica " << id << " was not elected";
  now_ += setup_.heartbeat;
  connect();  // it says that it is happy
}

std::optional<std::size_t> Cluster::leader() const {
  std::optional<std::size_t> best;
  for (std::size_t id = 0; id < size(); ++id) {
    if (!up(id) || !nodes_[id].replica->is_leader()) continue;
    if (!best || status(id).ballot > status(*best).ballot) best = id;
  }
  return best;
}

std::string Cluster::text(std::size_t id, std::uint64_t slot) const {
  const Node& n = nodes_[id];
  if (slot == 0 || slot > n.applied.size()) return "(not applied)";
  const Decree& decree = n.applied[slot - 1].decree;
  return decree.kind == DecreeKind::noop ? "(no-op)" : std::string(decree.value.view());
}

Slot Cluster::applied_anywhere() const {
  Slot out;
  for (const Node& n : nodes_) out = std::max(out, Slot{n.applied.size()});
  return out;
}

}  // namespace paxos_test
