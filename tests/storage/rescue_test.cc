#include "storage/rescue.h"

#include <gmock/gmock.h>

#include <array>

#include "chat/rows.h"
#include "chat/snapshot.h"
#include "storage/new_cluster.h"
#include "storage/rescue_plan.h"
#include "storage/state_folder.h"
#include "storage/survivor.h"
#include "tests/chat/fixture.h"
#include "tests/storage/life.h"

namespace storage::test {
namespace {

namespace fs = std::filesystem;
using chat::test::post;
using paxos::Slot;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// --- what is decided ---

Standing standing(std::uint64_t first, std::uint64_t applied, std::uint64_t chosen, std::uint64_t last) {
  return {.first_slot = {first}, .applied = {applied}, .chosen = {chosen}, .last = {last}};
}

TEST(RescuePlan, BeginsWithTheOneThatKnowsTheMostSlotsToBeChosen) {
  EXPECT_EQ(best_of(std::array{standing(1, 90, 90, 200), standing(1, 50, 91, 91)}), 1u);
  EXPECT_EQ(best_of(std::array{standing(1, 50, 90, 90), standing(1, 70, 90, 90)}), 1u) << "less to apply";
  EXPECT_EQ(best_of(std::array{standing(1, 50, 90, 90), standing(1, 50, 90, 93)}), 1u) << "more votes";
  EXPECT_EQ(best_of(std::array{standing(1, 50, 90, 90), standing(1, 50, 90, 90)}), 0u);
}

TEST(RescuePlan, BeginsNowhereWithoutTheStateThatATrimmedLogBuildsOn) {
  EXPECT_EQ(best_of(std::array{standing(100, 0, 300, 300), standing(1, 0, 40, 40)}), 1u);
  EXPECT_EQ(best_of(std::array{standing(100, 98, 300, 300)}), std::nullopt);
  EXPECT_EQ(best_of(std::array{standing(100, 99, 300, 300)}), 0u);
  EXPECT_FALSE(helps(standing(100, 0, 300, 300), standing(1, 40, 40, 40)));
  EXPECT_TRUE(helps(standing(100, 0, 300, 300), standing(1, 99, 99, 99)));
}

TEST(RescuePlan, KeepsWhatIsChosenElseTheVoteOfTheHighestBallot) {
  using Words = std::vector<std::optional<SlotWord>>;
  const SlotWord low{{3, {1}}, false}, high{{4, {0}}, false}, known{{1, {0}}, true};
  EXPECT_EQ(standing_word(Words{low, high}), 1u);
  EXPECT_EQ(standing_word(Words{high, low}), 0u);
  EXPECT_EQ(standing_word(Words{low, high, known}), 2u);
  EXPECT_EQ(standing_word(Words{std::nullopt, low}), 1u);
  EXPECT_EQ(standing_word(Words{low, low}), 0u);
  EXPECT_EQ(standing_word(Words{std::nullopt, std::nullopt}), std::nullopt);
}

// --- what comes of directories ---

constexpr const char* old_cluster = "5f0a2b1e-0000-4000-8000-000000000001";

paxos::Decree batch(const std::vector<chat::Command>& commands) {
  return chat::test::decree(1'795'000'000'000, commands);
}

/// Directories of one old cluster, and what a rescue of some of them gives.
class Rescued : public testing::Test {
 protected:
  OpenOptions at(unsigned replica) const {
    return {.directory = folder_.path() / "old" / std::to_string(replica),
            .cluster_id = old_cluster,
            .replica = {static_cast<std::uint8_t>(replica)},
            .replicas = 3,
            .fresh_incarnation = incarnation(static_cast<std::uint8_t>(replica + 1)),
            .rules_known = rules};
  }
  /// Slot 1 raises the rules, 2 opens a session, 3 and on are its posts.
  chat::SessionId fill(unsigned replica, std::uint64_t posts) {
    Life life(at(replica));
    if (rules > 1) life.raise(2);
    const chat::SessionId session = life.open_session();
    for (std::uint64_t n = 1; n <= posts; ++n) life.post(session, n, "text " + std::to_string(n));
    return session;
  }
  void log(unsigned replica, std::vector<paxos::Record> records) {
    Said said;
    auto s = opened(at(replica));
    s.storage->start(said.completions());
    s.storage->append(s.recovered.last_group + 1, std::move(records));
    ASSERT_TRUE(said.wait_synced(s.recovered.last_group + 1));
  }
  tl::expected<RescueReport, std::string> rescue_of(const std::vector<unsigned>& replicas, bool make = true) {
    std::vector<std::unique_ptr<Survivor>> survivors;
    for (const unsigned replica : replicas) {
      survivors.push_back(std::make_unique<Survivor>(at(replica).directory));
      std::string why = survivors.back()->lock();
      if (why.empty()) why = survivors.back()->examine(chat::rules_released);
      for (const Finding& finding : survivors.back()->inspection().findings) found.push_back(finding.what);
      if (why.empty()) why = survivors.back()->load();
      if (!why.empty()) return tl::make_unexpected(why);
    }
    fs::remove_all(folder_.path() / "new");
    fs::create_directory(folder_.path() / "new");
    NewCluster::Options three{
        .cluster_id = "new", .members = {}, .rules_known = chat::rules_released, .life = 1000};
    for (unsigned i = 0; i < 3; ++i)
      three.members.push_back({.directory = folder_.path() / "new" / std::to_string(i),
                               .incarnation = incarnation(static_cast<std::uint8_t>(100 + i))});
    NewCluster cluster(three);
    if (make)
      if (std::string why = cluster.begin(); !why.empty()) return tl::make_unexpected(why);
    return rescue(survivors, chat::rules_released, make ? &cluster : nullptr, 7);
  }
  /// Of the new cluster's replica 2: where it stands, and what is in the room.
  std::vector<std::string> texts(const RescueReport& report, const std::string& room = "ops") {
    const auto s = Storage::open({.directory = folder_.path() / "new" / "2",
                                  .cluster_id = "new",
                                  .replica = {2},
                                  .replicas = 3,
                                  .fresh_incarnation = {},
                                  .life = 5,
                                  .rules_known = chat::rules_released});
    if (!s) return {s.error().message};
    EXPECT_EQ(s->recovered.applied, report.slot);
    EXPECT_EQ(s->recovered.hash, report.hash);
    EXPECT_EQ(s->recovered.first_slot, report.slot + 1);
    EXPECT_EQ(s->machine.rules(), report.rules);
    EXPECT_TRUE(s->recovered.birth && s->recovered.birth->born);
    std::promise<std::vector<std::string>> told;
    s->storage->start({.synced = [](std::uint64_t) {}, .failed = [](const std::string&) {}});
    s->storage->read([&](const Storage::Reader& reader) {
      std::vector<std::string> out;
      const auto page = chat::read_history(reader.rows, room, 1, 1000);
      if (!page)
        out.push_back(page.error());
      else
        for (const chat::Message& m : page->messages) out.push_back(m.text);
      told.set_value(out);
    });
    return told.get_future().get();
  }
  TempDir folder_;
  std::uint16_t rules = 2;
  std::vector<std::string> found;  ///< damage
};

TEST_F(Rescued, AStateBecomesANewClusterAtItsSlot) {
  fill(0, 3);
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->slot, Slot{5});
  EXPECT_EQ(report->chosen, Slot{5});
  EXPECT_EQ(report->said_ms, 1'795'000'000'000);
  EXPECT_THAT(report->unsure, IsEmpty());
  EXPECT_THAT(report->holes, IsEmpty());
  EXPECT_THAT(report->rooms, IsEmpty());
  EXPECT_FALSE(report->promised_above);
  EXPECT_THAT(texts(*report), ElementsAre("text 1", "text 2", "text 3"));
}

TEST_F(Rescued, AVoteAboveIsKeptAndTold) {
  const auto session = fill(0, 2);
  log(0, {paxos::VoteRecord{
              {5}, {3, {1}}, batch({post(session, 3, "third"), post(session, 4, "fourth", "dev")})},
          paxos::VoteRecord{{6}, {3, {1}}, paxos::Decree{}}});
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->slot, Slot{6});
  EXPECT_EQ(report->chosen, Slot{4});
  ASSERT_EQ(report->unsure.size(), 2u);
  EXPECT_EQ(report->unsure[0].slot, Slot{5});
  EXPECT_EQ(report->unsure[0].ballot, (paxos::Ballot{3, {1}}));
  EXPECT_THAT(report->unsure[0].messages, ElementsAre(Pair("dev", 1), Pair("ops", 1)));
  EXPECT_EQ(report->unsure[1].kind, paxos::DecreeKind::noop);
  ASSERT_EQ(report->rooms.size(), 2u);
  EXPECT_EQ(report->rooms.at("ops").unsure, 1u);
  EXPECT_EQ(report->rooms.at("ops").missing, 0u);
  EXPECT_THAT(texts(*report), ElementsAre("text 1", "text 2", "third"));
  EXPECT_THAT(texts(*report, "dev"), ElementsAre("fourth"));
}

TEST_F(Rescued, WhatIsMarkedAsChosenAboveIsNotInDoubtButWhatLiesBelowItIs) {
  const auto session = fill(0, 1);
  log(0, {paxos::VoteRecord{{4}, {3, {1}}, batch({post(session, 2, "second")})},
          paxos::ChosenRecord{{5}, {3, {1}}, batch({post(session, 3, "third")})}});
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->chosen, Slot{3});
  ASSERT_EQ(report->unsure.size(), 1u);
  EXPECT_EQ(report->unsure[0].slot, Slot{4});
  EXPECT_THAT(texts(*report), ElementsAre("text 1", "second", "third"));
}

TEST_F(Rescued, AHoleIsFilledAndNamedAndWhatBuildsOnItIsMissing) {
  const auto session = fill(0, 1);  // up to slot 3
  const chat::SessionId other{{5}, 0};
  log(0, {paxos::VoteRecord{
              {5}, {3, {1}}, batch({chat::test::open_command(9), post(session, 3, "builds on it")})},
          paxos::VoteRecord{{8}, {3, {1}}, batch({post(other, 1, "of another session", "dev")})}});
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->slot, Slot{8});
  ASSERT_EQ(report->holes.size(), 2u);
  EXPECT_EQ(report->holes[0].first, Slot{4});
  EXPECT_EQ(report->holes[0].last, Slot{4});
  EXPECT_FALSE(report->holes[0].chosen);
  EXPECT_EQ(report->holes[1].first, Slot{6});
  EXPECT_EQ(report->holes[1].last, Slot{7});
  EXPECT_EQ(report->rooms.at("ops").missing, 1u);
  EXPECT_EQ(report->rooms.at("ops").unsure, 0u);
  EXPECT_EQ(report->rooms.at("dev").unsure, 1u);
  EXPECT_THAT(texts(*report), ElementsAre("text 1"));
  EXPECT_THAT(texts(*report, "dev"), ElementsAre("of another session"));
}

TEST_F(Rescued, TheOthersVotesCompleteTheBestOne) {
  fill(0, 2);
  const auto session = fill(1, 3);  // knows slot 5 too
  log(0, {paxos::VoteRecord{{5}, {3, {1}}, batch({post(session, 3, "text 3")})},
          paxos::VoteRecord{{6}, {3, {1}}, batch({post(session, 4, "its vote")})}});
  const auto report = rescue_of({0, 1});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->best, 1u);
  EXPECT_EQ(report->from, Slot{5});
  EXPECT_EQ(report->slot, Slot{6});
  ASSERT_EQ(report->unsure.size(), 1u);
  EXPECT_THAT(report->unsure[0].directories, ElementsAre(0u));
  EXPECT_THAT(report->left_out, IsEmpty());
  EXPECT_THAT(texts(*report), ElementsAre("text 1", "text 2", "text 3", "its vote"));
}

TEST_F(Rescued, OfTwoVotesTheHigherBallotStandsAndTheOtherIsTold) {
  const auto session = fill(0, 1);
  fill(1, 1);
  log(0, {paxos::VoteRecord{{4}, {3, {0}}, batch({post(session, 2, "low")})},
          paxos::VoteRecord{{5}, {3, {0}}, batch({post(session, 3, "low and repeated", "dev")})}});
  log(1, {paxos::VoteRecord{
              {4},
              {4, {1}},
              batch({post(session, 2, "high", "dev"), post(session, 3, "low and repeated", "dev")})},
          paxos::VoteRecord{{5}, {4, {1}}, paxos::Decree{}}});
  const auto report = rescue_of({0, 1});
  ASSERT_TRUE(report) << report.error();
  ASSERT_EQ(report->left_out.size(), 2u);
  EXPECT_EQ(report->left_out[0].directory, 0u);
  EXPECT_THAT(report->left_out[0].messages, ElementsAre(Pair("ops", 1)));
  // Its session went on without it, so it can't be told from one that stands; the repeated one does.
  EXPECT_THAT(texts(*report, "dev"), ElementsAre("high", "low and repeated"));
  EXPECT_EQ(report->rooms.at("dev").missing, 0u);
  EXPECT_THAT(texts(*report), ElementsAre("text 1"));
}

/// A slot below closed the configuration that it was cast in: it was not chosen, and never will be.
TEST_F(Rescued, AVoteOfAnEarlierConfigurationIsLeftOut) {
  const chat::SessionId session = fill(0, 3);
  paxos::Configuration next = paxos::Configuration::of_birth({incarnation(1), incarnation(2), incarnation(3)})
                                  .with_incarnation({2}, incarnation(9));
  log(0, {paxos::ChosenRecord{{6}, {9, {0}}, paxos::make_configuration_decree(next)},
          paxos::VoteRecord{{7}, {9, {0}}, batch({post(session, 4, "never chosen")})}});
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_THAT(report->unsure, IsEmpty());
  ASSERT_EQ(report->left_out.size(), 1u);
  EXPECT_EQ(report->left_out[0].slot, Slot{7});
  EXPECT_THAT(texts(*report), ElementsAre("text 1", "text 2", "text 3"));
}

TEST_F(Rescued, AVoteThatIsLeftOutIsMissingWhereItStandsNowhereElse) {
  const auto session = fill(0, 1);
  fill(1, 1);
  log(0, {paxos::VoteRecord{{4}, {3, {0}}, batch({post(session, 2, "lost")})}});
  log(1, {paxos::VoteRecord{{4}, {4, {1}}, paxos::Decree{}}});
  const auto report = rescue_of({0, 1}, false);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->rooms.at("ops").missing, 1u);
  EXPECT_TRUE(fs::is_empty(folder_.path() / "new")) << "nothing was asked for but a word";
}

TEST_F(Rescued, ALogThatWasRedoneByNobodyIsApplied) {
  fill(0, 40);
  fs::remove_all(at(0).directory / "state");
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->from, Slot{0});
  EXPECT_EQ(report->slot, Slot{42});
  EXPECT_EQ(report->chosen, Slot{42});
  EXPECT_THAT(report->unsure, IsEmpty());
  EXPECT_EQ(texts(*report).size(), 40u);
}

TEST_F(Rescued, ATrimmedLogWithoutItsStateIsNothingAloneAndOfNoUseFarAbove) {
  fill(0, 40);
  log(0, {paxos::TrimRecord{{20}}});
  fill(1, 10);
  fs::remove_all(at(0).directory / "state");
  const auto alone = rescue_of({0});
  ASSERT_FALSE(alone);
  EXPECT_THAT(alone.error(),
              HasSubstr("its log begins with slot 20, and its state, which held all before, is gone"));
  const auto report = rescue_of({0, 1});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->best, 1u);
  EXPECT_THAT(report->used, ElementsAre(false, true));
  EXPECT_EQ(report->slot, Slot{12});
  // One that stands just below is completed by it.
  fs::remove_all(at(1).directory);
  fill(1, 17);
  const auto completed = rescue_of({0, 1});
  ASSERT_TRUE(completed) << completed.error();
  EXPECT_EQ(completed->slot, Slot{42});
  EXPECT_EQ(completed->chosen, Slot{42});
  EXPECT_EQ(texts(*completed).size(), 40u);
}

TEST_F(Rescued, ASnapshotThatWaitsForTheNextStartIsTakenAsItsState) {
  fill(0, 5);
  fill(1, 30);
  const fs::path install = at(0).directory / "install";
  fs::copy(at(1).directory / "state", install, fs::copy_options::recursive);
  const auto mark = [&](bool complete) {
    auto rows = StateFolder::open(install, StateFolder::Mode::filled, nullptr);
    ASSERT_TRUE(rows) << rows.error();
    chat::SnapshotProgress progress{.id = {.source = {}, .number = 1, .slot = {32}, .hash = {}},
                                    .place = {},
                                    .bytes_about = 1,
                                    .complete = complete};
    ASSERT_EQ((*rows)->write({{chat::rows::progress(), chat::encode_progress(progress)}}), "");
    ASSERT_EQ((*rows)->flush(), "");
  };
  mark(false);
  const auto half = rescue_of({0});
  ASSERT_TRUE(half) << half.error();
  EXPECT_EQ(half->slot, Slot{7});
  mark(true);
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->slot, Slot{32});
  EXPECT_EQ(texts(*report).size(), 30u);
  EXPECT_TRUE(fs::exists(install)) << "it is only read";
}

TEST_F(Rescued, RulesOneAreRaisedByADecreeOfItsOwn) {
  rules = 1;
  fill(0, 5);  // slots 1 to 6
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->raised, Slot{7});
  EXPECT_EQ(report->slot, Slot{7});
  EXPECT_EQ(report->rules, 2);
  EXPECT_EQ(texts(*report).size(), 5u);
}

TEST_F(Rescued, WhatPartedIsNamedAndNotMixed) {
  fill(0, 5);
  {
    Life life(at(1));
    life.raise(2);
    const auto session = life.open_session();
    for (std::uint64_t n = 1; n <= 3; ++n) life.post(session, n, "another text");
  }
  for (const auto& both : {std::vector{0u, 1u}, std::vector{1u, 0u}}) {
    const auto report = rescue_of(both);
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error(), HasSubstr("do not agree about slot 5"));
    EXPECT_TRUE(fs::is_empty(folder_.path() / "new"));
  }
  fs::remove_all(at(1).directory);
  const auto session = fill(1, 5);
  log(0, {paxos::ChosenRecord{{8}, {3, {1}}, batch({post(session, 6, "one")})}});
  log(1, {paxos::ChosenRecord{{8}, {3, {1}}, batch({post(session, 6, "another")})}});
  const auto report = rescue_of({0, 1});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error(), HasSubstr("both know slot 8 to be chosen, and have other decrees there"));
}

TEST_F(Rescued, APromiseAboveAllVotesIsASign) {
  const auto session = fill(0, 2);
  log(0,
      {paxos::VoteRecord{{5}, {3, {1}}, batch({post(session, 3, "third")})}, paxos::PromiseRecord{{5, {2}}}});
  const auto report = rescue_of({0}, false);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->promised_above, (paxos::Ballot{5, {2}}));
}

TEST_F(Rescued, ADirectoryWithoutASlotIsNothing) {
  (void)opened(at(0));
  const auto report = rescue_of({0});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error(), HasSubstr("there is nothing in it: no slot was ever chosen"));
  EXPECT_TRUE(fs::is_empty(folder_.path() / "new"));
}

TEST_F(Rescued, WhatDoesNotReadInTheLogIsAHole) {
  const auto session = fill(0, 2);
  log(0, {paxos::VoteRecord{{5}, {3, {1}}, batch({post(session, 3, std::string(600, 'x'))})}});
  log(0, {paxos::VoteRecord{{6}, {3, {1}}, paxos::Decree{}}});
  // The record of slot 5 does not fit its checksum; its block does.
  {
    Families log_rows;
    ASSERT_TRUE(
        log_rows.open(database_options(nullptr), (at(0).directory / "log").string(), {Family::slots}).ok());
    std::string value;
    ASSERT_TRUE(log_rows.get({}, Family::slots, log_key::slot({5}), value).ok());
    value[20] = static_cast<char>(value[20] ^ 1);
    rocksdb::WriteBatch change;
    log_rows.put(change, Family::slots, log_key::slot({5}), value);
    ASSERT_TRUE(log_rows.db().Write({}, &change).ok());
  }
  const auto report = rescue_of({0});
  ASSERT_TRUE(report) << report.error();
  EXPECT_THAT(found, testing::Contains(HasSubstr("checksum does not fit")));
  EXPECT_EQ(report->slot, Slot{6});
  ASSERT_EQ(report->holes.size(), 1u);
  EXPECT_EQ(report->holes[0].first, Slot{5});
  EXPECT_THAT(texts(*report), ElementsAre("text 1", "text 2"));
}

TEST_F(Rescued, ADirectoryInUseIsLeftAloneAndAStartWaitsForTheReader) {
  fill(0, 1);
  {
    const auto running = opened(at(0));
    EXPECT_THAT(Survivor(at(0).directory).lock(), HasSubstr("is in use by a running replica"));
  }
  Survivor survivor(at(0).directory);
  ASSERT_EQ(survivor.lock(), "");
  EXPECT_THAT(refusal(at(0)), HasSubstr("is in use"));
}

}  // namespace
}  // namespace storage::test
