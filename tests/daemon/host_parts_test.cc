#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "daemon/after_sync.h"
#include "daemon/answers.h"
#include "daemon/damages.h"
#include "daemon/disk.h"
#include "daemon/faults.h"
#include "daemon/pause.h"
#include "daemon/scrub.h"
#include "daemon/supervision.h"

/// The small classes that a Host is made of.
namespace paxosd {
namespace {

using namespace std::chrono_literals;
using paxos::Slot;
using paxos::Time;

const Time t0 = Time{} + 1h;

chat::OperatorReply reply_to(std::uint64_t id, const std::string& words) {
  return {.id = id, .answer = chat::DoneReply{.refused = words, .slots = {}, .next_free = {}}};
}

TEST(Answers, WhatActsIsAnsweredOnceAndItsAnswerGivenAgain) {
  Answers answers;
  EXPECT_FALSE(answers.knows(7));
  answers.begin(7);
  EXPECT_TRUE(answers.knows(7));
  EXPECT_EQ(answers.given(7), nullptr) << "under way: the same request again waits for the same answer";
  answers.begin(7);
  answers.give(reply_to(7, "no"));
  ASSERT_NE(answers.given(7), nullptr);
  EXPECT_EQ(*answers.given(7), reply_to(7, "no"));
}

TEST(Answers, WhatOnlyAsksIsNotKept) {
  Answers answers;
  answers.give(reply_to(7, "no"));
  EXPECT_FALSE(answers.knows(7));
}

TEST(Answers, TheOldestIsForgotten) {
  Answers answers;
  for (std::uint64_t id = 1; id <= Answers::kept_max; ++id) answers.begin(id);
  answers.give(reply_to(1, "first"));
  EXPECT_TRUE(answers.knows(1));
  answers.begin(Answers::kept_max + 1);
  EXPECT_FALSE(answers.knows(1));
  EXPECT_TRUE(answers.knows(2));
  EXPECT_TRUE(answers.knows(Answers::kept_max + 1));
}

TEST(SkipsUnderWay, EndWhenASlotAboveAllOfThemIsChosen) {
  SkipsUnderWay skips;
  EXPECT_TRUE(skips.none());
  skips.begin({.asker = {.at = {}, .id = 1}, .reply = {}, .last = Slot{5}});
  skips.begin({.asker = {.at = {}, .id = 2}, .reply = {}, .last = Slot{9}});
  EXPECT_TRUE(skips.take_done(Slot{5}).empty());
  const auto done = skips.take_done(Slot{6});
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].asker.id, 1U);
  EXPECT_FALSE(skips.none());
  EXPECT_EQ(skips.take_done(Slot{20}).size(), 1U);
  EXPECT_TRUE(skips.none());
}

TEST(SkipsUnderWay, AreBounded) {
  SkipsUnderWay skips;
  for (std::size_t i = 0; i < SkipsUnderWay::skips_max; ++i) {
    EXPECT_FALSE(skips.full());
    skips.begin({.asker = {}, .reply = {}, .last = Slot{i + 1}});
  }
  EXPECT_TRUE(skips.full());
}

TEST(Pause, KeepsWhatComesInOrderUpToABuffersSize) {
  Pause pause;
  EXPECT_FALSE(pause.lasts(t0));
  EXPECT_FALSE(pause.until());
  pause.begin(t0 + 5s);
  EXPECT_TRUE(pause.lasts(t0));
  EXPECT_FALSE(pause.lasts(t0 + 5s));
  EXPECT_TRUE(pause.until()) << "over, and not ended yet: what it held is still to be given";
  int done = 0;
  pause.hold([&] { done = done * 10 + 1; });
  pause.hold([&] { done = done * 10 + 2; });
  const auto message = [](std::uint64_t nonce) {
    return net::Received{
        .from = {}, .sender = {}, .body = paxos::PeerMessage(paxos::HeartbeatRequest{nonce})};
  };
  pause.hold(message(1), 600, 1000);
  pause.hold(message(2), 600, 1000);
  pause.hold(message(3), 400, 1000);
  const Pause::Held held = pause.end();
  EXPECT_FALSE(pause.until());
  for (const Pause::Work& work : held.work) work();
  EXPECT_EQ(done, 12);
  ASSERT_EQ(held.received.size(), 2U) << "the second did not fit";
  EXPECT_EQ(held.received[1].body, net::Body(paxos::PeerMessage(paxos::HeartbeatRequest{3})));
  EXPECT_TRUE(pause.end().received.empty());
  pause.hold(message(4), 1000, 1000);
  EXPECT_EQ(pause.end().received.size(), 1U) << "the room is free again";
}

TEST(Faults, CountWhatTheyDrop) {
  Faults faults(0, 1);
  EXPECT_FALSE(faults.drop());
  EXPECT_FALSE(faults.drop_isolated(t0));
  faults.set_loss(1);
  EXPECT_TRUE(faults.drop());
  faults.isolate_until(t0 + 1s);
  EXPECT_TRUE(faults.drop_isolated(t0));
  EXPECT_FALSE(faults.drop_isolated(t0 + 1s));
  EXPECT_EQ(faults.dropped_by_loss(), 1U);
  EXPECT_EQ(faults.dropped_by_isolation(), 1U);
}

TEST(Damages, CountEachReadAndShowEachRecordOnce) {
  using Store = storage::Damage::Store;
  Damages damages;
  const storage::Damage one{.store = Store::log, .slot = Slot{3}, .what = "slot 3"};
  EXPECT_TRUE(damages.meet(one));
  damages.show(one);
  EXPECT_FALSE(damages.meet(one));
  EXPECT_TRUE(damages.meet({.store = Store::state, .slot = {}, .what = "slot 3"})) << "the other store's";
  EXPECT_EQ(damages.log_reads(), 2U);
  EXPECT_EQ(damages.state_reads(), 1U);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(damages.full(), damages.shown().size() >= Damages::told_max);
    damages.show({.store = Store::log, .slot = Slot{10 + i}, .what = "slot " + std::to_string(10 + i)});
  }
  EXPECT_EQ(damages.shown().size(), Damages::told_max);
}

TEST(Damages, OfSlotsThatWereTrimmedAreRepaired) {
  using Store = storage::Damage::Store;
  Damages damages;
  for (const std::uint64_t n : {3, 7}) {
    const storage::Damage one{.store = Store::log, .slot = Slot{n}, .what = "slot " + std::to_string(n)};
    EXPECT_TRUE(damages.meet(one));
    damages.show(one);
  }
  damages.show({.store = Store::log, .slot = {}, .what = "the promise"});
  damages.show({.store = Store::state, .slot = {}, .what = "a row"});
  EXPECT_FALSE(damages.trimmed(Slot{3}));
  EXPECT_TRUE(damages.trimmed(Slot{4}));
  EXPECT_EQ(damages.shown().size(), 3U);
  ASSERT_EQ(damages.mended().size(), 1U);
  EXPECT_EQ(damages.mended().front().what, "slot 3");
  EXPECT_TRUE(damages.trimmed(Slot{100}));
  EXPECT_EQ(damages.shown().size(), 2U) << "no trim makes good what the replica said, or its state";
}

TEST(Repairs, TellAnObstacleOnceAndWhatWasPutAsideOnce) {
  Repairs repairs;
  EXPECT_FALSE(repairs.done_at(Slot{9})) << "nothing was put aside";
  repairs.found(true, Slot{10});
  EXPECT_FALSE(repairs.done_at(Slot{9}));
  EXPECT_TRUE(repairs.done_at(Slot{10}));
  EXPECT_FALSE(repairs.done_at(Slot{11}));
  EXPECT_TRUE(repairs.tell("a disk is full"));
  EXPECT_FALSE(repairs.tell("a disk is full"));
  EXPECT_TRUE(repairs.tell("another one"));
  EXPECT_TRUE(repairs.begin_look());
  EXPECT_FALSE(repairs.begin_look());
  repairs.looked(Slot{5});
  EXPECT_TRUE(repairs.begin_look());
  repairs.looked(Slot{3});
  EXPECT_EQ(repairs.cut(), Slot{5}) << "the highest one counts";
}

TEST(Scrub, EndsThoughNothingOfTheLogReads) {
  using Part = Scrub::Place::Part;
  const auto unread = [](paxos::Slot, paxos::Slot,
                         std::size_t) -> tl::expected<std::vector<paxos::LogEntry>, std::string> {
    return tl::make_unexpected("damaged");
  };
  struct NoRows final : chat::RowReader {
    void scan(std::string_view, std::string_view,
              const std::function<bool(std::string_view, std::string_view)>&) const override {}
    void scan_back(std::string_view, std::string_view,
                   const std::function<bool(std::string_view, std::string_view)>&) const override {}
    [[nodiscard]] std::optional<std::string> get(std::string_view) const override { return std::nullopt; }
  } rows;
  const storage::Storage::Reader reader{
      .rows = rows, .log = unread, .log_first = [] { return Slot{1}; }, .pass = {}, .log_own = {}};
  Scrub::Page page{.next = {.part = Part::log, .slot = Slot{1}, .row = {}}, .bytes = 0};
  int pages = 0;
  for (; page.next.part == Part::log && pages < 100; ++pages) {
    page = Scrub::read_page(reader, page.next, Slot{1000});
    EXPECT_GT(page.bytes, 0U) << "what does not read costs the disk as much";
  }
  EXPECT_EQ(page.next.part, Part::state);
  EXPECT_EQ(pages, 16);
}

TEST(Scrub, ReadsPageAfterPageAtItsRateAndBeginsAnewWhenItIsTime) {
  using Part = Scrub::Place::Part;
  Scrub scrub;
  scrub.begin(t0, std::nullopt, 24h);
  EXPECT_FALSE(scrub.due(t0 + 23h)) << "nobody knows of an earlier one";
  scrub.begin(t0, 100h, 24h);
  auto place = scrub.due(t0);
  ASSERT_TRUE(place) << "long due";
  EXPECT_TRUE(scrub.begins());
  EXPECT_EQ(place->part, Part::own);
  EXPECT_FALSE(scrub.due(t0 + 1h)) << "a disk that hangs is asked once";
  EXPECT_FALSE(scrub.page_read(
      t0, {.next = {.part = Part::log, .slot = Slot{1}, .row = {}}, .bytes = Scrub::bytes_per_second}));
  EXPECT_FALSE(scrub.due(t0 + 1s - 1ms)) << "a second's worth of bytes";
  place = scrub.due(t0 + 1s);
  ASSERT_TRUE(place);
  EXPECT_FALSE(scrub.begins());
  EXPECT_EQ(place->slot, Slot{1});
  scrub.set_every(t0 + 1s, 0h);
  EXPECT_TRUE(scrub.page_read(t0 + 1s, {.next = {.part = Part::end, .slot = {}, .row = {}}, .bytes = 7}));
  EXPECT_EQ(scrub.figures().bytes, Scrub::bytes_per_second + 7);
  EXPECT_FALSE(scrub.due(t0 + 1000h)) << "never";
  scrub.set_every(t0 + 1000h, 24h);
  EXPECT_TRUE(scrub.due(t0 + 1000h)) << "the last one was long ago";
}

TEST(Disk, IsLookedAtWhenSomebodyAsksAndTheLastLookIsOld) {
  DiskFigures disk;
  EXPECT_FALSE(disk.use());
  EXPECT_TRUE(disk.begin(t0));
  EXPECT_FALSE(disk.begin(t0 + 1h)) << "a disk that hangs is asked once";
  disk.found(t0 + 1h, {.used = 5, .free = 6});
  EXPECT_FALSE(disk.begin(t0 + 1h + DiskFigures::kept - 1ms));
  EXPECT_TRUE(disk.begin(t0 + 1h + DiskFigures::kept));
  ASSERT_TRUE(disk.use());
  EXPECT_EQ(disk.use()->used, 5U);
}

TEST(Disk, IsProbedOnceAtATimeAndAYoungProbeIsGivenAgain) {
  DiskProbe probe;
  EXPECT_FALSE(probe.fresh(t0));
  EXPECT_TRUE(probe.begin());
  EXPECT_FALSE(probe.begin());
  probe.found(t0, "{}");
  EXPECT_TRUE(probe.fresh(t0 + DiskProbe::kept - 1ms));
  EXPECT_FALSE(probe.fresh(t0 + DiskProbe::kept));
  EXPECT_TRUE(probe.begin());
}

TEST(Disk, AProbeSaysHowLongASyncTakesOrWhyThereIsNone) {
  const auto found = nlohmann::json::parse(probe_disk(std::filesystem::temp_directory_path()));
  EXPECT_GE(found.at("syncs"), 1);
  EXPECT_LE(found.at("us_median"), found.at("us_max"));
  EXPECT_TRUE(nlohmann::json::parse(probe_disk("/proc/no-such-folder")).contains("error"));
  EXPECT_TRUE(look_at_disk(std::filesystem::temp_directory_path()).free);
}

TEST(Syncs, TellTheLoopWhatIsNewsAndWakeItWhereItWaits) {
  Syncs syncs(3);
  EXPECT_FALSE(syncs.news());
  EXPECT_TRUE(syncs.note(4)) << "until it says otherwise it is woken";
  EXPECT_EQ(syncs.news(), std::optional<std::uint64_t>(4));
  EXPECT_FALSE(syncs.news());
  EXPECT_EQ(syncs.told(), 4U);
  EXPECT_FALSE(syncs.await(false));
  EXPECT_FALSE(syncs.note(5));
  EXPECT_TRUE(syncs.await(true)) << "it came before it was waited for";
  EXPECT_EQ(syncs.news(), std::optional<std::uint64_t>(5));
  EXPECT_FALSE(syncs.await(true));
  EXPECT_TRUE(syncs.note(6));
}

TEST(SendFailures, AreALineAMinuteWithWhatIsNew) {
  SendFailures failures;
  EXPECT_FALSE(failures.line(t0, {}));
  const auto first = failures.line(t0, {{ENETUNREACH, 2}});
  ASSERT_TRUE(first);
  EXPECT_EQ(first->rfind("2 ENETUNREACH (", 0), 0U) << *first;
  EXPECT_FALSE(failures.line(t0 + 59s, {{ENETUNREACH, 9}}));
  const auto second = failures.line(t0 + 60s, {{ENETUNREACH, 9}, {EMSGSIZE, 1}});
  ASSERT_TRUE(second);
  EXPECT_NE(second->find("7 ENETUNREACH"), std::string::npos) << *second;
  EXPECT_NE(second->find("1 EMSGSIZE"), std::string::npos) << *second;
  EXPECT_FALSE(failures.line(t0 + 3min, {})) << "another socket counts from nothing";
  EXPECT_TRUE(failures.line(t0 + 3min, {{EMSGSIZE, 1}}));
}

}  // namespace
}  // namespace paxosd
