#include <set>

#include "chat/wire.h"
#include "net/codec.h"
#include "paxos/coding.h"
#include "tests/fuzz/wire_entry.h"
#include "tests/net/wire_network.h"
#include "tests/net/wire_samples.h"

/// Datagram format 2: everything names its receiver's life, and whoever recorded it gains nothing.
namespace {

using namespace wire_test;
using net::Content;
using net::Identity;
using net::Sealer;
using net::Way;

const Body ask = chat::ClientMessage(chat::FollowRequest{1, "r", 0, 0});
const Body answer = chat::ClientReply(chat::Redirect{});
Body peer_asks(std::uint64_t n = 1) { return paxos::PeerMessage(paxos::HeartbeatRequest{n}); }
Body peer_answers(std::uint64_t n = 1) { return paxos::PeerMessage(paxos::ReadReply{n, {1}}); }

TEST(Terms, AClientSaysHelloOnceAndThenEverythingShowsItsTicket) {
  Network net(1);
  auto& replica = net.add_replica(0);
  auto& client = net.add_client(0);
  client.transport.send(net.now, replica.at, ask);
  client.transport.send(net.now, replica.at, ask);
  net.run_for(10ms);
  ASSERT_EQ(replica.received.size(), 1U) << "what was said twice while it waited is said once";
  EXPECT_FALSE(replica.received[0].outdated);
  EXPECT_EQ(net.datagrams, 3U) << "hello, welcome, and what it had to say";
  replica.transport.send(net.now, client.at, answer);
  client.transport.send(net.now, replica.at, ask);
  net.run_for(10ms);
  EXPECT_EQ(net.datagrams, 5U);
  ASSERT_EQ(client.received.size(), 1U);
  EXPECT_EQ(client.transport.terms({0}).version, 2);
  EXPECT_EQ(replica.transport.figures().welcomes, 1U);
  for (const auto& p : net.tape) EXPECT_EQ(std::to_integer<int>(p.data.span()[3]), 2);
}

TEST(Terms, AHelloIsSaidAgainUntilItIsAnswered) {
  std::uint64_t questions = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Network net(seed, 0.5);
    auto& replica = net.add_replica(0);
    auto& client = net.add_client(0);
    while (replica.received.empty()) {
      ASSERT_LT(net.now.time_since_epoch(), 20s);
      client.transport.send(net.now, replica.at, ask);
      net.run_for(500ms);
    }
    EXPECT_EQ(client.transport.terms({0}).version, 2);
    questions += dropped(replica, Drop::outdated);
    EXPECT_EQ(dropped(replica, Drop::version), 0U)
        << "who asks in the first format too speaks no unknown one";
  }
  EXPECT_GT(questions, 0U) << "a second hello comes with a question in the first format";
}

TEST(Terms, ARecordedDatagramOfAClientIsWorthNothingAnywhere) {
  Network net(2);
  auto* replica = &net.add_replica(0);
  auto& other = net.add_replica(1);
  auto& client = net.add_client(0);
  client.transport.send(net.now, replica->at, ask);
  net.run_for(10ms);
  client.transport.send(
      net.now, replica->at,
      chat::ClientMessage(chat::ClientCommands{false, {Bytes::copy_of(std::string(16'000, 'c'))}}));
  net.run_for(10ms);
  ASSERT_EQ(replica->received.size(), 2U);
  const auto tape = recorded(net, client.at, replica->at);
  ASSERT_GT(tape.size(), 10U);
  const auto worthless = [&](Network::Node& at, const Address& from, bool may_welcome) {
    std::size_t welcomes = 0;
    for (const Bytes& datagram : tape)
      for (const auto& out : replay(net, at, from, datagram)) {
        EXPECT_TRUE(at.received.empty());
        EXPECT_LE(out.data.size(), datagram.size());
        EXPECT_EQ(std::to_integer<int>(out.data.span()[4]), static_cast<int>(Content::welcome));
        ++welcomes;
      }
    EXPECT_TRUE(at.received.empty());
    EXPECT_EQ(welcomes != 0, may_welcome);
    EXPECT_EQ(at.transport.figures().reassembly.partials, 0U);
  };
  worthless(*replica, client.at, false);
  worthless(*replica, address(200), false);
  worthless(other, client.at, false);
  replica = &net.replace(*replica, 0, 2);  // its windows are empty again
  worthless(*replica, address(200), true);
  worthless(*replica, address(200), false);
}

TEST(Terms, ADatagramThatNeverArrivedIsWorthNothingFromAnotherAddress) {
  Network net(3);
  auto& replica = net.add_replica(0);
  auto& client = net.add_client(0);
  net.introduce(client, replica);
  net.set_loss(1);
  client.transport.send(net.now, replica.at, ask);
  net.run_for(10ms);
  const auto out = replay(net, replica, address(200), net.tape.back().data);
  EXPECT_TRUE(replica.received.empty());
  ASSERT_EQ(out.size(), 1U);
  EXPECT_LE(out[0].data.size(), net.tape.back().data.size());
  EXPECT_EQ(dropped(replica, Drop::unproven), 1U);
}

TEST(Terms, AClientGoesOnAfterARestartOfTheReplicaAndAtAnotherAddress) {
  Network net(4);
  auto* replica = &net.add_replica(0);
  auto* client = &net.add_client(0);
  net.introduce(*client, *replica);
  replica = &net.replace(*replica, 0, 2);
  const auto says = [&] {
    for (int n = 0; n < 2; ++n) {
      client->transport.send(net.now, replica->at, ask);
      net.run_for(10ms);
    }
    return replica->received.size();
  };
  EXPECT_EQ(says(), 1U) << "the first is answered with a welcome";
  client->at = address(150);  // a NAT gave it another port
  replica->received.clear();
  EXPECT_EQ(says(), 1U);
  EXPECT_EQ(replica->received[0].from, address(150));
  replica->transport.send(net.now, client->at, answer);
  net.run_for(10ms);
  EXPECT_EQ(client->received.size(), 1U);
}

TEST(Terms, ARecordedReplyIsWorthNothingToAnotherClient) {
  Network net(5);
  auto& replica = net.add_replica(0);
  auto& client = net.add_client(0);
  auto& victim = net.add_client(1);
  net.introduce(client, replica);
  net.introduce(victim, replica);
  replica.transport.send(net.now, client.at, answer);
  net.run_for(10ms);
  ASSERT_EQ(client.received.size(), 1U);
  const auto before = victim.transport.terms({0}).version;
  for (const Bytes& datagram : recorded(net, replica.at, client.at))
    EXPECT_TRUE(replay(net, victim, replica.at, datagram).empty());
  EXPECT_TRUE(victim.received.empty());
  EXPECT_EQ(victim.transport.terms({0}).version, before);
  EXPECT_GT(dropped(victim, Drop::other_life), 0U);
}

TEST(Terms, WhatAReplicaAnsweredAnotherLifeIsNotTaken) {
  Network net(6);
  auto* a = &net.add_replica(0);
  auto& b = net.add_replica(1);
  a->transport.send(net.now, b.at, peer_asks());
  net.run_for(5ms);
  b.transport.send(net.now, a->at, peer_answers());
  b.transport.send(net.now, a->at, accept(20'000));
  b.transport.broadcast(net.now, std::vector<Address>{a->at, address(2)}, accept(20'000, 2));
  net.run_for(5ms);
  ASSERT_EQ(a->received.size(), 3U);
  const auto tape = recorded(net, b.at, a->at);
  a = &net.replace(*a, 0, 2);
  std::vector<Body> taken;
  for (const Bytes& datagram : tape) {
    for (const auto& out : replay(net, *a, address(200), datagram)) EXPECT_NE(out.to, address(200));
    for (const auto& r : a->received) taken.push_back(r.body);
  }
  ASSERT_EQ(taken.size(), 1U) << "a broadcast names nobody: it carries a ballot";
  EXPECT_TRUE(taken[0] == accept(20'000, 2));
  EXPECT_GT(dropped(*a, Drop::other_life), 10U);
}

TEST(Terms, OnlyQuestionsMayNameNobody) {
  Network net(7);
  auto& b = net.add_replica(1);
  const Identity identity{.sender = 0, .incarnation = {{0, 1}}, .boot = 1, .life = 9};
  Sealer a(key, identity, 3);
  b.transport.send(net.now, address(0), peer_asks());  // b speaks format 2
  b.transport.flush(net.now);
  const auto say = [&](const Body& body, std::uint64_t receiver) {
    std::string bytes, plain(1, '\x01'), datagram;
    net::encode(bytes, std::get<paxos::PeerMessage>(body));
    paxos::ByteWriter(plain).sized(bytes);
    a.seal(datagram, {2, 1, receiver}, Content::bodies, plain);
    b.received.clear();
    b.transport.receive(net.now, address(0), bytes_of(datagram), b.received);
    return b.received.size();
  };
  wire_test::Samples samples(3);
  for (std::size_t kind = 0; kind < 200; ++kind) {
    const Body body = samples.body(0);
    if (!std::holds_alternative<paxos::PeerMessage>(body)) continue;
    EXPECT_EQ(say(body, 0), net::is_answer(std::get<paxos::PeerMessage>(body)) ? 0U : 1U);
    EXPECT_EQ(say(body, 1ULL << 8 | 1 | 64), 1U);
    EXPECT_EQ(say(body, 77), 0U);
  }
}

TEST(Terms, ALaggingReplicaSpeaksTheLaterFormatOnceItHearsIt) {
  Network net(8);
  auto& raised = net.add_replica(0);
  auto& lags = net.add_replica(1, 1400, 1, 2, 1);
  lags.transport.send(net.now, raised.at, peer_asks());
  net.run_for(5ms);
  EXPECT_TRUE(raised.received.empty()) << "a recording of before the raise, for all it knows";
  EXPECT_EQ(dropped(raised, Drop::outdated), 1U);
  EXPECT_EQ(dropped(raised, Drop::version), 0U) << "a format that it knows well";
  raised.transport.send(net.now, lags.at, peer_asks());
  net.run_for(5ms);
  EXPECT_EQ(lags.received.size(), 1U);
  lags.transport.send(net.now, raised.at, peer_answers());
  net.run_for(5ms);
  EXPECT_EQ(raised.received.size(), 1U);
}

/// Killed before its state was on its disk: its log holds the raise, but nothing is applied yet.
TEST(Terms, AReplicaThatComesBackBehindTheRaiseHearsOfItFromWhatIsMeantForItsEarlierLife) {
  Network net(16);
  auto& raised = net.add_replica(0);
  auto* lags = &net.add_replica(1);
  lags->transport.send(net.now, raised.at, peer_asks());
  net.run_for(5ms);
  ASSERT_EQ(raised.received.size(), 1U);
  net.remove(*lags);
  lags = &net.add_replica(1, 1400, 2, 2, 1);
  lags->transport.send(net.now, raised.at, peer_asks());
  raised.transport.send(net.now, lags->at, peer_asks());
  net.run_for(5ms);
  EXPECT_EQ(raised.received.size(), 1U) << "in the first format";
  EXPECT_TRUE(lags->received.empty()) << "for its earlier life";
  EXPECT_EQ(dropped(*lags, Drop::other_life), 1U);
  lags->transport.send(net.now, raised.at, peer_asks());
  net.run_for(5ms);
  EXPECT_EQ(raised.received.size(), 2U);
  raised.transport.send(net.now, lags->at, peer_asks());
  net.run_for(5ms);
  EXPECT_EQ(lags->received.size(), 1U);
}

TEST(Terms, DuringTheRaiseNothingIsLostBetweenReplicas) {
  Network net(9);
  auto& a = net.add_replica(0, 1400, 1, 2, 1);
  auto& b = net.add_replica(1, 1400, 1, 2, 1);
  a.transport.send(net.now, b.at, peer_asks());
  net.run_for(5ms);
  ASSERT_EQ(b.received.size(), 1U);
  a.transport.speak(2);
  b.transport.send(net.now, a.at, peer_answers());  // in the first, and under way
  a.transport.send(net.now, b.at, peer_asks());
  net.run_for(5ms);
  EXPECT_EQ(a.received.size(), 1U);
  ASSERT_EQ(b.received.size(), 2U);
  b.transport.send(net.now, a.at, peer_answers());
  net.run_for(5ms);
  EXPECT_EQ(a.received.size(), 2U);
  EXPECT_EQ(std::to_integer<int>(net.tape.back().data.span()[3]), 2);
}

TEST(Terms, BeforeTheRaiseAReplicaOfEitherVersionIsUnderstood) {
  Network net(10);
  auto& newer = net.add_replica(0, 1400, 1, 2, 1);
  auto& older = net.add_replica(1, 1400, 1, 1, 1);
  newer.transport.send(net.now, older.at, peer_asks());
  newer.transport.broadcast(net.now, std::vector<Address>{older.at, address(2)}, accept(5000));
  older.transport.send(net.now, newer.at, peer_answers());
  net.run_for(5ms);
  EXPECT_EQ(older.received.size(), 2U);
  EXPECT_EQ(newer.received.size(), 1U);
}

/// A replica of the first version: knows no hello, and answers what is asked in the first format.
class OldReplica {
 public:
  explicit OldReplica(Network& net) : net_(net), node_(net.add_replica(0, 1400, 1, 1, 1)) {}
  void run_for(paxos::Duration d) {
    for (const paxos::Time until = net_.now + d; net_.now < until;) {
      net_.run_for(1ms);
      for (const auto& r : std::exchange(node_.received, {})) {
        if (const auto* request = std::get_if<chat::OperatorRequest>(&r.body))
          node_.transport.send(net_.now, r.from, chat::OperatorReply{request->id, chat::HashReply{}});
        else
          taken.push_back(r.body);
      }
    }
  }
  std::vector<Body> taken;
  Network::Node& node() { return node_; }

 private:
  Network& net_;
  Network::Node& node_;
};

TEST(Terms, AClientSpeaksTheFirstFormatToAReplicaThatKnowsNoOther) {
  Network net(11);
  OldReplica old(net);
  auto& client = net.add_client(0);
  client.transport.send(net.now, old.node().at, ask);
  old.run_for(200ms);
  ASSERT_EQ(old.taken.size(), 1U);
  EXPECT_TRUE(old.taken[0] == ask);
  EXPECT_EQ(client.transport.terms({0}).version, 1);
  EXPECT_TRUE(client.received.empty()) << "the answer to its own question is not for anybody else";
  old.node().transport.send(net.now, client.at, answer);
  old.run_for(5ms);
  EXPECT_EQ(client.received.size(), 1U);
  for (const Bytes& datagram : recorded(net, client.at, old.node().at))
    EXPECT_EQ(std::to_integer<int>(datagram.span()[6]), 0) << "names the replica, in the first format too";
  // The replica gets the new program: the client finds that out by itself.
  auto& fresh = net.replace(old.node(), 0, 2);
  for (int n = 0; n < 30 && fresh.received.empty(); ++n) {
    client.transport.send(net.now, fresh.at, ask);
    net.run_for(100ms);
  }
  EXPECT_EQ(fresh.received.size(), 1U);
  EXPECT_EQ(client.transport.terms({0}).version, 2);
}

TEST(Terms, AndFallsBackToItWhenTheOldProgramIsTakenBack) {
  Network net(12);
  auto& newer = net.add_replica(0, 1400, 1, 2, 1);
  auto& client = net.add_client(0);
  net.introduce(client, newer);
  EXPECT_EQ(client.transport.terms({0}).version, 2);
  net.remove(newer);
  OldReplica old(net);
  for (int n = 0; n < 40 && old.taken.empty(); ++n) {
    client.transport.send(net.now, address(0), ask);
    old.run_for(100ms);
  }
  EXPECT_FALSE(old.taken.empty());
  EXPECT_EQ(client.transport.terms({0}).version, 1);
}

TEST(Terms, WhatIsSaidInTheFirstFormatUnaskedIsNotBelieved) {
  Network net(13);
  auto& replica = net.add_replica(0);
  auto& client = net.add_client(0);
  net.introduce(client, replica);
  Sealer first(key, {.sender = 0, .incarnation = {{0, 1}}, .boot = 1}, 3);
  std::string bytes, plain(1, '\x03'), datagram;
  chat::encode(bytes, std::get<chat::ClientReply>(answer));
  paxos::ByteWriter(plain).sized(bytes);
  first.seal(datagram, {}, Content::bodies, plain);
  client.transport.receive(net.now, replica.at, bytes_of(datagram), client.received);
  EXPECT_TRUE(client.received.empty());
  EXPECT_EQ(dropped(client, Drop::outdated), 1U);
  EXPECT_EQ(client.transport.terms({0}).version, 2);
}

TEST(Terms, AnOldClientIsMarkedOnceItsFormatIsNotServed) {
  Network net(14);
  auto& replica = net.add_replica(0, 1400, 1, 2, 1);
  Sealer old(key, {.incarnation = {{7}}, .boot = 1}, 3);
  const auto say = [&](std::uint8_t destination) {
    std::string bytes, plain(1, '\x04'), datagram;
    chat::encode(bytes,
                 chat::OperatorRequest{.id = 5, .target = {.boot = 1}, .command = chat::KillRequest{}});
    paxos::ByteWriter(plain).sized(bytes);
    old.seal(datagram, {1, destination, 0}, Content::bodies, plain);
    replica.received.clear();
    replica.transport.receive(net.now, address(120), bytes_of(datagram), replica.received);
  };
  say(net::any_destination);
  ASSERT_EQ(replica.received.size(), 1U);
  EXPECT_FALSE(replica.received[0].outdated) << "before the raise";
  replica.transport.serve_clients_from(2);
  say(net::any_destination);
  ASSERT_EQ(replica.received.size(), 1U);
  EXPECT_TRUE(replica.received[0].outdated);
  say(0);
  EXPECT_TRUE(replica.received.empty()) << "whoever names the replica knows format 2, and says hello";
}

TEST(Terms, AReplicaThatServesLaterFormatsOnlySaysWhich) {
  Network net(15);
  auto& replica = net.add_replica(0, 1400, 1, 4, 2);
  replica.transport.serve_clients_from(3);
  auto& client = net.add_client(0);
  client.transport.send(net.now, replica.at, ask);
  net.run_for(100ms);
  EXPECT_TRUE(replica.received.empty());
  const auto terms = client.transport.terms({0});
  EXPECT_TRUE(terms.refused());
  EXPECT_EQ(terms.lowest, 3);
  EXPECT_EQ(terms.highest, 4);
  EXPECT_EQ(client.transport.deadline(), paxos::time_never) << "nothing waits for it";
  auto& later = net.replace(replica, 0, 2);
  for (int n = 0; n < 20; ++n) {
    client.transport.send(net.now, later.at, ask);
    net.run_for(100ms);
  }
  EXPECT_FALSE(later.received.empty());
  EXPECT_FALSE(client.transport.terms({0}).refused());
}

TEST(Terms, NothingWaitsForEver) {
  Network net(16);
  auto& client = net.add_client(0);
  client.transport.send(net.now, address(0), ask);
  net.run_for(1s);
  const auto hellos = net.datagrams;
  EXPECT_GE(hellos, 4U);
  net.run_for(60s);
  EXPECT_EQ(client.transport.deadline(), paxos::time_never);
  EXPECT_LT(net.datagrams, hellos + 20);
}

// --- the header ---

Identity replica_of(std::uint8_t id, std::uint64_t life, std::uint64_t boot = 1) {
  return {.sender = id, .incarnation = {{1, id}}, .boot = boot, .life = life};
}
std::string sealed(Sealer& by, const Way& way, std::string_view plain, Content content = Content::bodies) {
  std::string out;
  by.seal(out, way, content, plain);
  return out;
}
Drop drop_reason(Sealer& at, std::string_view datagram) {
  const auto opened = at.open(bytes_of(datagram));
  return opened ? Drop::count_ : opened.error();
}

TEST(NamedHeader, EveryBitFlipAndEveryTruncationIsRefused) {
  Sealer a(key, replica_of(0, 5)), b(key, replica_of(1, 6));
  b.take_versions_to(2);
  std::string datagram = sealed(a, {2, 1, 6}, "a message of some length");
  for (std::size_t size = 0; size < datagram.size(); ++size)
    ASSERT_NE(drop_reason(b, std::string_view(datagram).substr(0, size)), Drop::count_) << size;
  for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
    datagram[bit / 8] = static_cast<char>(datagram[bit / 8] ^ 1 << (bit % 8));
    ASSERT_NE(drop_reason(b, datagram), Drop::count_) << "bit " << bit;
    datagram[bit / 8] = static_cast<char>(datagram[bit / 8] ^ 1 << (bit % 8));
  }
  EXPECT_EQ(drop_reason(b, datagram), Drop::count_);
  EXPECT_EQ(drop_reason(b, datagram), Drop::replayed);
}

TEST(NamedHeader, EachReasonHasItsCase) {
  Sealer a(key, replica_of(0, 5)), b(key, replica_of(1, 6)),
      c(key, {.incarnation = {{4}}, .boot = 1, .life = 7});
  b.take_versions_to(2);
  c.take_versions_to(2);
  EXPECT_EQ(drop_reason(b, sealed(a, {2, 2, 6}, "x")), Drop::destination);
  EXPECT_EQ(drop_reason(b, sealed(a, {2, net::any_destination, 6}, "x")), Drop::destination)
      << "for a client";
  EXPECT_EQ(drop_reason(b, sealed(a, {2, 1, 99}, "x")), Drop::other_life);
  EXPECT_EQ(drop_reason(b, sealed(a, {2, 1, 0}, "x")), Drop::count_) << "not heard from yet";
  EXPECT_EQ(drop_reason(b, sealed(a, {2, net::all_replicas, 0}, "x")), Drop::count_);
  EXPECT_EQ(drop_reason(c, sealed(a, {2, net::any_destination, 0}, "x")), Drop::other_life)
      << "a client is always named";
  EXPECT_EQ(drop_reason(c, sealed(a, {2, net::any_destination, 7}, "x")), Drop::count_);
  EXPECT_EQ(drop_reason(c, sealed(a, {2, net::all_replicas, 7}, "x")), Drop::destination);
  EXPECT_EQ(drop_reason(b, sealed(c, {2, net::any_destination, 0}, "x")), Drop::header)
      << "a client names the replica";
  EXPECT_EQ(drop_reason(b, sealed(c, {2, net::all_replicas, 0}, "x")), Drop::header);
  EXPECT_EQ(drop_reason(b, sealed(a, {2, 1, 6}, "x", Content::hello)), Drop::header)
      << "only a client says hello";
  EXPECT_EQ(drop_reason(b, sealed(a, {2, 1, 6}, "x", Content::welcome)), Drop::header)
      << "and only it is welcome";
  Sealer copy(key, replica_of(1, 8));
  EXPECT_EQ(drop_reason(b, sealed(copy, {2, 1, 6}, "x")), Drop::own) << "a copy of its directory";
  for (const std::size_t byte : {std::size_t{7}, std::size_t{8}, std::size_t{15}}) {
    std::string datagram = sealed(a, {2, 1, 6}, "x");
    datagram[byte] = 1;
    EXPECT_EQ(drop_reason(b, datagram), Drop::key) << "a key of a role that is not known, byte " << byte;
  }
}

TEST(NamedHeader, LivesOfOneBootShareNoKeyAndNoWindow) {
  // A directory that was rolled back starts the same boot again.
  const auto one = replica_of(0, 5), two = replica_of(0, 6);
  EXPECT_NE(net::derive_subkey(key, one), net::derive_subkey(key, two));
  Sealer first(key, one), second(key, two), b(key, replica_of(1, 7));
  b.take_versions_to(2);
  const std::string recorded = sealed(first, {2, 1, 7}, "x");
  EXPECT_EQ(drop_reason(b, recorded), Drop::count_);
  EXPECT_EQ(drop_reason(b, sealed(second, {2, 1, 7}, "x")), Drop::count_);
  EXPECT_EQ(drop_reason(b, recorded), Drop::replayed);
  Sealer third(key, replica_of(0, 8, 2));
  EXPECT_EQ(drop_reason(b, sealed(third, {2, 1, 7}, "x")), Drop::count_);
  const auto old = b.open(bytes_of(sealed(second, {2, 1, 7}, "x")));
  ASSERT_TRUE(old);
  EXPECT_TRUE(old->old_boot) << "a recording, or an older copy of the directory";
  // The later one is found out to be the copy: the earlier boot is the right one.
  b.forget(replica_of(0, 8, 2));
  const auto right = b.open(bytes_of(sealed(second, {2, 1, 7}, "x")));
  ASSERT_TRUE(right);
  EXPECT_FALSE(right->old_boot);
}

TEST(Terms, AnOlderCopyOfADirectoryIsAnsweredWithThatAlone) {
  Network net(7);
  auto& a = net.add_replica(0);
  auto& b = net.add_replica(1);
  b.transport.send(net.now, a.at, peer_asks());
  a.transport.send(net.now, b.at, peer_asks());
  net.run_for(10ms);
  ASSERT_EQ(a.received.size(), 1U);
  const Identity right = a.received[0].sender;
  // Another life of the same boot, at another address: two bodies, and only the heartbeat is given out.
  Identity wrong = right;
  wrong.life += 1000;
  Sealer copy(key, wrong);
  copy.take_versions_to(2);
  a.transport.disown(wrong);
  std::string heartbeat, vote, plain;
  net::encode(heartbeat, paxos::HeartbeatRequest{5});
  net::encode(vote, paxos::Accepted{{1, {0}}, {{{1}, {1}}}});
  paxos::ByteWriter w(plain);
  for (const std::string& body : {vote, heartbeat}) {
    w.fixed(std::uint8_t{1});
    w.sized(std::string_view(body));
  }
  std::string datagram;
  copy.seal(datagram, {2, 0, 0}, Content::bodies, plain);
  replay(net, a, address(200), Bytes::copy_of(datagram));
  ASSERT_EQ(a.received.size(), 1U);
  EXPECT_TRUE(a.received[0].stale);
  EXPECT_TRUE(
      std::holds_alternative<paxos::HeartbeatRequest>(std::get<paxos::PeerMessage>(a.received[0].body)));
  EXPECT_EQ(dropped(a, Drop::old_boot), 1U);
  // The answer goes back to where it came from, and is for that life only.
  const paxos::Outdated word{.meant = {wrong.boot, wrong.life}, .known_boot = 9, .known_groups = 8};
  a.transport.answer(a.received[0], word);
  const auto out = a.transport.take_outgoing();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_TRUE(out[0].to == address(200));
  const auto opened = copy.open(out[0].data.span());
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->bound);
  EXPECT_TRUE(replay(net, b, a.at, out[0].data).empty());
  EXPECT_TRUE(b.received.empty()) << "the right one is another life";
  // Whose it is what it says goes on being known.
  b.transport.send(net.now, a.at, peer_asks(2));
  net.run_for(10ms);
  a.transport.send(net.now, b.at, peer_answers());
  net.run_for(10ms);
  EXPECT_EQ(b.received.size(), 1U);
}

TEST(NamedHeader, AClientThatWasForgottenNeedsAnotherTicket) {
  net::Opener opener(key, replica_of(0, 5), 3, {1});
  opener.take_versions_to(2);
  const auto client = [](std::uint64_t n) { return Identity{.incarnation = {{9}}, .boot = 1, .life = n}; };
  const std::vector<std::uint8_t> from{1, 2, 3}, elsewhere{1, 2, 4};
  Sealer c(key, client(1));
  const auto ticket = opener.open(bytes_of(sealed(c, {2, 0, 0}, "x", Content::hello)), from)->ticket;
  EXPECT_TRUE(opener.open(bytes_of(sealed(c, {2, 0, ticket}, "x")), from)->bound);
  EXPECT_FALSE(opener.open(bytes_of(sealed(c, {2, 0, ticket}, "x")), elsewhere)->bound);
  EXPECT_FALSE(opener.open(bytes_of(sealed(c, {2, 0, 0}, "x")), from)->bound);
  const std::string recorded = sealed(c, {2, 0, ticket}, "x");
  for (std::uint64_t n = 2; n < net::Opener::clients_max + 2; ++n) {
    Sealer other(key, client(n));
    ASSERT_TRUE(opener.open(bytes_of(sealed(other, {2, 0, 0}, "x", Content::hello)), from));
  }
  const auto again = opener.open(bytes_of(recorded), from);
  ASSERT_TRUE(again) << "its window went with it";
  EXPECT_FALSE(again->bound) << "and so did its ticket";
}

/// docs/WIRE.md shows this datagram.
TEST(NamedHeader, ADatagramHasTheBytesOfTheDocument) {
  net::ClusterKey k;
  for (std::size_t i = 0; i < k.size(); ++i) k.bytes()[i] = static_cast<std::uint8_t>(i);
  Sealer a(k, Identity{.sender = 2, .incarnation = {{1, 2, 3}}, .boot = 7, .life = 0x0807060504030201});
  const std::string datagram = sealed(a, {2, 1, 0x1817161514131211}, "hi");
  EXPECT_EQ(paxos::to_hex({reinterpret_cast<const std::uint8_t*>(datagram.data()), datagram.size()}),
            "505844020102010000000000000000000102030000000000"
            "000000000000000007000000000000000102030405060708"
            "11121314151617180100000000000000"
            "7388901652e3d1d007a6b829bda0e5a8c1d9");
}

TEST(WireFuzz, JunkTermsNeverCrash) {
  wire_test::Samples samples(31);
  for (int round = 0; round < 3000; ++round) {
    std::string input(samples.below(200), 'x');
    for (char& c : input) c = static_cast<char>(samples.below(256));
    wire_fuzz::terms(bytes_of(input));
  }
}

}  // namespace
