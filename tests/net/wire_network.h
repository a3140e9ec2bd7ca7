#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "net/transport.h"

namespace wire_test {

using namespace std::chrono_literals;
using net::Address;
using net::Body;
using net::Drop;
using net::Transport;
using paxos::Bytes;

constexpr net::cipher::Key key{1, 2, 3};

inline Address address(std::uint16_t n) { return Address::loopback(static_cast<std::uint16_t>(7000 + n)); }
inline std::vector<Address> replica_addresses() { return {address(0), address(1), address(2)}; }

/// Some programs and the network between them: seeded loss, duplication and delay, in virtual time.
class Network {
 public:
  explicit Network(std::uint64_t seed, double loss = 0, double duplicated = 0,
                   paxos::Duration delay_max = 1ms)
      : engine_(seed), loss_(loss), duplicated_(duplicated), delay_max_(delay_max) {}

  struct Node {
    Node(Address a, Transport::Options options) : at(a), transport(std::move(options)) {}
    Address at;
    Transport transport;
    std::vector<net::Received> received;
  };

  /// One of three that know each other's addresses; speaks the format of the rules in force.
  Node& add_replica(std::uint8_t id, std::size_t datagram_bytes = 1400, std::uint64_t boot = 1,
                    std::uint8_t version_max = 2, std::uint8_t speaks = 2) {
    Node& out =
        add({.self = {.sender = id, .incarnation = {{id, 1}}, .boot = boot, .life = boot << 8 | id | 64},
             .key = key,
             .tickets = {id, static_cast<std::uint8_t>(boot)},
             .datagram_bytes = datagram_bytes,
             .loopback_bytes = datagram_bytes,  // as given, without any probe
             .replicas = 3,
             .addresses = replica_addresses(),
             .version_max = version_max,
             .speaks = speaks},
            address(id));
    out.transport.serve_clients_from(speaks);
    return out;
  }
  Node& add_client(std::uint8_t n, std::size_t datagram_bytes = 1400, std::uint8_t version_max = 2) {
    return add(
        {.self = {.sender = net::client_sender, .incarnation = {{n, 2}}, .boot = 1, .life = 100ULL + n},
         .key = key,
         .datagram_bytes = datagram_bytes,
         .loopback_bytes = datagram_bytes,  // as given, without any probe
         .replicas = 3,
         .addresses = replica_addresses(),
         .version_max = version_max},
        address(static_cast<std::uint16_t>(100 + n)));
  }
  /// Has the client say something, so that both know each other.
  void introduce(Node& client, Node& replica) {
    client.transport.send(now, replica.at, chat::ClientMessage(chat::FollowRequest{1, "r", 0, 0}));
    run_for(20ms);
    ASSERT_EQ(replica.received.size(), 1U);
    replica.received.clear();
    client.received.clear();
    datagrams = bytes = largest = 0;
  }
  Node& add(Transport::Options options, Address at) {
    nodes_.push_back(std::make_unique<Node>(at, std::move(options)));
    return *nodes_.back();
  }
  /// Another life at the same address.
  Node& replace(Node& old, std::uint8_t id, std::uint64_t boot) {
    std::erase_if(nodes_, [&](const auto& n) { return n.get() == &old; });
    return add_replica(id, 1400, boot);
  }

  void remove(Node& old) {
    std::erase_if(nodes_, [&](const auto& n) { return n.get() == &old; });
  }

  /// Everyone's outbox into the network.
  void collect() {
    for (auto& node : nodes_) {
      node->transport.flush(now);
      for (const net::Outgoing& out : node->transport.take_outgoing()) {
        const std::size_t step = out.segment == 0 ? out.data.size() : out.segment;
        EXPECT_LE(out.data.size(), 65'507U);
        EXPECT_LE((out.data.size() + step - 1) / step, 64U);
        if (step > refuse_above) {  // the kernel does, at each try
          node->transport.refused(
              now, {.to = out.to, .error = EMSGSIZE, .bytes = step, .segmented = out.segment != 0});
          continue;
        }
        for (std::size_t at = 0; at < out.data.size(); at += step)
          put(node->at, out.to, out.data.slice(at, std::min(step, out.data.size() - at)));
      }
    }
  }
  /// Runs until nothing is under way and nobody has a timer below `until`.
  void run_until(paxos::Time until) {
    for (;;) {
      collect();
      paxos::Time next = under_way_.empty() ? paxos::time_never : under_way_.begin()->first;
      for (auto& node : nodes_) next = std::min(next, node->transport.deadline());
      if (next > until) break;
      now = std::max(now, next);
      while (!under_way_.empty() && under_way_.begin()->first <= now) {
        const Packet p = under_way_.begin()->second;
        under_way_.erase(under_way_.begin());
        for (auto& node : nodes_)
          if (node->at == p.to) node->transport.receive(now, p.from, p.data.span(), node->received);
      }
      for (auto& node : nodes_)
        if (node->transport.deadline() <= now) node->transport.tick(now);
    }
    now = std::max(now, until);
  }
  void run_for(paxos::Duration d) { run_until(now + d); }

  paxos::Time now{};
  /// What was ever sent.
  struct Packet {
    Address from, to;
    Bytes data;
  };
  std::vector<Packet> tape;
  std::uint64_t datagrams = 0;
  std::uint64_t bytes = 0;
  std::size_t largest = 0;
  std::size_t refuse_above = SIZE_MAX;
  std::size_t swallow_above = SIZE_MAX;
  double loss() const { return loss_; }
  void set_loss(double loss) { loss_ = loss; }

 private:
  double chance() { return std::uniform_real_distribution<double>(0, 1)(engine_); }
  void put(const Address& from, const Address& to, const Bytes& data) {
    if (data.size() > swallow_above) return;
    ++datagrams;
    bytes += data.size();
    tape.push_back({from, to, data});
    largest = std::max(largest, data.size());
    for (int copies = chance() < duplicated_ ? 2 : 1; copies > 0; --copies) {
      if (chance() < loss_) continue;
      const auto delay =
          paxos::Duration{1 + static_cast<std::int64_t>(chance() * static_cast<double>(delay_max_.count()))};
      under_way_.emplace(now + delay, Packet{from, to, data});
    }
  }

  std::mt19937_64 engine_;
  double loss_, duplicated_;
  paxos::Duration delay_max_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::multimap<paxos::Time, Packet> under_way_;
};

inline Body accept(std::size_t size, std::uint64_t slot = 1, std::uint64_t prefix = 0, char fill = 'x') {
  return paxos::PeerMessage(paxos::Accept{
      {1, {0}}, {slot}, {prefix}, {paxos::DecreeKind::commands, Bytes::copy_of(std::string(size, fill))}});
}

inline std::uint64_t dropped(const Network::Node& at, Drop reason) {
  return at.transport.figures().dropped[static_cast<std::size_t>(reason)];
}

/// What of the tape went from one to the other.
inline std::vector<Bytes> recorded(const Network& net, const Address& from, const Address& to) {
  std::vector<Bytes> out;
  for (const Network::Packet& p : net.tape)
    if (p.from == from && p.to == to) out.push_back(p.data);
  return out;
}
/// Gives it a recording, as from `from`; what it sends back then.
inline std::vector<net::Outgoing> replay(Network& net, Network::Node& at, const Address& from,
                                         const Bytes& datagram) {
  (void)at.transport.take_outgoing();
  at.received.clear();
  at.transport.receive(net.now, from, datagram.span(), at.received);
  at.transport.flush(net.now);
  return at.transport.take_outgoing();
}

}  // namespace wire_test
