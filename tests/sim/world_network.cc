#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

/// The network. What fits into a datagram travels as a value, which is cheap; what does not, and in some runs
/// all, goes through net::Transport, the class that the programs use: encoded, cut, sealed, each datagram
/// with luck of its own, and opened, put together and decoded at the other end.
namespace sim {

namespace {

constexpr std::size_t old_packets_max = 128;
constexpr net::cipher::Key cluster_key{7, 7, 7};

/// At least what it takes, encoded.
struct Bytes {
  std::size_t operator()(const paxos::Accept& m) const { return 64 + m.decree.value.size(); }
  std::size_t operator()(const paxos::Promise& m) const {
    std::size_t out = 64;
    for (const paxos::PromiseEntry& entry : m.entries) out += 32 + entry.decree.value.size();
    return out;
  }
  std::size_t operator()(const paxos::Accepted& m) const { return 24 + 20 * m.slots.size(); }
  std::size_t operator()(const paxos::LearnReply& m) const {
    std::size_t out = 48;
    for (const paxos::ChosenDecree& chosen : m.decrees) out += 32 + chosen.decree.value.size();
    return out;
  }
  std::size_t operator()(const paxos::Forward& m) const { return of(m.commands); }
  std::size_t operator()(const paxos::Birth& m) const { return 16 + 16 * m.members.size(); }
  std::size_t operator()(const chat::ClientCommands& m) const { return of(m.commands); }
  std::size_t operator()(const chat::Receipts& m) const { return 16 + 80 * m.receipts.size(); }
  std::size_t operator()(const chat::HistoryReply& m) const {
    std::size_t out = 128 + m.refused.size();
    for (const chat::Message& message : m.page.messages)
      out += 64 + message.room.size() + message.text.size() + message.name.size();
    return out;
  }
  template <class M>
  std::size_t operator()(const M&) const {
    return 128;
  }
  static std::size_t of(const std::vector<paxos::Bytes>& commands) {
    std::size_t out = 24;
    for (const paxos::Bytes& command : commands) out += 3 + command.size();
    return out;
  }
};

template <class Message>
std::size_t bytes_of(const Message& message) {
  return std::visit(Bytes{}, message);
}

// Replicas have the ports from 1 on, each life of a client one of its own from 100 on.
net::Address address_of(std::uint8_t replica) {
  return net::Address::loopback(static_cast<std::uint16_t>(1 + replica));
}
net::Address address_of(std::uint64_t client, std::uint64_t life) {
  return net::Address::loopback(static_cast<std::uint16_t>(100 + client + 16 * (life % 4000)));
}

std::uint64_t client_life(std::uint64_t client, std::uint64_t life) {
  return 1ULL << 63 | life << 8 | client;
}

net::Opener::TicketKey ticket_key(const paxos::Incarnation& incarnation, std::uint64_t boot) {
  net::Opener::TicketKey out = incarnation.bytes;
  for (unsigned i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(out[i] ^ boot >> (8 * i));
  return out;
}

template <class Passes, class Give>
void each_datagram(net::Transport& transport, Passes passes, Give give) {
  for (const net::Outgoing& out : transport.take_outgoing()) {
    if (!passes(out)) continue;
    const std::size_t segment = out.segment == 0 ? out.data.size() : out.segment;
    for (std::size_t at = 0; at < out.data.size(); at += segment)
      give(out.to,
           std::make_shared<const paxos::Bytes>(out.data.slice(at, std::min(segment, out.data.size() - at))));
  }
}

}  // namespace

Nanos World::delay() {
  Nanos length = random_.between(scenario_.delay_min, scenario_.delay_max);
  if (scenario_.late_ppm != 0 && faults_on_ && random_.chance(scenario_.late_ppm))
    length += random_.between(0, scenario_.late_max);
  return length;
}

bool World::lost() { return random_.chance(std::max(loss_ppm_, burst_ppm_)); }

/// The format of its rules, and the second at least once it has heard of somebody who speaks that.
std::uint8_t World::speaks(const Host& host) const {
  std::uint8_t out = format_spoken(host);
  if (out >= net::format_named) return out;
  if (!host.disk.peers.empty() && chat::formats_of(host.program).datagrams >= net::format_named)
    return net::format_named;
  for (const Host& other : hosts_)
    if (other.id != host.id && other.node && host.newest_boot[other.id] == other.disk.boot &&
        format_spoken(other) >= net::format_named &&
        chat::formats_of(host.program).datagrams >= net::format_named)
      out = std::max(out, net::format_named);
  return out;
}

/// Boot and life in one, as a datagram without a seal has them. The first format has no life.
std::uint64_t World::origin_word(const Host& host) const {
  return host.disk.boot | (speaks(host) < net::format_named ? 0 : host.own_life << 32);
}

/// As Host::on_body() does it: whether a peer's word is that of an older copy of its directory, which is
/// told.
bool World::is_outdated(Host& host, std::uint8_t from, const paxos::Origin& origin,
                        const paxos::PeerMessage& message) {
  const auto word = host.node->outdated({from}, origin);
  if (!word) return false;
  disown(host, from, origin, word->known_boot);
  if (std::holds_alternative<paxos::HeartbeatRequest>(message) ||
      std::holds_alternative<paxos::Introduction>(message))
    carry(host.id, from,
          {.kind = EventKind::peer_arrival,
           .from = host.id,
           .a = origin_word(host),
           .b = paxos::PeerMessage(*word).index() | (rules_ ? (speaks(host) - 1ULL) << 8 : 0),
           .incarnation = host.disk.incarnation,
           .payload = std::make_shared<const paxos::PeerMessage>(*word)});
  return true;
}

/// The later boot that was heard of may be the copy, and this one the right directory.
void World::readmit(Host& host, std::uint8_t from, const paxos::Origin& origin) {
  for (auto& [incarnation, boot] : host.newest_boots[from])
    if (incarnation == origin.incarnation) boot = host.newest_boot[from] = origin.life.boot;
  conduct_.disowned(host.id, from, origin.incarnation);
}

/// Its boots mean nothing: the right directory may be put back, and start with an earlier one.
void World::disown(Host& host, std::uint8_t from, const paxos::Origin& origin, std::uint64_t known_boot) {
  for (auto& [incarnation, boot] : host.newest_boots[from])
    if (incarnation == origin.incarnation) boot = host.newest_boot[from] = known_boot;
  conduct_.disowned(host.id, from, origin.incarnation);
}

void World::send(Host& host, paxos::Envelope&& envelope) {
  if (saying())
    note(
        std::to_string(host.id) + " says to " + (envelope.to ? std::to_string(envelope.to->n) : "all") + ": ",
        envelope.message);
  observer_.leaves(host.id, envelope, host.disk, host.shelf.has_value());
  conduct_.says(host.id, envelope, host.disk);
  if (rules_)
    if (const auto* reply = std::get_if<paxos::HeartbeatReply>(&envelope.message))
      rules_->says(host.id, host.program, reply->rules, now_);
  if (!fits(bytes_of(envelope.message))) {
    send_sealed(host, envelope);
    return;
  }
  const Event packet{.kind = EventKind::peer_arrival,
                     .from = host.id,
                     .a = origin_word(host),
                     .b = envelope.message.index() | (rules_ ? (speaks(host) - 1ULL) << 8 : 0),
                     .incarnation = host.disk.incarnation,
                     .payload = std::make_shared<const paxos::PeerMessage>(std::move(envelope.message))};
  if (envelope.to) {
    carry(host.id, envelope.to->n, packet);
    return;
  }
  for (std::uint8_t to = 0; to < scenario_.replicas; ++to)
    if (to != host.id) carry(host.id, to, packet);
}

void World::carry(std::uint8_t from, std::uint8_t to, const Event& packet) {
  Event copy = packet;
  copy.to = to;
  if (faults_on_ && random_.below(16) == 0) {
    if (old_packets_.size() < old_packets_max)
      old_packets_.push_back(copy);
    else
      old_packets_[random_.below(old_packets_max)] = copy;
  }
  if (cuts_[from][to] != 0 || lost()) return;
  if (scenario_.duplicate_ppm != 0 && faults_on_ && random_.chance(scenario_.duplicate_ppm))
    queue_.push(now_ + delay(), Event(copy));
  queue_.push(now_ + delay(), std::move(copy));
}

// --- datagrams ---

net::Transport& World::transport(Host& host) {
  if (!host.transport) {
    std::vector<net::Address> addresses;
    for (std::uint8_t id = 0; id < scenario_.replicas; ++id) addresses.push_back(address_of(id));
    host.transport = std::make_unique<net::Transport>(
        net::Transport::Options{.self = {.sender = host.id,
                                         .incarnation = host.disk.incarnation,
                                         .boot = host.disk.boot,
                                         .life = host.own_life},
                                .key = cluster_key,
                                .tickets = ticket_key(host.disk.incarnation, host.own_life),
                                .datagram_bytes = scenario_.datagram_bytes,
                                .replicas = scenario_.replicas,
                                .addresses = std::move(addresses),
                                .version_max = chat::formats_of(host.program).datagrams,
                                .speaks = speaks(host),
                                .reassembly = scenario_.reassembly});
    for (std::uint8_t id = 0; id < scenario_.replicas; ++id) learn_boot(host, id, host.newest_boot[id]);
  }
  return *host.transport;
}

net::Transport& World::transport(Client& client) {
  if (!client.transport || client.transport_life != client.life) {
    net::Identity self;
    for (unsigned i = 0; i < 8; ++i) {
      self.incarnation.bytes[i] = static_cast<std::uint8_t>(client.life >> (8 * i));
      self.incarnation.bytes[8 + i] = static_cast<std::uint8_t>((client.id + 1ULL) >> (8 * i));
    }
    self.life = client_life(client.id, client.life);
    std::vector<net::Address> addresses;
    for (std::uint8_t id = 0; id < scenario_.replicas; ++id) addresses.push_back(address_of(id));
    client.transport = std::make_unique<net::Transport>(
        net::Transport::Options{.self = self,
                                .key = cluster_key,
                                .datagram_bytes = scenario_.datagram_bytes,
                                .replicas = scenario_.replicas,
                                .addresses = std::move(addresses),
                                .version_max = chat::formats_of(chat::rules_released).datagrams});
    client.transport_life = client.life;
    client.transport_at = never;
  }
  return *client.transport;
}

void World::send_sealed(Host& host, const paxos::Envelope& envelope) {
  std::vector<net::Address> to;
  for (std::uint8_t id = 0; id < scenario_.replicas; ++id)
    if (envelope.to ? id == envelope.to->n : id != host.id) to.push_back(address_of(id));
  host.transport_due = paxos::Time::min();
  if (envelope.to)
    transport(host).send(local(host), to.front(), net::Body(envelope.message));
  else
    transport(host).broadcast(local(host), to, net::Body(envelope.message));
}

void World::ship(Host& host) {
  host.transport->speak(speaks(host));
  host.transport->serve_clients_from(
      chat::formats_of(host.node ? host.node->machine().rules() : std::uint16_t{1}).clients);
  host.transport->flush(local(host));
  const auto carried = [&](const net::Outgoing& out) {
    const auto to = out.to.port() < 100 ? static_cast<std::uint8_t>(out.to.port() - 1) : net::client_sender;
    return passes(*host.transport, local(host), host.id, to, out);
  };
  each_datagram(
      *host.transport, carried, [&](const net::Address& to, std::shared_ptr<const paxos::Bytes> bytes) {
        const unsigned port = to.port();
        if (port < 100) {
          carry(host.id, static_cast<std::uint8_t>(port - 1),
                {.kind = EventKind::datagram, .from = host.id, .b = bytes->size(), .payload = bytes});
        } else if (!lost()) {
          queue_.push(now_ + delay(), {.kind = EventKind::client_datagram,
                                       .from = host.id,
                                       .a = (port - 100) % 16,
                                       .b = (port - 100) / 16,
                                       .payload = std::move(bytes)});
        }
      });
  host.transport_due = host.transport->deadline();
  const Nanos at = global(host, host.transport_due);
  if (at >= host.transport_at) return;
  host.transport_at = at;
  queue_.push(at, {.kind = EventKind::datagram_tick, .to = host.id, .a = host.life});
}

void World::ship(Client& client) {
  client.transport->flush(at_time(now_));
  const auto carried = [&](const net::Outgoing& out) {
    return passes(*client.transport, at_time(now_), net::client_sender,
                  static_cast<std::uint8_t>(out.to.port() - 1), out);
  };
  each_datagram(*client.transport, carried,
                [&](const net::Address& to, std::shared_ptr<const paxos::Bytes> bytes) {
                  const auto replica = static_cast<std::uint8_t>(to.port() - 1);
                  keep_recording({replica, hosts_[replica].own_life, client.id, client.life % 4000, bytes});
                  if (lost() || (client.cut_to >> replica & 1) != 0) return;
                  queue_.push(now_ + delay(), {.kind = EventKind::datagram,
                                               .to = replica,
                                               .from = net::client_sender,
                                               .a = client.id,
                                               .b = client.life,
                                               .payload = std::move(bytes)});
                });
  const paxos::Time deadline = client.transport->deadline();
  if (deadline == paxos::time_never) return;
  const Nanos at = std::max(now_ + 1000, deadline.time_since_epoch().count());
  if (at >= client.transport_at) return;
  client.transport_at = at;
  queue_.push(at, {.kind = EventKind::client_datagram_tick, .a = client.id, .b = client.life});
}

bool World::latest_boot(Host& host, std::uint8_t from, const paxos::Incarnation& incarnation,
                        std::uint64_t boot) {
  auto& known = host.newest_boots[from];
  const auto at =
      std::find_if(known.begin(), known.end(), [&](const auto& of) { return of.first == incarnation; });
  if (at == known.end()) {
    known.emplace_back(incarnation, boot);
    host.newest_boot[from] = boot;
    return true;
  }
  if (boot < at->second) return false;
  at->second = host.newest_boot[from] = boot;
  return true;
}

bool World::receive(Host& host, const Event& event) {
  const bool from_client = event.from == net::client_sender;
  received_.clear();
  const std::span<const std::byte> bytes = static_cast<const paxos::Bytes*>(event.payload.get())->span();
  if (rules_ && !from_client && !reads(host, std::to_integer<unsigned>(bytes[3]))) {
    // The transport must find that too.
    const auto unread = [&] {
      return transport(host).figures().dropped[static_cast<std::size_t>(net::Drop::version)];
    };
    const std::uint64_t before = unread();
    transport(host).receive(local(host), address_of(event.from), bytes, received_);
    if (unread() != before + 1 || !received_.empty())
      throw Violation("U4: replica " + std::to_string(host.id) +
                      " takes a datagram whose format its program does not know");
    return false;
  }
  transport(host).receive(local(host), from_client ? address_of(event.a, event.b) : address_of(event.from),
                          bytes, received_);
  bool took = false;
  if (!received_.empty() && !received_.front().stale) conduct_.taken(host.id, bytes);
  for (const net::Received& received : received_) {
    ++reassembled_;
    if (const auto* peer = std::get_if<paxos::PeerMessage>(&received.body)) {
      const net::Identity& sender = received.sender;
      if (const auto word =
              host.node->outdated({sender.sender}, {sender.incarnation, sender.boot, sender.life})) {
        host.transport->disown(sender);
        disown(host, sender.sender, {sender.incarnation, sender.boot, sender.life}, word->known_boot);
        if (std::holds_alternative<paxos::HeartbeatRequest>(*peer)) host.transport->answer(received, *word);
        continue;
      }
      if (received.stale) {
        host.transport->readmit(sender);
        readmit(host, sender.sender, {sender.incarnation, sender.boot, sender.life});
        continue;
      }
      if (!latest_boot(host, received.sender.sender, received.sender.incarnation, received.sender.boot))
        continue;
      if (saying())
        note(std::to_string(host.id) + " hears from " + std::to_string(received.sender.sender) + ": ", *peer);
      conduct_.hears(host.id, received.sender.sender, *peer, *host.node, observer_.acknowledged_slot());
      host.node->peer_message(local(host), {sender.sender}, {sender.incarnation, sender.boot, sender.life},
                              *peer);
      if (std::holds_alternative<paxos::Introduction>(*peer))
        if (const auto word =
                host.node->outdated({sender.sender}, {sender.incarnation, sender.boot, sender.life})) {
          host.transport->disown(sender);
          disown(host, sender.sender, {sender.incarnation, sender.boot, sender.life}, word->known_boot);
          host.transport->answer(received, *word);
        }
      took = true;
    } else if (const auto* client = std::get_if<chat::ClientMessage>(&received.body)) {
      host.node->client_message(local(host), client_address(event.a, event.b), {}, *client);
      took = true;
    } else if (const auto* request = std::get_if<chat::OperatorRequest>(&received.body)) {
      // How a client finds out that this program knows no hello.
      host.transport->send(local(host), address_of(event.a, event.b),
                           net::Body(chat::OperatorReply{.id = request->id, .answer = chat::HashReply{}}));
    }
  }
  ship(host);
  return took;
}

void World::client_receive(Client& client, const Event& event) {
  if (!client.outbox || client.life % 4000 != event.b || (client.cut_from >> event.from & 1) != 0) return;
  received_.clear();
  transport(client).receive(at_time(now_), address_of(event.from),
                            static_cast<const paxos::Bytes*>(event.payload.get())->span(), received_);
  ship(client);
  for (const net::Received& received : std::exchange(received_, {})) {
    ++reassembled_;
    if (const auto* reply = std::get_if<chat::ClientReply>(&received.body))
      on_reply(client.id, client.life, event.from, *reply);
  }
}

/// What is not sealed teaches who said it as its datagram would: a life only where it speaks format 2.
/// (While programs change, only where its own rules have that format.)
void World::learn_boot(Host& host, std::uint8_t from, std::uint64_t boot) {
  const Host& other = hosts_[from];
  if (host.transport && boot != 0 && from != host.id && other.disk.boot == boot &&
      (rules_ ? format_spoken(other) : speaks(other)) >= net::format_named)
    host.transport->note_life(from, other.own_life);
}

/// Now and then, so that the tape reaches far back.
void World::keep_recording(Recording recording) {
  if (!faults_on_ || ++recorded_ % 8 != 0) return;
  if (recordings_.size() < old_packets_max)
    recordings_.push_back(std::move(recording));
  else
    recordings_[recorded_ / 8 % old_packets_max] = std::move(recording);
}

/// Who recorded what clients said sends it to any replica, from anywhere. It is taken by nobody but who it
/// was for, in the same boot and from the same address (where it may come for the first time), and is
/// answered with nothing longer.
void World::replay_recordings(Random& random) {
  for (unsigned i = 0; i < 20 && !recordings_.empty(); ++i) {
    const Recording& old = recordings_[random.below(recordings_.size())];
    Host& host = hosts_[random.below(hosts_.size())];
    const bool elsewhere = random.below(2) == 0;
    // The first format names no life: those who still take it trust its sender.
    if (!host.node || host.paused != 0 || std::to_integer<unsigned>(old.bytes->span()[3]) < net::format_named)
      continue;
    const net::Address from = elsewhere ? net::Address::loopback(65'000) : address_of(old.client, old.life);
    const bool meant = host.id == old.to && host.own_life == old.boot && !elsewhere;
    if (meant) continue;
    net::Transport& at = transport(host);
    ship(host);  // so that what leaves now answers this
    received_.clear();
    at.receive(local(host), from, old.bytes->span(), received_);
    at.flush(local(host));
    ++replayed_;
    if (!received_.empty())
      throw Violation("A1: replica " + std::to_string(host.id) + " takes what client " +
                      std::to_string(old.client) + " said to boot " + std::to_string(old.boot) +
                      " of replica " + std::to_string(old.to) + (elsewhere ? ", from another address" : ""));
    std::size_t answered = 0;
    for (const net::Outgoing& out : at.take_outgoing())
      if (out.to == from) answered += out.data.size();
    if (answered > old.bytes->size())
      throw Violation("A2: replica " + std::to_string(host.id) + " answers a recorded datagram of " +
                      std::to_string(old.bytes->size()) + " bytes with " + std::to_string(answered));
  }
}

// --- between clients and replicas ---

void World::to_replica(std::uint32_t client, std::uint64_t life, std::uint8_t to,
                       std::shared_ptr<const chat::ClientMessage> message) {
  if (client < probe_client && !fits(bytes_of(*message))) {
    Client& from = clients_[client];
    transport(from).send(at_time(now_), address_of(to), net::Body(*message));
    ship(from);
    return;
  }
  Event event{
      .kind = EventKind::client_arrival, .to = to, .a = client, .b = life, .payload = std::move(message)};
  if (scenario_.twice_ppm != 0 && random_.chance(scenario_.twice_ppm) && !lost()) {
    Event twin = event;
    twin.to = any_replica(random_);
    if (client >= probe_client || (clients_[client].cut_to >> twin.to & 1) == 0)
      queue_.push(now_ + delay(), std::move(twin));
  }
  if (client < probe_client && (clients_[client].cut_to >> to & 1) != 0) return;
  if (!lost()) queue_.push(now_ + delay(), std::move(event));
}

void World::reply(Host& host, const chat::Reply& reply) {
  std::uint64_t client = 0;
  std::uint64_t life = 0;
  for (unsigned i = 8; i-- > 0;) {
    client = client << 8 | reply.to.bytes[i];
    life = life << 8 | reply.to.bytes[8 + i];
  }
  if (client < probe_client && !fits(bytes_of(reply.message)) &&
      transport(host).knows(address_of(client, life))) {
    host.transport_due = paxos::Time::min();
    transport(host).send(local(host), address_of(client, life), net::Body(reply.message));
    return;
  }
  if (lost()) return;
  queue_.push(now_ + delay(), {.kind = EventKind::reply_arrival,
                               .to = 0,
                               .from = host.id,
                               .a = client,
                               .b = life,
                               .payload = std::make_shared<const chat::ClientReply>(reply.message)});
}

}  // namespace sim
