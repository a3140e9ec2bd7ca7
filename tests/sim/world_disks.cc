#include <algorithm>

#include "tests/sim/world.h"

/// Disks that fill up, and have room again: storage notices it before a write fails (storage/room_gauge.h).
namespace sim {

using namespace fault_end;

void draw_filling_disks(Scenario& s) {
  Random r(s.seed ^ 0x6675'6c6c'6469'736bULL);
  if (!r.chance(250'000)) return;
  s.faults.push_back(Fault::fill);
  const Nanos every = r.between(1, 6) * second;
  for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length; at += r.between(0, 2 * every))
    s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                          .at = at,
                          .kind = Fault::fill,
                          .seed = r.next()});
  order_schedule(s);
}

/// One, a minority, or so many that nothing can be decided.
void World::fill_disks(Random& random, Nanos length) {
  const std::size_t quorum = scenario_.replicas / 2 + 1;
  const std::uint64_t share = random.below(4);
  const std::size_t least = scenario_.replicas - quorum + 1;  // that leave no quorum
  const std::size_t count = share == 0   ? 1
                            : share == 1 ? 1 + random.below(std::max<std::size_t>(least, 2) - 1)
                                         : least + random.below(scenario_.replicas - least + 1);
  std::vector<std::uint8_t> order;
  for (const Host& host : hosts_) order.push_back(host.id);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (std::size_t i = 0; i < std::min(count, order.size()); ++i) {
    Host& host = hosts_[order[i]];
    ++host.filled;
    set_room(host, random.below(4) == 0 ? paxos::DiskRoom::none : paxos::DiskRoom::reserve);
    until_later(empty, host.id, 0, random.between(length / 2, length));
  }
}

void World::fill_all_but(std::size_t others) {
  for (Host& host : hosts_) {
    if (host.id < others) continue;
    ++host.filled;
    set_room(host, paxos::DiskRoom::reserve);
  }
}

void World::set_room(Host& host, paxos::DiskRoom room) {
  if (host.room == room) return;
  host.room = room;
  host.room_known = false;
  if (saying()) say("the disk of replica " + std::to_string(host.id) + " has room: " + to_string(room));
  if (!host.node) return;
  host.node->set_room(local(host), room);
  // By an event, since the process may be paused.
  queue_.push(now_, {.kind = EventKind::node_turn, .to = host.id, .a = host.life});
}

void World::empty_disk(Host& host) {
  host.filled = 0;
  set_room(host, paxos::DiskRoom::enough);
}

void World::empty_disks() {
  for (Host& host : hosts_) empty_disk(host);
}

/// From the end of the turn in which it is told on: what was under way in that one may still be there.
void World::within_room(Host& host, const chat::NodeOutput& out) {
  if (host.room == paxos::DiskRoom::enough) return;
  const std::uint64_t proposed = host.node->figures().proposed;
  if (std::exchange(host.room_known, true)) {
    const std::string who = "I12: replica " + std::to_string(host.id) + ", whose disk is full, ";
    if (proposed != host.proposed_before) throw Violation(who + "proposes commands");
    if (host.room == paxos::DiskRoom::none)
      for (const chat::GroupWrite& group : out.groups)
        for (const paxos::Record& record : group.records) {
          const auto* chosen = std::get_if<paxos::ChosenRecord>(&record);
          // (One that was applied is written again without a text that was redacted.)
          if (std::holds_alternative<paxos::VoteRecord>(record) ||
              (chosen != nullptr && chosen->slot > host.node->machine().applied()))
            throw Violation(who + "and its reserve used up, writes a decree");
        }
  }
  host.proposed_before = proposed;
}

// --- reading, where nothing can be written ---

void World::start_read_probe() {
  read_by_ = 0;
  reading_ = true;
  told_full_ = false;
  ask_read_probe();
}

bool World::reads_answered() const { return read_by_ == (1U << scenario_.replicas) - 1; }

void World::ask_read_probe() {
  if (!reading_ || reads_answered()) return;
  for (std::uint8_t to = 0; to < scenario_.replicas; ++to) {
    if ((read_by_ >> to & 1) != 0) continue;
    to_replica(
        static_cast<std::uint32_t>(probe_client), 0, to,
        std::make_shared<const chat::ClientMessage>(chat::HistoryRequest{.id = 1ULL + to,
                                                                         .room = Observer::room_name(0),
                                                                         .from = 1,
                                                                         .last = 1,
                                                                         .limit = 0,
                                                                         .local = false}));
  }
  queue_.push(now_ + 20 * millisecond, {.kind = EventKind::client_tick, .a = probe_client, .b = 1});
}

void World::on_probe_reply(std::uint8_t from, const chat::ClientReply& message) {
  if (const auto* waiting = std::get_if<chat::Waiting>(&message))
    told_full_ = told_full_ || waiting->reason == chat::WaitReason::disks_full;
  const auto* history = std::get_if<chat::HistoryReply>(&message);
  if (history != nullptr && history->refused.empty() && history->id == 1U + from) read_by_ |= 1U << from;
}

}  // namespace sim
