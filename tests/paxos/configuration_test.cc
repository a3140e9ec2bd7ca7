#include "paxos/configuration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/paxos/cluster.h"

/// Changes of the configuration (DESIGN.md section 4; docs/DECISIONS.md, "Configurations"): each rule with a
/// test that breaks without it.
namespace paxos_test {

using namespace std::chrono_literals;

namespace {

Incarnation named(std::uint8_t n) {
  Incarnation out;
  out.bytes[0] = n;
  return out;
}

ReplicaSet set_of(std::initializer_list<std::uint8_t> ids) {
  ReplicaSet out;
  for (const std::uint8_t id : ids) out.insert(ReplicaId{id});
  return out;
}

/// Replica `id` lost its directory, and has announced the new one.
void lose(Cluster& c, std::size_t id, std::size_t leader) {
  c.wipe(id);
  ASSERT_TRUE(c.run_until(
      [&] { return c[leader].newcomer(ReplicaId{static_cast<std::uint8_t>(id)}).has_value(); }, 2s));
  c.run_for(300ms);  // the last word of the lost one is an election timeout old
  ASSERT_TRUE(c.run_until([&] { return c[leader].is_leader() && c[leader].can_propose(); }, 2s));
}

bool votes_in(const Cluster& c, std::size_t id, std::uint32_t number) {
  return c.up(id) && c.status(id).voting && c.status(id).configuration.number == number;
}

bool all_in(const Cluster& c, std::uint32_t number) {
  for (std::size_t id = 0; id < c.size(); ++id)
    if (!votes_in(c, id, number)) return false;
  return true;
}

std::string standing(Cluster& c, std::optional<std::size_t> lost) {
  std::string out = lost ? ", lost " + std::to_string(*lost) : "";
  for (std::size_t id = 0; id < c.size(); ++id) {
    if (!c.up(id)) continue;
    const Status s = c.status(id);
    out += "\n  " + std::to_string(id) + ": " + to_string(s.role) + ", configuration " +
           std::to_string(s.configuration.number) + ", promised " + to_string(s.ballot) + ", follows " +
           to_string(s.leader_ballot) + ", chosen " + std::to_string(s.chosen.n) + ", applied " +
           std::to_string(s.applied.n) + ", connected to " + std::to_string(s.connected.size()) + " " +
           s.reason;
    if (lost) out += "; " + c.replace(id, *lost).refused;
  }
  return out;
}

bool has(const Cluster& c, std::size_t id, const std::string& text) {
  for (std::size_t slot = 1; slot <= c.applied(id); ++slot)
    if (c.text(id, slot) == text) return true;
  return false;
}

Cluster::Which accept_of(std::uint64_t slot) {
  return [slot](const Letter& l) {
    const auto* accept = std::get_if<Accept>(&l.message);
    return accept != nullptr && accept->slot.n == slot;
  };
}

}  // namespace

TEST(Configuration, CountsItsVotersAndNobodyElse) {
  Configuration c = Configuration::of_birth({named(1), named(2), named(3), named(4), named(5)});
  EXPECT_TRUE(c.is_quorum(set_of({0, 1, 2})));
  EXPECT_FALSE(c.is_quorum(set_of({0, 1})));
  EXPECT_FALSE(c.is_quorum(set_of({0, 1, 7, 8})));
  c.members[3].role = MemberRole::learner;
  c.members[4].role = MemberRole::removed;
  EXPECT_TRUE(c.is_quorum(set_of({0, 1})));
  EXPECT_FALSE(c.is_quorum(set_of({0, 3, 4})));
  EXPECT_TRUE(c.member({3}, named(4)));
  EXPECT_FALSE(c.voter({3}, named(4)));
  EXPECT_FALSE(c.member({4}, named(5)));
  EXPECT_FALSE(c.member({0}, named(9)));
  EXPECT_FALSE(Configuration{}.is_quorum({})) << "where nobody is known to vote, nobody is a quorum";
}

TEST(Configuration, IsWhatItsDecreeSays) {
  Configuration c = Configuration::of_birth({named(1), named(2), named(3)});
  c.members[1].address = "10.0.0.2:7400";
  const Configuration next = c.with_incarnation({2}, named(9));
  EXPECT_EQ(next.number, 2U);
  EXPECT_EQ(next.members[2].incarnation, named(9));
  const Decree decree = make_configuration_decree(next);
  EXPECT_EQ(configuration_in(decree), next);
  auto in_force = configuration_after(1, Slot{7}, decree);
  ASSERT_TRUE(in_force);
  EXPECT_EQ(in_force->begins, Slot{8});
  EXPECT_EQ(decode_configuration(encode_configuration(*in_force)), in_force);
  EXPECT_FALSE(configuration_after(2, Slot{7}, decree)) << "one that does not follow changes nothing";
  EXPECT_FALSE(configuration_in(Decree{}));
  for (std::size_t size = 0; size < decree.value.size(); ++size)
    EXPECT_FALSE(configuration_in({DecreeKind::configuration, decree.value.slice(0, size)})) << size;
}

TEST(Configuration, BallotsAreComparedByItFirst) {
  const Ballot first{9, {2}};
  const Ballot later{1, {0}, 2};
  EXPECT_LT(first, later);
  EXPECT_EQ(to_string(first), "9.2");
  EXPECT_EQ(to_string(later), "2:1.0");
}

TEST(Replace, ALostDirectoryVotesAgainAsAnother) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  lose(c, 2, 0);
  EXPECT_EQ(c.status(2).role, Role::dormant);
  c.propose(0, "b");
  const ChangeResult change = c.replace(0, 2);
  ASSERT_EQ(change.refused, "");
  EXPECT_EQ(change.configuration, 2U);
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2); }, 3s)) << c.status(2).reason;
  EXPECT_TRUE(has(c, 2, "a") && has(c, 2, "b"));
  // It is as good as any other: one more may go.
  c.crash(1);
  ASSERT_TRUE(c.run_until([&] { return c.leader() && c.try_propose(*c.leader(), "c"); }, 3s));
  ASSERT_TRUE(c.run_until([&] { return has(c, 2, "c"); }, 3s));
  EXPECT_EQ(c.status(2).ballot.configuration, 2U);
}

TEST(Replace, WhoLedGoesOnAtOnce) {
  Cluster c({});
  c.elect(0);
  lose(c, 2, 0);
  ASSERT_EQ(c.replace(0, 2).refused, "");
  const Time before = c.now();
  ASSERT_TRUE(c.run_until([&] { return votes_in(c, 0, 2) && c[0].is_leader() && c[0].can_propose(); }, 1s));
  // Each round trip takes at most 1.6 ms here: far below an election timeout.
  EXPECT_LT(c.now() - before, 15ms);
}

TEST(Replace, IsRefusedWithTheReason) {
  Cluster c({});
  c.elect(0);
  const auto refused = [&](std::size_t at, std::size_t id, const char* why) {
    const std::string said = c.replace(at, id).refused;
    EXPECT_NE(said.find(why), std::string::npos) << said;
  };
  refused(1, 2, "does not lead");
  refused(0, 7, "no replica 7");
  refused(0, 0, "is there, and votes");
  refused(0, 2, "is there, and votes");
  c.crash(2);
  c.run_for(1s);
  ASSERT_TRUE(c[0].is_leader());
  refused(0, 2, "has not announced a new directory");
  lose(c, 2, 0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accepted>(l.message); };
  ASSERT_EQ(c.replace(0, 2).refused, "");
  refused(0, 2, "another change is under way");
}

TEST(Replace, IsNotDoneTwiceForOneDirectory) {
  struct Setup setup;
  setup.bounds.window_slots = 2;
  Cluster c(setup);
  c.elect(0);
  for (int i = 0; i < 8; ++i) {
    c.propose(0, "a");
    c.settle();
  }
  lose(c, 2, 0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<LearnReply>(l.message); };
  ASSERT_EQ(c.replace(0, 2).refused, "");
  c.run_for(400ms);
  ASSERT_TRUE(votes_in(c, 0, 2) && c[0].is_leader());
  const std::string said = c.replace(0, 2).refused;
  EXPECT_NE(said.find("votes once it has caught up"), std::string::npos) << said;
  c.on_post = {};
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2); }, 3s));
}

/// Who was cut off while a directory was replaced twice must not bring back the first of the two, of which it
/// heard.
TEST(Replace, TakesNoDirectoryThatWasReplacedItself) {
  Cluster c({.replicas = 5});
  c.elect(0);
  lose(c, 4, 0);
  ASSERT_TRUE(c[1].newcomer({4}));
  c.isolate(1);
  for (const std::uint32_t number : {2U, 3U}) {
    if (number == 3) {
      c.wipe(4);
      ASSERT_TRUE(c.run_until([&] { return c[0].newcomer({4}).has_value(); }, 2s));
      c.run_for(300ms);
    }
    ASSERT_EQ(c.replace(0, 4).refused, "");
    ASSERT_TRUE(c.run_until([&] { return votes_in(c, 0, number) && votes_in(c, 4, number); }, 3s));
  }
  c.heal();
  c.cut_both(1, 4);
  ASSERT_TRUE(c.run_until([&] { return votes_in(c, 1, 3); }, 3s));
  EXPECT_FALSE(c[1].newcomer({4}));
}

TEST(Replace, IsRefusedWhereNoQuorumWouldBeCaughtUp) {
  struct Setup setup{.replicas = 5};
  setup.bounds.window_slots = 3;
  Cluster c(setup);
  c.elect(0);
  lose(c, 4, 0);
  c.crash(3);
  c.hold_applying(2, true);
  for (int i = 0; i < 8; ++i) {
    c.propose(0, "x");
    c.settle();
  }
  c.run_for(600ms);
  ASSERT_TRUE(c[0].is_leader());
  const std::string said = c.replace(0, 4).refused;
  EXPECT_NE(said.find("no quorum of replicas that are up and caught up; these are not: 2, 3"),
            std::string::npos)
      << said;
  c.hold_applying(2, false);
  c.run_for(300ms);
  EXPECT_EQ(c.replace(0, 4).refused, "");
}

TEST(Change, NothingIsProposedAboveItBeforeItIsChosen) {
  Cluster c({});
  c.elect(0);
  lose(c, 2, 0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accepted>(l.message); };
  const ChangeResult change = c.replace(0, 2);
  ASSERT_EQ(change.refused, "");
  EXPECT_FALSE(c[0].can_propose());
  EXPECT_FALSE(c.skip(0, {change.slot.n + 1}).refused.empty());
  c.run_for(100ms);
  EXPECT_FALSE(c[0].can_propose());
  EXPECT_EQ(c.status(1).accepted, change.slot);
  c.on_post = {};
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2); }, 3s));
}

TEST(Change, WhoFindsItInPhaseOneStopsThere) {
  Cluster c({.replicas = 5});
  c.elect(0);
  lose(c, 4, 0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accept>(l.message) && l.to.n != 1; };
  const ChangeResult change = c.replace(0, 4);
  ASSERT_EQ(change.refused, "");
  c.settle();
  ASSERT_EQ(c.status(1).accepted, change.slot);
  c.crash(0);
  // Its finding is held up: it leads, and must not go beyond.
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accepted>(l.message); };
  c.campaign(1);
  c.settle();
  ASSERT_TRUE(c[1].is_leader());
  EXPECT_FALSE(c[1].can_propose());
  c.on_post = {};
  ASSERT_TRUE(c.run_until([&] { return votes_in(c, 1, 2) && c[1].can_propose(); }, 2s));
  c.propose(1, "after");
  ASSERT_TRUE(c.run_until([&] { return has(c, 4, "after"); }, 3s));
  EXPECT_EQ(c.configurations().at(1).begins, change.slot + 1);
}

/// 0 proposes a change that nobody hears of. 2 leads without it, and has the slot above chosen before the
/// change's own. Whoever finds both must not bring the change back below what was chosen.
TEST(Change, OneThatWasPassedOverIsNeverChosen) {
  Cluster c({.replicas = 5});
  c.elect(0);
  lose(c, 4, 0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accept>(l.message); };
  const Slot slot = c.replace(0, 4).slot;
  ASSERT_FALSE(slot.none());
  c.isolate(0);
  c.on_post = {};
  c.connect();
  c.campaign(2);
  c.settle();
  ASSERT_TRUE(c[2].is_leader());
  c.on_post = [&](const Letter& l) { return accept_of(slot.n)(l); };
  c.propose(2, "in its place");
  c.propose(2, "above");
  c.settle();
  ASSERT_TRUE(c.truth().contains(slot + 1)) << "the slot above is chosen";
  ASSERT_FALSE(c.truth().contains(slot));
  c.crash(2);
  c.on_post = {};
  c.heal();
  c.advance(60ms);
  c.connect();
  c.campaign(1);
  c.settle();
  c.run_for(100ms);
  ASSERT_TRUE(c.run_until([&] { return c.applied(1) > slot.n && c.applied(0) > slot.n; }, 2s));
  EXPECT_EQ(c.text(1, slot.n + 1), "above");
  EXPECT_EQ(c.text(1, slot.n), "(no-op)");
  EXPECT_EQ(c.status(1).configuration.number, 1U);
}

/// 0 voted for a no-op that the next configuration then chose, and learns that it did. What it says of it in
/// the configuration before must not be that it was chosen there: a change below it would be taken for passed
/// over.
TEST(Change, WhatTheNextConfigurationChoseIsNotCalledChosenInTheOneBefore) {
  Cluster c({});
  c.step(0, 1, Accept{Ballot{5, {1}}, Slot{2}, {}, {}});
  c.settle();
  c.step(0, 1, LearnReply{.decrees = {{Slot{2}, Ballot{6, {1}, 2}, {}}}, .first_slot = Slot{1}});
  c.settle();
  std::vector<PromiseEntry> told;
  c.on_post = [&](const Letter& l) {
    if (const auto* promise = std::get_if<Promise>(&l.message)) told = promise->entries;
    return false;
  };
  c.step(0, 1, Prepare{Ballot{7, {1}}, Slot{1}});
  c.settle();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0].chosen);
  EXPECT_EQ(told[0].ballot.configuration, 2U);
}

/// It pulled a snapshot while it caught up, and lost what it had not synced: that it joined. It is told so
/// again, and the state knows better than that in which configuration it stands.
TEST(Replace, WhatASnapshotSaysStandsWhenTheJoinIsToldAgain) {
  const std::vector<Incarnation> members{named(1), named(2), named(9)};
  Configuration third = Configuration::of_birth(members);
  third.number = 3;
  third.begins = Slot{8};
  Recovered recovered{
      .incarnation = named(9), .boot = 2, .birth = {}, .promised = {}, .chosen_prefix = Slot{10}};
  recovered.applied = Slot{10};
  recovered.configuration = third;
  recovered.first_slot = Slot{11};
  Replica replica({.self = ReplicaId{2}}, recovered, Time{});
  replica.step(Time{}, ReplicaId{0}, Origin{named(1)},
               Birth{.members = members, .synced = true, .born = true, .configuration = 3});
  EXPECT_EQ(replica.status().configuration, third);
  EXPECT_TRUE(replica.status().voting) << replica.status().reason;
}

/// 0 votes for two slots that nobody else hears of; the lower one then closes the configuration. Its vote
/// above is of the old one: phase 1 of the next is not told of it, not after a restart either.
TEST(Change, PhaseOneOfTheNextCoversNothingOfTheOneBefore) {
  for (const bool restarted : {false, true}) {
    Cluster c({.replicas = 5});
    c.elect(0);
    lose(c, 4, 0);
    c.on_post = [](const Letter& l) { return std::holds_alternative<Accept>(l.message); };
    c.propose(0, "lost");
    c.propose(0, "old vote");
    const Slot slot{c.status(0).accepted.n - 1};
    c.isolate(0);
    c.on_post = {};
    c.connect();
    c.campaign(1);
    c.settle();
    ASSERT_TRUE(c[1].is_leader());
    lose(c, 4, 1);
    const ChangeResult change = c.replace(1, 4);
    ASSERT_EQ(change.refused, "");
    ASSERT_EQ(change.slot, slot);
    ASSERT_TRUE(c.run_until([&] { return votes_in(c, 1, 2) && votes_in(c, 2, 2); }, 2s));
    std::size_t told = 0;
    c.on_post = [&](const Letter& l) {
      const auto* promise = std::get_if<Promise>(&l.message);
      if (promise != nullptr && l.from.n == 0)
        told += static_cast<std::size_t>(
            std::count_if(promise->entries.begin(), promise->entries.end(),
                          [](const PromiseEntry& e) { return e.ballot.configuration == 1; }));
      return false;
    };
    c.heal();
    ASSERT_TRUE(c.run_until([&] { return votes_in(c, 0, 2); }, 3s));
    c.node(0).state_durable = c.node(0).applied.size();
    if (restarted) c.restart(0);
    c.crash(3);
    c.run_for(300ms);
    ASSERT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 2s));
    const std::size_t next = *c.leader() == 1 ? 2 : 1;
    c.campaign(next);
    c.settle();
    ASSERT_TRUE(c[next].is_leader());
    ASSERT_TRUE(c.run_until([&] { return c.leader() && c.try_propose(*c.leader(), "new"); }, 3s));
    ASSERT_TRUE(c.run_until([&] { return has(c, 0, "new"); }, 3s));
    EXPECT_EQ(told, 0U);
    EXPECT_FALSE(has(c, 0, "old vote"));
  }
}

/// Votes of a replaced directory, even at the right ballot, and of an acceptor that has not come to it.
TEST(Change, AReplacedDirectorysVoteIsNotCounted) {
  Cluster c({});
  c.elect(0);
  const Incarnation old = c.node(2).disk.incarnation;
  lose(c, 2, 0);
  ASSERT_EQ(c.replace(0, 2).refused, "");
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2) && c[0].can_propose(); }, 3s));
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accept>(l.message); };
  c.propose(0, "x");
  const Slot slot = c.status(0).accepted;
  const Accepted vote{.ballot = c.status(0).ballot, .slots = {{slot, slot}}};
  c[0].step(c.time(0), ReplicaId{2}, old, vote);
  EXPECT_LT(c[0].chosen(), slot);
  c[0].step(c.time(0), ReplicaId{2}, c.node(2).disk.incarnation, vote);
  EXPECT_EQ(c[0].chosen(), slot);
  c.bag().clear();
}

TEST(Change, ADirectoryThatWasReplacedNeverVotesAgain) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  const Disk before = c.node(2).disk;
  lose(c, 2, 0);
  ASSERT_EQ(c.replace(0, 2).refused, "");
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2); }, 3s));
  // The old one comes back in its place.
  c.crash(2);
  const auto come_back = [&](const Disk& disk) {
    c.node(2).disk = disk;
    c.node(2).state_durable = 0;
    c.restart(2);
  };
  come_back(before);
  c.run_for(500ms);
  EXPECT_EQ(c.status(2).role, Role::dormant);
  EXPECT_FALSE(c.status(2).voting);
  EXPECT_NE(c.status(2).reason.find("has taken the place of this one"), std::string::npos)
      << c.status(2).reason;
  // It knows that by itself, too.
  c.isolate(2);
  c.restart(2);
  c.run_for(100ms);
  EXPECT_EQ(c.status(2).role, Role::dormant);
  EXPECT_NE(c.status(2).reason.find("has taken the place of this one"), std::string::npos)
      << c.status(2).reason;
}

/// A leader whose change is under way may be the last to hear that it is in force: others may already have
/// chosen what a read must show.
TEST(Change, NoReadIsConfirmedWhileItIsUnderWay) {
  Cluster c({});
  c.elect(0);
  lose(c, 2, 0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<Accepted>(l.message); };
  ASSERT_EQ(c.replace(0, 2).refused, "");
  c.read(0, 1);
  c.run_for(100ms);
  EXPECT_TRUE(c.node(0).reads.empty());
  c.on_post = {};
  ASSERT_TRUE(c.run_until([&] { return votes_in(c, 0, 2) && c[0].is_leader(); }, 2s));
  c.read(0, 2);
  ASSERT_TRUE(c.run_until([&] { return !c.node(0).reads.empty(); }, 2s));
  EXPECT_EQ(c.node(0).reads.front().id, 2U);
}

TEST(Change, BallotsOfAnEarlierOneAreRefused) {
  Cluster c({});
  c.elect(0);
  lose(c, 2, 0);
  ASSERT_EQ(c.replace(0, 2).refused, "");
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2); }, 3s));
  c.bag().clear();
  const Ballot old{1000, {1}};
  c.step(0, 1, Prepare{old, Slot{1}});
  c.step(0, 1, Accept{old, c.status(0).chosen + 1, {}, command("old")});
  const auto nacks = take<Nack>(c, 0, 1);
  ASSERT_EQ(nacks.size(), 2U);
  for (const Nack& nack : nacks) EXPECT_EQ(nack.promised.configuration, 2U);
  EXPECT_EQ(c.count_if(is_link<Promise>(0, 1)) + c.count_if(is_link<Accepted>(0, 1)), 0U);
  // And one to come means nothing yet.
  c.step(0, 1, Prepare{{1, {1}, 3}, Slot{1}});
  EXPECT_EQ(c.count_if(is_link<Nack>(0, 1)) + c.count_if(is_link<Promise>(0, 1)), 0U);
  EXPECT_EQ(c.status(0).ballot.configuration, 2U);
}

TEST(Change, WhoSleptThroughTwoLearnsThemFirst) {
  Cluster c({.replicas = 5});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.crash(1);
  for (const std::size_t lost : {3U, 4U}) {
    lose(c, lost, 0);
    ASSERT_EQ(c.replace(0, lost).refused, "");
    const auto number = static_cast<std::uint32_t>(lost - 1);
    ASSERT_TRUE(c.run_until([&] { return votes_in(c, 0, number) && votes_in(c, lost, number); }, 3s));
    ASSERT_TRUE(c.run_until([&] { return c.try_propose(0, "b"); }, 1s));
  }
  c.restart(1);
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 3); }, 3s)) << c.status(1).reason;
}

/// It meets nobody whom it knows: all directories but its own are others by now.
TEST(Change, WhoKnowsNobodyAnyMoreLearnsOfStrangers) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  for (const std::size_t lost : {1U, 2U}) {
    c.elect(0);
    lose(c, lost, 0);
    ASSERT_EQ(c.replace(0, lost).refused, "");
    ASSERT_TRUE(c.run_until([&] { return all_in(c, static_cast<std::uint32_t>(lost + 1)); }, 3s));
  }
  // As it was before both.
  c.node(0).state_durable = 0;
  c.node(0).disk.entries.erase(c.node(0).disk.entries.upper_bound(Slot{1}), c.node(0).disk.entries.end());
  c.node(0).disk.chosen_prefix = {};
  c.node(0).disk.promised = ballot(1, 0);
  c.restart(0);
  EXPECT_EQ(c.status(0).configuration.number, 1U);
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 3); }, 3s)) << c.status(0).reason;
}

TEST(Change, IsKnownAfterARestart) {
  for (const bool redone : {false, true}) {
    Cluster c({});
    c.elect(0);
    lose(c, 2, 0);
    ASSERT_EQ(c.replace(0, 2).refused, "");
    ASSERT_TRUE(c.run_until([&] { return all_in(c, 2) && c.try_propose(0, "x"); }, 3s));
    c.run_for(100ms);
    for (std::size_t id = 0; id < 3; ++id) {
      c.node(id).state_durable = redone ? 0 : c.node(id).applied.size();
      c.restart(id);
    }
    ASSERT_TRUE(c.run_until([&] { return all_in(c, 2) && c.leader(); }, 3s));
    EXPECT_GE(c.status(*c.leader()).ballot.configuration, 2U);
  }
}

/// Redoing the way through two configurations must not take the votes in the last one for old ones.
TEST(Change, RedoingItForgetsNoVoteOfALaterOne) {
  Cluster c({.replicas = 5});
  c.elect(0);
  for (const std::size_t lost : {3U, 4U}) {
    lose(c, lost, 0);
    ASSERT_EQ(c.replace(0, lost).refused, "");
    ASSERT_TRUE(c.run_until([&] { return all_in(c, static_cast<std::uint32_t>(lost - 1)); }, 3s));
    ASSERT_TRUE(c.run_until([&] { return c[0].can_propose(); }, 1s));
  }
  c.on_post = [](const Letter& l) {  // 0 and 1 vote, nobody hears that
    return std::holds_alternative<Accepted>(l.message) ||
           (std::holds_alternative<Accept>(l.message) && l.to.n > 1);
  };
  c.propose(0, "voted");
  const Slot slot = c.status(0).accepted;
  c.settle();
  ASSERT_EQ(c.status(1).accepted, slot);
  c.crash(0);
  c.node(1).state_durable = 0;
  c.node(1).disk.chosen_prefix = Slot{slot.n - 1};
  c.restart(1);
  EXPECT_EQ(c.status(1).configuration.number, 3U);
  EXPECT_EQ(c.status(1).accepted, slot) << "its vote is still there";
}

/// Two that voted for the change, and promised in the next one, start again with states from before: neither
/// votes in the one before any more, so each has to know by itself that it is closed.
TEST(Change, IsKnownToWhoeverPromisedInTheNext) {
  Cluster c({});
  c.elect(0);
  lose(c, 2, 0);
  ASSERT_EQ(c.replace(0, 2).refused, "");
  ASSERT_TRUE(c.run_until([&] { return all_in(c, 2) && c.try_propose(0, "x"); }, 3s));
  c.run_for(100ms);
  c.crash(2);
  for (std::size_t id = 0; id < 2; ++id) {
    c.node(id).state_durable = 0;
    c.restart(id);
  }
  ASSERT_TRUE(c.run_until([&] { return votes_in(c, 0, 2) && votes_in(c, 1, 2) && c.leader(); }, 3s));
}

/// Crashes, losses of directories one after the other, each replaced by command, under load and loss.
TEST(Change, SurvivesEverything) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    struct Setup setup{
        .replicas = seed % 3 == 0 ? 5U : 3U, .seed = seed, .auto_sync = false, .disk_delay = 1ms};
    setup.loss_percent = 10;
    setup.duplicate_percent = 5;
    Cluster c(setup);
    Random& random = c.random();
    std::size_t changes = 0;
    std::optional<std::size_t> lost;
    unsigned sent = 0;
    std::vector<Slot> floors;  // of each read: what it must show
    for (int round = 0; round < 600 && changes < 4; ++round) {
      c.run_for(std::chrono::milliseconds{random.below(40)});
      for (std::size_t id = 0; id < c.size(); ++id)
        if (random.below(3) == 0) c.try_propose(id, "m" + std::to_string(++sent));
      if (const std::size_t reader = random.below(c.size()); c.up(reader)) {
        floors.push_back(c.applied_anywhere());
        c.read(reader, floors.size() - 1);
      }
      const std::size_t id = random.below(c.size());
      switch (random.below(12)) {
        case 0:
          if (c.up(id)) c.node(id).state_durable = random.below(c.node(id).applied.size() + 1);
          c.restart(id);
          break;
        case 1:
          c.isolate(id);
          break;
        case 2:
          if (c.up(id)) c.campaign(id);
          break;
        case 3:
        case 4:
          c.heal();
          break;
        default:
          break;
      }
      for (std::size_t at = 0; lost && at < c.size(); ++at) {
        if (c.up(at)) static_cast<void>(c.replace(at, *lost));
      }
      if (lost && c.up(*lost) && c.status(*lost).voting) {
        lost.reset();
        ++changes;
      }
      bool well = true;  // or nobody alive would know what was promised
      for (std::size_t at = 0; at < c.size(); ++at)
        well = well && votes_in(c, at, static_cast<std::uint32_t>(c.configurations().size()));
      if (lost || !well || random.below(4) != 0) continue;
      lost = id;
      c.wipe(id);
    }
    c.heal();
    ASSERT_TRUE(c.run_until(
        [&] {
          for (std::size_t at = 0; lost && at < c.size(); ++at) static_cast<void>(c.replace(at, *lost));
          return all_in(c, static_cast<std::uint32_t>(c.configurations().size())) && c.leader() &&
                 (!lost || c.status(*lost).voting);
        },
        20s))
        << "seed " << seed << standing(c, lost);
    EXPECT_GE(changes, 2U) << "seed " << seed;
    EXPECT_TRUE(c.violations().empty()) << "seed " << seed;
    for (std::size_t id = 0; id < c.size(); ++id)
      for (const ReadIndex& read : c.node(id).reads)
        EXPECT_GE(read.index, floors.at(read.id)) << "seed " << seed << ": a read shows less than it must";
  }
}

}  // namespace paxos_test
