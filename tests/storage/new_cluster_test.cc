#include "storage/new_cluster.h"

#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "chat/rows.h"
#include "tests/chat/fixture.h"
#include "tests/storage/support.h"

namespace storage::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A state at some slot, by rules 2.
struct State {
  chat::test::Log log;
  State() {
    log.apply(chat::make_rules_decree(2));
    const chat::SessionId ann = log.open(1);
    for (std::uint64_t n = 1; n < 40; ++n) log.apply({chat::test::post(ann, n, "text " + std::to_string(n))});
  }
  [[nodiscard]] chat::SnapshotId id() const {
    return {.source = {{7}}, .number = 1, .slot = log.machine.applied(), .hash = log.machine.hash()};
  }
  [[nodiscard]] chat::SnapshotSum sum() const {
    chat::SnapshotCount count;
    while (!count.advance(log.rows, 1000)) continue;
    return count.sum();
  }
  [[nodiscard]] std::vector<chat::Row> rows() const {
    std::vector<chat::Row> out;
    chat::each_snapshot_row(log.rows, {}, [&](std::string_view key, std::string_view value) {
      out.push_back({std::string(key), std::string(value)});
      return true;
    });
    return out;
  }
};

NewCluster::Options three(const TempDir& folder) {
  NewCluster::Options out{
      .cluster_id = "new", .members = {}, .rules_known = chat::rules_released, .life = 1000};
  for (unsigned i = 0; i < 3; ++i)
    out.members.push_back(
        {.directory = folder.path() / std::to_string(i), .incarnation = {{std::uint8_t(i + 1)}}});
  return out;
}

bool nothing_in(const fs::path& folder) { return fs::is_empty(folder); }

/// Replica `i` of the new cluster of three, as its first start finds it.
auto started(const TempDir& folder, std::uint8_t i) {
  return Storage::open({.directory = folder.path() / std::to_string(i),
                        .cluster_id = "new",
                        .replica = {i},
                        .replicas = 3,
                        .fresh_incarnation = {},
                        .life = 5,
                        .rules_known = chat::rules_released});
}

TEST(NewClusterOfAState, IsBornAtItsSlotAndKnowsItsMembers) {
  const State state;
  TempDir folder;
  {
    NewCluster cluster(three(folder));
    ASSERT_EQ(cluster.begin(), "");
    for (const chat::Row& row : state.rows()) ASSERT_EQ(cluster.write({row}), "");
    ASSERT_EQ(cluster.check(state.id(), state.sum()), "");
    ASSERT_EQ(cluster.finish(state.id(), state.sum()), "");
  }
  std::set<std::uint64_t> lives;
  for (std::uint8_t i = 0; i < 3; ++i) {
    const auto s = started(folder, i);
    ASSERT_TRUE(s) << s.error().message;
    const paxos::Recovered& r = s->recovered;
    EXPECT_EQ(r.applied, state.id().slot);
    EXPECT_EQ(r.hash, state.id().hash);
    EXPECT_EQ(r.chosen_prefix, state.id().slot);
    EXPECT_EQ(r.first_slot, state.id().slot + 1);
    EXPECT_TRUE(r.promised.none());
    EXPECT_TRUE(r.entries.empty());
    EXPECT_EQ(r.incarnation, paxos::Incarnation{{std::uint8_t(i + 1)}});
    ASSERT_TRUE(r.birth && r.birth->born);
    EXPECT_EQ(r.birth->members, (std::vector<paxos::Incarnation>{{{1}}, {{2}}, {{3}}}));
    EXPECT_EQ(s->machine.rules(), 2);
    for (const paxos::Life& life : r.lives) lives.insert(life.number);
  }
  EXPECT_EQ(lives.size(), 3 * 2 + 1u) << "each of its starts has a number of its own";
}

// The members of the cluster that the backup is of are directories that nobody of the new one has.
TEST(NewClusterOfAState, HasNoMembersOfTheOldCluster) {
  State state;
  auto old = paxos::Configuration::of_birth({{{7}}, {{8}}, {{9}}, {{10}}, {{11}}});
  old.number = 2;
  old.members[1].address = "192.0.2.1:7001";
  state.log.apply(paxos::make_configuration_decree(old));
  ASSERT_TRUE(state.log.machine.configuration());
  TempDir folder;
  {
    NewCluster cluster(three(folder));
    ASSERT_EQ(cluster.begin(), "");
    ASSERT_EQ(cluster.write(state.rows()), "");
    ASSERT_EQ(cluster.check(state.id(), state.sum()), "");
    ASSERT_EQ(cluster.finish(state.id(), state.sum()), "");
  }
  for (std::uint8_t i = 0; i < 3; ++i) {
    const auto s = started(folder, i);
    ASSERT_TRUE(s) << s.error().message;
    EXPECT_EQ(s->recovered.applied, state.id().slot);
    EXPECT_FALSE(s->machine.configuration());
    ASSERT_TRUE(s->recovered.birth);
    EXPECT_EQ(s->recovered.birth->configuration, 1U);
  }
}

TEST(NewClusterOfAState, LeavesNothingOfRowsThatAreNotWhole) {
  const State state;
  TempDir folder;
  const auto said = [&](const std::vector<chat::Row>& rows, const chat::SnapshotId& id) {
    NewCluster cluster(three(folder));
    EXPECT_EQ(cluster.begin(), "");
    EXPECT_EQ(cluster.write(rows), "");
    EXPECT_FALSE(nothing_in(folder.path()));
    return cluster.check(id, state.sum());
  };
  auto fewer = state.rows();
  fewer.erase(fewer.begin() + 5);
  EXPECT_THAT(said(fewer, state.id()), HasSubstr("are not those that it says it has"));
  EXPECT_TRUE(nothing_in(folder.path()));
  auto id = state.id();
  id.slot = id.slot + 1;
  EXPECT_THAT(said(state.rows(), id), HasSubstr("are not those of slot " + std::to_string(id.slot.n)));
  id = state.id();
  id.hash.bytes[3] ^= 1;
  EXPECT_THAT(said(state.rows(), id), HasSubstr("are not those of slot"));
  EXPECT_TRUE(nothing_in(folder.path()));
}

TEST(NewClusterOfAState, TouchesNoDirectoryThatHasSomething) {
  TempDir folder;
  fs::create_directories(folder.path() / "2" / "log");
  const auto said = [&] { return NewCluster(three(folder)).begin(); };
  EXPECT_THAT(said(), HasSubstr("2: is there already, and not empty"));
  EXPECT_TRUE(fs::exists(folder.path() / "2" / "log"));
  EXPECT_FALSE(fs::exists(folder.path() / "0.restoring"));
  fs::remove_all(folder.path() / "2");
  fs::create_directory(folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", folder.path() / "2");
  EXPECT_THAT(said(), HasSubstr("2: is a link"));
  fs::remove(folder.path() / "2");
  std::ofstream(folder.path() / "2").flush();
  EXPECT_THAT(said(), HasSubstr("2: is there already, and no folder"));
  fs::remove(folder.path() / "2");
  fs::create_directory(folder.path() / "2");
  EXPECT_EQ(said(), "") << "an empty one";
}

TEST(NewClusterOfAState, LeavesAnotherOneAloneThatIsUnderWay) {
  TempDir folder;
  NewCluster first(three(folder));
  ASSERT_EQ(first.begin(), "");
  {
    NewCluster second(three(folder));
    EXPECT_THAT(second.begin(), HasSubstr("another restore is under way there"));
  }
  EXPECT_TRUE(fs::exists(folder.path() / "0.restoring" / "install"));
}

TEST(NewClusterOfAState, UndoesWhatItPlacedWhereTheNextCantBe) {
  const State state;
  TempDir folder;
  {
    NewCluster cluster(three(folder));
    ASSERT_EQ(cluster.begin(), "");
    ASSERT_EQ(cluster.write(state.rows()), "");
    ASSERT_EQ(cluster.check(state.id(), state.sum()), "");
    fs::create_directories(folder.path() / "1" / "somebody");
    EXPECT_THAT(cluster.finish(state.id(), state.sum()), HasSubstr("/1: "));
  }
  EXPECT_FALSE(fs::exists(folder.path() / "0"));
  EXPECT_TRUE(fs::exists(folder.path() / "1" / "somebody"));
  EXPECT_FALSE(fs::exists(folder.path() / "2.restoring"));
}

}  // namespace
}  // namespace storage::test
