#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "chat/node.h"
#include "tests/chat/fixture.h"

/// Rules are raised by a decree, once every replica's program knows them (chat/versions.h).
namespace chat::test {
namespace {

using namespace std::chrono_literals;

TEST(Rules, ADecreeRaisesThemByOneFromTheNextSlotOn) {
  Log log{.machine = Machine(rules_rehearsal), .rows = {}};
  Log plain{.machine = Machine(rules_rehearsal), .rows = {}};
  EXPECT_EQ(log.apply(make_rules_decree(3)).hash, plain.apply(make_rules_decree(3)).hash);
  EXPECT_EQ(log.machine.rules(), 1) << "not by two";
  const Applied raise = log.apply(make_rules_decree(2));
  EXPECT_EQ(log.machine.rules(), 2);
  EXPECT_TRUE(raise.outcomes.empty());
  plain.apply(make_rules_decree(2));
  EXPECT_EQ(log.apply(make_rules_decree(2)).hash, plain.apply(make_rules_decree(2)).hash) << "once";
  EXPECT_EQ(log.machine.rules(), 2);
  log.reload_as(rules_rehearsal);
  EXPECT_EQ(log.machine.rules(), 2) << "they are part of the state";
}

TEST(Rules, OtherRulesGiveAnotherHashAtTheSameSlot) {
  Log one{.machine = Machine(rules_rehearsal), .rows = {}};
  Log two{.machine = Machine(rules_rehearsal), .rows = {}};
  one.apply(make_rules_decree(3));
  two.apply(make_rules_decree(2));
  EXPECT_NE(one.noop().hash, two.noop().hash);
}

TEST(Rules, ARaiseThatTheProgramDoesNotKnowStopsItBeforeAnythingIsApplied) {
  Log log{.machine = Machine(rules_first), .rows = {}};
  const auto session = log.open(1);
  const auto before = log.machine.hash();
  const Applied refused = log.machine.apply(log.machine.applied() + 1, make_rules_decree(rules_first + 1));
  EXPECT_NE(refused.refused.find("raises the rules to 2, this program knows them up to 1"), std::string::npos)
      << refused.refused;
  EXPECT_EQ(log.machine.hash(), before);
  EXPECT_EQ(log.machine.applied(), session.slot);
}

TEST(Rules, AStateUnderLaterRulesIsRefusedByName) {
  Log log{.machine = Machine(rules_rehearsal), .rows = {}};
  log.apply(make_rules_decree(2));
  const auto old = Machine::load(log.rows, rules_first);
  ASSERT_FALSE(old);
  EXPECT_NE(old.error().find("raised its rules to version 2, this program knows them up to version 1"),
            std::string::npos)
      << old.error();
  EXPECT_TRUE(Machine::load(log.rows, rules_rehearsal));
}

/// Whole replicas in memory: what one says the others hear at once, and every disk is synced at once.
class Replicas {
 public:
  explicit Replicas(const std::vector<std::uint16_t>& rules_known) {
    for (std::size_t id = 0; id < rules_known.size(); ++id) {
      nodes_.push_back(nullptr);
      start(id, rules_known[id], rules_known.size());
    }
  }
  void start(std::size_t id, std::uint16_t rules_known, std::size_t replicas) {
    const auto n = static_cast<std::uint8_t>(id);
    paxos::Recovered recovered;
    recovered.incarnation = incarnation(id);
    recovered.boot = ++boots_;
    const paxos::Options options{.self = {n}, .replicas = replicas, .rules = rules_known, .seed = boots_};
    nodes_[id] = std::make_unique<Node>(options, std::move(recovered), Machine(rules_known), now_);
  }
  void stop(std::size_t id) { nodes_[id].reset(); }

  void run(paxos::Duration duration) {
    for (const paxos::Time until = now_ + duration; now_ < until; now_ += 5ms) {
      for (auto& node : nodes_)
        if (node && node->deadline() <= now_) node->tick(now_);
      for (bool moved = true; moved;) {
        moved = false;
        for (std::size_t id = 0; id < nodes_.size(); ++id)
          if (nodes_[id]) moved = turn(id) || moved;
      }
    }
  }
  [[nodiscard]] Node& operator[](std::size_t id) { return *nodes_[id]; }
  [[nodiscard]] std::vector<std::uint16_t> rules() const {
    std::vector<std::uint16_t> out;
    for (const auto& node : nodes_) out.push_back(node ? node->machine().rules() : 0);
    return out;
  }

 private:
  static paxos::Incarnation incarnation(std::size_t id) {
    paxos::Incarnation out;
    out.bytes[0] = static_cast<std::uint8_t>(id + 1);
    return out;
  }
  bool turn(std::size_t id) {
    NodeOutput out = nodes_[id]->turn(now_, 1'795'000'000'000);
    EXPECT_EQ(out.stop, "");
    std::vector<paxos::Envelope> letters = std::move(out.send_now);
    for (GroupWrite& group : out.groups) {
      for (paxos::Envelope& letter : group.send_after_sync) letters.push_back(std::move(letter));
      nodes_[id]->synced(now_, group.group);
    }
    for (const paxos::Envelope& letter : letters)
      for (std::size_t to = 0; to < nodes_.size(); ++to)
        if (to != id && nodes_[to] && (!letter.to || letter.to->n == to))
          nodes_[to]->peer_message(now_, {static_cast<std::uint8_t>(id)}, incarnation(id), letter.message);
    return !letters.empty() || !out.groups.empty();
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  paxos::Time now_{1s};
  std::uint64_t boots_ = 0;
};

TEST(Rules, StayWhileOneProgramDoesNotKnowTheNext) {
  for (std::size_t older = 0; older < 3; ++older) {  // whichever of them leads
    std::vector<std::uint16_t> known(3, 2);
    known[older] = 1;
    Replicas replicas(known);
    replicas.run(5s);
    EXPECT_EQ(replicas.rules(), (std::vector<std::uint16_t>{1, 1, 1})) << older;
  }
}

TEST(Rules, StayWhileOneReplicaIsNotThere) {
  for (std::size_t gone = 0; gone < 3; ++gone) {
    std::vector<std::uint16_t> known(3, 2);
    std::vector<std::uint16_t> expected(3, 1);
    known[gone] = 1;
    expected[gone] = 0;
    Replicas replicas(known);
    replicas.run(2s);
    replicas.stop(gone);
    replicas.run(5s);
    EXPECT_EQ(replicas.rules(), expected) << "it may be an older program when it comes back";
  }
}

TEST(Rules, AreRaisedOnceAllProgramsKnowThem) {
  Replicas replicas({2, 2, 2});
  replicas.run(3s);
  EXPECT_EQ(replicas.rules(), (std::vector<std::uint16_t>{2, 2, 2}));
  const paxos::Slot applied = replicas[0].machine().applied();
  replicas.run(3s);
  EXPECT_EQ(replicas[0].machine().applied(), applied) << "proposed again and again";
  EXPECT_EQ(replicas[0].machine().hash(), replicas[1].machine().hash());
  EXPECT_EQ(replicas[0].machine().hash(), replicas[2].machine().hash());
}

}  // namespace
}  // namespace chat::test
