#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/storage/support.h"

namespace storage::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Open, FreshDirectoryIsUnbornWithTheIncarnationGiven) {
  const TempDir dir;
  const auto s = opened(options(dir.path()));
  EXPECT_EQ(s.recovered.incarnation, incarnation(7));
  EXPECT_EQ(s.recovered.boot, 1u);
  EXPECT_FALSE(s.recovered.birth);
  EXPECT_TRUE(s.recovered.promised.none());
  EXPECT_TRUE(s.recovered.chosen_prefix.none());
  EXPECT_TRUE(s.recovered.entries.empty());
  EXPECT_EQ(s.recovered.last_group, 0u);
  EXPECT_TRUE(s.machine.applied().none());
}

TEST(Open, EveryStartRaisesTheBootAndKeepsTheIncarnation) {
  const TempDir dir;
  auto o = options(dir.path());
  for (std::uint64_t boot = 1; boot <= 4; ++boot) {
    o.fresh_incarnation = incarnation(static_cast<std::uint8_t>(100 + boot));
    const auto s = opened(o);
    EXPECT_EQ(s.recovered.boot, boot);
    EXPECT_EQ(s.recovered.incarnation, incarnation(101));
  }
}

TEST(Open, EveryKindOfRecordSurvives) {
  const TempDir dir;
  const auto o = options(dir.path());
  const paxos::BirthRecord birth{{incarnation(1), incarnation(7), incarnation(3)}, true};
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    s.storage->append(1, {paxos::PromiseRecord{{5, {2}}}, birth});
    s.storage->append(2, {paxos::VoteRecord{{1}, {5, {2}}, text("one")}});
    s.storage->append(3, {paxos::ChosenRecord{{2}, {6, {0}}, text("two")}, paxos::ChosenPrefixRecord{{2}}});
    s.storage->append(4, {paxos::VoteRecord{{4}, {5, {2}}, paxos::Decree{}}});
    s.storage->append(5, {paxos::VoteRecord{{4}, {9, {1}}, text("four")},
                          paxos::PeerRecord{{2}, {incarnation(3), 4, 44}, 5, {}}});
    s.storage->append(
        6, {paxos::PeerRecord{{2}, {incarnation(3), 5, 55}, 6, {5, 54}}, paxos::OutdatedRecord{{1}, 7, 8}});
    ASSERT_TRUE(said.wait_synced(6));
    EXPECT_THAT(said.failures(), IsEmpty());
  }
  const auto s = opened(o);
  EXPECT_EQ(s.recovered.last_group, 6u);
  EXPECT_EQ(s.recovered.peers, (std::vector<paxos::PeerRecord>{{{2}, {incarnation(3), 5, 55}, 6, {5, 54}}}));
  EXPECT_EQ(s.recovered.outdated, (paxos::OutdatedRecord{{1}, 7, 8}));
  EXPECT_EQ(s.recovered.promised, (paxos::Ballot{9, {1}})) << "a vote implies a promise";
  EXPECT_EQ(s.recovered.birth, birth);
  EXPECT_EQ(s.recovered.chosen_prefix, paxos::Slot{2});
  // Up to the chosen prefix they are read from the disk when they are needed.
  const std::vector<paxos::LogEntry> expected{{{4}, {9, {1}}, false, text("four")}};
  EXPECT_EQ(s.recovered.entries, expected) << "a later vote replaces an earlier one of its slot";
}

/// Ballots, and whose incarnations are known, of later configurations than the first.
/// The first of them raises the log's format: a program that would read them wrongly says which it needs.
TEST(Open, RecordsOfLaterConfigurationsSurvive) {
  const TempDir dir;
  auto o = options(dir.path());
  o.rules_known = chat::rules_first;
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    s.storage->append(1, {paxos::VoteRecord{{1}, {9, {2}}, text("first")}});
    ASSERT_TRUE(said.wait_synced(1));
  }
  opened(o);
  o.rules_known = chat::rules_released;
  const paxos::BirthRecord birth{{incarnation(1), incarnation(7), incarnation(3)}, true, 300};
  const paxos::Ballot later{9, {1}, 300};
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    s.storage->append(2, {paxos::VoteRecord{{1}, {10, {2}}, text("first")}, birth});
    s.storage->append(3,
                      {paxos::VoteRecord{{2}, later, paxos::Decree{paxos::DecreeKind::configuration, {}}}});
    ASSERT_TRUE(said.wait_synced(3));
  }
  auto older = o;
  older.rules_known = chat::rules_first;
  EXPECT_THAT(refusal(older), testing::HasSubstr("format version 3"));
  const auto s = opened(o);
  EXPECT_EQ(s.recovered.promised, later) << "above every one of the first, whatever its round";
  EXPECT_EQ(s.recovered.birth, birth);
  const std::vector<paxos::LogEntry> expected{
      {{1}, {10, {2}}, false, text("first")},
      {{2}, later, false, paxos::Decree{paxos::DecreeKind::configuration, {}}}};
  EXPECT_EQ(s.recovered.entries, expected);
}

TEST(Open, TheLatestLivesAreRemembered) {
  const TempDir dir;
  auto o = options(dir.path());
  opened(o);  // a start of a program that has none
  for (std::uint64_t boot = 2; boot <= 40; ++boot) {
    o.life = boot * 11;
    const auto lives = opened(o).recovered.lives;
    ASSERT_EQ(lives.size(), std::min<std::size_t>(boot - 1, paxos::limits::lives_max));
    EXPECT_EQ(lives.back(), (paxos::Life{boot, boot * 11}));
    for (std::size_t i = 0; i + 1 < lives.size(); ++i)
      EXPECT_EQ(lives[i], (paxos::Life{lives[i + 1].boot - 1, (lives[i + 1].boot - 1) * 11}));
  }
}

TEST(Open, PromiseNeverGoesBack) {
  const TempDir dir;
  const auto o = options(dir.path());
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    s.storage->append(1, {paxos::PromiseRecord{{9, {1}}}});
    s.storage->append(2, {paxos::PromiseRecord{{4, {2}}}});
    ASSERT_TRUE(said.wait_synced(2));
  }
  Said said;
  auto s = opened(o);
  EXPECT_EQ(s.recovered.promised, (paxos::Ballot{9, {1}}));
  s.storage->start(said.completions());
  s.storage->append(3, {paxos::VoteRecord{{1}, {2, {0}}, text("late")}});
  ASSERT_TRUE(said.wait_synced(3));
  s.storage.reset();
  EXPECT_EQ(opened(o).recovered.promised, (paxos::Ballot{9, {1}}));
}

TEST(Append, GroupsAreAcknowledgedInOrderAndAllOfThem) {
  const TempDir dir;
  const auto o = options(dir.path());
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  for (std::uint64_t n = 1; n <= 2000; ++n) s.storage->append(n, vote_group(n));
  ASSERT_TRUE(said.wait_synced(2000));
  const auto synced = said.synced();
  EXPECT_TRUE(std::is_sorted(synced.begin(), synced.end()));
  EXPECT_EQ(std::adjacent_find(synced.begin(), synced.end()), synced.end());
  const auto figures = s.storage->figures();
  EXPECT_EQ(figures.groups, 2000u);
  EXPECT_LT(figures.syncs, 2000u) << "what waits is synced at once";
  EXPECT_EQ(s.storage->oldest_work_started_ns(), 0);
  s.storage.reset();
  EXPECT_EQ(opened(o).recovered.entries.size(), 2000u);
}

TEST(Append, WhatIsQueuedWhenTheStorageGoesIsWritten) {
  const TempDir dir;
  const auto o = options(dir.path());
  Said said;
  {
    auto s = opened(o);
    s.storage->start(said.completions());
    for (std::uint64_t n = 1; n <= 100; ++n) s.storage->append(n, vote_group(n));
  }
  EXPECT_EQ(said.last_synced(), 100u);
  EXPECT_EQ(opened(o).recovered.last_group, 100u);
}

TEST(Append, LargestDecreeComesBackWhole) {
  const TempDir dir;
  const auto o = options(dir.path());
  const std::string big(paxos::limits::decree_bytes_max, '\xa5');
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    s.storage->append(1, {paxos::VoteRecord{{1}, {1, {0}}, text(big)}});
    ASSERT_TRUE(said.wait_synced(1));
  }
  EXPECT_EQ(opened(o).recovered.entries.at(0).decree.value.view(), big);
}

TEST(AppendDeathTest, AGapInTheGroupNumbersIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  auto s = opened(options(dir.path()));
  EXPECT_DEATH(s.storage->append(2, vote_group(2)), "broken invariant");
}

TEST(Refuses, AnotherClusterByName) {
  const TempDir dir;
  auto o = options(dir.path());
  opened(o);
  o.cluster_id = "99999999-0000-4000-8000-000000000009";
  EXPECT_THAT(refusal(o), AllOf(HasSubstr(options(dir.path()).cluster_id), HasSubstr(o.cluster_id),
                                HasSubstr("data_dir"), HasSubstr(o.directory.string())));
}

TEST(Refuses, AnotherReplicaByName) {
  const TempDir dir;
  auto o = options(dir.path());
  opened(o);
  o.replica = {2};
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("belongs to replica 1, not to replica 2"), HasSubstr("--id")));
}

TEST(Refuses, ADirectoryInUseNamingItsOwner) {
  const TempDir dir;
  const auto o = options(dir.path());
  const auto s = opened(o);
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("in use by a running replica"),
                                HasSubstr("pid " + std::to_string(::getpid())), HasSubstr("stop that one")));
}

TEST(Refuses, ADirectoryThatIsAFile) {
  const TempDir dir;
  const auto o = options(dir.path());
  write_file(o.directory, "not a folder");
  EXPECT_THAT(refusal(o), AllOf(HasSubstr(o.directory.string()), HasSubstr("can't be made")));
}

TEST(Refuses, AMarkThatCanNotBeWritten) {
  const TempDir dir;
  const auto o = options(dir.path());
  opened(o);
  std::filesystem::remove(o.directory / "log-mark");
  std::filesystem::create_symlink("/dev/full", o.directory / "log-mark");
  EXPECT_THAT(refusal(o),
              AllOf(HasSubstr(o.directory.string()), HasSubstr("mark"), HasSubstr("No space left")));
}

TEST(Refuses, ADirectoryThatItMayNotWrite) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TempDir dir;
  const auto o = options(dir.path());
  std::filesystem::create_directory(o.directory);
  ::chmod(o.directory.c_str(), 0500);
  EXPECT_THAT(refusal(o), AllOf(HasSubstr(o.directory.string()), HasSubstr("may this user write there?")));
}

TEST(Refuses, AStateOrALogThatIsGone) {
  const TempDir dir;
  const auto o = options(dir.path());
  fill(o, 3);
  std::filesystem::rename(o.directory / "log", o.directory / "elsewhere");
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("log"), HasSubstr("gone"), HasSubstr("keep this replica down")));
  EXPECT_FALSE(std::filesystem::exists(o.directory / "log" / "CURRENT")) << "a refusal makes no new log";
  std::filesystem::remove_all(o.directory / "state");
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("log is gone"), HasSubstr("keep this replica down")))
      << "its mark still tells";
  std::filesystem::remove_all(o.directory / "log");
  std::filesystem::rename(o.directory / "elsewhere", o.directory / "log");
  EXPECT_EQ(opened(o).recovered.entries.size(), 3u) << "put back, it opens; the log redoes the state";
}

}  // namespace
}  // namespace storage::test
