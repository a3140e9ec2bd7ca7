#include "net/address_book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace {

using namespace std::chrono_literals;
using net::Address;
using net::AddressBook;
using net::Identity;
using paxos::Time;
using Kind = AddressBook::Event::Kind;

Address at(std::string_view host, unsigned port = 7400) {
  return *Address::literal(std::string(host) + ":" + std::to_string(port));
}
const Address a = at("10.0.0.1"), b = at("10.0.0.2"), c = at("10.0.0.3"), evil = at("192.0.2.66");
Identity life(std::uint8_t n, std::uint8_t id = 1, std::uint64_t boot = 1) {
  return {.sender = id, .incarnation = {{id, n}}, .boot = boot};
}

/// A book of three replicas as replica 0 has it; replica 1 is what the tests are about.
struct Book {
  explicit Book(std::optional<Address> literal = std::nullopt, bool probes = true)
      : book({.names = {"zero:7400", literal ? literal->to_string() : "one:7400", "two:7400"},
              .literals = {at("10.0.0.100"), literal, at("10.0.0.102")},
              .self = 0,
              .probes = probes},
             now) {}
  void pass(paxos::Duration time) { now += time; }
  /// Runs until `until`, answering nothing, as the programs do it: everything when it is due.
  void run(paxos::Duration time, std::map<Address, int>* probed = nullptr) {
    const Time end = now + time;
    while (now < end) {
      book.tick(now);
      for (const auto& probe : book.take_probes(now))
        if (probed != nullptr && probe.id == 1) ++(*probed)[probe.to];
      for (const std::size_t id : book.take_lookups(now)) lookups.push_back({id, now});
      const Time next = std::max(book.deadline(), now + 1ms);
      now = std::min(next, end);
    }
  }
  void name_says(std::vector<Address> all) { book.looked_up(now, 1, std::move(all)); }
  void name_fails() {
    book.looked_up(now, 1, tl::make_unexpected(std::string("name 'one' does not resolve: no")));
  }
  void heard(const Address& from, bool newest = true, std::uint8_t n = 1) {
    book.heard(now, 1, from, life(n), newest);
  }
  std::optional<AddressBook::Probe> probe_to(const Address& to) {
    for (const auto& probe : book.take_probes(now))
      if (probe.id == 1 && probe.to == to) return probe;
    return std::nullopt;
  }

  Time now = Time{} + 1h;
  std::vector<std::pair<std::size_t, Time>> lookups;
  AddressBook book;
};

TEST(AddressBook, ALiteralIsThereAtOnceAndIsNeverLookedUp) {
  Book one(a);
  EXPECT_EQ(one.book.at(1), a);
  EXPECT_TRUE(one.book.take_lookups(one.now).empty());
  one.run(1h);
  EXPECT_TRUE(one.lookups.empty());
  EXPECT_EQ(one.book.at(1), a);
}

TEST(AddressBook, WhoIsRenamedIsLookedForThereOnceItIsSilent) {
  Book b1(a, false);
  b1.heard(a);
  b1.book.rename(b1.now, 1, b.to_string());
  EXPECT_EQ(b1.book.at(1), a) << "it answers where it is";
  b1.book.sent(b1.now, 1);
  b1.run(AddressBook::silence + 1s);
  EXPECT_EQ(b1.book.at(1), b);
  // Who was never heard is taken to be there at once; and who is renamed to nothing is nowhere.
  Book b2(a, false);
  b2.book.rename(b2.now, 1, b.to_string());
  EXPECT_EQ(b2.book.at(1), b);
  b2.book.rename(b2.now, 1, "");
  EXPECT_TRUE(b2.book.at(1).empty());
  EXPECT_TRUE(b2.book.worth_remembering().empty()) << "without a name there is nothing to remember it by";
}

TEST(AddressBook, AnAnswerForTheNameBeforeIsNotTakenForTheNewOne) {
  Book b1;
  b1.run(1ms);
  ASSERT_TRUE(b1.book.looking_up(1));
  b1.book.rename(b1.now, 1, "other:7400");
  b1.name_says({a});
  EXPECT_TRUE(b1.book.at(1).empty());
  b1.run(10ms);
  ASSERT_TRUE(b1.book.looking_up(1));
  b1.name_says({b});
  EXPECT_EQ(b1.book.at(1), b);
}

TEST(AddressBook, ASuggestionIsTriedWhereItIsNotHeardAtItsOwnAddress) {
  Book b1(a, false);
  b1.book.suggest(1, b);
  EXPECT_EQ(b1.book.at(1), a);
  b1.book.sent(b1.now, 1);
  b1.run(AddressBook::silence + 1s);
  EXPECT_EQ(b1.book.at(1), b);
}

TEST(AddressBook, ANameThatDoesNotResolveIsAskedAgainWithBackOffUntilItDoes) {
  Book one;
  EXPECT_TRUE(one.book.at(1).empty());
  std::vector<paxos::Duration> pauses;
  Time last{};
  for (int n = 0; n < 9; ++n) {
    one.lookups.clear();
    while (one.lookups.empty()) one.run(100ms);
    if (n > 0) pauses.push_back(one.lookups.front().second - last);
    last = one.lookups.front().second;
    one.now = last;
    one.name_fails();
    EXPECT_EQ(one.book.fault(1), "name 'one' does not resolve: no");
  }
  EXPECT_EQ(pauses.front(), 1s);
  EXPECT_TRUE(std::is_sorted(pauses.begin(), pauses.end()));
  EXPECT_EQ(pauses.back(), 30s);
  auto events = one.book.take_events();
  ASSERT_EQ(events.size(), 1u) << "said once, not at every try";
  EXPECT_EQ(events[0].kind, Kind::unresolved);
  one.name_says({b});
  EXPECT_EQ(one.book.at(1), b);
  EXPECT_TRUE(one.book.fault(1).empty());
  events = one.book.take_events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::resolved);
}

TEST(AddressBook, ALookUpThatHangsKeepsOnlyItsOwnNameWaiting) {
  Book one;
  one.run(10min);
  EXPECT_EQ(one.lookups.size(), 1u) << "no second one while the first is under way";
}

TEST(AddressBook, ANameIsLookedUpRarelyWhileItsReplicaAnswersAndOftenWhileItIsSilent) {
  Book one;
  one.book.looked_up(one.now, 1, std::vector{a});
  (void)one.book.take_lookups(one.now);
  one.heard(a);
  one.name_says({a});
  std::size_t heard_lookups = 0;
  for (int n = 0; n < 600; ++n) {
    one.book.sent(one.now, 1);
    one.heard(a);
    one.run(1s);
    if (!one.lookups.empty()) one.name_says({a});
    heard_lookups += std::exchange(one.lookups, {}).size();
  }
  EXPECT_LE(heard_lookups, 2u);
  std::size_t silent_lookups = 0;
  for (int n = 0; n < 600; ++n) {
    one.book.sent(one.now, 1);
    one.run(1s);
    if (!one.lookups.empty()) one.name_says({a});
    silent_lookups += std::exchange(one.lookups, {}).size();
  }
  EXPECT_GE(silent_lookups, 19u);
  EXPECT_LE(silent_lookups, 25u);
}

TEST(AddressBook, WhatIsRememberedIsUsedUntilTheNameSaysSomething) {
  Book one;
  one.book.remember(1, a);
  EXPECT_EQ(one.book.at(1), a);
  one.name_fails();
  EXPECT_EQ(one.book.at(1), a);
  one.name_says({b});
  EXPECT_EQ(one.book.at(1), b) << "nobody was heard at the old one";
}

TEST(AddressBook, WhatIsRememberedStaysWhereItsReplicaAnswers) {
  Book one;
  one.book.remember(1, a);
  one.heard(a);
  one.name_says({b});
  EXPECT_EQ(one.book.at(1), a);
  EXPECT_TRUE(one.book.moved(1));
}

TEST(AddressBook, FollowsAReplicaThatProvesItsNewAddress) {
  Book one(a);
  one.heard(a);
  one.pass(10ms);
  one.heard(b);
  EXPECT_EQ(one.book.at(1), a) << "a datagram alone moves nobody";
  const auto probe = one.probe_to(b);
  ASSERT_TRUE(probe);
  one.book.proved(one.now, 1, b, life(1), probe->nonce);
  EXPECT_EQ(one.book.at(1), b);
  EXPECT_TRUE(one.book.moved(1));
  const auto events = one.book.take_events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, Kind::moved);
  EXPECT_EQ(events[0].from, a);
  EXPECT_EQ(events[0].to, b);
  ASSERT_EQ(one.book.worth_remembering().size(), 1u);
  EXPECT_EQ(one.book.worth_remembering()[0].address, b);
}

TEST(AddressBook, ARecordedDatagramMovesNobody) {
  Book one(a);
  one.heard(a);
  one.heard(evil, false);
  EXPECT_FALSE(one.probe_to(evil)) << "an older one is not even followed up";
  // After a restart of ours nothing is known of counters: the newest that came.
  Book fresh(a);
  fresh.heard(evil);
  const auto probe = fresh.probe_to(evil);
  ASSERT_TRUE(probe);
  fresh.book.proved(fresh.now, 1, evil, life(1), probe->nonce + 1);
  fresh.book.proved(fresh.now, 1, c, life(1), probe->nonce);
  EXPECT_EQ(fresh.book.at(1), a);
  std::map<Address, int> probed;
  fresh.run(1min, &probed);
  EXPECT_EQ(fresh.book.at(1), a);
  EXPECT_LE(probed[evil], 20) << "and is left alone soon";
}

TEST(AddressBook, AProofCountsOnceAndNotForEver) {
  Book one(a);
  one.heard(b);
  const auto probe = one.probe_to(b);
  ASSERT_TRUE(probe);
  one.run(AddressBook::probe_kept + 1s);
  (void)one.book.take_probes(one.now);
  one.book.proved(one.now, 1, b, life(1), probe->nonce);
  EXPECT_EQ(one.book.at(1), a);
}

TEST(AddressBook, ASecondProcessOfTheSameIdTakesNothingFromTheOneThatAnswers) {
  Book one(a);
  one.heard(a, true, 1);
  one.heard(b, true, 2);
  const auto probe = one.probe_to(b);
  ASSERT_TRUE(probe);
  one.book.proved(one.now, 1, b, life(2), probe->nonce);
  EXPECT_EQ(one.book.at(1), a);
  // Once the first one is gone, a replica with a new disk is taken.
  one.book.sent(one.now, 1);
  one.pass(3s);
  one.heard(b, true, 2);
  const auto again = one.probe_to(b);
  ASSERT_TRUE(again);
  one.book.proved(one.now, 1, b, life(2), again->nonce);
  EXPECT_EQ(one.book.at(1), b);
}

TEST(AddressBook, ANameThatPointsElsewhereIsTriedBesideTheAddressThatAnswers) {
  Book one;
  one.name_says({a});
  one.heard(a);
  one.name_says({b});
  EXPECT_EQ(one.book.at(1), a);
  const auto probe = one.probe_to(b);
  ASSERT_TRUE(probe);
  for (int n = 0; n < 30; ++n) {
    one.book.sent(one.now, 1);
    one.heard(a);
    one.run(100ms);
  }
  EXPECT_EQ(one.book.at(1), a) << "nobody is there yet";
  one.pass(1s);
  one.heard(a);
  const auto later = one.probe_to(b);
  ASSERT_TRUE(later);
  one.book.proved(one.now, 1, b, life(1), later->nonce);
  EXPECT_EQ(one.book.at(1), b);
}

TEST(AddressBook, GoesThroughAllAddressesOfANameWhileNothingIsHeard) {
  Book one;
  one.name_says({a, b, c});
  std::map<Address, int> was;
  std::map<Address, int> probed;
  for (int n = 0; n < 200; ++n) {
    one.book.sent(one.now, 1);
    one.run(100ms, &probed);
    ++was[one.book.at(1)];
  }
  EXPECT_EQ(was.size(), 3u);
  EXPECT_GT(probed[a], 3);
  EXPECT_GT(probed[b], 3);
  EXPECT_GT(probed[c], 3);
  const Address found = one.book.at(1);
  one.heard(found);
  for (int n = 0; n < 100; ++n) {
    one.book.sent(one.now, 1);
    one.heard(found);
    one.run(100ms);
    ASSERT_EQ(one.book.at(1), found);
  }
}

TEST(AddressBook, AClientMovesOnWhenItsQuestionsAreNotAnswered) {
  Book one(std::nullopt, false);
  one.name_says({a, b});
  one.run(1min);
  EXPECT_EQ(one.book.at(1), a) << "nothing was asked";
  one.book.sent(one.now, 1);
  one.run(AddressBook::silence + 10ms);
  EXPECT_EQ(one.book.at(1), b);
  one.heard(b);
  one.run(1min);
  EXPECT_EQ(one.book.at(1), b);
  // A day later its machine has another address.
  one.name_says({c});
  EXPECT_EQ(one.book.at(1), b);
  one.book.sent(one.now, 1);
  one.run(AddressBook::silence + 10ms);
  EXPECT_EQ(one.book.at(1), c);
}

TEST(AddressBook, RemembersWhereWeListenedOurselves) {
  AddressBook ours({.names = {"zero:7400"}, .literals = {std::nullopt}, .self = 0}, Time{});
  EXPECT_TRUE(ours.own_choices().empty());
  EXPECT_EQ(ours.take_lookups(Time{}).size(), 1u);
  ours.looked_up(Time{}, 0, std::vector{a, b});
  EXPECT_EQ(ours.own_choices(), (std::vector{a, b}));
  EXPECT_TRUE(ours.worth_remembering().empty());
  ours.listens(Time{} + 1s, b);
  ASSERT_EQ(ours.worth_remembering().size(), 1u);
  EXPECT_EQ(ours.worth_remembering()[0].address, b);
  AddressBook later({.names = {"zero:7400"}, .literals = {std::nullopt}, .self = 0}, Time{});
  later.remember(0, b);
  EXPECT_EQ(later.own_choices(), std::vector{b});
}

TEST(AddressBook, KnowsWhoseAnAddressIsWhileItIsBeingProbed) {
  Book one(a);
  const auto owner = [&](const Address& address) {
    for (const auto& [of, id] : one.book.owners())
      if (of == address) return static_cast<int>(id);
    return -1;
  };
  EXPECT_EQ(owner(a), 1);
  EXPECT_EQ(owner(b), -1);
  const auto before = one.book.revision();
  one.heard(b);
  EXPECT_EQ(owner(b), 1);
  EXPECT_GT(one.book.revision(), before);
}

/// A replica that moves about, with and without its name; a name server that lies or is dead; an attacker who
/// says recorded datagrams again, from addresses of his own. The book never follows him, and finds the
/// replica whenever it stays.
TEST(AddressBook, FollowsTheReplicaAndNobodyElseWhateverComes) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
    Book one(chance(30) ? std::optional(a) : std::nullopt);
    const std::vector<Address> homes{a, b, c, at("10.0.0.4")};
    const std::vector<Address> traps{evil, at("192.0.2.67")};
    Address home = a;
    Address named = a;
    const unsigned loss = random() % 30;
    bool poisoned = false;
    for (int stretch = 0; stretch < 4; ++stretch) {
      home = homes[random() % homes.size()];
      const bool name_knows = one.book.is_name(1) && chance(50);
      if (name_knows) named = home;
      const bool speaks = !name_knows || chance(70);  // it knows where we are
      const bool server_dead = !name_knows && chance(30);
      if (chance(20) && !server_dead && speaks) {
        named = traps[0];
        poisoned = true;
      }
      for (int step = 0; step < 900; ++step) {
        one.pass(50ms);
        one.book.tick(one.now);
        for (const std::size_t id : one.book.take_lookups(one.now)) {
          if (server_dead)
            one.book.looked_up(one.now, id, tl::make_unexpected(std::string("dead")));
          else
            one.book.looked_up(one.now, id, std::vector{named});
        }
        one.book.sent(one.now, 1);
        if (speaks && !chance(loss)) one.heard(home);
        if (!speaks && one.book.at(1) == home && !chance(loss)) one.heard(home);  // an answer
        if (chance(10)) one.heard(traps[random() % traps.size()], chance(30));
        for (const auto& probe : one.book.take_probes(one.now)) {
          ASSERT_LT(probe.id, 3u);
          if (probe.id == 1 && probe.to == home && !chance(loss))
            one.book.proved(one.now, 1, home, life(1), probe.nonce);
        }
        if (one.book.at(1) == evil) {
          ASSERT_TRUE(poisoned) << "seed "
                                << seed;  // only the name leads there, and only while nothing answers
        } else {
          ASSERT_NE(one.book.at(1), traps[1]) << "seed " << seed;
        }
      }
      ASSERT_EQ(one.book.at(1), home) << "seed " << seed << " stretch " << stretch;
    }
  }
}

}  // namespace
