#include "paxos/member_changes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/paxos/cluster.h"

/// Growing, shrinking, learners, addresses (DESIGN.md section 4, Configurations; docs/DECISIONS.md): each
/// rule with a test that breaks without it.
namespace paxos_test {

using namespace std::chrono_literals;
using Kind = MemberChange::Kind;

namespace {

Incarnation directory(std::uint8_t n) {
  Incarnation out;
  out.bytes[0] = n;
  return out;
}

ReplicaSet these(std::initializer_list<std::uint8_t> ids) {
  ReplicaSet out;
  for (const std::uint8_t id : ids) out.insert(ReplicaId{id});
  return out;
}

ReplicaId id_of(std::size_t id) { return {static_cast<std::uint8_t>(id)}; }

std::uint32_t newest(const Cluster& c) { return static_cast<std::uint32_t>(c.configurations().size()); }

/// Everybody who is a member is in the newest configuration, with its role there.
bool all_settled(Cluster& c) {
  const Configuration& now = c.configurations().back();
  for (std::uint8_t id = 0; id < c.size(); ++id) {
    if (!now.holds({id})) continue;
    // Its announcement came late, by way of a letter that was sent twice: an operator takes it out again.
    if (now.learns({id}) && !now.member({id}, c.node(id).disk.incarnation)) continue;
    if (!c.up(id)) return false;
    const Status s = c.status(id);
    if (s.configuration.number != newest(c) || s.voting != now.votes({id})) return false;
  }
  return true;
}

bool has_text(const Cluster& c, std::size_t id, const std::string& text) {
  for (std::size_t slot = 1; slot <= c.applied(id); ++slot)
    if (c.text(id, slot) == text) return true;
  return false;
}

std::string standings(const Cluster& c) {
  std::string out;
  out += "\nconfiguration " + std::to_string(newest(c)) + ":";
  for (const Member& member : c.configurations().back().members)
    out += std::string(" ") + to_string(member.role) + " " + to_string(member.incarnation).substr(0, 8);
  for (std::size_t id = 0; id < c.size(); ++id) {
    if (!c.up(id)) continue;
    const Status s = c.status(id);
    out += "\n" + std::to_string(id) + ": " + to_string(s.role) + ", configuration " +
           std::to_string(s.configuration.number) + ", promised " + to_string(s.ballot) + ", chosen " +
           std::to_string(s.chosen.n) + ", applied " + std::to_string(s.applied.n) + ", connected to " +
           std::to_string(s.connected.size()) + (s.redoing ? ", redoes" : "") +
           (s.snapshot_wanted ? ", stranded" : "") + " " + s.reason;
  }
  return out;
}

/// By whoever leads; asks until it is proposed.
::testing::AssertionResult changed(Cluster& c, const MemberChange& wish) {
  std::string why = "nobody leads";
  const bool proposed = c.run_until(
      [&] {
        const auto leader = c.leader();
        if (!leader || !c.up(*leader)) return false;
        why = c.change(*leader, wish).refused;
        return why.empty();
      },
      5s);
  return proposed ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << why;
}

bool votes_now(const Cluster& c, std::size_t id) { return c.up(id) && c.status(id).voting; }

/// What a leader of three knows, where all is well and a fourth announces itself.
struct Well {
  Configuration now = Configuration::of_birth({directory(1), directory(2), directory(3)});
  ChangeSurroundings around{.now = now,
                            .self = {0},
                            .newcomer = directory(4),
                            .counted = these({0, 1, 2}),
                            .connected = these({1, 2}),
                            .keep_up = these({0, 1, 2}),
                            .capacity = 9};
  [[nodiscard]] std::string refused(const MemberChange& wish) const {
    return plan_change(wish, around).refused;
  }
};

}  // namespace

TEST(PlanChange, MakesWhatWasAskedFor) {
  const Well well;
  const Planned added =
      plan_change({.kind = Kind::add, .id = {4}, .address = "h:1", .by_hand = true}, well.around);
  ASSERT_EQ(added.refused, "");
  EXPECT_EQ(added.next.number, 2U);
  EXPECT_EQ(added.next.members.size(), 5U);
  EXPECT_FALSE(added.next.holds({3})) << "an id that is passed over stands for nobody";
  EXPECT_EQ(added.next.members[4], (Member{directory(4), MemberRole::learner, "h:1", true}));
  const Decree decree = make_configuration_decree(added.next);
  EXPECT_EQ(configuration_in(decree), added.next) << "what is added comes over by the log";
  const Planned moved = plan_change({.kind = Kind::set_address, .id = {1}, .address = "h:2"}, well.around);
  ASSERT_EQ(moved.refused, "");
  EXPECT_EQ(moved.next.members[1], (Member{directory(2), MemberRole::voter, "h:2"}));
  const Planned removed = plan_change({.kind = Kind::remove, .id = {2}, .address = {}}, well.around);
  ASSERT_EQ(removed.refused, "");
  EXPECT_FALSE(removed.next.holds({2}));
  EXPECT_EQ(removed.next.quorum(), 2U);
}

TEST(PlanChange, RefusesWithTheReason) {
  Well well;
  const auto says = [&](const MemberChange& wish, const std::string& word) {
    EXPECT_NE(well.refused(wish).find(word), std::string::npos) << well.refused(wish);
  };
  says({.kind = Kind::add, .id = {1}, .address = "h:1"}, "a member already");
  says({.kind = Kind::add, .id = {9}, .address = "h:1"}, "ids go up to 8");
  says({.kind = Kind::promote, .id = {1}, .address = {}}, "votes already");
  says({.kind = Kind::promote, .id = {3}, .address = {}}, "no member");
  says({.kind = Kind::remove, .id = {3}, .address = {}}, "no member");
  says({.kind = Kind::remove, .id = {0}, .address = {}}, "leads");
  says({.kind = Kind::set_address, .id = {3}, .address = "h:1"}, "no member");
  well.now.members[1].address = "h:1";
  says({.kind = Kind::add, .id = {3}, .address = "h:1"}, "replica 1 has the address");
  says({.kind = Kind::set_address, .id = {1}, .address = "h:1"}, "that address already");
  well.now.members[1].role = well.now.members[2].role = MemberRole::learner;
  says({.kind = Kind::remove, .id = {0}, .address = {}}, "the only one that votes");
  well.around.keep_up = these({0});
  says({.kind = Kind::promote, .id = {1}, .address = {}}, "has not caught up");
  well.around.newcomer.reset();
  says({.kind = Kind::add, .id = {3}, .address = "h:2"}, "has not announced itself");
}

/// Each of these is safe by itself, and would leave a cluster that can't go on.
TEST(PlanChange, KeepsAQuorumThatIsUpAndCaughtUp) {
  Well well;
  well.around.keep_up = these({0, 1});
  EXPECT_EQ(well.refused({.kind = Kind::remove, .id = {2}, .address = {}}), "")
      << "the one that is away may go";
  EXPECT_NE(well.refused({.kind = Kind::remove, .id = {1}, .address = {}}), "");
  well.around.keep_up = these({0});
  EXPECT_NE(well.refused({.kind = Kind::add, .id = {3}, .address = "h:1"}), "")
      << "nobody could choose the next one";
}

TEST(Members, OneGrowsToSevenAndShrinksBack) {
  Cluster c({.replicas = 7, .voters = 1});
  c.elect(0);
  c.propose(0, "first");
  c.settle();
  for (std::size_t id = 1; id < 7; ++id) {
    ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = id_of(id), .address = {}})) << id;
    ASSERT_TRUE(c.run_until([&] { return votes_now(c, id) && all_settled(c); }, 5s))
        << id << ": " << c.status(id).reason;
    EXPECT_EQ(c.configurations().back().voters().size(), id + 1);
    EXPECT_TRUE(has_text(c, id, "first"));
    ASSERT_TRUE(c.run_until(
        [&] { return c.leader() && c.try_propose(*c.leader(), "with " + std::to_string(id)); }, 3s));
  }
  // Seven bear the loss of three.
  for (const std::size_t id : {4U, 5U, 6U}) c.crash(id);
  ASSERT_TRUE(c.run_until([&] { return c.leader() && c.try_propose(*c.leader(), "without three"); }, 3s));
  ASSERT_TRUE(c.run_until([&] { return has_text(c, 0, "without three"); }, 3s));
  for (const std::size_t id : {4U, 5U, 6U}) c.restart(id);
  for (std::size_t id = 6; id > 0; --id) {
    ASSERT_TRUE(c.run_until([&] { return all_settled(c); }, 5s));
    const std::size_t goes = *c.leader() == id ? 0 : id;  // who leads can't be taken out
    if (goes == 0) ASSERT_TRUE(c.run_until([&] { return c.leader() != id || (c.campaign(0), false); }, 3s));
    ASSERT_TRUE(changed(c, {.kind = Kind::remove, .id = id_of(id), .address = {}})) << id;
    ASSERT_TRUE(c.run_until([&] { return all_settled(c) && c.status(id).role == Role::removed; }, 5s)) << id;
    EXPECT_FALSE(c.status(id).voting);
    ASSERT_TRUE(c.run_until(
        [&] { return c.leader() && c.try_propose(*c.leader(), "less " + std::to_string(id)); }, 3s));
  }
  EXPECT_EQ(c.configurations().back().voters().size(), 1U);
  ASSERT_TRUE(c.run_until([&] { return has_text(c, 0, "less 1"); }, 3s));
  EXPECT_TRUE(c.violations().empty());
}

TEST(Members, ALearnerFollowsAndCountsNowhere) {
  Cluster c({.replicas = 4, .voters = 3});
  c.elect(0);
  ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = {3}, .address = {}, .by_hand = true}));
  ASSERT_TRUE(c.run_until([&] { return all_settled(c); }, 5s));
  c.run_for(2s);
  EXPECT_EQ(c.status(3).role, Role::learner) << "it waits for an operator's word";
  c.propose(0, "a");
  ASSERT_TRUE(c.run_until([&] { return has_text(c, 3, "a"); }, 3s)) << "it follows";
  // With one voter away a quorum is left; with two, the learner does not make one.
  c.crash(1);
  c.crash(2);
  c.run_for(100ms);
  static_cast<void>(c.try_propose(0, "b"));
  c.run_for(3s);
  EXPECT_FALSE(has_text(c, 0, "b") || has_text(c, 3, "b"));
  EXPECT_FALSE(c.leader() == 3U);
  // Nor does it lead, whoever is away.
  c.crash(0);
  c.restart(1);
  c.run_for(3s);
  EXPECT_FALSE(c.leader());
  c.restart(2);
  ASSERT_TRUE(c.run_until([&] { return c.leader() && all_settled(c) == false && c.leader() != 3U; }, 3s));
  ASSERT_TRUE(changed(c, {.kind = Kind::promote, .id = {3}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 3); }, 3s));
  EXPECT_EQ(c.configurations().back().quorum(), 3U);
}

TEST(Members, ALearnerBecomesAVoterByItselfOnceItKeepsUp) {
  Cluster c({.replicas = 4, .voters = 3});
  c.elect(0);
  ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = {3}, .address = {}}));
  // Its directory is lost before it is there.
  ASSERT_TRUE(c.run_until([&] { return newest(c) == 2; }, 3s));
  c.crash(3);
  c.run_for(2s);
  EXPECT_EQ(newest(c), 2U) << "who does not answer is not made a voter";
  c.restart(3);
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 3); }, 3s));
  EXPECT_EQ(newest(c), 3U);
}

TEST(Members, WhoIsTakenOutGivesTheOthersWhatOnlyItAndTheLeaderHave) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  // Replica 1 hears nothing that it could vote for, nor what is chosen; it is connected.
  const auto deaf = [](const Letter& l) {
    return l.to.n == 1 &&
           (std::holds_alternative<Accept>(l.message) || std::holds_alternative<Commit>(l.message) ||
            std::holds_alternative<LearnReply>(l.message));
  };
  c.on_post = deaf;
  c.propose(0, "b");
  ASSERT_TRUE(changed(c, {.kind = Kind::remove, .id = {2}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return c.status(2).role == Role::removed; }, 3s));
  c.crash(0);
  c.on_post = {};
  ASSERT_TRUE(c.run_until([&] { return has_text(c, 1, "b") && c.status(1).configuration.number == 2; }, 5s));
  c.restart(2);
  EXPECT_EQ(c.status(2).role, Role::removed) << "it knows after a restart, too";
}

TEST(Members, WhoSleptThroughItsRemovalIsTold) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.crash(2);
  c.run_for(300ms);
  ASSERT_TRUE(changed(c, {.kind = Kind::remove, .id = {2}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return all_settled(c); }, 3s));
  c.restart(2);
  ASSERT_TRUE(c.run_until([&] { return c.status(2).role == Role::removed; }, 3s)) << c.status(2).reason;
  EXPECT_NE(c.status(2).reason.find("member add"), std::string::npos) << c.status(2).reason;
  // With an empty directory it comes back under the same id.
  c.wipe(2);
  ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = {2}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 2) && all_settled(c); }, 5s)) << c.status(2).reason;
  EXPECT_TRUE(has_text(c, 2, "a"));
}

/// The config of a machine says where it begins to look, not who votes.
TEST(Members, AConfigThatNamesMoreReplicasKeepsNobodyFromVoting) {
  Cluster c({.replicas = 4, .voters = 3});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.set_config_size(1, 4);
  c.restart(1);
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 1); }, 3s)) << c.status(1).reason;
  c.set_config_size(1, 2);
  c.restart(1);
  c.run_for(1s);
  EXPECT_EQ(c.status(1).role, Role::dormant) << "one that names fewer is another cluster's";
}

/// All that it knew were taken out while it slept.
TEST(Members, WhoSleptWhileAllOthersWereReplacedIsFound) {
  Cluster c({.replicas = 5, .voters = 3});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.crash(2);
  for (const std::size_t id : {3U, 4U}) {
    ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = id_of(id), .address = {}}));
    ASSERT_TRUE(c.run_until([&] { return votes_now(c, id); }, 5s)) << id << ": " << c.status(id).reason;
  }
  for (const std::size_t id : {0U, 1U}) {
    c.run_for(500ms);  // everybody is in the newest configuration
    if (c.leader() == id) c.campaign(3);
    ASSERT_TRUE(
        c.run_until([&] { return c.leader() && *c.leader() != id && c[*c.leader()].can_propose(); }, 3s))
        << id << standings(c);
    ASSERT_TRUE(changed(c, {.kind = Kind::remove, .id = id_of(id), .address = {}}));
    ASSERT_TRUE(c.run_until([&] { return c.status(id).role == Role::removed; }, 3s));
  }
  c.crash(0);
  c.crash(1);
  c.restart(2);
  ASSERT_TRUE(
      c.run_until([&] { return votes_now(c, 2) && c.status(2).configuration.number == newest(c); }, 5s))
      << c.status(2).reason;
  c.crash(4);
  ASSERT_TRUE(c.run_until([&] { return c.leader() && c.try_propose(*c.leader(), "b"); }, 5s));
  ASSERT_TRUE(c.run_until([&] { return has_text(c, 2, "b"); }, 5s));
}

TEST(Members, APromotionCostsTheLeaderNothing) {
  Cluster c({.replicas = 2, .voters = 1});
  c.elect(0);
  ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = {1}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 1); }, 5s));
  c.run_for(1s);
  EXPECT_EQ(c.leader(), 0U);
  for (const std::string& event : c.node(0).events)
    EXPECT_EQ(event.find("lost the connection"), std::string::npos) << event;
}

TEST(Members, WhoIsTakenOutMayLeaveOnceAQuorumOfTheRestNeedsNothing) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  const auto deaf = [](const Letter& l) {
    return l.to.n == 1 &&
           (std::holds_alternative<Accept>(l.message) || std::holds_alternative<Commit>(l.message) ||
            std::holds_alternative<LearnReply>(l.message));
  };
  c.on_post = deaf;
  c.propose(0, "b");
  ASSERT_TRUE(changed(c, {.kind = Kind::remove, .id = {2}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return c[2].removed(); }, 3s));
  c.run_for(3s);
  EXPECT_FALSE(c[2].may_leave()) << "replica 1 has yet to come to the configuration without it";
  c.on_post = {};
  ASSERT_TRUE(c.run_until([&] { return c[2].may_leave(); }, 5s));
}

TEST(Members, AnEvenConfigBeginsNoCluster) {
  Cluster c({.replicas = 4, .born = false, .even_founds = false, .voters = 4});
  c.run_for(3s);
  for (std::size_t id = 0; id < 4; ++id) EXPECT_EQ(c.status(id).role, Role::unborn) << id;
  EXPECT_NE(c.status(0).reason.find("member add"), std::string::npos) << c.status(0).reason;
}

/// A cluster that began as one, and whose first machine has lost its disk and still has its first config.
TEST(Members, AConfigOfOneBeginsNoOtherCluster) {
  Cluster c({.replicas = 3, .voters = 1});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  for (std::size_t id = 1; id < 3; ++id) {
    ASSERT_TRUE(changed(c, {.kind = Kind::add, .id = id_of(id), .address = {}}));
    ASSERT_TRUE(c.run_until([&] { return votes_now(c, id) && all_settled(c); }, 5s));
  }
  c.wipe(0);
  c.run_for(3s);
  EXPECT_EQ(c.status(0).role, Role::dormant) << c.status(0).reason;
  EXPECT_FALSE(c.status(0).voting);
  ASSERT_TRUE(changed(c, {.kind = Kind::replace, .id = {0}, .address = {}}));
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 0) && has_text(c, 0, "a"); }, 5s)) << c.status(0).reason;
  // Where it was born alone after all, cut off from the others, they end it once they hear of it.
  c.isolate(0);
  c.wipe(0);
  ASSERT_TRUE(c.run_until([&] { return votes_now(c, 0); }, 3s));
  c.heal();
  ASSERT_TRUE(c.run_until([&] { return c.status(0).role == Role::dormant; }, 3s)) << c.status(0).reason;
}

/// Joins, removals, crashes and losses of directories, under load and loss.
TEST(Members, SurviveEverything) {
  std::size_t changes = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    struct Setup setup{
        .replicas = 5, .voters = 1 + 2 * (seed % 2), .seed = seed, .auto_sync = false, .disk_delay = 1ms};
    setup.loss_percent = 10;
    setup.duplicate_percent = 5;
    Cluster c(setup);
    Random& random = c.random();
    unsigned sent = 0;
    std::vector<Slot> floors;  // of each read: what it must show
    for (int round = 0; round < 400; ++round) {
      c.run_for(std::chrono::milliseconds{random.below(40)});
      for (std::size_t id = 0; id < c.size(); ++id)
        if (random.below(3) == 0) c.try_propose(id, "m" + std::to_string(++sent));
      if (const std::size_t reader = random.below(c.size()); c.up(reader)) {
        floors.push_back(c.applied_anywhere());
        c.read(reader, floors.size() - 1);
      }
      const std::size_t id = random.below(c.size());
      switch (random.below(14)) {
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
      if (random.below(6) != 0) continue;
      const auto kind = static_cast<Kind>(1 + random.below(3));
      // Who is to come back starts with an empty directory, once it has ended by itself.
      if (c.up(id) && c[id].may_leave()) {
        c.set_config_size(id, c.size());
        c.wipe(id);
      }
      for (std::size_t at = 0; at < c.size(); ++at)
        if (c.up(at))
          static_cast<void>(
              c.change(at, {.kind = kind, .id = id_of(id), .address = {}, .by_hand = random.below(4) == 0}));
    }
    c.heal();
    for (std::size_t id = 0; id < c.size(); ++id)
      if (!c.up(id)) c.restart(id);
    std::string events;
    for (std::size_t id = 0; id < c.size(); ++id)
      for (const std::string& event : c.node(id).events) events += "\n  " + std::to_string(id) + ": " + event;
    ASSERT_TRUE(c.violations().empty()) << "seed " << seed << events;
    ASSERT_TRUE(c.run_until([&] { return all_settled(c) && c.leader(); }, 20s))
        << "seed " << seed << events << standings(c);
    ASSERT_TRUE(c.run_until([&] { return c.leader() && c.try_propose(*c.leader(), "last"); }, 5s))
        << "seed " << seed;
    changes += newest(c) - 1;
    EXPECT_TRUE(c.violations().empty()) << "seed " << seed;
    for (std::size_t id = 0; id < c.size(); ++id)
      for (const ReadIndex& read : c.node(id).reads)
        EXPECT_GE(read.index, floors.at(read.id)) << "seed " << seed << ": a read shows less than it must";
  }
  EXPECT_GE(changes, 450U) << "three a run at least";
}

}  // namespace paxos_test
