#include "tests/sim/world.h"

#include <algorithm>

#include "paxos/invariant.h"

namespace sim {

namespace {

constexpr std::size_t backlog_max = 2000;

}  // namespace

World::World(const Scenario& scenario, Timeline* timeline)
    : scenario_(scenario),
      random_(scenario.seed ^ 0x5eedULL ^ scenario.shake << 48),
      timeline_(timeline),
      observer_(scenario.replicas, scenario.clients, scenario.rooms,
                scenario.machine_bounds.rooms < scenario.rooms, scenario.machine_bounds.journal_slots),
      conduct_(scenario.replicas, scenario.bounds.window_slots),
      hosts_(scenario.replicas),
      clients_(scenario.clients),
      loss_ppm_(scenario.loss_ppm),
      pretend_(scenario.pretend) {
  if (scenario.upgrades)
    rules_ =
        std::make_unique<RulesWatch>(scenario.replicas, scenario.election_timeout, scenario.upgrades->from);
}

World::~World() = default;

void World::say(std::string line) {
  if (timeline_ != nullptr)
    timeline_->add({.at = now_, .topic = Topic::life, .slots = {}, .text = std::move(line)});
}

void World::begin() {
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    Host& host = hosts_[i];
    host.id = static_cast<std::uint8_t>(i);
    for (auto& byte : host.disk.incarnation.bytes) byte = static_cast<std::uint8_t>(random_.next());
    host.disk.incarnation.bytes[0] |= 1;
    if (scenario_.clock_drift_ppm != 0)
      host.clock_ppm =
          random_.between(-static_cast<std::int64_t>(scenario_.clock_drift_ppm), scenario_.clock_drift_ppm);
    queue_.push(random_.between(0, 20 * millisecond),
                {.kind = EventKind::restart, .to = host.id, .a = host.life});
  }
  if (scenario_.redact_every != 0) queue_.push(second, {.kind = EventKind::redact});
  if (scenario_.retain_every != 0) {
    retain_random_ = Random(scenario_.seed ^ 0x7265'7461'696e'3f3fULL);
    queue_.push(second, {.kind = EventKind::retain});
  }
  if (scenario_.upgrades)
    for (Host& host : hosts_) host.installed = scenario_.upgrades->from;
  if (scenario_.upgrades && scenario_.upgrades->mixed_birth)
    for (Host& host : hosts_)
      if (scenario_.upgrades->never != host.id && random_.below(2) == 0) ++host.installed;
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].id = static_cast<std::uint32_t>(i);
    clients_[i].random = random_.fork();
    start_client(clients_[i]);
    queue_.push(random_.between(0, second), {.kind = EventKind::client_post, .a = i});
    queue_.push(random_.between(0, 3 * second), {.kind = EventKind::client_read, .a = i});
    if (i < scenario_.followers)
      queue_.push(random_.between(0, second), {.kind = EventKind::client_read, .a = i, .b = 1});
  }
  if (!scenario_.schedule.empty()) queue_.push(scenario_.schedule.front().at, {.kind = EventKind::fault});
}

// --- time ---

paxos::Time World::local(const Host& host) const {
  if (host.stalled != 0) return paxos::Time{paxos::Duration{host.clock_base}};
  const Nanos passed = now_ - host.clock_at;
  return paxos::Time{paxos::Duration{host.clock_base + passed + passed / 1'000'000 * host.clock_ppm}};
}

/// The first moment at which local() is at or past `at`.
Nanos World::global(const Host& host, paxos::Time at) const {
  if (at == paxos::time_never) return never;
  if (host.stalled != 0) return at <= local(host) ? now_ + 1000 : never;  // resume_clock() asks again
  const Nanos wanted = at.time_since_epoch().count() - host.clock_base;
  if (host.clock_ppm == 0) return std::max(now_, host.clock_at + wanted);
  // local() steps by whole milliseconds' worth of drift: a little late is fine, early would spin.
  const Nanos divisor = 1'000'000 + host.clock_ppm;
  const Nanos passed =
      50'000 + (wanted >= 0 && wanted < never / 1'000'000
                    ? wanted * 1'000'000 / divisor
                    : static_cast<Nanos>(static_cast<__int128>(wanted) * 1'000'000 / divisor));
  return std::max(now_ + 1000, host.clock_at + passed);
}

void World::run(Nanos end) {
  while (queue_.next_at() <= end) step();
  now_ = end;
}

void World::step() {
  now_ = queue_.next_at();
  Event event = queue_.pop();
  ++events_;
  ++events_by_kind_[static_cast<std::size_t>(event.kind)];
  // The trace: what happened, to whom, when, in which order.
  trace_ = (trace_ ^ static_cast<std::uint64_t>(now_)) * 0x9e3779b97f4a7c15ULL;
  trace_ ^= trace_ >> 29 ^ static_cast<std::uint64_t>(event.kind) << 56 ^
            static_cast<std::uint64_t>(event.to) << 48 ^ event.a ^ event.b << 20;
  switch (event.kind) {
    case EventKind::peer_arrival:
    case EventKind::client_arrival:
    case EventKind::node_tick:
    case EventKind::node_turn:
    case EventKind::sync_done:
    case EventKind::state_flush:
    case EventKind::history_done:
    case EventKind::log_read_done:
    case EventKind::erase_plan:
    case EventKind::erasure:
    case EventKind::snapshot:
    case EventKind::datagram:
    case EventKind::datagram_tick: {
      Host& host = hosts_[event.to];
      if (host.paused != 0) {
        // A stopped process: what is for it waits in the kernel, as far as there is room.
        if (host.backlog.size() < backlog_max ||
            (event.kind != EventKind::peer_arrival && event.kind != EventKind::datagram))
          host.backlog.push_back(std::move(event));
        return;
      }
      on_host(host, event);
      return;
    }
    case EventKind::redact:
      redact();
      return;
    case EventKind::retain:
      retain();
      return;
    case EventKind::reply_arrival:
    case EventKind::client_tick:
    case EventKind::client_post:
    case EventKind::client_read:
    case EventKind::client_resume:
    case EventKind::client_datagram:
    case EventKind::client_datagram_tick:
      client_event(std::move(event));
      return;
    case EventKind::restart: {
      Host& host = hosts_[event.to];
      if (host.life == event.a && !host.gone) start(host);
      return;
    }
    case EventKind::resume:
      return;
    case EventKind::fault:
      next_fault(event.a);
      return;
    case EventKind::fault_end:
      end_fault(event);
      return;
  }
}

// --- a replica's life ---

void World::start(Host& host) {
  if (host.node) return;
  if (host.hung != 0 || host.full != 0) {
    // A start syncs boot + 1 first.
    restart_later(host, 50 * millisecond);
    return;
  }
  ++host.life;
  host.clock_base = random_.between(0, 1'000'000) * second;
  host.clock_at = now_;
  host.newest_boots = {};
  host.newest_boot = {};
  host.transport.reset();
  host.transport_at = never;
  host.transport_due = paxos::time_never;
  host.tick_at = never;
  host.turn_due = false;
  host.syncing = 0;
  host.synced = 0;
  host.sync_held = false;
  host.fail_sync = false;
  host.effects_left = -1;
  host.flushing = false;
  host.program = host.installed;
  host.own_life = host.life << 8 | (host.id + 1U);
  host.disk.state_written = host.disk.state_durable;
  std::erase_if(host.disk.own,
                [&](const auto& row) { return row.second.written_at > host.disk.state_durable; });
  for (auto& [room, swept] : host.disk.swept)
    while (!swept.empty() && swept.back().written_at > host.disk.state_durable) swept.pop_back();
  const VersionedRows::View all(observer_.rows(), host.disk.state_durable);
  const OwnRows rows(all, host.disk);
  auto machine = load(host, rows);
  const bool too_old = !machine && rules_ && rules_->unknown(host.program, host.disk.state_durable);
  if (!machine && !too_old)
    throw Violation("I5: replica " + std::to_string(host.id) + " cannot load its state: " + machine.error());
  const paxos::Options options{.self = {host.id},
                               .replicas = scenario_.replicas,
                               .heartbeat = paxos::Duration{scenario_.heartbeat},
                               .election_timeout = paxos::Duration{scenario_.election_timeout},
                               .rules = host.program,
                               .bounds = scenario_.bounds,
                               .seed = random_.next()};
  const auto mark = machine ? chat::AppliedMark{machine->applied(), machine->hash(), machine->rules()}
                            : *chat::read_applied(rows);
  const paxos::Slot applied = mark.slot;
  auto recovered = open(host, applied, mark.hash, machine ? std::optional(mark.rules) : std::nullopt);
  if (!recovered) return;
  if (!machine) {
    refused(host, machine.error());
    return;
  }
  if (rules_) rules_->starts(host.id, host.program, applied);
  host.led = true;  // what it finds is what it finds
  host.node = std::make_unique<chat::Node>(options, std::move(*recovered), std::move(*machine), local(host),
                                           scenario_.node_bounds);
  host.node->set_slack(local(host), scenario_.slack);
  host.misapplies_from = applied;
  host.unnoticed_until = never;
  observer_.started(host.id, host.disk, *host.node);
  conduct_.started(host.id, host.disk);
  if (saying())
    say("replica " + std::to_string(host.id) + " starts: boot " + std::to_string(host.disk.boot) +
        ", promise " + to_string(host.disk.promised) + ", state at slot " + std::to_string(applied.n) +
        ", log to slot " + std::to_string(host.disk.log.size()));
  start_snapshots(host);
  if (host.held != 0) hold_applying(host);
  host.room_known = false;
  if (host.room != paxos::DiskRoom::enough) host.node->set_room(local(host), host.room);
  turn(host);
}

/// What the replica starts with; nothing when its damaged disk refuses.
std::optional<paxos::Recovered> World::open(Host& host, paxos::Slot applied, const paxos::Hash& hash,
                                            std::optional<std::uint16_t> rules) {
  const std::string who = "replica " + std::to_string(host.id);
  const Disk::Formats formats{.known = chat::formats_of(host.program).log,
                              .in_force = rules ? chat::formats_of(*rules).log : storage::format_version,
                              .life = host.own_life};
  const bool unread = host.disk.format > formats.known;
  if (!scenario_.real_rows) {
    if (unread) {
      refused(host, "format version");
      return std::nullopt;
    }
    host.disk.begin_life(host.own_life);
    host.disk.format = std::max(host.disk.format, formats.in_force);
    return host.disk.recovered(applied, hash);
  }
  const bool damaged = host.disk.damaged();
  const std::uint64_t boot = host.disk.boot;
  auto opened = host.disk.open({host.id}, applied, hash, formats);
  if (opened && unread) throw Violation("U2: " + who + " opens a log whose format its program does not know");
  if (!opened) {
    if (!damaged && unread) {
      refused(host, opened.error());
      return std::nullopt;
    }
    if (!damaged) throw Violation("I2: " + who + " refuses a directory that is whole: " + opened.error());
    if (saying()) say(who + " refuses to start: " + opened.error());
    return std::nullopt;
  }
  // Damaged or not: what it starts with is what it synced.
  paxos::Recovered truth = host.disk.recovered(applied, hash);
  for (paxos::LogEntry& entry : opened->entries)
    entry.chosen = entry.chosen || entry.slot <= opened->chosen_prefix;
  const auto same = [&](const char* what, bool is) {
    if (!is)
      throw Violation("I6: " + who + " starts with another " + what + " than it had synced" +
                      (damaged ? ", from a damaged directory" : ""));
  };
  same("incarnation", opened->incarnation == truth.incarnation);
  same("boot", opened->boot == boot + 1);
  same("birth", opened->birth == truth.birth);
  same("descent", opened->lives == host.disk.lives);
  same("knowledge of its peers' lives", opened->peers == truth.peers && opened->outdated == truth.outdated);
  same("promise", opened->promised == truth.promised);
  same("last group", opened->last_group == truth.last_group);
  same("chosen prefix", opened->chosen_prefix == truth.chosen_prefix);
  same("log", opened->entries == truth.entries);
  same("first slot", opened->first_slot == truth.first_slot);
  return std::move(*opened);
}

void World::crash(Host& host, const char* why) {
  if (!host.node) return;
  count_bounds(host);
  host.node.reset();
  crash_snapshots(host);
  ++host.life;
  host.backlog.clear();
  // Of what was not synced, a prefix survives. It counts from now on: a start syncs what it finds.
  std::size_t survive = static_cast<std::size_t>(random_.below(host.disk.pending.size() + 1));
  if (random_.chance(300'000)) survive = 0;
  if (saying())
    say("replica " + std::to_string(host.id) + " dies (" + why + "); of " +
        std::to_string(host.disk.pending.size()) + " unsynced groups " + std::to_string(survive) +
        " survive");
  if (scenario_.real_rows && survive < host.disk.pending.size())
    host.disk.tear(host.disk.pending[survive], random_);
  for (std::size_t i = 0; i < survive; ++i) {
    const chat::GroupWrite& group = host.disk.pending[i];
    if (group.records.empty()) continue;
    if (saying())
      for (const paxos::Record& record : group.records)
        note(std::to_string(host.id) + " has on disk, at its death: ", record);
    observer_.group_durable(host.id, group, host.disk);
    host.disk.apply(group);
    conduct_.durable(host.id, group, [&](std::uint8_t id) -> const Disk& { return hosts_[id].disk; });
  }
  if (scenario_.real_rows && survive > 0) {
    std::vector<chat::GroupWrite> written(
        std::make_move_iterator(host.disk.pending.begin()),
        std::make_move_iterator(host.disk.pending.begin() + static_cast<std::ptrdiff_t>(survive)));
    host.disk.write(written, false);
  }
  host.disk.pending.clear();
  host.syncing = 0;
  host.sync_held = false;
  watch_leader(host);
}

void World::restart_later(Host& host, Nanos wait) {
  if (host.gone) return;
  queue_.push(now_ + wait, {.kind = EventKind::restart, .to = host.id, .a = host.life});
}

/// To be asked before each effect: false when the replica died before it.
bool World::effect(Host& host) {
  if (host.effects_left < 0) return true;
  if (host.effects_left-- > 0) return true;
  crash(host, "between two effects");
  restart_later(host, random_.between(millisecond, scenario_.fault_length_max));
  return false;
}

void World::on_host(Host& host, const Event& event) {
  if (!host.node) return;
  const paxos::Time at = local(host);
  switch (event.kind) {
    case EventKind::peer_arrival: {
      if (now_ < host.narrow_until) {
        const auto& message = *static_cast<const paxos::PeerMessage*>(event.payload.get());
        if (std::holds_alternative<paxos::Accept>(message) ||
            std::holds_alternative<paxos::LearnReply>(message))
          return;
      }
      if (rules_ && !reads(host, 1 + (event.b >> 8))) return;
      const paxos::Origin origin(event.incarnation, event.a & UINT32_MAX, event.a >> 32);
      if (is_outdated(host, event.from, origin, *static_cast<const paxos::PeerMessage*>(event.payload.get())))
        return;
      if (!latest_boot(host, event.from, event.incarnation, origin.life.boot)) {
        if (origin.life.number != 0 && std::holds_alternative<paxos::HeartbeatRequest>(
                                           *static_cast<const paxos::PeerMessage*>(event.payload.get())))
          readmit(host, event.from, origin);
        return;
      }
      learn_boot(host, event.from, origin.life.boot);
      if (saying())
        note(std::to_string(host.id) + " hears from " + std::to_string(event.from) + ": ",
             *static_cast<const paxos::PeerMessage*>(event.payload.get()));
      conduct_.hears(host.id, event.from, *static_cast<const paxos::PeerMessage*>(event.payload.get()),
                     *host.node, observer_.acknowledged_slot());
      host.node->peer_message(at, {event.from}, origin,
                              *static_cast<const paxos::PeerMessage*>(event.payload.get()));
      if (const auto& message = *static_cast<const paxos::PeerMessage*>(event.payload.get());
          std::holds_alternative<paxos::Introduction>(message))
        (void)is_outdated(host, event.from, origin, message);
      break;
    }
    case EventKind::client_arrival: {
      host.node->client_message(at, client_address(event.a, event.b), {},
                                *static_cast<const chat::ClientMessage*>(event.payload.get()));
      break;
    }
    case EventKind::datagram:
      if (now_ < host.narrow_until && event.from != net::client_sender) return;
      if (!receive(host, event)) return;
      break;
    case EventKind::datagram_tick:
      if (event.a != host.life || host.transport_at > now_ || !host.transport) return;
      host.transport_at = never;
      if (host.transport->deadline() <= at) host.transport->tick(at);
      ship(host);
      return;
    case EventKind::node_tick:
      if (event.a != host.life || host.tick_at > now_) return;
      host.tick_at = never;
      if (host.node->deadline() <= at) host.node->tick(at);
      break;
    case EventKind::node_turn:
      if (event.a != host.life) return;
      turn(host);
      return;
    case EventKind::sync_done:
      if (event.a != host.life) return;
      sync_done(host, event.b);
      return;
    case EventKind::state_flush:
      if (event.a != host.life) return;
      host.flushing = false;
      state_durable(host);
      break;
    case EventKind::history_done: {
      if (event.a != host.life) return;
      const auto* wish = static_cast<const chat::HistoryWish*>(event.payload.get());
      const VersionedRows::View all(observer_.rows(), host.disk.state_written);
      const OwnRows rows(all, host.disk);
      if (host.misapplies && host.disk.state_written < host.node->machine().applied())
        host.node->history_read(at, wish->token, tl::make_unexpected("its rows are not there yet"));
      else
        host.node->history_read(at, wish->token, chat::read_page(rows, *wish));
      break;
    }
    case EventKind::log_read_done: {
      if (event.a != host.life) return;
      const auto* wish = static_cast<const paxos::LogReadWish*>(event.payload.get());
      // As Host::read_log() does it: a page.
      std::vector<paxos::ChosenDecree> decrees;
      std::size_t bytes = 0;
      const bool reads = !host.disk.spoilt(wish->from, wish->last);
      for (paxos::Slot slot = wish->from;
           reads && slot <= wish->last &&
           (wish->to.n == host.id || decrees.size() < scenario_.bounds.learn_entries);
           ++slot) {
        const Disk::Entry* entry = host.disk.find(slot);
        if (entry == nullptr) break;
        bytes += entry->decree.value.size();
        if (!decrees.empty() && bytes > scenario_.bounds.page_bytes) break;
        decrees.push_back({slot, entry->ballot, entry->decree});
      }
      host.node->log_read(at, *wish, std::move(decrees));
      break;
    }
    case EventKind::erase_plan:
    case EventKind::erasure:
      if (event.a != host.life) return;
      erase(host, event);
      break;
    case EventKind::snapshot:
      snapshot(host, event);
      if (!host.node) return;
      break;
    default:
      return;
  }
  node_input_done(host);
}

void World::node_input_done(Host& host) {
  if (scenario_.turn_delay == 0) {
    turn(host);
  } else if (!host.turn_due) {
    host.turn_due = true;
    queue_.push(now_ + random_.between(0, scenario_.turn_delay),
                {.kind = EventKind::node_turn, .to = host.id, .a = host.life});
  }
}

void World::turn(Host& host) {
  host.turn_due = false;
  const paxos::Time at = local(host);
  if (host.synced != 0) host.node->synced(at, std::exchange(host.synced, 0));
  paxos::Duration age{};
  if (host.syncing != 0) age = std::max(at - host.sync_started, age);
  if (host.held != 0 && host.held_hangs) age = std::max(at - host.held_since, age);
  host.node->set_sync_age(at, age);
  host.node->turn(at, wall_ms(host), output_);
  host.node->check_invariants();
  observer_.after_turn(host.id, *host.node, host.misapplies);
  conduct_.turn(host.id, *host.node, output_, host.disk);
  within_bounds(host);
  within_room(host, output_);
  const std::uint64_t life = host.life;
  const std::string stop = output_.stop;
  // Whose clock stands, or stood, still can't tell how long ago it heard the others.
  const bool clock_ok = host.stalled == 0 && host.stall_ended < now_ - 2 * scenario_.election_timeout;
  if (rules_) rules_->proposes(host.id, host.program, now_, output_, clock_ok);
  carry_out(host, output_);
  if (host.life != life) return;
  if (rules_ || !stop.empty()) {
    // And nothing is left to apply that is held, or that the turn was too short for.
    const bool settled = host.syncing == 0 && host.synced == 0 && host.disk.pending.empty() &&
                         host.held == 0 && host.node->deadline() > at &&
                         !host.node->status().redoing;  // what it has on its disk alone it has not seen
    if (!stop.empty() && host.disk.damaged()) {
      // What it has to redo does not read: it stays down until somebody mends its disk.
      crash(host, stop.c_str());
      return;
    }
    if (!stop.empty() && !rules_)
      throw Violation("U2: replica " + std::to_string(host.id) + " stops: " + stop);
    rules_->ends_turn(host.id, host.program, *host.node, host.disk, settled, stop);
    if (!stop.empty()) {
      // The program ends by itself: what it handed out is under way, as in any crash.
      crash(host, stop.c_str());
      refused(host, stop);
      return;
    }
  }
  watch_leader(host);
  schedule_tick(host);
  if (host.misapplies) watch_misapplying(host);
}

void World::schedule_tick(Host& host) {
  const Nanos at = global(host, host.node->deadline());
  if (at >= host.tick_at) return;
  host.tick_at = at;
  queue_.push(at, {.kind = EventKind::node_tick, .to = host.id, .a = host.life});
}

void World::watch_leader(Host& host) {
  const bool leads = host.node && host.node->is_leader();
  if (leads && last_leader_ != host.id) {
    last_leader_ = host.id;
    ++leader_changes_;
  } else if (!leads && last_leader_ == host.id) {
    last_leader_.reset();
  }
}

/// Groups, sends, rows and answers may be carried out in any order between them.
void World::carry_out(Host& host, chat::NodeOutput& out) {
  const std::uint64_t life = host.life;
  if (saying())
    for (const paxos::Event& event : out.events)
      say("replica " + std::to_string(host.id) + ": " + event.text);
  unsigned order[4];
  unsigned parts = 0;
  if (!out.groups.empty()) order[parts++] = 0;
  if (!out.send_now.empty()) order[parts++] = 1;
  if (!out.state.empty()) order[parts++] = 2;
  if (!out.replies.empty()) order[parts++] = 3;
  for (unsigned i = parts; i > 1; --i) std::swap(order[i - 1], order[random_.below(i)]);
  for (unsigned at = 0; at < parts; ++at) {
    const unsigned part = order[at];
    if (part == 0) {
      for (chat::GroupWrite& group : out.groups) {
        if (!effect(host)) return;
        host.disk.pending.push_back(std::move(group));
      }
      start_sync(host);
    } else if (part == 1) {
      for (paxos::Envelope& envelope : out.send_now) {
        if (!effect(host)) return;
        send(host, std::move(envelope));
      }
      ship_if_due(host);
    } else if (part == 2) {
      for (chat::StateWrite& write : out.state) {
        if (!effect(host)) return;
        if (host.misapplies) {
          // Its rows are of no use to anybody: on its disk it is as slow as the others.
          host.disk.state_written =
              std::max(host.disk.state_written, std::min(write.slot, observer_.applied_max()));
          observer_.misapplied(host.id, write.slot, host.disk);
          continue;
        }
        host.disk.state_written = write.slot;
        if (rules_) rules_->applies(host.id, host.program, write, host.disk.find(write.slot));
        conduct_.applied(write.slot, write.rows);
        keep_own_rows(host, write);
        observer_.applied(host.id, std::move(write), host.disk);
        if (!host.flushing) {
          host.flushing = true;
          queue_.push(now_ + random_.between(millisecond, scenario_.flush_max),
                      {.kind = EventKind::state_flush, .to = host.id, .a = host.life});
        }
      }
    } else {
      for (const chat::Reply& answer : out.replies) {
        if (!effect(host)) return;
        reply(host, answer);
      }
      ship_if_due(host);
    }
    if (host.life != life) return;
  }
  for (chat::HistoryWish& wish : out.history)
    queue_.push(now_ + random_.between(10'000, millisecond),
                {.kind = EventKind::history_done,
                 .to = host.id,
                 .a = host.life,
                 .payload = std::make_shared<const chat::HistoryWish>(std::move(wish))});
  for (const paxos::LogReadWish& wish : out.log_reads)
    queue_.push(now_ + random_.between(10'000, 2 * millisecond),
                {.kind = EventKind::log_read_done,
                 .to = host.id,
                 .a = host.life,
                 .payload = std::make_shared<const paxos::LogReadWish>(wish)});
  if (out.hashes_below && !host.misapplies) host.disk.hashes_below = *out.hashes_below;
  if (out.snapshot_wanted) want_snapshot(host, *out.snapshot_wanted);
  carry_out_redactions(host, out);
  forget(host, out);
}

// --- the log's disk ---

void World::start_sync(Host& host) {
  if (host.syncing != 0 || host.disk.pending.empty()) return;
  // As the log thread does: everything that waits, at once.
  host.syncing = host.disk.pending.size();
  host.sync_started = local(host);
  Nanos length = random_.between(scenario_.sync_min, scenario_.sync_max);
  if (host.slow != 0) length *= 50;
  queue_.push(now_ + length, {.kind = EventKind::sync_done, .to = host.id, .a = host.life, .b = ++host.sync});
}

void World::sync_done(Host& host, std::uint64_t sync) {
  if (sync != host.sync || host.syncing == 0) return;
  if (host.fail_sync || host.full != 0) {
    crash(host, host.full != 0 ? "its disk is full" : "a sync failed");
    restart_later(host, random_.between(millisecond, scenario_.fault_length_max));
    return;
  }
  if (host.hung != 0) {
    host.sync_held = true;
    return;
  }
  host.sync_held = false;
  const std::uint64_t life = host.life;
  std::vector<chat::GroupWrite> groups;
  for (; host.syncing != 0; --host.syncing) {
    groups.push_back(std::move(host.disk.pending.front()));
    host.disk.pending.pop_front();
    if (groups.back().records.empty()) continue;
    if (saying())
      for (const paxos::Record& record : groups.back().records)
        note(std::to_string(host.id) + " has on disk: ", record);
    observer_.group_durable(host.id, groups.back(), host.disk);
    host.disk.apply(groups.back());
    conduct_.durable(host.id, groups.back(), [&](std::uint8_t id) -> const Disk& { return hosts_[id].disk; });
  }
  if (scenario_.real_rows) host.disk.write(groups, true);
  for (chat::GroupWrite& group : groups)
    for (paxos::Envelope& envelope : group.send_after_sync) {
      if (!effect(host)) return;
      send(host, std::move(envelope));
    }
  ship_if_due(host);
  start_sync(host);
  host.synced = groups.back().group;
  if (host.life == life && host.node->waits_for_sync()) node_input_done(host);
}

}  // namespace sim
