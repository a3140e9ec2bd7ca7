#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "chat/versions.h"
#include "tests/chat/desk_fixture.h"

/// What a front desk says, and does not take, where disks are full.
namespace chat::test {
namespace {

Standing with_full_disks(const Standing& before) {
  Standing out = before;
  out.can_propose = false;
  out.full = {{0}, {2}};
  out.blocked = true;
  out.short_of_room = out.leading;
  return out;
}

struct FullOffice : Office {
  FullOffice() { log.apply(make_rules_decree(rules_released)); }
  void fill() {
    standing = with_full_disks(standing);
    desk.follow_room(standing);
  }
  void make_room() {
    standing.full.clear();
    standing.blocked = standing.short_of_room = false;
    standing.can_propose = true;
  }
};

TEST(DeskWithFullDisks, TakesNoCommandAndNamesTheDisks) {
  FullOffice office;
  office.fill();
  office.send(1, {open_command(1)});
  const auto waiting = office.replies_of<Waiting>();
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].second.reason, WaitReason::disks_full);
  EXPECT_EQ(waiting[0].second.missing, office.standing.full);
  EXPECT_EQ(disks_full_text(waiting[0].second.missing), "disks of replicas 0, 2 are full");
  EXPECT_EQ(disks_full_text({{1}}), "disk of replica 1 is full");
  EXPECT_EQ(office.desk.figures().queued_commands, 0u);
  EXPECT_EQ(office.desk.figures().waiting_receipts, 0u);
  office.make_room();
  EXPECT_TRUE(office.propose().empty()) << "what was refused is not done later";
  office.send(1, {open_command(1)});
  EXPECT_EQ(office.propose().size(), 1u);
}

// Programs of version 0.1.0 do not know the word.
TEST(DeskWithFullDisks, SaysItInOldWordsUnderOldRules) {
  Office office;
  ASSERT_EQ(office.log.machine.rules(), rules_first);
  office.standing = with_full_disks(office.standing);
  office.send(1, {open_command(1)});
  EXPECT_EQ(office.replies_of<Waiting>().at(0).second.reason, WaitReason::overloaded);
}

TEST(DeskWithFullDisks, WhatWasProposedBeforeIsAnswered) {
  FullOffice office;
  const SessionId s = office.open(1);
  office.send(1, {post(s, 1, "a")});
  const std::vector<Command> proposed = office.propose();
  ASSERT_EQ(proposed.size(), 1u);
  office.fill();
  office.send(1, {post(s, 1, "a")});  // said again, from another place
  office.send(2, {post(s, 1, "a")});
  office.decide(proposed);
  const auto receipts = office.receipts(2);
  ASSERT_EQ(receipts.size(), 1u);
  EXPECT_EQ(receipts[0].outcome.verdict, Verdict::done);
}

TEST(DeskWithFullDisks, LetsGoOfWhatWaitsForASlot) {
  FullOffice office;
  const SessionId s = office.open(1);
  office.send(1, {post(s, 1, "proposed")});
  const std::vector<Command> proposed = office.propose();
  office.send(1, {post(s, 2, "queued"), post(s, 3, "queued"), post(s, 9, "held back")});
  ASSERT_EQ(office.desk.figures().queued_commands, 3u);
  office.fill();
  EXPECT_EQ(office.desk.figures().queued_commands, 0u);
  office.decide(proposed);
  office.make_room();
  EXPECT_TRUE(office.propose().empty());
  // In its order, whatever comes first.
  office.send(1, {post(s, 3, "queued"), post(s, 2, "queued")});
  const std::vector<Command> again = office.propose();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].seq, 2u);
  EXPECT_EQ(again[1].seq, 3u);
}

TEST(DeskWithFullDisks, PassesNothingOnAndTakesNothingThatIsPassedOn) {
  FullOffice office;
  office.standing = {.leader = paxos::ReplicaId{1}};
  office.fill();
  office.send(1, {open_command(1)}, true);
  EXPECT_EQ(office.replies_of<Waiting>().at(0).second.reason, WaitReason::disks_full);
  EXPECT_TRUE(office.forwarded.empty());
  office.send(2, {open_command(2)}, false);
  EXPECT_EQ(office.replies_of<Redirect>().size(), 1u) << "the leader knows best";
  FullOffice leader;
  leader.fill();
  leader.desk.on_forwarded(leader.now, {encode(open_command(3))}, leader.standing);
  EXPECT_EQ(leader.desk.figures().queued_commands, 0u);
}

TEST(DeskWithFullDisks, OneThatIsFullAndOneThatIsMissingAreNoQuorum) {
  FullOffice office;
  office.standing.can_propose = false;
  office.standing.full = {{0}};
  office.standing.missing = {{2}};
  office.standing.short_of_room = true;
  office.send(1, {open_command(1)});
  const auto waiting = office.replies_of<Waiting>();
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].second.reason, WaitReason::no_quorum);
  EXPECT_EQ(office.desk.figures().queued_commands, 1u) << "the missing one may be back at any time";
}

TEST(DeskWithFullDisks, ReadsGoOnWhereNothingNewIsDecided) {
  FullOffice office;
  office.fill();
  office.send(1, HistoryRequest{.id = 7, .room = "ops", .from = 1, .last = 0, .limit = 0, .local = false});
  (void)office.replies();
  EXPECT_EQ(office.reads.size(), 1u);
  office.send(1, FollowRequest{.id = 8, .room = "ops", .from = 1, .wait_ms = 1000});
  EXPECT_TRUE(office.replies_of<HistoryReply>().empty()) << "it waits for what comes next";
}

TEST(DeskWithFullDisks, OneThatStandsStillSendsReadersToOthers) {
  FullOffice office;
  office.standing = {.leader = paxos::ReplicaId{1}, .full = {{2}}, .stands_still = true};
  office.send(1, HistoryRequest{.id = 7, .room = "ops", .from = 1, .last = 0, .limit = 0, .local = false});
  office.send(1, FollowRequest{.id = 8, .room = "ops", .from = 1, .wait_ms = 1000});
  const auto refused = office.replies_of<HistoryReply>();
  ASSERT_EQ(refused.size(), 2u);
  for (const auto& [to, reply] : refused)
    EXPECT_NE(reply.refused.find("disk is full"), std::string::npos) << reply.refused;
  EXPECT_TRUE(office.reads.empty());
  office.send(1, HistoryRequest{.id = 9, .room = "ops", .from = 1, .last = 0, .limit = 0, .local = true});
  EXPECT_EQ(office.replies_of<HistoryReply>().at(0).second.refused, "") << "what is here can be had";
}

}  // namespace
}  // namespace chat::test
