#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>
#include <set>

#include "chat/command.h"
#include "net/transport.h"
#include "paxos/coding.h"
#include "tests/fuzz/wire_entry.h"
#include "tests/net/wire_network.h"
#include "tests/net/wire_samples.h"

namespace {

using namespace std::chrono_literals;
using namespace wire_test;

TEST(Transport, EveryBodyArrivesAsItWas) {
  wire_test::Samples samples(11);
  for (std::size_t round = 0; round < 20; ++round)
    for (std::size_t kind = 0; kind < wire_test::Samples::body_kinds; ++kind) {
      Body body = samples.body(kind);
      if (auto* request = std::get_if<chat::OperatorRequest>(&body))
        request->target = {.replica = 1, .incarnation = {{1, 1}}, .boot = round};
      Network net(round);
      const bool asks = body.index() == 1 || body.index() == 3;
      auto& from = asks ? net.add_client(0) : net.add_replica(0);
      const bool among = body.index() == 0 || body.index() >= 5;  // replicas
      auto& to = among || asks ? net.add_replica(1) : net.add_client(1);
      if (asks)
        net.introduce(from, to);
      else if (!among)
        net.introduce(to, from);
      from.transport.send(net.now, to.at, body);
      net.run_for(10ms);
      ASSERT_EQ(to.received.size(), 1U) << "kind " << kind;
      EXPECT_TRUE(to.received[0].body == body) << "kind " << kind;
      EXPECT_EQ(to.received[0].from, from.at);
      EXPECT_EQ(to.received[0].sender.sender, asks ? net::client_sender : 0);
    }
}

TEST(Transport, SmallMessagesOfOneTurnShareADatagram) {
  Network net(1);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  for (std::uint64_t n = 0; n < 50; ++n)
    a.transport.send(net.now, b.at, paxos::PeerMessage(paxos::HeartbeatRequest{n}));
  net.run_for(5ms);
  EXPECT_EQ(net.datagrams, 1U);
  ASSERT_EQ(b.received.size(), 50U);
  for (std::uint64_t n = 0; n < 50; ++n)
    EXPECT_TRUE(b.received[n].body == Body(paxos::PeerMessage(paxos::HeartbeatRequest{n})));
}

/// Three replicas that speak format 2 to each other, and may use large datagrams.
std::vector<Network::Node*> jumbo_replicas(Network& net) {
  std::vector<Network::Node*> out;
  for (std::uint8_t id = 0; id < 3; ++id) {
    out.push_back(&net.add({.self = {.sender = id, .incarnation = {{id, 1}}, .boot = 1, .life = 64U + id},
                            .key = key,
                            .datagram_bytes = 8900,
                            .replicas = 3,
                            .addresses = replica_addresses(),
                            .version_max = 2,
                            .speaks = 2},
                           address(id)));
  }
  return out;
}

TEST(Transport, WhatWasCutForALargerPathIsSaidAgainInSmallerPieces) {
  for (const bool probed : {false, true}) {
    Network net(3);
    auto nodes = jumbo_replicas(net);
    net.run_for(1s);
    ASSERT_EQ(nodes[0]->transport.paths().datagram_bytes(address(1)), 8900U);
    // Some of it got there, then the route changed.
    net.set_loss(probed ? 1 : 0.5);
    nodes[0]->transport.send(net.now, address(1), accept(100'000));
    net.run_for(1ms);
    net.set_loss(0);
    net.refuse_above = 1300;
    for (int n = 0; n < 8 && nodes[1]->received.empty(); ++n) {
      nodes[0]->transport.send(net.now, address(1), accept(100'000));
      net.run_for(20ms);
    }
    ASSERT_FALSE(nodes[1]->received.empty());
    EXPECT_TRUE(nodes[1]->received[0].body == accept(100'000));
    EXPECT_EQ(nodes[0]->transport.paths().datagram_bytes(address(1)), 1232U);
  }
}

TEST(Transport, ABlackHoleIsFoundByWhatHasToBeSaidAgain) {
  Network net(4);
  auto nodes = jumbo_replicas(net);
  net.run_for(1s);
  net.swallow_above = 1300;
  const std::vector<Address> others{address(1), address(2)};
  const paxos::Time began = net.now;
  while (nodes[1]->received.empty() && net.now < began + 5s) {
    nodes[0]->transport.broadcast(net.now, others, accept(100'000));
    net.run_for(100ms);
  }
  EXPECT_LE(net.now - began, 2s);
  ASSERT_FALSE(nodes[1]->received.empty());
  EXPECT_TRUE(nodes[1]->received[0].body == accept(100'000));
  EXPECT_EQ(nodes[0]->transport.paths().datagram_bytes(address(1)), 1232U);
}

TEST(Transport, ABroadcastToPathsOfTwoSizesIsCutForEach) {
  Network net(5);
  auto nodes = jumbo_replicas(net);
  net.run_for(1s);
  nodes[0]->transport.refused(net.now,
                              {.to = address(2), .error = EMSGSIZE, .bytes = 8900, .segmented = true});
  nodes[0]->transport.refused(net.now,
                              {.to = address(2), .error = EMSGSIZE, .bytes = 4000, .segmented = true});
  const std::vector<Address> others{address(1), address(2)};
  nodes[0]->transport.broadcast(net.now, others, accept(50'000));
  nodes[0]->transport.broadcast(net.now, others, accept(3'000, 2));
  nodes[0]->transport.flush(net.now);
  std::map<Address, std::size_t> largest;
  std::map<Address, std::size_t> count;
  for (const net::Outgoing& out : nodes[0]->transport.take_outgoing()) {
    const std::size_t step = out.segment == 0 ? out.data.size() : out.segment;
    largest[out.to] = std::max(largest[out.to], step);
    count[out.to] += (out.data.size() + step - 1) / step;
    std::vector<net::Received>& got = nodes[out.to == address(1) ? 1 : 2]->received;
    for (std::size_t at = 0; at < out.data.size(); at += step)
      nodes[out.to == address(1) ? 1 : 2]->transport.receive(
          net.now, address(0), out.data.slice(at, std::min(step, out.data.size() - at)).span(), got);
  }
  EXPECT_GT(largest[address(1)], 8000U);
  EXPECT_LE(largest[address(2)], 1444U);
  EXPECT_LT(count[address(1)], 12U);
  EXPECT_GT(count[address(2)], 30U);
  EXPECT_EQ(nodes[1]->received.size(), 2U);
  EXPECT_EQ(nodes[2]->received.size(), 2U);
}

TEST(Transport, NoPathIsProbedBeforeTheSecondFormat) {
  Network net(6);
  const auto wide = [](std::uint8_t id) {
    return Transport::Options{.self = {.sender = id, .incarnation = {{id, 1}}, .boot = 1},
                              .key = key,
                              .datagram_bytes = 8900,
                              .replicas = 3};
  };
  auto& a = net.add(wide(0), address(0));
  auto& b = net.add(wide(1), address(1));
  for (int n = 0; n < 50; ++n) {
    a.transport.send(net.now, b.at, accept(20'000));
    net.run_for(100ms);
  }
  EXPECT_EQ(a.transport.figures().path_probes, 0U);
  EXPECT_LE(net.largest, net::default_datagram_bytes);
  std::vector<net::Received> none;
  for (const net::Content content : {net::Content::path_probe, net::Content::path_answer}) {
    net::Sealer sealer(key, {.sender = 2, .incarnation = {{2, 1}}, .boot = 1});
    std::string datagram;
    sealer.seal(datagram, {.version = 1, .destination = 0}, content, std::string(12, 'x'));
    const std::uint64_t before = a.transport.figures().dropped[static_cast<std::size_t>(Drop::header)];
    a.transport.receive(net.now, address(2), std::as_bytes(std::span(datagram)), none);
    EXPECT_EQ(a.transport.figures().dropped[static_cast<std::size_t>(Drop::header)], before + 1);
  }
}

TEST(Transport, WordsAboutPathsAreForReplicasAndEarnNothingLonger) {
  Network net(7);
  auto& a = net.add_replica(0);
  std::uint64_t life = 76;
  const auto datagram = [&](std::uint8_t sender, const net::Way& way, net::Content content,
                            std::size_t bytes) {
    net::Sealer sealer(net::ClusterKey(key),
                       {.sender = sender, .incarnation = {{9, 9}}, .boot = 1, .life = ++life});
    std::string out;
    sealer.seal(out, way, content, std::string(bytes, 'x'));
    return out;
  };
  std::vector<net::Received> none;
  const auto given = [&](const std::string& bytes) {
    a.transport.receive(net.now, address(200), std::as_bytes(std::span(bytes)), none);
    a.transport.flush(net.now);
    return a.transport.take_outgoing();
  };
  for (const net::Content content : {net::Content::path_probe, net::Content::path_answer})
    for (const auto& [sender, destination] :
         {std::pair{net::client_sender, std::uint8_t{0}}, std::pair{std::uint8_t{1}, net::all_replicas}}) {
      const std::uint64_t before = dropped(a, Drop::header);
      EXPECT_TRUE(given(datagram(sender, {2, destination, 0}, content, 12)).empty());
      EXPECT_EQ(dropped(a, Drop::header), before + 1);
    }
  for (const std::size_t bytes : {12UL, 13UL, 1000UL}) {
    const std::string question = datagram(1, {2, 0, 0}, net::Content::path_probe, bytes);
    const auto out = given(question);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].to, address(200));
    EXPECT_LE(out[0].data.size(), question.size());
    net::Sealer asker(net::ClusterKey(key), {.sender = 1, .incarnation = {{9, 9}}, .boot = 1, .life = life});
    asker.take_versions_to(2);
    const auto opened = asker.open(out[0].data.span());
    ASSERT_TRUE(opened);
    EXPECT_TRUE(opened->bound);
    EXPECT_EQ(opened->header.content, net::Content::path_answer);
  }
  EXPECT_TRUE(given(datagram(2, {2, 0, 0}, net::Content::path_probe, 11)).empty())
      << "too short for its answer";
  EXPECT_EQ(dropped(a, Drop::undecodable), 1U);
  const std::uint64_t before = dropped(a, Drop::other_life);
  EXPECT_TRUE(given(datagram(1, {2, 0, 0}, net::Content::path_answer, 12)).empty());
  EXPECT_EQ(dropped(a, Drop::other_life), before + 1) << "an answer that names nobody";
}

TEST(Transport, NoDatagramExceedsThePath) {
  for (std::size_t path : {512UL, 1400UL, 9000UL, 60UL * 1024}) {
    Network net(2);
    auto& a = net.add_replica(0, path);
    auto& b = net.add_replica(1, path);
    std::mt19937_64 engine(path);
    std::size_t sent = 0;
    for (std::uint64_t slot = 1; slot < 200; ++slot, ++sent) {
      a.transport.send(net.now, b.at, accept(engine() % (slot % 10 == 0 ? 200'000 : 3000), slot));
      if (slot % 20 == 0) net.run_for(2ms);
    }
    // All sizes around the point where a message no longer fits one datagram.
    for (std::size_t size = path - 120; size <= path; ++size, ++sent)
      a.transport.send(net.now, b.at, accept(size, 1000 + size));
    net.run_for(50ms);
    EXPECT_LE(net.largest, path);
    EXPECT_EQ(b.received.size(), sent);
  }
}

TEST(Transport, ABroadcastIsSealedOnce) {
  Network net(3);
  auto& a = net.add_replica(0);
  const std::vector<Address> peers{address(1), address(2)};
  a.transport.broadcast(net.now, peers, accept(100));
  a.transport.broadcast(net.now, peers, accept(5000));
  a.transport.flush(net.now);
  std::map<const std::byte*, int> buffers;
  for (const auto& out : a.transport.take_outgoing()) ++buffers[out.data.data()];
  ASSERT_EQ(buffers.size(), 2U);
  for (const auto& [buffer, times] : buffers) EXPECT_EQ(times, 2);
}

TEST(Transport, ABigMessageGetsThroughAtThirtyPercentLoss) {
  // The caller repeats as the core does, with backoff; the same words each time but for its progress.
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Network net(seed, 0.30, 0.05, 2ms);
    auto& a = net.add_replica(0);
    auto& b = net.add_replica(1);
    paxos::Duration wait = 50ms;
    std::uint64_t repeats = 0;
    while (b.received.empty()) {
      ASSERT_LT(net.now.time_since_epoch(), 3s) << "seed " << seed;
      a.transport.send(net.now, b.at, accept(256 * 1024, 1, repeats++));
      net.run_for(wait);
      wait = std::min<paxos::Duration>(wait * 2, 500ms);
    }
    EXPECT_TRUE(b.received[0].body == accept(256 * 1024)) << "the words of the first time";
    // 198 datagrams at 30 % loss cost 198 / 0.7 = 283, were the receiver to know at once; and some for the
    // asking.
    EXPECT_LT(net.datagrams, 198 * 2) << "seed " << seed;
  }
}

TEST(Transport, ManyBigMessagesAtOnceGetThroughLoss) {
  Network net(77, 0.20, 0.05, 5ms);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  std::set<std::uint64_t> missing;
  for (std::uint64_t slot = 1; slot <= 8; ++slot) missing.insert(slot);
  while (!missing.empty()) {
    ASSERT_LT(net.now.time_since_epoch(), 10s);
    for (std::uint64_t slot : missing) a.transport.send(net.now, b.at, accept(200'000, slot));
    net.run_for(300ms);
    for (const auto& r : b.received)
      missing.erase(std::get<paxos::Accept>(std::get<paxos::PeerMessage>(r.body)).slot.n);
    b.received.clear();
  }
}

TEST(Transport, ARepeatOfABigMessageCostsOneDatagramAndArrivesAgain) {
  Network net(4);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  a.transport.send(net.now, b.at, accept(100'000));
  net.run_for(20ms);
  ASSERT_EQ(b.received.size(), 1U);
  const auto before = net.datagrams;
  a.transport.send(net.now, b.at, accept(100'000, 1, 55));
  net.run_for(20ms);
  EXPECT_EQ(net.datagrams, before + 1);
  ASSERT_EQ(b.received.size(), 2U);
  EXPECT_TRUE(b.received[1].body == b.received[0].body);
  a.transport.send(net.now, b.at, accept(100'000, 2));
  net.run_for(20ms);
  ASSERT_EQ(b.received.size(), 3U) << "another slot is another message";
  EXPECT_GT(net.datagrams, before + 60);
}

TEST(Transport, ARepeatAfterAllWasLostIsAskedForAndComes) {
  Network net(5, 1.0);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  a.transport.send(net.now, b.at, accept(100'000));
  net.run_for(20ms);
  net.set_loss(0);
  a.transport.send(net.now, b.at, accept(100'000));
  net.run_for(20ms);
  EXPECT_EQ(b.received.size(), 1U);
  EXPECT_EQ(a.transport.figures().probes, 1U);
}

TEST(Transport, AReceiverThatForgotAsksForAllOfIt) {
  Network net(6);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  a.transport.send(net.now, b.at, accept(100'000));
  net.run_for(6s);  // longer than complete messages are kept there, shorter than here
  ASSERT_EQ(b.received.size(), 1U);
  a.transport.send(net.now, b.at, accept(100'000));
  net.run_for(50ms);
  EXPECT_EQ(b.received.size(), 2U);
  EXPECT_EQ(a.transport.figures().probes, 1U);
}

TEST(Transport, ALateFragmentOfACompleteMessageDoesNotDeliverItAgain) {
  Network net(7, 0, 1.0);  // everything twice
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  for (std::uint64_t slot = 1; slot <= 20; ++slot) a.transport.send(net.now, b.at, accept(20'000, slot));
  net.run_for(50ms);
  EXPECT_EQ(b.received.size(), 20U);
}

TEST(Transport, ANeedForAnEarlierBootIsNotServed) {
  Network net(8, 1.0);
  auto* a = &net.add_replica(0);
  auto& b = net.add_replica(1);
  const Address at = a->at;
  a->transport.send(net.now, b.at, accept(50'000));
  net.collect();
  net.set_loss(0);
  a->transport.send(net.now, b.at, accept(50'000));  // the probe: b holds message 1 of boot 1 in part
  net.collect();
  net.set_loss(1.0);
  net.run_for(2ms);
  a = &net.replace(*a, 0, 2);
  EXPECT_EQ(a->at, at);
  a->transport.send(net.now, b.at, accept(50'000, 2, 0, 'y'));  // message 1 of boot 2, of the same size
  net.collect();
  net.set_loss(0);
  net.run_for(4s);
  EXPECT_TRUE(b.received.empty());
  EXPECT_GT(dropped(*a, Drop::other_life), 0U);
  EXPECT_EQ(a->transport.figures().fragments_again, 0U);
}

TEST(Transport, AtRestNothingIsKept) {
  Network net(9, 0.3);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  for (std::uint64_t slot = 1; slot <= 20; ++slot) a.transport.send(net.now, b.at, accept(200'000, slot));
  net.run_for(30s);
  EXPECT_EQ(a.transport.deadline(), paxos::time_never);
  EXPECT_EQ(b.transport.deadline(), paxos::time_never);
  EXPECT_EQ(b.transport.figures().reassembly.memory, 0U);
  EXPECT_EQ(b.transport.figures().reassembly.complete_bytes, 0U);
}

TEST(Transport, LongListsArriveWholeWithoutReassembly) {
  Network net(10, 0, 0, 0ms);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  paxos::Forward forward;
  for (int n = 0; n < 500; ++n)
    forward.commands.push_back(Bytes::copy_of(std::to_string(n) + std::string(100, 'c')));
  a.transport.send(net.now, b.at, paxos::PeerMessage(forward));
  net.run_for(20ms);
  paxos::Forward got;
  for (const auto& r : b.received)
    for (const auto& c : std::get<paxos::Forward>(std::get<paxos::PeerMessage>(r.body)).commands)
      got.commands.push_back(c);
  EXPECT_TRUE(got == forward);
  EXPECT_EQ(b.transport.figures().reassembly.partials, 0U);
  EXPECT_EQ(a.transport.deadline(), paxos::time_never) << "nothing was fragmented";
}

TEST(Transport, MoreCommandsThanAMessageHoldsGoInSeveral) {
  Network net(11, 0, 0, 0ms);
  auto& a = net.add_replica(0, 60 * 1024);
  auto& b = net.add_replica(1, 60 * 1024);
  paxos::Forward forward;  // 16 MiB
  for (int n = 0; n < 1024; ++n)
    forward.commands.push_back(Bytes::copy_of(std::to_string(n) + std::string(16'000, 'c')));
  a.transport.send(net.now, b.at, paxos::PeerMessage(forward));
  net.run_for(50ms);
  std::size_t got = 0;
  for (const auto& r : b.received)
    for (const auto& c : std::get<paxos::Forward>(std::get<paxos::PeerMessage>(r.body)).commands)
      ASSERT_TRUE(c == forward.commands[got++]);
  EXPECT_EQ(got, forward.commands.size());
}

TEST(Transport, NobodySpeaksForOthers) {
  Network net(12);
  auto& replica0 = net.add_replica(0);
  auto& replica1 = net.add_replica(1);
  auto& client = net.add_client(0);
  net.introduce(client, replica0);
  const Body peer = paxos::PeerMessage(paxos::HeartbeatRequest{1});
  const Body ask = chat::ClientMessage(chat::FollowRequest{1, "r", 0, 0});
  const Body answer = chat::ClientReply(chat::Redirect{});
  client.transport.send(net.now, replica0.at, peer);
  client.transport.send(net.now, replica0.at, answer);
  replica1.transport.send(net.now, replica0.at, answer);
  replica1.transport.send(net.now, replica0.at, ask);
  replica0.transport.send(net.now, client.at, peer);
  replica0.transport.send(net.now, client.at, ask);
  net.run_for(5ms);
  EXPECT_TRUE(replica0.received.empty());
  EXPECT_TRUE(client.received.empty());
  EXPECT_EQ(dropped(replica0, Drop::undecodable), 4U);
  EXPECT_EQ(dropped(client, Drop::undecodable), 2U);
}

TEST(Transport, WithKnownAddressesADatagramIsForOneReplicaOnly) {
  Network net(13);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  auto& c = net.add_replica(2);
  a.transport.send(net.now, b.at, paxos::PeerMessage(paxos::HeartbeatRequest{1}));
  a.transport.flush(net.now);
  const auto out = a.transport.take_outgoing();
  ASSERT_EQ(out.size(), 1U);
  c.transport.receive(net.now, a.at, out[0].data.span(), c.received);
  b.transport.receive(net.now, a.at, out[0].data.span(), b.received);
  EXPECT_TRUE(c.received.empty());
  EXPECT_EQ(dropped(c, Drop::destination), 1U);
  EXPECT_EQ(b.received.size(), 1U);
}

TEST(Transport, ASmallCommandDoesNotKeepABigDatagram) {
  Network net(14);
  auto& a = net.add_client(0, 60 * 1024);
  auto& b = net.add_replica(1, 60 * 1024);
  net.introduce(a, b);
  for (int n = 0; n < 100; ++n)
    a.transport.send(
        net.now, b.at,
        chat::ClientMessage(chat::ClientCommands{false, {Bytes::copy_of(std::string(500, 'c'))}}));
  net.run_for(5ms);
  ASSERT_EQ(b.received.size(), 100U);
  // Slices of one datagram would lie one after the other, as they were packed.
  const auto at = [&](std::size_t n) {
    return std::get<chat::ClientCommands>(std::get<chat::ClientMessage>(b.received[n].body))
        .commands[0]
        .data();
  };
  std::size_t in_a_row = 0;
  for (std::size_t n = 1; n < 100; ++n) in_a_row += static_cast<std::size_t>(at(n) - at(n - 1)) < 520 ? 1 : 0;
  EXPECT_LT(in_a_row, 99U);
}

// --- reassembly by itself ---

std::string part(std::uint64_t message, std::uint32_t total, std::uint16_t index, std::uint16_t count,
                 std::optional<std::size_t> size = std::nullopt) {
  std::string out;
  const net::FragmentHeader h{message, total, index, count};
  encode(out, h);
  out.append(size.value_or(h.is_valid() ? h.size() : 1), static_cast<char>('a' + index % 26));
  return out;
}
net::Identity sender(std::uint8_t id, std::uint8_t life = 1) {
  return {.sender = id, .incarnation = {{life}}, .boot = 1};
}

class ReassemblyTest : public testing::Test {
 protected:
  net::Reassembly::Result add(const net::Identity& from, const std::string& bytes, bool probe = false) {
    return reassembly.add(now, from, address(1), std::as_bytes(std::span{bytes}), probe, whole);
  }
  net::Reassembly reassembly;
  paxos::Time now{};
  Bytes whole;
  using Result = net::Reassembly::Result;
};

TEST_F(ReassemblyTest, AnyOrderWithRepeatsGivesTheMessageOnce) {
  std::mt19937_64 engine(3);
  for (std::uint64_t id = 1; id <= 200; ++id) {
    const auto count = static_cast<std::uint16_t>(2 + engine() % 30);
    const auto total = static_cast<std::uint32_t>(count * 10 - engine() % 10);
    std::vector<std::uint16_t> order;
    for (std::uint16_t i = 0; i < count; ++i) order.insert(order.end(), 1 + engine() % 3, i);
    std::shuffle(order.begin(), order.end(), engine);
    int complete = 0;
    for (std::uint16_t i : order)
      complete += add(sender(0), part(id, total, i, count)) == Result::complete ? 1 : 0;
    ASSERT_EQ(complete, 1);
    std::string expected;
    for (std::uint16_t i = 0; i < count; ++i)
      expected += part(id, total, i, count).substr(net::fragment_header_bytes);
    ASSERT_EQ(whole.view(), expected);
  }
}

TEST_F(ReassemblyTest, HostileNumbersAreRefused) {
  EXPECT_EQ(add(sender(0), ""), Result::refused);
  EXPECT_EQ(add(sender(0), part(0, 100, 0, 2)), Result::refused) << "no id";
  EXPECT_EQ(add(sender(0), part(1, 100, 0, 0)), Result::refused) << "no parts";
  EXPECT_EQ(add(sender(0), part(1, 100, 0, 1)), Result::refused) << "one part is no fragment";
  EXPECT_EQ(add(sender(0), part(1, 100, 2, 2)), Result::refused) << "index beyond count";
  EXPECT_EQ(add(sender(0), part(1, 0xffffffff, 0, 2)), Result::refused) << "4 GiB";
  EXPECT_EQ(add(sender(0), part(1, 100, 0, 0xffff)), Result::refused) << "more parts than bytes";
  EXPECT_EQ(add(sender(0), part(1, 10, 0, 7)), Result::refused) << "parts of 2: the last would be empty";
  EXPECT_EQ(add(sender(0), part(1, 100, 0, 2, 49)), Result::refused) << "too short";
  EXPECT_EQ(add(sender(0), part(1, 100, 0, 2, 51)), Result::refused) << "too long";
  EXPECT_EQ(add(sender(0), part(1, 100, 0, 2)), Result::incomplete);
  EXPECT_EQ(add(sender(0), part(1, 102, 1, 2)), Result::refused) << "another size than before";
  EXPECT_EQ(add(sender(0), part(1, 100, 1, 3)), Result::refused) << "another count than before";
  EXPECT_EQ(add(sender(0), part(1, 100, 1, 2)), Result::complete);
}

TEST_F(ReassemblyTest, MemoryStaysBoundedWhateverArrives) {
  std::mt19937_64 engine(4);
  for (std::uint64_t id = 1; id < 20'000; ++id) {
    const bool client = engine() % 2 == 0;
    const auto who = client ? sender(net::client_sender, static_cast<std::uint8_t>(engine()))
                            : sender(static_cast<std::uint8_t>(engine() % 9));
    const auto total =
        static_cast<std::uint32_t>(engine() % 3 == 0 ? net::fragmented_bytes_max : 2 + engine() % 5000);
    add(who, part(id, total, 0, 2));
    const auto figures = reassembly.figures();
    ASSERT_LE(figures.memory, net::Reassembly::memory_max);
    ASSERT_LE(figures.partials, net::Reassembly::partials_max);
    ASSERT_LE(figures.waiting, net::Reassembly::partials_max);
    now += 50us;
  }
  EXPECT_GT(reassembly.figures().crowded, 0U);
  now += net::Reassembly::give_up;
  (void)reassembly.tick(now);
  EXPECT_EQ(reassembly.figures().memory, 0U);
  EXPECT_EQ(reassembly.figures().partials, 0U);
  EXPECT_EQ(reassembly.figures().waiting, 0U);
}

TEST_F(ReassemblyTest, AFloodOfClientsDoesNotDisplaceAReplicasMessage) {
  ASSERT_EQ(add(sender(0), part(1, 600'000, 0, 2)), Result::incomplete);
  for (std::uint64_t id = 1; id < 5000; ++id) {
    now += 1us;
    add(sender(net::client_sender, static_cast<std::uint8_t>(id)), part(id, 600'000, 0, 2));
  }
  EXPECT_EQ(add(sender(0), part(1, 600'000, 1, 2)), Result::complete);
}

// Seed 18 of the simulator: a leader repeated two Accepts in one turn, twice a second. Neither fitted beside
// the other, and the second one displaced the first one each time, which therefore never arrived.
TEST_F(ReassemblyTest, TwoThatDoNotFitTogetherBothArriveHoweverOftenTheyAreSaidInOneTurn) {
  reassembly = net::Reassembly({.replica_share = 100'000});
  EXPECT_EQ(add(sender(0), part(1, 120'000, 3, 4), true), Result::incomplete) << "larger than the share";
  EXPECT_EQ(add(sender(0), part(2, 70'000, 1, 2), true), Result::incomplete);
  EXPECT_EQ(add(sender(0), part(3, 60'000, 1, 2), true), Result::incomplete);
  auto asks = reassembly.tick(now);
  ASSERT_EQ(asks.size(), 1U) << "the others have no room";
  EXPECT_EQ(asks[0].need.message, 1U);
  for (std::uint16_t index = 0; index < 3; ++index) {
    now += 1ms;
    EXPECT_EQ(add(sender(0), part(2, 70'000, index % 2, 2)), Result::incomplete);
    EXPECT_EQ(add(sender(0), part(1, 120'000, index, 4)), index < 2 ? Result::incomplete : Result::complete);
  }
  EXPECT_LE(reassembly.deadline(), now);
  asks = reassembly.tick(now);
  ASSERT_EQ(asks.size(), 1U);
  EXPECT_EQ(asks[0].need.message, 2U) << "the one that began to wait first";
  EXPECT_EQ(asks[0].need.missing, (std::vector<std::uint16_t>{0, 1})) << "nothing of it was kept";
  EXPECT_EQ(add(sender(0), part(2, 70'000, 0, 2)), Result::incomplete);
  EXPECT_EQ(add(sender(0), part(2, 70'000, 1, 2)), Result::complete);
  asks = reassembly.tick(now);
  ASSERT_EQ(asks.size(), 1U);
  EXPECT_EQ(asks[0].need.message, 3U);
  EXPECT_EQ(add(sender(0), part(3, 60'000, 0, 2)), Result::incomplete);
  EXPECT_EQ(add(sender(0), part(3, 60'000, 1, 2)), Result::complete);
  EXPECT_EQ(reassembly.figures().memory, 0U);
  EXPECT_EQ(reassembly.figures().partials, 0U);
}

TEST_F(ReassemblyTest, WhatGetsNoPartForLongGivesWay) {
  reassembly = net::Reassembly({.replica_share = 100'000, .partials_per_sender = 1});
  EXPECT_EQ(add(sender(0), part(1, 70'000, 0, 2)), Result::incomplete);
  now += 50ms;
  EXPECT_EQ(add(sender(0), part(2, 60'000, 0, 2)), Result::incomplete) << "it waits";
  EXPECT_EQ(add(sender(0), part(3, 60'000, 0, 2)), Result::incomplete) << "not even a place";
  EXPECT_EQ(reassembly.figures().partials, 1U);
  EXPECT_EQ(reassembly.figures().waiting, 1U);
  now += 1s;
  EXPECT_EQ(add(sender(0), part(2, 60'000, 0, 2)), Result::incomplete);
  EXPECT_EQ(add(sender(0), part(2, 60'000, 1, 2)), Result::complete);
  EXPECT_EQ(add(sender(0), part(3, 60'000, 0, 2)), Result::incomplete);
  EXPECT_EQ(add(sender(0), part(3, 60'000, 1, 2)), Result::complete);
}

TEST_F(ReassemblyTest, WhoSendsPartAfterPartDoesNotKeepOthersOutForEver) {
  reassembly = net::Reassembly({.clients_share = 100'000});
  const auto slow = sender(net::client_sender, 1), other = sender(net::client_sender, 2);
  paxos::Time first = paxos::time_never;
  for (std::uint16_t index = 0; index < 200 && first == paxos::time_never; ++index) {
    EXPECT_EQ(add(slow, part(1, 80'000, index, 400)), Result::incomplete);
    EXPECT_EQ(add(other, part(1, 60'000, 0, 2)), Result::incomplete);
    if (add(other, part(1, 60'000, 1, 2)) == Result::complete) first = now;
    now += 50ms;
  }
  EXPECT_LE(first.time_since_epoch(), net::Reassembly::in_the_way_max);
}

TEST_F(ReassemblyTest, AsksOnlyAfterAQuietTimeAndThenLessAndLessOften) {
  add(sender(0), part(1, 100, 0, 4));
  EXPECT_TRUE(reassembly.tick(now).empty());
  std::vector<paxos::Time> times;
  while (reassembly.deadline() != paxos::time_never) {
    now = reassembly.deadline();
    for (const auto& ask : reassembly.tick(now)) {
      EXPECT_EQ(ask.need.missing, (std::vector<std::uint16_t>{1, 2, 3}));
      EXPECT_EQ(ask.need.message, 1U);
      EXPECT_EQ(ask.to, address(1));
      times.push_back(now);
    }
  }
  ASSERT_GE(times.size(), 4U);
  ASSERT_LE(times.size(), 10U);
  for (std::size_t i = 2; i < times.size(); ++i)
    EXPECT_GE(times[i] - times[i - 1], times[i - 1] - times[i - 2]);
  EXPECT_EQ(now.time_since_epoch(), net::Reassembly::give_up);
  EXPECT_EQ(reassembly.figures().timed_out, 1U);
}

TEST(FragmentNeed, ComesBackAsItWasAndRefusesTheRest) {
  net::FragmentNeed need{
      .incarnation = {{1, 2}}, .boot = 3, .message = 4, .count = 11, .missing = {0, 7, 8, 10}};
  std::string bytes = encode(need);
  const auto again = net::decode_need(std::as_bytes(std::span{bytes}));
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, need);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(net::decode_need(std::as_bytes(std::span{bytes}.first(size))));
  bytes.back() = static_cast<char>(bytes.back() | 8);  // part 11 of 0 to 10
  EXPECT_FALSE(net::decode_need(std::as_bytes(std::span{bytes})));
}

TEST(FragmentCache, IsBoundedAndForgetsTheLeastRecentlyUsed) {
  net::FragmentCache cache;
  paxos::Time now{};
  std::uint64_t first = 0, last = 0;
  for (int n = 0; n < 100; ++n) {
    std::string message(600'000, 'x');
    message.replace(0, 3, std::to_string(100 + n));
    last = cache.put(now, message, message.size(), 1000).shape.message;
    if (n == 0) first = last;
    ASSERT_LE(cache.memory(), net::FragmentCache::memory_max);
    if (n < 60) {
      ASSERT_NE(cache.find(now, first), nullptr);  // used again and again
    }
  }
  EXPECT_EQ(cache.find(now, first), nullptr);
  EXPECT_NE(cache.find(now, last), nullptr);
  cache.tick(now + net::FragmentCache::kept);
  EXPECT_EQ(cache.memory(), 0U);
}

TEST(WireFuzz, JunkFragmentsNeverCrash) {
  wire_test::Samples samples(21);
  for (int round = 0; round < 3000; ++round) {
    std::string input;
    paxos::ByteWriter w(input);
    for (std::uint64_t n = 1 + samples.below(20); n > 0; --n) {
      const auto count = static_cast<std::uint16_t>(2 + samples.below(4));
      std::string bytes = part(1 + samples.below(3), static_cast<std::uint32_t>(20 + samples.below(2)),
                               static_cast<std::uint16_t>(samples.below(count)), count);
      if (samples.coin()) bytes[samples.below(bytes.size())] ^= static_cast<char>(1 << samples.below(8));
      w.fixed(static_cast<std::uint8_t>(samples.below(256)));
      w.fixed(static_cast<std::uint16_t>(bytes.size()));
      w.raw(std::string_view(bytes));
    }
    wire_fuzz::fragments(std::as_bytes(std::span{input}));
  }
}

}  // namespace
