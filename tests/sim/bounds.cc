#include <algorithm>

#include "tests/sim/world.h"

/// Small bounds: what happens at a bound is rare with the shipped ones, and common here. Which are drawn,
/// what must hold whatever they are, and how often each was reached.
namespace sim {

namespace {

constexpr std::uint32_t runs_with_bounds_ppm = 600'000;
constexpr std::uint32_t runs_with_held_disks_ppm = 250'000;

void draw_core(Random& r, paxos::Bounds& b) {
  const auto draw = [&](auto& bound, std::int64_t least, std::int64_t most) {
    if (r.chance(500'000))
      bound = static_cast<std::remove_reference_t<decltype(bound)>>(r.between(least, most));
  };
  draw(b.window_slots, 2, 12);
  draw(b.window_bytes, 512, 8 * 1024);
  draw(b.pipeline_slots, 1, 4);
  draw(b.unapplied_slots, 2, 32);
  draw(b.unapplied_bytes, 1024, 32 * 1024);
  draw(b.unsynced_bytes, 512, 8 * 1024);
  draw(b.after_sync_bytes, 256, 4 * 1024);
  draw(b.handed_out_slots, 1, 4);
  draw(b.handed_out_bytes, 256, 4 * 1024);
  draw(b.learn_entries, 1, 6);
  draw(b.page_bytes, 512, 8 * 1024);
  draw(b.accepted_ranges, 1, 2);
  draw(b.hot_bytes, 256, 8 * 1024);
  if (r.chance(200'000)) b.hot_slots = 2;
  draw(b.prefix_stride, 1, 3);
  draw(b.redo_slots, 4, 16);
  draw(b.trim_stride, 1, 16);
  draw(b.groups_stride, 1, 64);
  draw(b.recent_hashes, 1, 64);
  draw(b.read_rounds, 1, 2);
  draw(b.remote_rounds, 1, 2);
  draw(b.reads_waiting, 1, 3);
}

void draw_desk(Random& r, chat::NodeBounds& b) {
  const auto draw = [&](std::size_t& bound, std::int64_t least, std::int64_t most) {
    if (r.chance(300'000)) bound = static_cast<std::size_t>(r.between(least, most));
  };
  constexpr auto command = static_cast<std::int64_t>(chat::limits::command_bytes_max);
  draw(b.waiters, 4, 64);
  draw(b.noticed, 1, 3);
  draw(b.queue_commands, 1, 16);
  draw(b.queue_bytes, command, 2 * command);
  draw(b.under_way, 2, 32);
  draw(b.held_commands, 1, 8);
  draw(b.held_bytes, 512, 2 * command);
  draw(b.held_per_session, 1, 8);
  draw(b.batch_commands, 1, 4);
  draw(b.batch_bytes, 256, 8 * 1024);
  draw(b.forward_commands, 1, 4);
  draw(b.receipts_per_reply, 1, 4);
  draw(b.polls, 1, 3);
  draw(b.reads, 1, 3);
  draw(b.fetches, 1, 2);
  draw(b.push_messages, 1, 3);
  draw(b.push_bytes, 128, 4 * 1024);
  draw(b.turn_slots, 1, 4);
  draw(b.turn_bytes, 256, 4 * 1024);
  draw(b.turn_rows_bytes, 1024, 16 * 1024);
}

void draw_machine(Random& r, const Scenario& s, chat::MachineBounds& b) {
  // Fewer sessions than clients: whoever comes back after the others finds its own gone. With far fewer
  // nobody's would live long enough to say anything.
  if (r.chance(400'000)) b.sessions = std::max<std::size_t>(3, s.clients - r.below(s.clients / 4 + 2));
  if (r.chance(300'000)) b.outstanding = static_cast<std::size_t>(r.between(1, 8));
  if (r.chance(300'000))
    b.answers = std::max<std::size_t>(b.outstanding, 64) + static_cast<std::size_t>(r.between(1, 64));
  if (r.chance(300'000)) b.rooms = static_cast<std::size_t>(r.between(1, static_cast<std::int64_t>(s.rooms)));
}

void draw_reassembly(Random& r, net::ReassemblyBounds& b) {
  b.partials = static_cast<std::size_t>(r.between(3, 16));
  b.partials_per_sender = static_cast<std::size_t>(r.between(2, 4));
  b.memory = static_cast<std::size_t>(r.between(64, 256)) * 1024;
  b.replica_share = b.memory / 2;
  b.clients_share = b.memory / 3;
  b.client_share = b.memory / 4;
  b.complete_bytes = static_cast<std::size_t>(r.between(4, 64)) * 1024;
  b.complete = static_cast<std::size_t>(r.between(2, 32));
}

}  // namespace

void draw_bounds(Scenario& s) {
  // Who was silent for a while finds its session gone.
  Random idle(s.seed ^ 0x6964'6c65'2e2e'2e2eULL);
  if (idle.chance(250'000)) s.machine_bounds.session_idle_ms = idle.between(500, 8000);
  // But not while a client that reaches one replica goes around all of them: it would never find its session
  // there.
  if (s.reach_one && s.machine_bounds.session_idle_ms < chat::limits::session_idle_max_ms)
    s.machine_bounds.session_idle_ms =
        std::max(s.machine_bounds.session_idle_ms, 3000 * static_cast<std::int64_t>(s.replicas));
  // A journal that goes round again and again within a run: starts find rows of both kinds.
  Random ring(s.seed ^ 0x7269'6e67'2e2e'2e2eULL);
  if (ring.chance(500'000)) s.machine_bounds.journal_slots = static_cast<std::uint64_t>(ring.between(1, 64));
  Random r(s.seed ^ 0x626f'756e'6473'2e2eULL);
  if (r.chance(runs_with_held_disks_ppm)) {
    s.faults.push_back(Fault::hold_applying);
    s.faults.push_back(Fault::full_disk);
    const Nanos every = r.between(1, 6) * second;
    for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length; at += r.between(0, 2 * every))
      s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                            .at = at,
                            .kind = r.below(4) == 0 ? Fault::full_disk : Fault::hold_applying,
                            .seed = r.next()});
    order_schedule(s);
  }
  if (!r.chance(runs_with_bounds_ppm)) return;
  s.small_bounds = true;
  draw_core(r, s.bounds);
  draw_desk(r, s.node_bounds);
  // A leader whose clock stands still for good tells each client once to wait. If it forgot whom it told, it
  // would tell them for ever, and they would wait.
  if (s.mixes(Fault::clock_stall)) s.node_bounds.noticed = std::max<std::size_t>(s.node_bounds.noticed, 64);
  draw_machine(r, s, s.machine_bounds);
  if (r.chance(300'000)) draw_reassembly(r, s.reassembly);
  // Else nearly everything is said again after pauses that grow, and queues are as long as the run.
  s.bounds.unapplied_slots = std::max<std::uint64_t>(s.bounds.unapplied_slots, 2 * s.bounds.pipeline_slots);
  s.bounds.unapplied_bytes =
      std::max(s.bounds.unapplied_bytes, 2 * std::min<std::size_t>(s.node_bounds.batch_bytes, 16 * 1024));
  // Nobody queues for a place in the queue, or among those who wait: one client among more than they hold may
  // never get in.
  s.node_bounds.queue_commands = std::max(s.node_bounds.queue_commands, s.clients + 1);
  s.node_bounds.waiters = std::max(s.node_bounds.waiters, 2 * (s.clients + 1));
  // From next to nothing to as big as a text may be.
  if (r.chance(300'000))
    s.text_bytes_max = static_cast<std::size_t>(r.between(1, chat::limits::text_bytes_max - 32));
}

std::string describe_bounds(const Scenario& s) {
  std::string out;
  const auto add = [&](const char* name, auto is, auto shipped) {
    if (is != shipped) out += (out.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(is);
  };
#define SIM_ADD(of, member) add(#member, s.of.member, shipped.of.member)
  const Scenario shipped;
  SIM_ADD(bounds, window_slots);
  SIM_ADD(bounds, window_bytes);
  SIM_ADD(bounds, pipeline_slots);
  SIM_ADD(bounds, unapplied_slots);
  SIM_ADD(bounds, unapplied_bytes);
  SIM_ADD(bounds, unsynced_bytes);
  SIM_ADD(bounds, after_sync_bytes);
  SIM_ADD(bounds, handed_out_slots);
  SIM_ADD(bounds, handed_out_bytes);
  SIM_ADD(bounds, promise_entries);
  SIM_ADD(bounds, learn_entries);
  SIM_ADD(bounds, page_bytes);
  SIM_ADD(bounds, accepted_ranges);
  SIM_ADD(bounds, hot_slots);
  SIM_ADD(bounds, hot_bytes);
  SIM_ADD(bounds, prefix_stride);
  SIM_ADD(bounds, redo_slots);
  SIM_ADD(bounds, trim_stride);
  SIM_ADD(bounds, groups_stride);
  SIM_ADD(bounds, recent_hashes);
  SIM_ADD(bounds, read_rounds);
  SIM_ADD(bounds, remote_rounds);
  SIM_ADD(bounds, reads_waiting);
  SIM_ADD(machine_bounds, sessions);
  SIM_ADD(machine_bounds, outstanding);
  SIM_ADD(machine_bounds, answers);
  SIM_ADD(machine_bounds, rooms);
  SIM_ADD(machine_bounds, session_idle_ms);
  SIM_ADD(machine_bounds, journal_slots);
  SIM_ADD(node_bounds, waiters);
  SIM_ADD(node_bounds, noticed);
  SIM_ADD(node_bounds, queue_commands);
  SIM_ADD(node_bounds, queue_bytes);
  SIM_ADD(node_bounds, under_way);
  SIM_ADD(node_bounds, held_commands);
  SIM_ADD(node_bounds, held_bytes);
  SIM_ADD(node_bounds, held_per_session);
  SIM_ADD(node_bounds, batch_commands);
  SIM_ADD(node_bounds, batch_bytes);
  SIM_ADD(node_bounds, forward_commands);
  SIM_ADD(node_bounds, receipts_per_reply);
  SIM_ADD(node_bounds, polls);
  SIM_ADD(node_bounds, reads);
  SIM_ADD(node_bounds, fetches);
  SIM_ADD(node_bounds, push_messages);
  SIM_ADD(node_bounds, push_bytes);
  SIM_ADD(node_bounds, turn_slots);
  SIM_ADD(node_bounds, turn_bytes);
  SIM_ADD(node_bounds, turn_rows_bytes);
  SIM_ADD(reassembly, memory);
  SIM_ADD(reassembly, partials);
  SIM_ADD(reassembly, complete);
#undef SIM_ADD
  return out;
}

// --- what must hold ---

/// I10, after each turn: nothing grows above its bound. What phase 1 found may stand above it, so a replica
/// that leads, or led, is asked only not to take more from others.
void World::within_bounds(Host& host) {
  const auto broken = [&](const std::string& what, std::uint64_t is, std::uint64_t bound) {
    throw Violation("I10: replica " + std::to_string(host.id) + " holds " + std::to_string(is) + " " + what +
                    ", its bound is " + std::to_string(bound));
  };
  const paxos::Replica::Held held = host.node->held();
  const paxos::Bounds& core = scenario_.bounds;
  if (!host.node->is_leader() && !host.led) {
    // The slot that is applied next is always taken.
    const std::size_t one = std::max(scenario_.node_bounds.batch_bytes, chat::limits::command_bytes_max + 64);
    if (held.unapplied_bytes > std::max(core.unapplied_bytes, host.held_bytes) + one)
      broken("bytes that are not applied", held.unapplied_bytes, core.unapplied_bytes);
    if (held.unapplied_slots > std::max(core.unapplied_slots, host.held_slots))
      broken("slots that are not applied", held.unapplied_slots, core.unapplied_slots);
  }
  // What it holds of its own leadership only becomes less.
  const bool led = std::exchange(host.led, host.node->is_leader()) || host.led;
  host.held_bytes = led ? held.unapplied_bytes : std::min(host.held_bytes, held.unapplied_bytes);
  host.held_slots = led ? held.unapplied_slots : std::min(host.held_slots, held.unapplied_slots);
  const std::uint64_t handed_out = core.handed_out_slots + (held.redoing ? core.redo_slots : 0);
  if (held.handed_out_slots > handed_out)
    broken("slots that are handed out", held.handed_out_slots, handed_out);

  const chat::NodeBounds& desk = scenario_.node_bounds;
  if (output_.state.size() > desk.turn_slots)
    broken("slots applied in one turn", output_.state.size(), desk.turn_slots);
  const chat::Desk::Figures figures = host.node->desk_figures();
  if (figures.waiting_receipts > desk.waiters)
    broken("commands with somebody waiting", figures.waiting_receipts, desk.waiters);
  const std::size_t queued = desk.queue_commands + std::max(desk.held_commands, desk.held_per_session);
  if (figures.queued_commands > queued) broken("queued commands", figures.queued_commands, queued);
  if (figures.polls > desk.polls) broken("polls", figures.polls, desk.polls);
  if (figures.reads > desk.reads + desk.fetches) broken("reads", figures.reads, desk.reads + desk.fetches);
  const chat::Machine& machine = host.node->machine();
  if (machine.sessions() > scenario_.machine_bounds.sessions)
    broken("sessions", machine.sessions(), scenario_.machine_bounds.sessions);
  if (machine.rooms() > scenario_.machine_bounds.rooms)
    broken("rooms", machine.rooms(), scenario_.machine_bounds.rooms);
}

// --- how often each was reached ---

const std::array<BoundName, bounds_count>& bound_names() {
  static constexpr std::array<BoundName, bounds_count> names{{
#define SIM_BOUND(name, what) {#name, what},
      PAXOS_BOUND_LIST(SIM_BOUND) CHAT_BOUND_LIST(SIM_BOUND)
#undef SIM_BOUND
          {"reassembly", "an incomplete message waited for room, or gave way"},
  }};
  return names;
}

void World::count_bounds(const Host& host) {
  if (!host.node) return;
  const auto& core = host.node->core_bounds_reached().all();
  const auto& desk = host.node->bounds_reached().all();
  const auto& machine = host.node->machine().bounds_reached().all();
  for (std::size_t i = 0; i < core.size(); ++i) bounds_reached_[i] += core[i];
  for (std::size_t i = 0; i < desk.size(); ++i) bounds_reached_[core.size() + i] += desk[i] + machine[i];
  if (host.transport) bounds_reached_.back() += host.transport->figures().reassembly.crowded;
}

BoundTotals World::bounds_reached() {
  for (const Host& host : hosts_) count_bounds(host);
  return bounds_reached_;
}

}  // namespace sim
