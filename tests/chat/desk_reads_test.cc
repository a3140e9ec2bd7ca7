// History and follow at the desk (desk.h; DESIGN.md section 4, "Reads").

#include <gtest/gtest.h>

#include "tests/chat/desk_fixture.h"

namespace chat::test {
namespace {

HistoryRequest history(std::uint64_t id, std::uint64_t from = 1, std::uint32_t last = 0) {
  return {.id = id, .room = "ops", .from = from, .last = last, .limit = 0, .local = false};
}
HistoryRequest local(std::uint64_t id) {
  HistoryRequest request = history(id);
  request.local = true;
  return request;
}
FollowRequest follow(std::uint64_t id, std::uint64_t from, std::uint32_t wait_ms = 1000) {
  return {.id = id, .room = "ops", .from = from, .wait_ms = wait_ms};
}

/// An office whose room `ops` has `count` messages "m1", "m2", …
struct Archive : Office {
  SessionId session;
  std::uint64_t seq = 0;
  explicit Archive(std::uint64_t count) {
    session = open(1);
    for (std::uint64_t i = 0; i < count; ++i) say();
    (void)desk.take_output();
  }
  Applied say(const std::string& room = "ops") {
    ++seq;
    return decide({post(session, seq, "m" + std::to_string(seq), room, seq)});
  }
  std::vector<HistoryReply> answers() {
    std::vector<HistoryReply> found;
    for (auto& [address, reply] : replies_of<HistoryReply>()) found.push_back(std::move(reply));
    return found;
  }
};

// "served when applied ≥ index"
TEST(DeskHistory, WaitsForItsIndexToBeApplied) {
  Archive office(2);
  office.send(1, history(5));
  EXPECT_TRUE(office.answers().empty());
  ASSERT_EQ(office.reads.size(), 1u);
  office.desk.read_index(office.reads[0], office.log.machine.applied() + 2);
  EXPECT_TRUE(office.answers().empty());
  office.say();
  EXPECT_TRUE(office.answers().empty());
  office.say();
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].id, 5u);
  EXPECT_EQ(answers[0].refused, "");
  EXPECT_EQ(answers[0].page.messages.size(), 4u);
  EXPECT_GE(answers[0].applied, office.log.machine.applied());
  EXPECT_EQ(office.desk.figures().reads, 0u);
}

TEST(DeskHistory, IsServedAtOnceWhenItsIndexIsApplied) {
  Archive office(2);
  office.send(1, history(5));
  (void)office.replies();
  office.desk.read_index(office.reads.at(0), {1});
  EXPECT_EQ(office.answers().at(0).page.messages.size(), 2u);
}

// "`last` handled through machine.room_head at that moment"
TEST(DeskHistory, LastCountsFromTheHeadWhenItIsServed) {
  Archive office(5);
  office.send(1, history(5, 1, 2));
  (void)office.replies();
  const paxos::Slot index = office.log.machine.applied() + 1;
  office.desk.read_index(office.reads.at(0), index);
  office.say();
  const auto page = office.answers().at(0).page;
  ASSERT_EQ(page.messages.size(), 2u);
  EXPECT_EQ(page.messages[0].text, "m5");
  EXPECT_EQ(page.messages[1].text, "m6");
}

TEST(DeskHistory, LastOfMoreThanThereAreIsAll) {
  Archive office(3);
  HistoryRequest request = local(5);
  request.last = 1000;
  office.send(1, request);
  EXPECT_EQ(office.answers().at(0).page.messages.size(), 3u);
}

TEST(DeskHistory, LocalAsksNobody) {
  Archive office(3);
  office.standing = {.voting = false};
  office.send(1, local(5));
  EXPECT_EQ(office.answers().at(0).page.messages.size(), 3u);
  EXPECT_TRUE(office.reads.empty());
}

TEST(DeskHistory, OfARoomWithoutMessagesIsEmptyAndReadsNothing) {
  Archive office(0);
  office.send(1, local(5));
  const auto answers = office.answers();
  EXPECT_EQ(answers.at(0).refused, "");
  EXPECT_TRUE(answers.at(0).page.messages.empty());
  EXPECT_EQ(office.wished, 0u);
}

TEST(DeskHistory, RepeatedWhileItWaitsIsOneRead) {
  Archive office(1);
  office.send(1, history(5));
  office.send(1, history(5));
  office.send(2, history(5));
  (void)office.replies();
  EXPECT_EQ(office.reads.size(), 2u);
}

TEST(DeskHistory, ThatFailedSaysWhyAndWhatToDo) {
  const auto why = [](const Standing& standing) {
    Archive office(1);
    office.send(1, history(5));
    (void)office.replies();
    office.desk.read_failed(office.reads.at(0), standing);
    const std::string reason = office.answers().at(0).refused;
    EXPECT_NE(reason.find("--local"), std::string::npos) << reason;
    return reason;
  };
  EXPECT_NE(why({.quorum_connected = false}).find("no quorum"), std::string::npos);
  EXPECT_NE(why({}).find("election"), std::string::npos);
  EXPECT_NE(why({.voting = false}).find("does not vote"), std::string::npos);
}

TEST(DeskHistory, IsGivenUpAfterFiveSecondsNamingWhatItWaitedFor) {
  Archive office(1);
  office.send(1, history(5));
  office.send(1, history(6));
  (void)office.replies();
  office.desk.read_index(office.reads.at(1), {100});
  EXPECT_LE(office.desk.deadline(), office.now + std::chrono::seconds{5});
  office.pass(4999);
  EXPECT_TRUE(office.answers().empty());
  office.pass(1);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_NE(answers[0].refused.find("no leader"), std::string::npos);
  EXPECT_NE(answers[1].refused.find("slot 100"), std::string::npos);
  EXPECT_EQ(office.desk.figures().reads, 0u);
  office.desk.read_index(office.reads.at(0), {1});  // too late: nothing happens
  EXPECT_TRUE(office.answers().empty());
}

TEST(DeskHistory, OfABadRoomIsRefused) {
  Archive office(1);
  HistoryRequest request = local(5);
  request.room = "a\nb";
  office.send(1, request);
  EXPECT_NE(office.answers().at(0).refused.find("control"), std::string::npos);
}

TEST(DeskHistory, ThatCannotBeReadSaysSo) {
  Archive office(1);
  office.send(1, local(5));
  const DeskOutput out = office.desk.take_output();
  office.desk.history_read(office.now, out.history.at(0).token, tl::make_unexpected(std::string("row gone")));
  EXPECT_NE(office.answers().at(0).refused.find("row gone"), std::string::npos);
}

TEST(DeskHistory, IsBoundedInPagesUnderWay) {
  Archive office(1);
  for (std::uint64_t i = 0; i < 5000; ++i) office.send(1, local(i));
  const DeskOutput out = office.desk.take_output();
  EXPECT_EQ(out.history.size(), 4096u);
  EXPECT_EQ(out.replies.size(), 5000u - 4096u);
}

// "A replica that disagrees with a quorum at an equal slot stops serving and says so."
TEST(DeskHistory, IsNotServedByAReplicaThatDisagrees) {
  Archive office(1);
  office.standing = {.voting = false, .diverged = true};
  office.send(1, local(5));
  office.send(1, follow(6, 1));
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_NE(answers[0].refused.find("disagrees"), std::string::npos);
  EXPECT_NE(answers[1].refused.find("disagrees"), std::string::npos);
}

// Issue 10, point 4: two survivors of three who disagree.
TEST(DeskHistory, IsNotConfirmedWhileNobodyCanTellWhoIsRight) {
  Archive office(1);
  HistoryRequest request = local(5);
  request.local = false;
  office.send(1, request);
  EXPECT_TRUE(office.answers().empty()) << "it waits for its index";
  office.standing.disputed = true;
  office.standing.disagreeing = {{2}};
  office.standing.disagrees_since = {17};
  office.desk.fail_reads(office.standing);
  request.id = 6;
  office.send(1, request);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 2u);
  for (const HistoryReply& reply : answers)
    EXPECT_EQ(reply.refused.find(
                  "replicas disagree: replica 2 and this one have computed different states by slot 17"),
              0u)
        << reply.refused;
  office.send(1, local(7));
  ASSERT_EQ(office.answers().size(), 1u) << "--local shows what is applied here";
}

// --- follow ---

TEST(DeskFollow, IsAnsweredAtOnceBelowTheHead) {
  Archive office(3);
  office.send(1, follow(7, 2));
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].id, 7u);
  ASSERT_EQ(answers[0].page.messages.size(), 2u);
  EXPECT_EQ(answers[0].page.messages[0].text, "m2");
}

TEST(DeskFollow, FromZeroTellsTheHead) {
  Archive office(3);
  office.send(1, follow(7, 0));
  const auto answers = office.answers();
  EXPECT_EQ(answers.at(0).page.head, 3u);
  EXPECT_TRUE(answers.at(0).page.messages.empty());
}

TEST(DeskFollow, GetsTheNextMessageStraightFromTheLog) {
  Archive office(3);
  office.send(1, follow(7, 4));
  EXPECT_TRUE(office.answers().empty());
  office.say("elsewhere");
  EXPECT_TRUE(office.answers().empty());
  const Applied applied = office.say();
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  ASSERT_EQ(answers[0].page.messages.size(), 1u);
  EXPECT_EQ(answers[0].page.head, 4u);
  EXPECT_EQ(office.wished, 0u);
  // The very same as history has it.
  const auto page = read_history(office.log.rows, "ops", 4, 1);
  EXPECT_EQ(page->messages, answers[0].page.messages);
  EXPECT_EQ(office.desk.figures().polls, 0u);
}

TEST(DeskFollow, FromAboveTheNextWaitsForItsOwn) {
  Archive office(0);
  office.send(1, follow(7, 3));
  office.say();
  office.say();
  EXPECT_TRUE(office.answers().empty());
  office.say();
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  ASSERT_EQ(answers[0].page.messages.size(), 1u);
  EXPECT_EQ(answers[0].page.messages[0].seq, 3u);
}

TEST(DeskFollow, GetsOfASlotOnlyWhatItAskedFor) {
  Archive office(0);
  office.send(1, follow(7, 2));
  office.decide(
      {post(office.session, 1, "one"), post(office.session, 2, "two"), post(office.session, 3, "three")});
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  ASSERT_EQ(answers[0].page.messages.size(), 2u);
  EXPECT_EQ(answers[0].page.messages[0].text, "two");
}

TEST(DeskFollow, EndsEmptyWithTheHeadWhenNothingCame) {
  Archive office(2);
  office.send(1, follow(7, 3, 200));
  EXPECT_EQ(office.desk.deadline(), office.now + std::chrono::milliseconds{200});
  office.pass(199);
  EXPECT_TRUE(office.answers().empty());
  office.pass(1);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].page.head, 2u);
  EXPECT_TRUE(answers[0].page.messages.empty());
  EXPECT_EQ(office.desk.deadline(), paxos::time_never);
}

TEST(DeskFollow, NeverWaitsLongerThan30Seconds) {
  Archive office(0);
  office.send(1, follow(7, 1, UINT32_MAX));
  EXPECT_EQ(office.desk.deadline(), office.now + std::chrono::seconds{30});
}

// "Several polls per client and room: latest id wins."
TEST(DeskFollow, LatestOfAClientAndRoomWins) {
  Archive office(0);
  office.send(1, follow(7, 1));
  office.send(1, follow(8, 1));
  office.send(2, follow(9, 1));
  EXPECT_EQ(office.desk.figures().polls, 2u);
  office.say();
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].id, 8u);
  EXPECT_EQ(answers[1].id, 9u);
}

TEST(DeskFollow, PushesABigSlotInPagesWithoutAGap) {
  Archive office(0);
  office.send(1, follow(7, 1));
  std::vector<Command> commands;
  const std::string text(limits::text_bytes_max, 'x');
  for (std::uint64_t n = 1; n <= 9; ++n) commands.push_back(post(office.session, n, text));
  office.decide(commands);
  std::uint64_t next = 1;
  std::size_t seen = 0;
  for (std::uint64_t id = 8; next != 0; ++id) {
    const auto answers = office.answers();
    ASSERT_EQ(answers.size(), 1u);
    for (const Message& m : answers[0].page.messages) EXPECT_EQ(m.seq, ++seen);
    next = answers[0].page.next;
    if (next != 0) office.send(1, follow(id, next));
  }
  EXPECT_EQ(seen, 9u);
}

// A client repeats its poll more often than it ends.
TEST(DeskFollow, ARepeatDoesNotPutItsEndOff) {
  Archive office(2);
  office.send(1, follow(7, 3, 200));
  office.pass(150);
  office.send(1, follow(7, 3, 200));
  EXPECT_TRUE(office.answers().empty());
  EXPECT_EQ(office.desk.figures().polls, 1u);
  office.pass(50);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].id, 7u);
}

TEST(DeskFollow, OneWithTheSameIdFromAnotherMessageOnTakesThePlaceOfTheFirst) {
  Archive office(0);
  office.send(1, follow(7, 1));
  office.send(1, follow(7, 2));
  EXPECT_EQ(office.desk.figures().polls, 1u);
  office.say();
  EXPECT_TRUE(office.answers().empty()) << "message 1 is not asked for any more";
  office.say();
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  ASSERT_EQ(answers[0].page.messages.size(), 1u);
  EXPECT_EQ(answers[0].page.messages[0].seq, 2u);
}

TEST(DeskFollow, IsRefusedByAReplicaThatDoesNotVote) {
  Archive office(0);
  office.standing = {.voting = false};
  office.send(1, follow(7, 1));
  EXPECT_NE(office.answers().at(0).refused.find("does not vote"), std::string::npos);
}

TEST(DeskFollow, IsBoundedAndSaysSo) {
  Archive office(0);
  for (std::uint64_t i = 0; i < 65'537; ++i) {
    FollowRequest request = follow(i, 1);
    request.room = "room-" + std::to_string(i);
    office.send(1, request);
  }
  EXPECT_EQ(office.desk.figures().polls, 65'536u);
  EXPECT_NE(office.answers().at(0).refused.find("another replica"), std::string::npos);
}

// --- bounds, and answers that come late or twice ---

TEST(DeskHistory, IsBoundedInReadsThatWait) {
  Archive office(1);
  for (std::uint64_t id = 1; id <= 65'537; ++id) office.send(1, history(id));
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].id, 65'537u);
  EXPECT_NE(answers[0].refused.find("too many reads"), std::string::npos) << answers[0].refused;
}

TEST(DeskHistory, TakesItsIndexOnceAndNoneThatNobodyWaitsFor) {
  Archive office(1);
  office.send(1, history(5));
  (void)office.answers();
  ASSERT_EQ(office.reads.size(), 1u);
  office.desk.read_index(office.reads[0], office.log.machine.applied() + 1);
  office.desk.read_index(office.reads[0], paxos::Slot{});
  office.desk.read_index(999, paxos::Slot{});
  office.desk.read_failed(999, office.standing);
  office.desk.history_read(office.now, 999, HistoryPage{});
  EXPECT_TRUE(office.answers().empty()) << "the first index stands";
  office.say();
  EXPECT_EQ(office.answers().size(), 1u);
}

TEST(DeskHistory, ThatWaitsForAHoleNamesIt) {
  Archive office(1);
  office.send(1, history(5));
  (void)office.answers();
  office.desk.read_index(office.reads.at(0), office.log.machine.applied() + 1);
  office.standing.hole = office.log.machine.applied() + 1;
  office.pass(5000);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_NE(answers[0].refused.find("skipped slot " + std::to_string(office.standing.hole->n)),
            std::string::npos)
      << answers[0].refused;
}

TEST(DeskFollow, OfABadRoomIsRefused) {
  Archive office(1);
  FollowRequest request = follow(5, 2);
  request.room = "a\nb";
  office.send(1, request);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_NE(answers[0].refused.find("control"), std::string::npos);
}

TEST(DeskFollow, PushesNoMoreMessagesThanAPageHolds) {
  Archive office(0);
  std::vector<Command> posts;
  for (std::uint64_t session = 2; session <= 4; ++session) {
    const SessionId id = office.open(session);
    for (std::uint64_t seq = 1; seq <= 200; ++seq) posts.push_back(post(id, seq, "x"));
  }
  office.send(1, follow(5, 1));
  office.decide(posts);
  const auto answers = office.answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].page.messages.size(), limits::page_messages_max);
  EXPECT_EQ(answers[0].page.next, limits::page_messages_max + 1);
  EXPECT_EQ(answers[0].page.head, 600u);
}

TEST(DeskFollow, IsAnsweredByMessagesAloneAndByEachOnce) {
  Archive office(1);
  office.send(1, follow(5, 2));
  office.decide({open_command(9)});
  office.decide({post(office.session, 1, "m1", "ops", 1)});  // a repeat: it stands where it stood
  office.say("elsewhere");
  EXPECT_TRUE(office.answers().empty());
  office.say();
  EXPECT_EQ(office.answers().size(), 1u);
}

}  // namespace
}  // namespace chat::test
