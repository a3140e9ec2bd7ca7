#include "net/codec.h"
#include "paxos/coding.h"
#include "tests/net/wire_network.h"

/// What is meant for one goes to nobody else, whoever shows what at its address.
namespace {

using namespace wire_test;
using net::Content;
using net::Identity;
using net::Sealer;

const Body word = chat::ClientReply(chat::Redirect{});

/// Somebody who seals what he pleases, as the client that a Network::Node is.
struct Forger {
  Sealer sealer;
  Forger(const net::Secret& under, const Identity& self) : sealer(under, self) {
    sealer.take_versions_to(2);
    std::string unused;
    // Above what the client itself has counted.
    for (int i = 0; i < 100; ++i)
      sealer.seal(unused, {.version = 2, .destination = 0, .receiver = 0, .whose = self.whose},
                  Content::bodies, "");
  }
  Bytes say(Content content, const std::string& plain, std::uint64_t ticket) {
    std::string out;
    sealer.seal(out, {.version = 2, .destination = 0, .receiver = ticket, .whose = sealer.self().whose},
                content, plain);
    return Bytes::from(std::move(out));
  }
};
std::uint64_t ticket_in(const Bytes& datagram) {
  paxos::ByteReader r(datagram.span().subspan(48));
  return r.fixed<std::uint64_t>();
}
Identity client_of(std::uint8_t n) {
  return {.sender = net::client_sender, .incarnation = {{n, 2}}, .boot = 1, .life = 100ULL + n};
}

TEST(Owners, NobodyIsGivenThePartsOfAnothersMessage) {
  Network net(32);
  auto& replica = net.add_replica(0);
  auto& reader = net.add_client(0);
  auto& thief = net.add_client(1);
  net.introduce(reader, replica);
  net.introduce(thief, replica);
  const auto ticket = [&](const Network::Node& of) {
    return ticket_in(recorded(net, of.at, replica.at).back());
  };
  chat::HistoryReply page{.id = 1, .refused = {}, .page = {}, .applied = {1}};
  page.page.messages.push_back(
      {.room = "r", .seq = 1, .slot = {1}, .name = "ann", .text = std::string(9000, 's')});
  replica.transport.send(net.now, reader.at, chat::ClientReply{page});
  replica.transport.send(
      net.now, net.add_replica(1).at,
      paxos::PeerMessage(paxos::Accept{
          {1, {0}}, {1}, {}, {paxos::DecreeKind::commands, Bytes::copy_of(std::string(9000, 'p'))}}));
  replica.transport.flush(net.now);
  ASSERT_GT(replica.transport.take_outgoing().size(), 1U);
  const auto asks = [&](Forger& forger, const Network::Node& as) {
    std::size_t parts = 0;
    for (std::uint64_t message = 1; message <= 4; ++message)
      for (std::uint16_t count = 2; count <= 12; ++count) {
        net::FragmentNeed need{
            .incarnation = {{0, 1}}, .boot = 1, .message = message, .count = count, .missing = {}};
        for (std::uint16_t i = 0; i < count; ++i) need.missing.push_back(i);
        for (const auto& out :
             replay(net, replica, as.at, forger.say(Content::fragment_need, encode(need), ticket(as))))
          parts += std::to_integer<int>(out.data.span()[4]) == static_cast<int>(Content::fragment) ? 1 : 0;
      }
    return parts;
  };
  Forger one(net::Secret(key), client_of(1)), other(net::Secret(key), client_of(0));
  EXPECT_EQ(asks(one, thief), 0U) << "neither the reader's nor what goes between replicas";
  EXPECT_GT(asks(other, reader), 0U) << "he whose it is";
}

TEST(Owners, WhatWasPackedForOneGoesToNoOtherThatGetsTheAddress) {
  Network net(33);
  auto& replica = net.add_replica(0);
  auto& client = net.add_client(0);
  net.introduce(client, replica);
  const chat::Credential whose{chat::Role::client, 5};
  Identity mallory = client_of(0);  // incarnations stand in clear
  mallory.life = 999;
  mallory.whose = whose;
  Forger forger(net::derive_key(net::Secret(key), whose), mallory);
  const auto welcome = replay(net, replica, client.at,
                              forger.say(Content::hello, std::string("\1\2", 2) + std::string(14, '\0'), 0));
  ASSERT_EQ(welcome.size(), 1U);
  const auto opened = forger.sealer.open(welcome[0].data.span());
  ASSERT_TRUE(opened);
  paxos::ByteReader r(opened->plain.span().subspan(2));
  const auto ticket = r.fixed<std::uint64_t>();
  EXPECT_FALSE(replica.transport.taken_by_another(client.at, client_of(0)));
  replica.transport.send(net.now, client.at, word);
  const auto out = replay(net, replica, client.at, forger.say(Content::bodies, "", ticket));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(std::to_integer<int>(out[0].data.span()[7]), 0) << "under the key of whom it was meant for";
  EXPECT_TRUE(replica.transport.taken_by_another(client.at, client_of(0)));
  EXPECT_FALSE(replica.transport.taken_by_another(client.at, mallory));
}

/// It would be sealed as the first format is, under a secret that somebody else may have by now.
TEST(Owners, NothingIsSaidToWhomAReplicaDoesNotKnowAnyMore) {
  Network net(31);
  auto& replica = net.add_replica(0);
  auto& client = net.add_client(0);
  net.introduce(client, replica);
  replica.transport.serve_clients_from(2);
  net::Secret next;
  next.bytes().fill(77);
  const net::Fingerprint before = replica.transport.speaks_under();
  replica.transport.add_secret(next);
  replica.transport.speak_under(net::fingerprint(next));
  (void)replica.transport.take_outgoing();
  replica.transport.send(net.now, client.at, word);
  replica.transport.flush(net.now);
  EXPECT_EQ(replica.transport.take_outgoing().size(), 1U) << "who asked under the earlier one is answered";
  replica.transport.send(net.now, client.at, word);
  replica.transport.drop_secret(before);
  replica.transport.send(net.now, client.at, word);
  replica.transport.flush(net.now);
  EXPECT_TRUE(replica.transport.take_outgoing().empty()) << "neither what was packed nor what comes later";
  EXPECT_FALSE(replica.transport.knows(client.at));
  EXPECT_EQ(dropped(replica, Drop::unproven), 2U);
}

}  // namespace
