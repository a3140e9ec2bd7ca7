#include <gtest/gtest.h>

#include "chat/rows.h"
#include "chat/wire.h"
#include "tests/chat/desk_fixture.h"
#include "tests/chat/fixture.h"

/// When a message was written: it travels with one that waited, and decides nothing.
namespace chat::test {
namespace {

constexpr std::int64_t written = 1'794'999'000'123;

Command stamped(const SessionId& session, std::uint64_t seq, std::string text, std::string key = "") {
  Command command = post(session, seq, std::move(text));
  auto& content = std::get<Post>(command.operation);
  content.key = std::move(key);
  content.written_ms = written;
  return command;
}

TEST(Written, IsAnOptionOfAPostInOneEncoding) {
  for (const std::string key : {"", "key"}) {
    const Command command = stamped({paxos::Slot{4}, 0}, 1, "text", key);
    const paxos::Bytes bytes = encode(command);
    const auto back = decode_command(bytes.span());
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(*back, command);
  }
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{253'402'300'800'000}, INT64_MAX}) {
    Command command = stamped({paxos::Slot{4}, 0}, 1, "text");
    std::get<Post>(command.operation).written_ms = wrong;
    const paxos::Bytes bytes = encode(command);
    EXPECT_FALSE(decode_command(bytes.span())) << wrong;
  }
}

TEST(Written, IsNotKnownBeforeRules2) {
  const Command command = stamped({paxos::Slot{4}, 0}, 1, "text");
  EXPECT_NE(validate(command, 1).find("not known yet"), std::string::npos);
  EXPECT_EQ(validate(command, 2), "");
  Log log{.machine = Machine(rules_released), .rows = {}};
  const SessionId session = log.open(1);
  EXPECT_TRUE(log.apply({stamped(session, 1, "text")}).outcomes.empty())
      << "no batch to a program of version 0.1.0";
}

class WrittenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    log.apply(make_rules_decree(2));
    session = log.open(1);
  }
  Log log{.machine = Machine(rules_released), .rows = {}};
  SessionId session;
};

TEST_F(WrittenTest, IsNotPartOfWhatARepeatMustEqual) {
  const Outcome first = log.one(stamped(session, 1, "one"));
  EXPECT_EQ(first.verdict, Verdict::done);
  const Outcome again = log.one(post(session, 1, "one"));
  EXPECT_EQ(again.verdict, Verdict::repeat);
  EXPECT_EQ(again.room_seq, first.room_seq);
  EXPECT_EQ(log.one(post(session, 1, "another")).verdict, Verdict::conflict);
  EXPECT_EQ(log.one(post(session, 2, "two")).verdict, Verdict::done);
  EXPECT_EQ(log.one(stamped(session, 2, "two")).verdict, Verdict::repeat);
  EXPECT_EQ(log.one(stamped(session, 3, "three", "key")).verdict, Verdict::done);
  Command plain = post(session, 3, "three");
  std::get<Post>(plain.operation).key = "key";
  EXPECT_EQ(log.one(plain).verdict, Verdict::repeat);
}

TEST_F(WrittenTest, StandsInTheHistoryOfThoseThatHaveItWhereverAPageBegins) {
  log.apply({post(session, 1, "one"), stamped(session, 2, "two"), post(session, 3, "three"),
             stamped(session, 4, "four")});
  log.one(post(session, 5, "five"));
  log.reload();
  for (std::uint64_t from = 1; from <= 5; ++from)
    for (std::size_t limit = 1; limit <= 5; ++limit) {
      const auto page = read_history(log.rows, "ops", from, limit);
      ASSERT_TRUE(page) << page.error();
      for (const Message& m : page->messages)
        EXPECT_EQ(m.written_ms, m.seq == 2 || m.seq == 4 ? written : 0) << m.seq;
    }
}

TEST_F(WrittenTest, DamageOfIsNamed) {
  log.apply({post(session, 1, "one"), stamped(session, 2, "two")});
  std::string& row = log.rows.rows()[rows::message("ops", 1)];
  row[1 + 8 + 8 + 1 + 1] = 9;  // the place in the run
  const auto page = read_history(log.rows, "ops", 1, 0);
  ASSERT_FALSE(page);
  EXPECT_NE(page.error().find("are damaged"), std::string::npos);
}

TEST(WrittenDesk, TellsThoseThatReadItAndNobodyElse) {
  Office office;
  office.log.apply(make_rules_decree(2));
  const SessionId session = office.open(1);
  const auto written_of = [&](std::uint8_t from) {
    std::int64_t seen = -1;
    for (auto& [address, reply] : office.replies_of<HistoryReply>())
      if (address == client(from) && !reply.page.messages.empty()) seen = reply.page.messages[0].written_ms;
    return seen;
  };
  office.send(1, FollowRequest{.id = 1, .room = "ops", .from = 1, .wait_ms = 1000});
  office.send(2, FollowRequest{.id = 2, .room = "ops", .from = 1, .wait_ms = 1000 | wait_wants_stamps});
  office.decide({stamped(session, 1, "one")});
  const auto replies = office.replies_of<HistoryReply>();
  ASSERT_EQ(replies.size(), 2u);
  for (const auto& [address, reply] : replies)
    EXPECT_EQ(reply.page.messages.at(0).written_ms, address == client(2) ? written : 0) << "pushed";
  for (const std::uint32_t limit : {std::uint32_t{0}, std::uint32_t{1}}) {
    office.send(3, HistoryRequest{
                       .id = 3 + limit, .room = "ops", .from = 1, .last = 0, .limit = limit, .local = true});
    EXPECT_EQ(written_of(3), 0);
    office.send(4, HistoryRequest{.id = 5 + limit,
                                  .room = "ops",
                                  .from = 1,
                                  .last = 0,
                                  .limit = limit | limit_wants_stamps,
                                  .local = true});
    EXPECT_EQ(written_of(4), written);
  }
  office.send(5, FollowRequest{.id = 9, .room = "ops", .from = 1, .wait_ms = wait_wants_stamps});
  EXPECT_EQ(written_of(5), written);
}

TEST(WrittenWire, AReplyWithStampsIsOneOfItsOwnNumber) {
  HistoryReply reply;
  reply.page.messages.push_back(
      {.room = "ops", .seq = 1, .slot = {2}, .name = "ann", .session = {}, .text = "x"});
  std::string plain;
  encode(plain, ClientReply(reply));
  EXPECT_EQ(plain[0], 5) << "what clients of version 0.1.0 read";
  reply.page.messages[0].written_ms = written;
  std::string with;
  encode(with, ClientReply(reply));
  EXPECT_EQ(with[0], 6);
  const auto back = decode_client_reply(paxos::Bytes::from(std::string(with)));
  ASSERT_TRUE(back);
  EXPECT_EQ(std::get<HistoryReply>(*back), reply);
  plain[0] = 6;
  EXPECT_FALSE(decode_client_reply(paxos::Bytes::from(plain + std::string(1, '\0'))))
      << "without any it is the other one";
}

}  // namespace
}  // namespace chat::test
