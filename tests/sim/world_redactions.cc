#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

/// Who redacts now and then, and how replicas carry it out on their modelled disks.
namespace sim {

// --- who redacts ---

void World::start_redactor() {
  if (redactor_) return;
  redact_random_ = Random(scenario_.seed ^ 0x7265'6461'6374'3f3fULL);
  redactor_ = std::make_unique<client::Outbox>(
      client::Outbox::Options{
          .replicas = scenario_.replicas, .first = {0}, .random = [this] { return redact_random_.next(); }},
      at_time(now_));
}

void World::redact() {
  start_redactor();
  queue_.push(now_ + redact_random_.between(0, 2 * scenario_.redact_every), {.kind = EventKind::redact});
  const auto room = static_cast<std::uint32_t>(redact_random_.below(scenario_.rooms));
  const std::uint64_t head = observer_.room_head(room);
  if (!posting_ || head == 0 || redactor_->pending() > 16) return;
  // Mostly what was posted a moment ago, whose repeats are still under way; and now and then one that was
  // redacted before.
  const std::uint64_t seq = redact_random_.below(3) != 0
                                ? head - redact_random_.below(std::min<std::uint64_t>(head, 5))
                                : 1 + redact_random_.below(head);
  observer_.redaction_asked(room, seq);
  redact_asked_.emplace_back(room, seq);
  redactor_->redact(at_time(now_),
                    {.room = Observer::room_name(room), .seq = seq, .by = "somebody", .reason = "a secret"});
  redact_turn();
}

void World::redact_turn() {
  client::OutboxOutput out = redactor_->take_output(at_time(now_));
  for (client::Sending& sending : out.sends)
    to_replica(static_cast<std::uint32_t>(redact_client), 0, sending.to.n,
               std::make_shared<const chat::ClientMessage>(std::move(sending.message)));
  for (const client::Delivery& delivery : out.deliveries) {
    const auto& [room, seq] = redact_asked_.at(delivery.ticket - 1);
    // Under rules 1 nobody can; the messages that it names all stand, or are forgotten.
    const bool older = delivery.refused.find("older version") != std::string::npos;
    if (seq == 0) {
      if (!delivery.refused.empty() && !older)
        throw Violation("K1: nobody can say what room " + std::to_string(room) +
                        " keeps: " + delivery.refused);
    } else if (delivery.refused == chat::to_string(chat::Verdict::forgotten)) {
      observer_.forgotten_told(room, seq + 1);
    } else if (delivery.refused.empty())
      observer_.redaction_told(room, seq, delivery.message.slot);
    else if (!older)
      throw Violation("R2: message " + std::to_string(seq) + " of room " + std::to_string(room) +
                      " stands, and can't be redacted: " + delivery.refused);
  }
  const paxos::Time deadline = redactor_->deadline();
  if (deadline == paxos::time_never) return;
  const Nanos at = std::max(now_ + 1000, deadline.time_since_epoch().count());
  if (at >= redact_tick_at_) return;
  redact_tick_at_ = at;
  queue_.push(at, {.kind = EventKind::client_tick, .a = redact_client});
}

bool World::all_erased() const {
  if (redactor_ && redactor_->pending() > 0) return false;
  return std::all_of(hosts_.begin(), hosts_.end(),
                     [](const Host& host) { return host.node && host.node->redactions().pending == 0; });
}

void World::look_for_redacted() {
  for (const Host& host : hosts_) observer_.nothing_left(host.id, host.disk, *host.node);
}

// --- replicas ---

/// What this replica applied without a text that the first one saw.
void World::keep_own_rows(Host& host, const chat::StateWrite& write) {
  const Disk::Entry* entry = host.disk.find(write.slot);
  const bool redacted = entry != nullptr && chat::has_redacted(entry->decree);
  for (const chat::Row& row : write.rows) {
    const bool own =
        row.key[0] == chat::rows::family_erasure || (redacted && row.key[0] == chat::rows::family_message);
    if (own && row.value) host.disk.own[row.key] = {write.slot, *row.value};
  }
}

void World::carry_out_redactions(Host& host, chat::NodeOutput& out) {
  for (chat::ErasePlan& plan : out.erase_plans)
    queue_.push(now_ + random_.between(10'000, 20 * millisecond),
                {.kind = EventKind::erase_plan,
                 .to = host.id,
                 .a = host.life,
                 .payload = std::make_shared<const chat::ErasePlan>(std::move(plan))});
  for (chat::Erasure& erasure : out.erasures)
    queue_.push(now_ + random_.between(millisecond, second),
                {.kind = EventKind::erasure,
                 .to = host.id,
                 .a = host.life,
                 .payload = std::make_shared<const chat::Erasure>(std::move(erasure))});
  if (host.misapplies) return;
  for (const chat::Row& row : out.own_rows)
    if (row.value) host.disk.own[row.key] = {host.disk.state_written, *row.value};
}

void World::erase(Host& host, const Event& event) {
  const paxos::Time at = local(host);
  if (event.kind == EventKind::erasure) {
    const auto& erasure = *static_cast<const chat::Erasure*>(event.payload.get());
    for (const chat::Row& row : erasure.rows)
      if (row.value) host.disk.own[row.key] = {host.disk.state_written, *row.value};
    state_durable(host);  // it takes a flush
    observer_.erased(host.id, host.disk, erasure);
    host.node->erased(at, erasure.token, "");
    return;
  }
  chat::ErasePlan plan = *static_cast<const chat::ErasePlan*>(event.payload.get());
  if (host.misapplies) {
    plan.fault = "its rows are of no use";
  } else {
    const VersionedRows::View all(observer_.rows(), host.disk.state_written);
    const OwnRows rows(all, host.disk);
    const auto entries = [&](paxos::Slot from, paxos::Slot to,
                             std::size_t) -> tl::expected<std::vector<paxos::LogEntry>, std::string> {
      if (host.disk.spoilt(from, to)) return tl::make_unexpected(std::string("a record is damaged"));
      std::vector<paxos::LogEntry> out;
      for (paxos::Slot slot = from; slot <= to; ++slot)
        if (const Disk::Entry* entry = host.disk.find(slot))
          out.push_back({.slot = slot, .ballot = entry->ballot, .chosen = true, .decree = entry->decree});
      return out;
    };
    const chat::LogReader log{.entries = entries, .first = [&] { return host.disk.begins; }};
    while (!plan.complete && plan.fault.empty()) chat::advance(plan, rows, log);
  }
  host.node->erase_planned(at, std::move(plan));
}

}  // namespace sim
