#include <algorithm>

#include "tests/sim/world.h"

/// What goes wrong, and how it ends. Every fault that lasts ends by an event of the same era; stop_faults()
/// and the healing begin a new era, in which earlier ends mean nothing.
namespace sim {

using namespace fault_end;

namespace {

using Links = std::vector<std::pair<std::uint8_t, std::uint8_t>>;
struct Flapping {
  std::uint8_t a = 0;
  std::uint8_t b = 0;
  bool down = false;
  unsigned left = 0;
  Nanos every = 0;
  Random random{0};
};

}  // namespace

void World::until_later(std::uint64_t what, std::uint8_t a, std::uint64_t, Nanos length) {
  queue_.push(now_ + length,
              {.kind = EventKind::fault_end, .to = a, .from = static_cast<std::uint8_t>(what), .b = era_});
}

void World::cut(std::uint8_t from, std::uint8_t to, int by) { cuts_[from][to] += by; }

void World::next_fault(std::size_t index) {
  if (!faults_on_) return;
  inject(scenario_.schedule[index]);
  if (index + 1 < scenario_.schedule.size())
    queue_.push(scenario_.schedule[index + 1].at, {.kind = EventKind::fault, .a = index + 1});
}

/// For tests of the minimiser: a failure that needs certain faults and nothing else.
void World::pretend(Fault fault) {
  const auto awaited = std::find(pretend_.begin(), pretend_.end(), fault);
  if (awaited == pretend_.end()) return;
  pretend_.erase(awaited);
  if (pretend_.empty())
    throw Violation("I0: pretended, the last of the faults was: " + std::string(to_string(fault)));
}

void World::cut_links(Links links, Nanos length) {
  for (auto [from, to] : links) cut(from, to, 1);
  queue_.push(now_ + length, {.kind = EventKind::fault_end,
                              .from = uncut,
                              .b = era_,
                              .payload = std::make_shared<const Links>(std::move(links))});
}

void World::inject(const PlannedFault& planned) {
  const Fault fault = planned.kind;
  Random random(planned.seed);
  Host& host = hosts_[any_replica(random)];
  const std::string who = "replica " + std::to_string(host.id);
  const Nanos length = random.between(millisecond, scenario_.fault_length_max);
  ++faults_injected_;
  if (saying()) say("fault " + std::to_string(planned.number) + ": " + to_string(fault) + " (" + who + ")");
  if (!pretend_.empty()) pretend(fault);
  const auto cut_for = [&](Links links) { cut_links(std::move(links), length); };
  switch (fault) {
    case Fault::crash:
      crash(host, "killed");
      restart_later(host, length);
      return;
    case Fault::crash_at_effect:
      host.effects_left = random.between(0, 30);
      return;
    case Fault::crash_all:
      for (Host& each : hosts_) {
        const bool ran = each.node != nullptr;
        crash(each, "power cut");
        if (ran && scenario_.real_rows) each.disk.lose_mark(random);
        restart_later(each, random.between(millisecond, scenario_.fault_length_max));
      }
      return;
    case Fault::fail_sync:
      host.fail_sync = true;
      return;
    case Fault::slow_disk:
      ++host.slow;
      until_later(unslow, host.id, 0, length);
      return;
    case Fault::hang_disk:
      ++host.hung;
      until_later(unhang, host.id, 0, length);
      return;
    case Fault::pause:
      ++host.paused;
      until_later(unpause, host.id, 0, length);
      return;
    case Fault::cut_one_way:
      cut_for({{host.id, any_replica(random)}});
      return;
    case Fault::partition: {
      Links links;
      const std::uint64_t shape = random.below(4);
      const std::uint64_t side = random.next();
      const std::uint8_t bridge = any_replica(random);
      for (std::uint8_t a = 0; a < scenario_.replicas; ++a)
        for (std::uint8_t b = 0; b < scenario_.replicas; ++b) {
          if (a == b) continue;
          bool gone = false;
          if (shape == 0) gone = (a == host.id) != (b == host.id);    // one alone
          if (shape == 1) gone = (side >> a & 1) != (side >> b & 1);  // two sides
          if (shape == 2) gone = a != bridge && b != bridge;          // only one hears all
          if (shape == 3) gone = (a > b ? a - b : b - a) != 1;        // a chain
          if (gone) links.emplace_back(a, b);
        }
      cut_for(std::move(links));
      return;
    }
    case Fault::flap: {
      auto flapping =
          std::make_shared<Flapping>(Flapping{.a = host.id,
                                              .b = any_replica(random),
                                              .down = false,
                                              .left = static_cast<unsigned>(random.between(2, 30)),
                                              .every = random.between(5, 300) * millisecond,
                                              .random = random.fork()});
      queue_.push(now_, {.kind = EventKind::fault_end, .from = flap, .b = era_, .payload = flapping});
      return;
    }
    case Fault::loss_burst:
      burst_ppm_ = static_cast<std::uint32_t>(random.between(100'000, 1'000'000));
      until_later(unburst, 0, 0, length / 4);
      return;
    case Fault::replay:
      for (unsigned i = 0; i < 20 && !old_packets_.empty(); ++i) {
        Event old = old_packets_[random.below(old_packets_.size())];
        // A recorded one may be sent to anybody.
        if (old.kind == EventKind::datagram && random.below(4) == 0) old.to = any_replica(random);
        queue_.push(now_ + random.between(0, length), std::move(old));
      }
      replay_recordings(random);
      return;
    case Fault::wall_clock:
      host.wall_offset_ms = random.between(-scenario_.wall_jump_ms_max, scenario_.wall_jump_ms_max);
      return;
    case Fault::client_crash: {
      Client& client = clients_[random.below(clients_.size())];
      if (!client.outbox) return;
      if (random.below(2) == 0)
        client.steps_left = static_cast<std::int64_t>(random.below(5));
      else
        client_dies(client, length);
      return;
    }
    case Fault::skip:
      if (now_ > scenario_.skips_until) return;
      for (Host& each : hosts_) {
        if (!each.node || each.paused != 0 || !each.node->is_leader()) continue;
        const std::size_t count = 1 + random.below(4);
        if (random.below(2) == 0) {
          conduct_.skips(each.id, *each.node, each.node->skip_next(local(each), count));
        } else {
          std::vector<paxos::Slot> slots;
          const paxos::Slot base = each.node->status().accepted;
          for (std::size_t i = 0; i < count; ++i) slots.push_back(base + (1 + random.below(12)));
          conduct_.skips(each.id, *each.node, each.node->skip(local(each), std::move(slots)));
        }
        turn(each);
        until_later(remedy, each.id, 0, length / 2);
        return;
      }
      return;
    case Fault::hand_over:
      for (Host& each : hosts_)
        if (each.node && each.paused == 0 && each.node->hand_over(local(each))) turn(each);
      return;
    case Fault::campaign:
      if (!host.node || host.paused != 0) return;
      host.node->campaign(local(host));
      turn(host);
      return;
    case Fault::wipe: {
      // The original is kept aside: without it a minority can vanish for good, which only operators mend.
      if (host.shelf || host.lost || host.disk.damaged() || !born(host.id) ||
          unfit() + 1 > (scenario_.replicas - 1) / 2)
        return;
      crash(host, "its directory is emptied");
      host.shelf = std::move(host.disk);
      host.disk = Disk{};
      host.snapshots = {};
      host.disk.boot = 0;
      for (auto& byte : host.disk.incarnation.bytes) byte = static_cast<std::uint8_t>(random.next());
      host.disk.incarnation.bytes[0] |= 1;
      observer_.directory_wiped(host.id);
      restart_later(host, length / 4);
      until_later(restore, host.id, 0, 4 * length);
      return;
    }
    case Fault::rot: {
      if (!scenario_.real_rows || host.shelf || host.lost || host.disk.damaged() || !born(host.id) ||
          unfit() + 1 > (scenario_.replicas - 1) / 2)
        return;
      crash(host, "killed");
      const std::string what = host.disk.rot(random);
      if (saying()) say(who + "'s disk rots: " + (what.empty() ? "where nothing stands" : what));
      restart_later(host, length / 4);
      until_later(mend, host.id, 0, 4 * length);
      return;
    }
    case Fault::upgrade:
      change_program(random, length);
      return;
    case Fault::clock_stall:
      stall_clock(host);
      host.clock_catches_up = random.below(2) == 0;
      until_later(unstall, host.id, 0, length);
      return;
    case Fault::hold_applying:
      if (host.held++ == 0) {
        host.held_hangs = random.below(2) == 0;
        hold_applying(host);
      }
      until_later(release, host.id, 0, length);
      return;
    case Fault::full_disk:
      ++host.full;
      until_later(make_room, host.id, 0, length);
      return;
    case Fault::fill:
      fill_disks(random, length);
      return;
    case Fault::lag:
      lag(host, random, length);
      return;
    case Fault::misapply:
      misapply(host, random, length);
      return;
    case Fault::client_cut:
      cut_client(random, length);
      return;
    case Fault::share_session:
      share_session(random);
      return;
    case Fault::roll_back:
      roll_back(host, length);
      return;
    case Fault::lose:
      lose_directory(host, random, length);
      return;
    case Fault::clock_jump:
      // By as much as a machine sleeps, or by days.
      host.clock_base +=
          random.below(4) == 0 ? random.between(0, 100 * 3600) * second : random.between(0, length);
      if (host.stalled == 0) wake_by_clock(host);
      return;
  }
}

/// As Host::hold_while_behind() does it, for rows that the state's disk does not take.
void World::hold_applying(Host& host) {
  host.held_since = local(host);
  if (!host.node) return;
  host.node->hold_applying(local(host), true);
}

void World::apply_again(Host& host) {
  if (std::exchange(host.held, 0U) == 0 || !host.node) return;
  host.node->hold_applying(local(host), false);
  // By an event, since the process may be paused.
  queue_.push(now_, {.kind = EventKind::node_turn, .to = host.id, .a = host.life});
}

std::size_t World::unfit() const {
  return static_cast<std::size_t>(std::count_if(hosts_.begin(), hosts_.end(), [](const Host& host) {
    return host.shelf || host.lost || host.disk.damaged() || host.misapplies;
  }));
}

void World::unwipe(Host& host) {
  if (!host.shelf) return;
  crash(host, "its directory is put back");
  host.disk = std::move(*host.shelf);
  host.snapshots = {};
  host.shelf.reset();
  host.old_copy = false;
  observer_.directory_restored(host.id, host.disk);
  restart_later(host, millisecond);
}

/// What it waits for is due at another time than it was.
void World::wake_by_clock(Host& host) {
  host.tick_at = never;
  host.transport_at = never;
  if (!host.node) return;
  schedule_tick(host);
  if (!host.transport) return;
  // By an event, since the process may be paused.
  host.transport_at = now_;
  queue_.push(now_, {.kind = EventKind::datagram_tick, .to = host.id, .a = host.life});
}

void World::stall_clock(Host& host) {
  if (host.stalled == 0) {
    host.clock_base = local(host).time_since_epoch().count();
    host.clock_at = now_;
  }
  ++host.stalled;
}

void World::resume_clock(Host& host) {
  if (host.stalled == 0) return;
  host.stalled = 0;
  if (host.clock_catches_up) host.clock_base += now_ - host.clock_at;
  host.clock_at = now_;
  host.stall_ended = now_;
  wake_by_clock(host);
}

void World::end_fault(const Event& event) {
  if (event.b != era_) return;
  Host& host = hosts_[event.to];
  switch (event.from) {
    case unpause:
      if (host.paused == 0 || --host.paused != 0) return;
      for (auto backlog = std::exchange(host.backlog, {}); !backlog.empty(); backlog.pop_front())
        queue_.push(now_, std::move(backlog.front()));
      return;
    case unslow:
      if (host.slow != 0) --host.slow;
      return;
    case unhang:
      if (host.hung > 1)
        --host.hung;
      else
        disk_goes_on(host);
      return;
    case unstall:
      if (host.stalled > 1)
        --host.stalled;
      else
        resume_clock(host);
      return;
    case release:
      if (host.held > 1)
        --host.held;
      else
        apply_again(host);
      return;
    case make_room:
      if (host.full != 0) --host.full;
      return;
    case empty:
      if (host.filled > 1)
        --host.filled;
      else
        empty_disk(host);
      return;
    case deafen:
    case candidate:
      end_of_lag(host, event.from == candidate);
      return;
    case sound:
      end_misapplying(host);
      return;
    case uncut_client: {
      Client& client = clients_[event.to];
      if (client.cut == event.a) client.cut_to = client.cut_from = 0;
      return;
    }
    case uncut:
      for (auto [from, to] : *static_cast<const Links*>(event.payload.get())) cut(from, to, -1);
      return;
    case flap: {
      auto flapping = *static_cast<const Flapping*>(event.payload.get());
      const int by = flapping.down ? -1 : 1;
      cut(flapping.a, flapping.b, by);
      cut(flapping.b, flapping.a, by);
      flapping.down = !flapping.down;
      if (flapping.left > 0) --flapping.left;
      if (flapping.left == 0 && !flapping.down) return;
      Event next = event;
      const Nanos wait = flapping.random.between(0, flapping.every);
      next.payload = std::make_shared<const Flapping>(flapping);
      queue_.push(now_ + wait, std::move(next));
      return;
    }
    case unburst:
      burst_ppm_ = 0;
      return;
    case restore:
      unwipe(host);
      return;
    case operate:
      replace_directory(host);
      return;
    case mend:
      // Put back from before the damage, while it was down.
      if (!host.disk.damaged()) return;
      crash(host, "its disk is mended");
      host.disk.repair();
      restart_later(host, millisecond);
      return;
    case remedy:
      // What the operator does about the slots that were left empty: another leader.
      if (!host.node || host.paused != 0 || !host.node->status().hole) {
        // Where everything is slow, a slot that was skipped shows late.
        if (!faults_on_) until_later(remedy, host.id, 0, second);
        return;
      }
      if (faults_on_ && random_.below(2) == 0) {
        crash(host, "killed to fill the skipped slots");
        restart_later(host, random_.between(millisecond, scenario_.fault_length_max));
        return;
      }
      // Where nobody can take over, another ballot of its own fills them too.
      if (!host.node->hand_over(local(host)) && !faults_on_) host.node->campaign(local(host));
      turn(host);
      until_later(remedy, host.id, 0, random_.between(10, faults_on_ ? 500 : 50) * millisecond);
      return;
    default:
      return;
  }
}

// --- the end of faults ---

void World::stop_faults() {
  faults_on_ = false;
  ++era_;
  burst_ppm_ = 0;
  for (Host& host : hosts_) {
    host.effects_left = -1;
    host.fail_sync = false;
    if (!host.held_hangs) apply_again(host);  // a disk that is only slow gets there
    host.narrow_until = 0;
  }
  for (Client& client : clients_) client.cut_to = client.cut_from = 0;
}

void World::set_links(const std::array<std::uint32_t, replicas_max>& neighbours) {
  for (std::uint8_t a = 0; a < scenario_.replicas; ++a)
    for (std::uint8_t b = 0; b < scenario_.replicas; ++b)
      cuts_[a][b] = a == b || (neighbours[a] >> b & 1) != 0 ? 0 : 1;
}

void World::disk_goes_on(Host& host) {
  if (std::exchange(host.hung, 0U) != 0 && host.sync_held)
    queue_.push(now_, {.kind = EventKind::sync_done, .to = host.id, .a = host.life, .b = host.sync});
}

void World::end_disk_faults(Host& host) {
  host.slow = 0;
  host.full = 0;
  empty_disk(host);
  apply_again(host);
  disk_goes_on(host);
}

void World::heal_core() {
  stop_faults();
  finish_upgrades(false);
  // A centre and enough others for a quorum, of those that can still vote.
  std::vector<std::uint8_t> able;
  for (Host& host : hosts_)
    if (!host.shelf && !host.lost && !host.disk.damaged() && !host.misapplies) able.push_back(host.id);
  for (std::size_t i = able.size(); i > 1; --i) std::swap(able[i - 1], able[random_.below(i)]);
  const std::size_t quorum = scenario_.replicas / 2 + 1;
  const std::size_t core = quorum + random_.below(able.size() - quorum + 1);
  std::uint32_t members = 0;
  for (std::size_t i = 0; i < core; ++i) members |= 1U << able[i];
  const std::uint8_t centre = able[0];

  std::array<std::uint32_t, replicas_max> links{};
  const auto join = [&](std::uint8_t a, std::uint8_t b) {
    links[a] |= 1U << b;
    links[b] |= 1U << a;
  };
  for (std::uint8_t a = 0; a < scenario_.replicas; ++a)
    for (std::uint8_t b = 0; b < a; ++b)
      if ((a == centre && (members >> b & 1) != 0) || (b == centre && (members >> a & 1) != 0) ||
          random_.below(2) == 0)
        join(a, b);
  set_links(links);
  loss_ppm_ = scenario_.lossy_liveness ? std::min(scenario_.loss_ppm, 200'000U) : 0;
  std::string text;
  for (Host& host : hosts_) {
    const bool inside = (members >> host.id & 1) != 0;
    if (inside) text += " " + std::to_string(host.id);
    // Whose clock stands still can't say how old its syncs are; a sick disk besides would be one fault too
    // many.
    if (host.stalled != 0) end_disk_faults(host);
    if (!inside && host.node && host.node->is_leader() &&
        (scenario_.mixes(Fault::hang_disk) || scenario_.mixes(Fault::clock_stall))) {
      // For good, and it leads: the core has to see that.
      if (host.stalled != 0 || !scenario_.mixes(Fault::hang_disk)) {
        stall_clock(host);
        end_disk_faults(host);
      } else {
        host.hung = 1;
      }
      continue;
    }
    if (!inside && random_.below(2) == 0 && host.node && born(host.id)) {
      crash(host, "for good");
      host.gone = true;
      continue;
    }
    if (!inside && random_.below(2) == 0) {
      host.gone = !host.node;
      continue;  // stays as it is: paused, slow, hung, emptied
    }
    if (!inside && (host.shelf || host.lost || host.disk.damaged() || host.misapplies)) continue;
    const unsigned paused = std::exchange(host.paused, 0U);
    if (paused != 0)
      for (auto backlog = std::exchange(host.backlog, {}); !backlog.empty(); backlog.pop_front())
        queue_.push(now_, std::move(backlog.front()));
    end_disk_faults(host);
    resume_clock(host);
    if (!host.node) restart_later(host, 0);
  }
  for (Client& client : clients_)
    if (!client.outbox) {
      ++client.life;
      queue_.push(now_, {.kind = EventKind::client_resume, .a = client.id, .b = client.life});
    }
  if (saying()) say("healed: replica " + std::to_string(centre) + " in the middle of" + text);
  // Skipped slots wait for another leader: the operator's part.
  for (Host& host : hosts_) until_later(remedy, host.id, 0, 0);
}

void World::heal_all() {
  stop_faults();
  finish_upgrades(true);
  std::array<std::uint32_t, replicas_max> links{};
  links.fill(~0U);
  set_links(links);
  loss_ppm_ = 0;
  for (Host& host : hosts_) {
    host.gone = false;
    if (std::exchange(host.paused, 0U) != 0)
      for (auto backlog = std::exchange(host.backlog, {}); !backlog.empty(); backlog.pop_front())
        queue_.push(now_, std::move(backlog.front()));
    end_disk_faults(host);
    resume_clock(host);
    if (host.disk.damaged()) {
      crash(host, "its disk is mended");
      host.disk.repair();
    }
    if (host.misapplies) end_misapplying(host);
    if (host.shelf)
      unwipe(host);
    else if (!host.node)
      restart_later(host, 0);
  }
  for (Host& host : hosts_) {
    until_later(remedy, host.id, 0, 0);
    if (host.lost) until_later(operate, host.id, 0, 0);
  }
  if (saying()) say("everything is healed");
}

}  // namespace sim
