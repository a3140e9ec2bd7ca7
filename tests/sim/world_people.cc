#include <algorithm>

#include "tests/sim/world.h"

/// What happens to clients beside losing their process: links to some replicas, journals, followers, copied
/// state files.
namespace sim {

using namespace fault_end;

namespace {

/// As paxoschat asks: the answer, or that there is nothing yet, comes within this.
constexpr std::uint32_t follow_wait_ms = 300;
constexpr Nanos follow_patience = 600 * millisecond;

}  // namespace

void draw_people(Scenario& s) {
  Random r(s.seed ^ 0x7065'6f70'6c65'2e2eULL);
  if (r.chance(400'000)) s.followers = 1 + r.below(2);
  s.reach_one = r.chance(250'000);
  const bool cuts = r.chance(300'000);
  const bool shares = r.chance(120'000);
  if (cuts) s.faults.push_back(Fault::client_cut);
  if (shares) s.faults.push_back(Fault::share_session);
  Random redactions(s.seed ^ 0x7265'6461'6374'2121ULL);
  if (redactions.chance(300'000)) s.redact_every = redactions.between(1, 8) * second;
  if (!cuts && !shares) return;
  const Nanos every = r.between(1, 6) * second;
  for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length; at += r.between(0, 2 * every))
    s.schedule.push_back(
        {.number = static_cast<unsigned>(s.schedule.size()),
         .at = at,
         .kind = shares && (!cuts || r.below(3) == 0) ? Fault::share_session : Fault::client_cut,
         .seed = r.next()});
  order_schedule(s);
}

void World::client_dies(Client& client, Nanos resume) {
  client.outbox.reset();
  client.steps_left = -1;
  ++client.life;
  // With its machine, or alone: then the system still has everything.
  const bool power = random_.below(2) == 0;
  const std::size_t survive = power ? random_.below(client.unsynced.size() + 1) : client.unsynced.size();
  for (std::size_t i = 0; i < survive; ++i)
    for (const client::LedgerEvent& event : client.unsynced[i])
      if (!client.synced.apply(event))
        throw Violation("I2: the journal of client " + std::to_string(client.id) + " does not fold");
  if (saying())
    say("client " + std::to_string(client.id) + " dies; of " + std::to_string(client.unsynced.size()) +
        " unsynced records " + std::to_string(survive) + " survive");
  client.unsynced.clear();
  client.ledger = client.synced;
  client.next_message = static_cast<std::uint32_t>(client.ledger.next_ticket - 1);
  observer_.taken_back(client.id, client.next_message);
  queue_.push(now_ + resume, {.kind = EventKind::client_resume, .a = client.id, .b = client.life});
}

void World::cut_client(Random& random, Nanos length) {
  Client& client = clients_[random.below(clients_.size())];
  // All but one, or any; both ways, or one.
  std::uint32_t some = static_cast<std::uint32_t>(random.next());
  if (random.below(2) == 0) some = ~(1U << any_replica(random));
  const std::uint64_t ways = random.below(3);
  client.cut_to = ways == 1 ? 0 : some;
  client.cut_from = ways == 2 ? 0 : some;
  ++client.cut;
  queue_.push(now_ + length, {.kind = EventKind::fault_end,
                              .to = static_cast<std::uint8_t>(client.id),
                              .from = uncut_client,
                              .a = client.cut,
                              .b = era_});
}

/// A state file that was copied to another machine while nothing was left in it: a program there goes on with
/// the session. What is under way in it now came later.
void World::share_session(Random& random) {
  if (clients_.size() < 2) return;
  Client& one = clients_[random.below(clients_.size())];
  Client& other = clients_[random.below(clients_.size())];
  if (&one == &other || !one.outbox || !other.outbox || one.ledger.session.none() ||
      other.outbox->pending() != 0)
    return;
  observer_.shares_session(one.id);
  observer_.shares_session(other.id);
  other.outbox.reset();
  ++other.life;
  client::Ledger copy;
  copy.session = one.ledger.session;
  const auto& left = one.ledger.entries;
  const std::uint64_t next = left.empty() ? one.ledger.next_seq : left.front().seq;
  copy.next_seq = next - random.below(std::min<std::uint64_t>(next, 4));
  copy.next_ticket = other.ledger.next_ticket;
  other.ledger = other.synced = std::move(copy);
  other.unsynced.clear();
  if (saying())
    say("client " + std::to_string(other.id) + " goes on with the session of client " +
        std::to_string(one.id));
  queue_.push(now_ + random.between(0, second),
              {.kind = EventKind::client_resume, .a = other.id, .b = other.life});
}

// --- followers ---

void World::follow(Client& client) {
  if (!client.outbox) return;
  if (!client.follow) {
    client.follow = Follow{.room = static_cast<std::uint32_t>(client.random.below(scenario_.rooms)),
                           .asked = -follow_patience};
  }
  Follow& f = *client.follow;
  if (now_ - f.asked < follow_patience) return;
  // The answer is lost, or late: another replica may know.
  f.asked = now_;
  f.id = client.random.next();
  chat::FollowRequest request{
      .id = f.id, .room = Observer::room_name(f.room), .from = f.next, .wait_ms = follow_wait_ms};
  if (scenario_.retain_every != 0) request.wait_ms |= chat::wait_wants_stamps;
  std::uint8_t to = any_replica(client.random);
  for (int i = 0; i < 16 && ((client.cut_to | client.cut_from) >> to & 1) != 0; ++i)
    to = any_replica(client.random);
  to_replica(client.id, client.life, to, std::make_shared<const chat::ClientMessage>(std::move(request)));
}

/// Each message of the room once, in order.
void World::follow_reply(Client& client, const chat::HistoryReply& reply) {
  Follow& f = *client.follow;
  f.id = 0;
  f.asked = now_ - follow_patience;
  if (!reply.refused.empty()) return;
  const std::string who = "client " + std::to_string(client.id) + " follows room " + std::to_string(f.room);
  // What the room keeps no more is passed over, and nothing else.
  if (reply.page.first > f.next &&
      (reply.page.messages.empty() || reply.page.messages.front().seq >= reply.page.first))
    f.next = reply.page.first;
  if (!reply.page.messages.empty() && reply.page.messages.front().seq != f.next)
    throw Violation("C11: " + who + " from number " + std::to_string(f.next) + " on, and gets number " +
                    std::to_string(reply.page.messages.front().seq));
  observer_.read_served(f.room, 0, false, reply.page);
  f.next += reply.page.messages.size();
  follow(client);
}

bool World::all_followed() const {
  return std::all_of(clients_.begin(), clients_.end(), [&](const Client& client) {
    return !client.follow || client.follow->next == observer_.room_head(client.follow->room) + 1;
  });
}

void World::reach_one() {
  for (Client& client : clients_) {
    client.cut_to = client.cut_from = ~(1U << any_replica(random_));
    ++client.cut;
    post(client);
  }
}

}  // namespace sim
