#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>

#include "net/seal.h"
#include "tests/fuzz/wire_entry.h"
#include "tests/net/wire_samples.h"

namespace {

using net::any_destination;
using net::Content;
using net::Drop;
using net::Identity;
using net::Opener;
using net::Sealer;
using wire_test::bytes_of;

net::ClusterKey key_of(std::uint8_t n) {
  net::ClusterKey k;
  for (std::size_t i = 0; i < k.size(); ++i) k.bytes()[i] = static_cast<std::uint8_t>(n + i);
  return k;
}
Identity replica(std::uint8_t id, std::uint64_t boot = 1, std::uint8_t life = 1) {
  return {.sender = id, .incarnation = {{life, id}}, .boot = boot};
}
Identity client(std::uint32_t n) {
  Identity i;
  for (std::size_t b = 0; b < 4; ++b) i.incarnation.bytes[b] = static_cast<std::uint8_t>(n >> (8 * b));
  i.incarnation.bytes[15] = 1;
  return i;
}
std::string sealed(Sealer& by, std::string_view plain, std::uint8_t destination = any_destination) {
  std::string out;
  by.seal(out, {.version = 1, .destination = destination}, Content::bodies, plain);
  return out;
}
auto open(Sealer& at, std::string_view datagram) { return at.open(bytes_of(datagram)); }
Drop reason(Sealer& at, std::string_view datagram) {
  const auto opened = open(at, datagram);
  return opened ? Drop::count_ : opened.error();
}

TEST(Seal, OpensWhatWasSealedAndSaysByWhom) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  const std::string datagram = sealed(a, "hello");
  EXPECT_EQ(datagram.size(), 5 + net::seal_overhead_of(1));
  EXPECT_EQ(datagram.find("hello"), std::string::npos);
  const auto opened = open(b, datagram);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->plain.view(), "hello");
  EXPECT_EQ(opened->header.sender, replica(0));
  EXPECT_EQ(opened->header.content, Content::bodies);
  EXPECT_TRUE(open(b, sealed(a, "")));
}

TEST(Seal, SaysWhetherADatagramIsTheNewestOfItsSender) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  const std::string first = sealed(a, "1"), second = sealed(a, "2"), third = sealed(a, "3");
  EXPECT_TRUE(open(b, second)->newest) << "the first one that comes";
  EXPECT_FALSE(open(b, first)->newest);
  EXPECT_TRUE(open(b, third)->newest);
  Sealer later(key_of(1), replica(0, 2));
  EXPECT_TRUE(open(b, sealed(later, "of a later boot"))->newest);
}

TEST(Seal, EveryBitFlipAndEveryTruncationIsRefused) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  std::string datagram = sealed(a, "a message of some length", 1);
  for (std::size_t size = 0; size < datagram.size(); ++size)
    ASSERT_FALSE(open(b, std::string_view(datagram).substr(0, size))) << size;
  ASSERT_FALSE(open(b, datagram + 'x'));
  for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
    datagram[bit / 8] = static_cast<char>(datagram[bit / 8] ^ 1 << (bit % 8));
    ASSERT_FALSE(open(b, datagram)) << "bit " << bit;
    datagram[bit / 8] = static_cast<char>(datagram[bit / 8] ^ 1 << (bit % 8));
  }
  EXPECT_TRUE(open(b, datagram)) << "and none of those attempts spoiled the real one";
}

TEST(Seal, EachReasonHasItsName) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1)), stranger(key_of(2), replica(0)),
      far(key_of(1), replica(7));
  Sealer three(key_of(1), replica(1), 3);
  std::string datagram = sealed(a, "hello");
  EXPECT_EQ(reason(b, "short"), Drop::short_datagram);
  EXPECT_EQ(reason(b, ""), Drop::short_datagram);
  EXPECT_EQ(reason(b, sealed(stranger, "hello")), Drop::foreign_key);
  EXPECT_EQ(reason(b, sealed(a, "hello", 2)), Drop::destination);
  EXPECT_EQ(reason(a, datagram), Drop::own);
  EXPECT_EQ(reason(three, sealed(far, "hello")), Drop::header);
  datagram[0] = 'Q';
  EXPECT_EQ(reason(b, datagram), Drop::magic);
  datagram[0] = 'P';
  datagram[3] = 9;
  EXPECT_EQ(reason(b, datagram), Drop::version);
  datagram[3] = 1;
  datagram[4] = 0;
  EXPECT_EQ(reason(b, datagram), Drop::header);
  datagram[4] = 1;
  EXPECT_EQ(reason(b, datagram), Drop::count_);
  for (std::size_t i = 0; i < net::drop_reasons; ++i) EXPECT_STRNE(net::to_string(static_cast<Drop>(i)), "?");
}

TEST(Seal, ACounterIsTakenOnceWhateverTheOrder) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  std::vector<std::string> datagrams;
  for (std::size_t i = 0; i < net::Opener::window; ++i) datagrams.push_back(sealed(a, std::to_string(i)));
  std::mt19937_64 engine(5);
  std::shuffle(datagrams.begin(), datagrams.end(), engine);
  for (const auto& d : datagrams) ASSERT_TRUE(open(b, d));
  for (const auto& d : datagrams) ASSERT_EQ(reason(b, d), Drop::replayed);
}

TEST(Seal, WhatIsFarBehindIsTakenForAReplay) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  const std::string old = sealed(a, "old");
  for (std::size_t i = 0; i < net::Opener::window; ++i) sealed(a, "lost");
  EXPECT_TRUE(open(b, sealed(a, "new")));
  EXPECT_EQ(reason(b, old), Drop::replayed);
}

TEST(Seal, JumpsOfTheCounterLeaveNoGhostsInTheWindow) {
  // A bit that is not cleared when the window moves would refuse a fresh counter that is congruent to a seen
  // one.
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  std::mt19937_64 engine(6);
  for (int round = 0; round < 2000; ++round) {
    for (std::uint64_t lost = engine() % (round % 3 == 0 ? 1500 : 5); lost > 0; --lost) sealed(a, "lost");
    ASSERT_TRUE(open(b, sealed(a, "x"))) << round;
  }
}

TEST(Seal, AnEarlierBootOfAReplicaIsRefusedOnceALaterOneSpoke) {
  Sealer old_life(key_of(1), replica(0, 4)), new_life(key_of(1), replica(0, 5)), b(key_of(1), replica(1));
  EXPECT_TRUE(open(b, sealed(old_life, "x")));
  EXPECT_TRUE(open(b, sealed(new_life, "x")));
  EXPECT_EQ(reason(b, sealed(old_life, "x")), Drop::old_boot);
  EXPECT_TRUE(open(b, sealed(new_life, "x")));
}

TEST(Seal, AForgedLaterBootShutsNobodyOut) {
  Sealer a(key_of(1), replica(0, 4)), forger(key_of(2), replica(0, 99)), b(key_of(1), replica(1));
  EXPECT_TRUE(open(b, sealed(a, "x")));
  EXPECT_EQ(reason(b, sealed(forger, "x")), Drop::foreign_key);
  EXPECT_TRUE(open(b, sealed(a, "x")));
}

TEST(Seal, BootsOfDifferentIncarnationsHaveNothingToDoWithEachOther) {
  Sealer first(key_of(1), replica(0, 9, 1)), second(key_of(1), replica(0, 1, 2)), b(key_of(1), replica(1));
  EXPECT_TRUE(open(b, sealed(first, "x")));
  EXPECT_TRUE(open(b, sealed(second, "x")));
  EXPECT_TRUE(open(b, sealed(first, "x")));
}

TEST(Seal, TwoLivesNeverShareAKey) {
  std::set<std::array<std::uint8_t, 32>> keys;
  for (const std::uint8_t id : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{255}})
    for (const std::uint64_t boot : {1U, 2U})
      for (const std::uint8_t life : {std::uint8_t{1}, std::uint8_t{2}})
        keys.insert(net::derive_subkey(key_of(1), replica(id, boot, life)).bytes());
  EXPECT_EQ(keys.size(), 12U);
}

TEST(Seal, ClientsAreBoundedAndJunkIsNotAmongThem) {
  net::Opener opener(key_of(1), replica(1), 3);
  Sealer a(key_of(1), replica(0));
  const std::string from_replica = sealed(a, "x");
  ASSERT_TRUE(opener.open(bytes_of(from_replica)));
  for (std::uint32_t n = 0; n < net::Opener::clients_max + 100; ++n) {
    Sealer junk(key_of(2), client(n));
    ASSERT_FALSE(opener.open(bytes_of(sealed(junk, "x"))));
  }
  EXPECT_EQ(opener.known_clients(), 0U);
  for (std::uint32_t n = 0; n < net::Opener::clients_max + 100; ++n) {
    Sealer c(key_of(1), client(n));
    ASSERT_TRUE(opener.open(bytes_of(sealed(c, "x"))));
  }
  EXPECT_EQ(opener.known_clients(), net::Opener::clients_max);
  const auto again = opener.open(bytes_of(from_replica));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error(), Drop::replayed) << "no crowd of clients makes us forget a replica";
}

/// docs/WIRE.md shows this datagram.
TEST(Seal, ADatagramHasTheBytesOfTheDocument) {
  Sealer a(key_of(0), Identity{.sender = 2, .incarnation = {{1, 2, 3}}, .boot = 7});
  const std::string datagram = sealed(a, "hi", 1);
  const auto hex = paxos::to_hex({reinterpret_cast<const std::uint8_t*>(datagram.data()), datagram.size()});
  EXPECT_EQ(hex.substr(0, 80),
            "505844010102010001020300000000000000000000000000"
            "07000000000000000100000000000000");
  EXPECT_EQ(hex.substr(80), "1b234b1a2ce10cfd0f9fcc3618f5177868ec");
}

TEST(Seal, JunkDatagramsNeverCrash) {
  std::mt19937_64 engine(9);
  Sealer a(key_of(3), replica(1));
  for (int round = 0; round < 20'000; ++round) {
    std::string junk = sealed(a, std::string(engine() % 40, 'x'));
    for (std::uint64_t n = engine() % 4; n > 0; --n)
      junk[engine() % junk.size()] = static_cast<char>(engine());
    junk.resize(engine() % 4 == 0 ? engine() % (junk.size() + 1) : junk.size());
    wire_fuzz::datagram(bytes_of(junk));
  }
}

// --- keys with roles ---

constexpr chat::Credential ann{chat::Role::client, 0xa1}, bob{chat::Role::client, 0xb2},
    eve{chat::Role::reader, 0xa1};

Identity under(const chat::Credential& whose, std::uint32_t n, std::uint64_t life) {
  Identity i = client(n);
  i.life = life;
  i.whose = whose;
  return i;
}
Identity living(std::uint8_t id, std::uint64_t life) {
  Identity i = replica(id);
  i.life = life;
  return i;
}
struct Roles : testing::Test {
  static constexpr Opener::TicketKey tickets{9, 9};
  net::Secret secret = key_of(1);
  Sealer server{secret, living(0, 11), paxos::limits::replicas_max, tickets};
  Sealer hers{net::derive_key(secret, ann), under(ann, 1, 21)};
  Sealer his{net::derive_key(secret, bob), under(bob, 2, 22)};
  Sealer reads{net::derive_key(secret, eve), under(eve, 3, 23)};
  Sealer with_secret{secret, under({}, 4, 24)};
  Roles() {
    for (Sealer* each : {&server, &hers, &his, &reads, &with_secret}) each->take_versions_to(2);
  }
  static std::string ask(Sealer& by, const chat::Credential& whose, std::uint8_t to = 0) {
    std::string out;
    by.seal(out, {.version = 2, .destination = to, .receiver = 0, .whose = whose}, Content::bodies,
            "a question");
    return out;
  }
  std::string answer(const chat::Credential& whose, std::uint64_t life) {
    std::string out;
    server.seal(out, {.version = 2, .destination = any_destination, .receiver = life, .whose = whose},
                Content::bodies, "an answer");
    return out;
  }
};

TEST_F(Roles, AReplicaOpensWhatComesUnderAnyKeyThatIsDerivedFromItsSecret) {
  for (auto [by, whose] :
       {std::pair(&hers, ann), {&his, bob}, {&reads, eve}, {&with_secret, chat::Credential{}}}) {
    const auto opened = open(server, ask(*by, whose));
    ASSERT_TRUE(opened) << net::to_string(opened.error());
    EXPECT_EQ(opened->header.sender.whose, whose);
    EXPECT_EQ(opened->header.way.whose, whose);
    EXPECT_EQ(opened->plain.view(), "a question");
  }
}

TEST_F(Roles, OnlyWhoAskedOpensTheAnswer) {
  const std::string to_ann = answer(ann, 21);
  EXPECT_TRUE(open(hers, to_ann));
  EXPECT_EQ(reason(his, to_ann), Drop::key);
  EXPECT_EQ(reason(reads, to_ann), Drop::key) << "the same id in another role is another key";
  EXPECT_EQ(reason(with_secret, to_ann), Drop::key) << "a client takes what is said under its own key alone";
  EXPECT_TRUE(open(with_secret, answer({}, 24)));
  // Who claims her key without having it.
  Sealer thief{net::derive_key(secret, bob), under(ann, 1, 21)};
  thief.take_versions_to(2);
  EXPECT_EQ(reason(thief, to_ann), Drop::foreign_key);
  EXPECT_EQ(reason(server, ask(thief, ann)), Drop::foreign_key);
}

TEST_F(Roles, NobodySpeaksAsAReplicaOrUnderAnotherRoleWithAKey) {
  // As a replica to another: the header is refused before anything is opened.
  Identity as_replica = living(1, 31);
  as_replica.whose = ann;
  Sealer liar{net::derive_key(secret, ann), as_replica};
  EXPECT_EQ(reason(server, ask(liar, ann)), Drop::header);
  // Under the secret's name, or another role's, with her bytes.
  Sealer secretly{net::derive_key(secret, ann), under({}, 1, 21)};
  EXPECT_EQ(reason(server, ask(secretly, {})), Drop::foreign_key);
  const chat::Credential operates{chat::Role::operates, ann.id};
  Sealer promoted{net::derive_key(secret, ann), under(operates, 1, 21)};
  EXPECT_EQ(reason(server, ask(promoted, operates)), Drop::foreign_key);
}

TEST_F(Roles, AnUnknownRoleIsNotOpened) {
  std::string datagram = ask(hers, ann);
  for (const auto& [at, value] : {std::pair<std::size_t, char>{7, 4}, {7, 0}, {7, 77}, {12, 1}}) {
    std::string bent = datagram;
    bent[at] = value;
    EXPECT_EQ(reason(server, bent), Drop::key) << at << " " << int{value};
  }
  std::string no_id = datagram;
  no_id.replace(8, 8, 8, '\0');
  EXPECT_EQ(reason(server, no_id), Drop::key);
}

TEST_F(Roles, ManyKeysAreServedWithinABoundOfThoseThatAreKept) {
  std::vector<std::unique_ptr<Sealer>> all;
  for (std::uint32_t i = 1; i <= Opener::keys_kept_max + 50; ++i) {
    const chat::Credential whose{chat::Role::client, i};
    auto one = std::make_unique<Sealer>(net::derive_key(secret, whose), under(whose, 100 + i, i));
    one->take_versions_to(2);
    EXPECT_TRUE(open(server, ask(*one, whose)));
    EXPECT_TRUE(open(*one, answer(whose, i))) << i;
    all.push_back(std::move(one));
  }
  EXPECT_TRUE(open(*all.front(), answer({chat::Role::client, 1}, 1)));
}

// --- a secret that changes ---

struct Rotation : Roles {
  net::Secret next = key_of(99);
  net::Fingerprint old_name = net::fingerprint(secret), new_name = net::fingerprint(next);
  Sealer peer{secret, living(1, 12)};
  Sealer renewed{net::derive_key(next, ann), under(ann, 1, 21)};

  Rotation() {
    peer.take_versions_to(2);
    renewed.take_versions_to(2);
  }
  static std::string said(Sealer& by, std::uint8_t to) {
    std::string out;
    by.seal(out, {.version = 2, .destination = to}, Content::bodies, "between replicas");
    return out;
  }
};

TEST_F(Rotation, BothSecretsAreGoodUntilTheEarlierOneIsDropped) {
  EXPECT_NE(old_name, new_name);
  EXPECT_EQ(reason(server, ask(renewed, ann)), Drop::foreign_key) << "before it is there";
  server.add_secret(next);
  EXPECT_EQ(server.secrets(), (std::vector{old_name, new_name}));
  server.add_secret(next);
  EXPECT_EQ(server.secrets().size(), 2U) << "again is nothing new";
  const auto before = open(server, ask(his, bob));
  const auto after = open(server, ask(renewed, ann));
  ASSERT_TRUE(before && after);
  EXPECT_EQ(before->under, old_name);
  EXPECT_EQ(after->under, new_name);
  server.speak_under(new_name);
  EXPECT_TRUE(open(server, ask(his, bob)));
  EXPECT_TRUE(open(server, said(peer, 0))) << "a replica that lags";
  server.drop_secret(old_name);
  EXPECT_EQ(reason(server, ask(his, bob)), Drop::foreign_key);
  EXPECT_EQ(reason(server, ask(with_secret, {})), Drop::foreign_key);
  EXPECT_EQ(reason(server, said(peer, 0)), Drop::foreign_key);
  EXPECT_TRUE(open(server, ask(renewed, ann)));
}

TEST_F(Rotation, ASenderGoesOverInTheMiddleOfItsLifeAndNothingComesTwice) {
  server.add_secret(next);
  const std::string first = said(peer, 0);
  EXPECT_TRUE(open(server, first));
  const std::string late = said(peer, 0);
  peer.add_secret(next);
  peer.speak_under(new_name);
  const auto opened = open(server, said(peer, 0));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->under, new_name);
  EXPECT_TRUE(open(server, late)) << "one that was on its way";
  for (const std::string* again : {&first, &late}) EXPECT_EQ(reason(server, *again), Drop::replayed);
  const auto next_one = open(server, said(peer, 0));
  ASSERT_TRUE(next_one);
  EXPECT_EQ(next_one->under, new_name);
}

TEST_F(Rotation, TheAnswerComesUnderTheKeyThatWasAskedUnder) {
  server.add_secret(next);
  server.speak_under(new_name);
  const auto to = [&](const chat::Credential& whose, std::uint64_t life, net::Fingerprint under_which) {
    std::string out;
    server.seal(out,
                {.version = 2,
                 .destination = any_destination,
                 .receiver = life,
                 .whose = whose,
                 .under = under_which},
                Content::bodies, "an answer");
    return out;
  };
  EXPECT_TRUE(open(his, to(bob, 22, open(server, ask(his, bob))->under)));
  EXPECT_TRUE(open(renewed, to(ann, 21, open(server, ask(renewed, ann))->under)));
  EXPECT_EQ(reason(his, to(bob, 22, new_name)), Drop::foreign_key) << "his is derived from the earlier one";
}

}  // namespace
