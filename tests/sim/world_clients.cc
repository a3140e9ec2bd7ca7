#include <algorithm>

#include "client/session/carry_out.h"
#include "tests/sim/world.h"

/// The clients: client::Outbox over the modelled network, and readers of history.
namespace sim {

namespace {
constexpr std::size_t pending_max = 64;
}  // namespace

void World::start_client(Client& client) {
  ++client.life;
  client.tick_at = never;
  client.steps_left = -1;
  client.outbox = std::make_unique<client::Outbox>(
      client::Outbox::Options{.replicas = scenario_.replicas,
                              .first = {static_cast<std::uint8_t>(client.random.below(scenario_.replicas))},
                              .random = [&client] { return client.random.next(); },
                              .journal = true,
                              // As many as the log takes; some send a little more.
                              .outstanding = std::min(chat::limits::outstanding_max,
                                                      scenario_.machine_bounds.outstanding + client.id % 3)},
      at_time(now_), client.ledger);
  client_turn(client);
}

void World::client_turn(Client& client) {
  if (!client.outbox) return;
  bool dead = false;
  const auto alive = [&] {
    if (dead || client.steps_left < 0) return !dead;
    dead = client.steps_left-- == 0;
    return !dead;
  };
  const auto done = client::carry_out(
      client.outbox->take_output(at_time(now_)),
      [&](const std::vector<client::LedgerEvent>& events, bool sync) -> tl::expected<void, std::string> {
        if (!alive()) return tl::make_unexpected("it dies");
        if (std::any_of(events.begin(), events.end(),
                        [](const auto& e) { return std::holds_alternative<client::Abandoned>(e); }))
          for (const client::LedgerEvent& event : events)
            if (const auto* known = std::get_if<client::Answered>(&event))
              observer_.may_stay_untold(client.id, known->ticket);
        for (const client::LedgerEvent& event : events)
          if (!client.ledger.apply(event))
            throw Violation("I2: the journal of client " + std::to_string(client.id) + " does not fold");
        client.unsynced.push_back(events);
        if (!sync) return {};
        client.unsynced.clear();
        client.synced = client.ledger;
        return {};
      },
      [&](client::Sending&& sending) {
        if (alive())
          to_replica(client.id, client.life, sending.to.n,
                     std::make_shared<const chat::ClientMessage>(std::move(sending.message)));
      },
      [&](client::Delivery&& delivery) {
        if (alive()) observer_.delivered(client.id, delivery.ticket, delivery.refused, delivery.message);
      });
  if (dead) {
    client_dies(client, random_.between(0, scenario_.fault_length_max));
    return;
  }
  if (!done) throw Violation("I2: client " + std::to_string(client.id) + " gives up: " + done.error());
  const paxos::Time deadline = client.outbox->deadline();
  if (deadline == paxos::time_never) return;
  const Nanos at = std::max(now_ + 1000, deadline.time_since_epoch().count());
  if (at >= client.tick_at) return;
  client.tick_at = at;
  queue_.push(at, {.kind = EventKind::client_tick, .a = client.id, .b = client.life});
}

void World::client_event(Event event) {
  if (event.kind == EventKind::reply_arrival) {
    on_reply(event.a, event.b, event.from, *static_cast<const chat::ClientReply*>(event.payload.get()));
    return;
  }
  if (event.a == probe_client) {
    if (event.b != 0)
      ask_read_probe();
    else
      probe();
    return;
  }
  if (event.a == redact_client) {
    if (redact_tick_at_ > now_) return;
    redact_tick_at_ = never;
    redactor_->tick(at_time(now_));
    redact_turn();
    return;
  }
  Client& client = clients_[event.a];
  switch (event.kind) {
    case EventKind::client_tick:
      if (event.b != client.life || client.tick_at > now_ || !client.outbox) return;
      client.tick_at = never;
      client.outbox->tick(at_time(now_));
      client_turn(client);
      return;
    case EventKind::client_post:
      if (posting_) post(client);
      queue_.push(now_ + random_.between(0, 2 * second * static_cast<Nanos>(clients_.size()) /
                                                scenario_.posts_per_second),
                  {.kind = EventKind::client_post, .a = client.id});
      return;
    case EventKind::client_read:
      if (event.b != 0) {
        follow(client);
        queue_.push(now_ + random_.between(20, 400) * millisecond,
                    {.kind = EventKind::client_read, .a = client.id, .b = 1});
        return;
      }
      if (posting_) begin_read(client);
      queue_.push(now_ + random_.between(0, second), {.kind = EventKind::client_read, .a = client.id});
      return;
    case EventKind::client_datagram:
      client_receive(client, event);
      return;
    case EventKind::client_datagram_tick:
      if (event.b != client.life || client.transport_at > now_ || client.transport_life != client.life)
        return;
      client.transport_at = never;
      client.transport->tick(at_time(now_));
      ship(client);
      return;
    case EventKind::client_resume:
      if (event.b == client.life && !client.outbox) start_client(client);
      return;
    default:
      return;
  }
}

void World::post(Client& client) {
  if (!client.outbox || client.outbox->pending() >= pending_max) return;
  const auto room = static_cast<std::uint32_t>(client.random.below(scenario_.rooms));
  observer_.posted(client.id, room);
  std::string text = observer_.mark(client.id, client.next_message++);
  // Where texts are big, most are not.
  const std::size_t most = client.random.below(16) == 0 ? scenario_.text_bytes_max : 100;
  text.append(client.random.below(std::min(most, scenario_.text_bytes_max)), 'x');
  client.outbox->post(at_time(now_), {Observer::room_name(room), "c" + std::to_string(client.id), text});
  client_turn(client);
}

void World::begin_read(Client& client) {
  if (!client.outbox) return;
  if (client.reads.size() > 32) client.reads.erase(client.reads.begin());
  const auto room = static_cast<std::uint32_t>(client.random.below(scenario_.rooms));
  const bool linearizable = client.random.below(3) != 0;
  const std::uint64_t id = client.random.next();
  client.reads[id] = {.room = room,
                      .floor = observer_.read_floor(room),
                      .linearizable = linearizable,
                      .after = observer_.acknowledged_slot(),
                      .redacted = observer_.redacted()};
  chat::HistoryRequest request{
      .id = id, .room = Observer::room_name(room), .from = 1, .last = 5, .limit = 0, .local = !linearizable};
  if (scenario_.retain_every != 0) request.limit = chat::limit_wants_stamps;
  const auto to = static_cast<std::uint8_t>(client.random.below(scenario_.replicas));
  to_replica(client.id, client.life, to, std::make_shared<const chat::ClientMessage>(std::move(request)));
  if (scenario_.small_bounds) begin_poll(client, room);
}

/// Waits for the room's next message, as `follow` does.
void World::begin_poll(Client& client, std::uint32_t room) {
  const std::uint64_t id = client.random.next();
  const std::uint64_t seen = observer_.read_floor(room);
  client.reads[id] = {.room = room, .floor = seen, .linearizable = false};
  to_replica(client.id, client.life, static_cast<std::uint8_t>(client.random.below(scenario_.replicas)),
             std::make_shared<const chat::ClientMessage>(chat::FollowRequest{
                 .id = id, .room = Observer::room_name(room), .from = seen + 1, .wait_ms = 1000}));
}

void World::on_reply(std::uint64_t to, std::uint64_t life, std::uint8_t from,
                     const chat::ClientReply& message) {
  if (to == probe_client) {
    on_probe_reply(from, message);
    if (const auto* receipts = std::get_if<chat::Receipts>(&message))
      for (const chat::Receipt& receipt : receipts->receipts)
        if (probing_ && receipt.nonce[0] == static_cast<std::uint8_t>(probe_nonce_) &&
            receipt.nonce[1] == static_cast<std::uint8_t>(probe_nonce_ >> 8))
          probing_ = false;
    return;
  }
  if (to == redact_client) {
    redactor_->on_reply(at_time(now_), {from}, message);
    redact_turn();
    return;
  }
  Client& client = clients_[to];
  if (!client.outbox || client.life != life) return;
  if ((client.cut_from >> from & 1) != 0) return;
  if (const auto* history = std::get_if<chat::HistoryReply>(&message)) {
    if (client.follow && history->id == client.follow->id) return follow_reply(client, *history);
    const auto read = client.reads.find(history->id);
    if (read != client.reads.end()) {
      if (history->refused.empty() && read->second.linearizable && history->applied < read->second.after)
        throw Violation("I4: a read reflects slot " + std::to_string(history->applied.n) + ", but slot " +
                        std::to_string(read->second.after.n) + " was acknowledged before it started");
      if (history->refused.empty())
        observer_.read_served(read->second.room, read->second.floor, read->second.linearizable, history->page,
                              read->second.redacted);
      client.reads.erase(read);
      return;
    }
  }
  client.outbox->on_reply(at_time(now_), {from}, message);
  client_turn(client);
}

// --- the probe ---

void World::start_probe() {
  probing_ = true;
  ++probe_nonce_;
  probe();
}

void World::probe() {
  if (!probing_) return;
  chat::Command command;
  chat::Open open;
  open.nonce[0] = static_cast<std::uint8_t>(probe_nonce_);
  open.nonce[1] = static_cast<std::uint8_t>(probe_nonce_ >> 8);
  open.nonce[15] = 0x77;
  command.operation = open;
  auto message = std::make_shared<const chat::ClientMessage>(
      chat::ClientCommands{.forward = false, .commands = {chat::encode(command)}});
  for (std::uint8_t to = 0; to < scenario_.replicas; ++to)
    to_replica(static_cast<std::uint32_t>(probe_client), 0, to, message);
  queue_.push(now_ + 10 * millisecond, {.kind = EventKind::client_tick, .a = probe_client});
}

std::size_t World::pending() const {
  std::size_t out = 0;
  for (const Client& client : clients_)
    out += client.outbox ? client.outbox->pending() : client.ledger.entries.size() + 1;
  return out;
}

}  // namespace sim
