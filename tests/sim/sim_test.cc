#include <gtest/gtest.h>

#include <set>

#include "tests/sim/run.h"
#include "tests/sim/world.h"

namespace sim {
namespace {

TEST(Simulator, OneSeedIsOneRun) {
  for (const std::uint64_t seed : {3, 5, 17}) {
    const Result first = run_seed(seed, nullptr);
    std::deque<std::string> timeline;
    const Result second = run_seed(seed, &timeline);
    EXPECT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed << ": watching a run changes it";
    EXPECT_EQ(first.events, second.events);
    EXPECT_EQ(first.violation, "");
    EXPECT_FALSE(timeline.empty());
  }
}

TEST(Simulator, SeedsDiffer) {
  std::set<std::uint64_t> traces;
  for (std::uint64_t seed = 100; seed < 104; ++seed) traces.insert(run_seed(seed, nullptr).trace_hash);
  EXPECT_EQ(traces.size(), 4u);
}

TEST(Simulator, EveryFaultIsDrawnBySomeSeed) {
  std::set<Fault> seen;
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Scenario scenario = draw_scenario(seed);
    seen.insert(scenario.faults.begin(), scenario.faults.end());
    sizes.insert(scenario.replicas);
  }
  EXPECT_EQ(seen.size(), fault_kinds);
  EXPECT_EQ(sizes, (std::set<std::size_t>{1, 2, 3, 4, 5, 6, 7}));
}

// The observer must see what it is there for.

paxos::Decree decree(const char* text) { return {paxos::DecreeKind::commands, paxos::Bytes::copy_of(text)}; }

chat::GroupWrite vote(std::uint64_t group, paxos::Slot slot, paxos::Ballot ballot, const paxos::Decree& d) {
  chat::GroupWrite out{.group = group, .records = {}, .send_after_sync = {}};
  out.records.emplace_back(paxos::VoteRecord{slot, ballot, d});
  return out;
}

TEST(Observer, SeesASecondDecreeChosenInASlot) {
  Observer observer(3, 1, 1);
  const Disk disk;
  observer.group_durable(0, vote(1, {1}, {1, {0}}, decree("a")), disk);
  observer.group_durable(1, vote(1, {1}, {1, {0}}, decree("a")), disk);
  observer.group_durable(1, vote(2, {1}, {2, {1}}, decree("b")), disk);
  EXPECT_THROW(observer.group_durable(2, vote(1, {1}, {2, {1}}, decree("b")), disk), Violation);
}

TEST(Observer, SeesAnAcceptedWithoutADurableVote) {
  Observer observer(3, 1, 1);
  const Disk disk;
  const paxos::Envelope accepted{paxos::ReplicaId{0}, paxos::Accepted{{1, {0}}, {{{1}, {1}}}}};
  EXPECT_THROW(observer.leaves(1, accepted, disk, false), Violation);
  observer.group_durable(1, vote(1, {1}, {1, {0}}, decree("a")), disk);
  EXPECT_NO_THROW(observer.leaves(1, accepted, disk, false));
}

TEST(Observer, SeesAPromiseThatGoesBack) {
  Observer observer(3, 1, 1);
  Disk disk;
  disk.promised = {5, {2}};
  EXPECT_THROW(observer.group_durable(1, vote(1, {1}, {4, {0}}, decree("a")), disk), Violation);
}

TEST(Observer, SeesACommitThatNoQuorumVotedFor) {
  Observer observer(3, 1, 1);
  const Disk disk;
  observer.group_durable(0, vote(1, {1}, {1, {0}}, decree("a")), disk);
  EXPECT_THROW(observer.leaves(0, {std::nullopt, paxos::Commit{{1, {0}}, {1}}}, disk, false), Violation);
}

TEST(Observer, SeesAWipedReplicaThatTakesPart) {
  Observer observer(3, 1, 1);
  const Disk disk;
  EXPECT_THROW(observer.leaves(0, {paxos::ReplicaId{1}, paxos::HeartbeatRequest{7}}, disk, true), Violation);
}

}  // namespace
}  // namespace sim
