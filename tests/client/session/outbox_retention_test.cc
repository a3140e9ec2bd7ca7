#include <gtest/gtest.h>

#include <algorithm>

#include "client/session/outbox.h"
#include "tests/client/session/fake_cluster.h"

/// What a client can know of its messages where their room has forgotten some.
namespace client::test {
namespace {

class OutboxRetention : public ::testing::Test {
 protected:
  FakeCluster cluster;
  std::mt19937_64 random_{7};
  Outbox outbox{Outbox::Options{.replicas = 3, .first = {0}, .random = [this] { return random_(); }},
                cluster.now};
  chat::SessionId other;
  std::uint64_t other_seq = 0;

  OutboxRetention() {
    cluster.raise_rules();
    cluster.attach(outbox);
    other = as_other({.operation = chat::Open{{9}}}).session;
  }
  chat::Outcome as_other(chat::Command command) {
    if (!std::holds_alternative<chat::Open>(command.operation)) {
      command.session = other;
      command.seq = command.answered_below = ++other_seq;
    }
    return cluster.apply_batch({std::move(command)}, cluster.time_ms()).at(0);
  }
  void others_post(int count, const std::string& room = "ops") {
    for (int i = 0; i < count; ++i) as_other({.operation = chat::Post{room, "bob", "of others"}});
  }
  void keep(std::uint64_t count) {
    const auto outcome = as_other({.operation = chat::Retain{.room = "ops", .count = count}});
    ASSERT_EQ(outcome.verdict, chat::Verdict::done);
  }
  /// It runs, or not, and nobody hears of it.
  void post_unheard(const std::string& text, bool runs) {
    outbox.post(cluster.now, {"ops", "ann", text});
    const OutboxOutput lost = outbox.take_output(cluster.now);
    if (!runs) return;
    for (const Sending& sending : lost.sends)
      for (const paxos::Bytes& bytes : std::get<chat::ClientCommands>(sending.message).commands)
        (void)cluster.apply_batch({*chat::decode_command(bytes.span())}, cluster.time_ms());
  }
  void open_session() {
    outbox.post(cluster.now, {"elsewhere", "ann", "first"});
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
    cluster.delivered.clear();
  }
  [[nodiscard]] std::size_t standing(const std::string& text) const {
    return static_cast<std::size_t>(std::count_if(cluster.log.begin(), cluster.log.end(),
                                                  [&](const chat::Message& m) { return m.text == text; }));
  }
};

TEST_F(OutboxRetention, WhatPerhapsIsAmongTheForgottenIsGivenBackAndNeverSentAgain) {
  for (const bool ran : {true, false}) {
    SCOPED_TRACE(ran);
    open_session();
    others_post(3);
    const std::string text = ran ? "it ran" : "it did not";
    post_unheard(text, ran);
    others_post(300);
    keep(5);
    cluster.expire_all_sessions();
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
    ASSERT_EQ(cluster.delivered.size(), 1u);
    EXPECT_EQ(cluster.delivered[0].refused, Outbox::forgotten_meanwhile);
    EXPECT_TRUE(cluster.delivered[0].unknown);
    EXPECT_EQ(standing(text), ran ? 1u : 0u);
    other_seq = 0;
    other = as_other({.operation = chat::Open{{static_cast<std::uint8_t>(ran ? 10 : 11)}}}).session;
  }
}

TEST_F(OutboxRetention, WhatStandsAboveIsFound) {
  open_session();
  others_post(20);
  post_unheard("it ran", true);
  others_post(3);
  keep(10);
  cluster.expire_all_sessions();
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 1u);
  EXPECT_EQ(cluster.delivered[0].refused, "");
  EXPECT_EQ(cluster.delivered[0].message.seq, 21u);
  EXPECT_EQ(standing("it ran"), 1u);
}

TEST_F(OutboxRetention, WhereAllSinceItsSessionBeganIsThereItIsSentAgain) {
  others_post(20);
  open_session();
  post_unheard("it did not run", false);
  others_post(3);
  keep(10);
  cluster.expire_all_sessions();
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 1u);
  EXPECT_EQ(cluster.delivered[0].refused, "");
  EXPECT_EQ(standing("it did not run"), 1u);
}

TEST_F(OutboxRetention, ARoomThatHasForgottenEverythingTellsNothing) {
  open_session();
  post_unheard("it ran", true);
  const auto outcome =
      as_other({.operation = chat::Retain{.room = "ops", .age_ms = chat::limits::session_idle_max_ms}});
  ASSERT_EQ(outcome.verdict, chat::Verdict::done);
  cluster.expire_all_sessions();
  for (int i = 0; i < 200; ++i) cluster.pass_a_minute();
  ASSERT_EQ(cluster.machine().room_first("ops"), 2u);
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 1u);
  EXPECT_EQ(cluster.delivered[0].refused, Outbox::forgotten_meanwhile);
  EXPECT_EQ(standing("it ran"), 1u);
}

TEST_F(OutboxRetention, ARuleIsSaidAndItsAnswerNamesTheFirstMessage) {
  others_post(10);
  outbox.retain(cluster.now, {.room = "ops", .count = 4, .by = "ann"});
  outbox.retain(cluster.now, {.count = 7, .by = "ann"});
  outbox.retain(cluster.now, {.room = "nowhere", .count = 7});
  outbox.retain(cluster.now, {.room = "ops", .age_ms = 1});
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 4u);
  EXPECT_EQ(cluster.delivered[0].refused, "");
  EXPECT_EQ(cluster.delivered[0].message.seq, 7u);
  EXPECT_EQ(cluster.delivered[1].refused, "");
  EXPECT_EQ(cluster.delivered[2].refused, chat::to_string(chat::Verdict::no_room));
  EXPECT_EQ(cluster.delivered[3].refused, chat::to_string(chat::Verdict::kept_too_short));
  outbox.close(cluster.now);
  ASSERT_TRUE(cluster.run([&] { return outbox.closed(); }));
}

// Seed 1807 of the simulator: a replica of an old state refused what had run. The Close that was to take its
// number met it there; it was looked up in the history of no room, which no replica shows, for ever.
TEST_F(OutboxRetention, ARuleOrRedactionThatWasRefusedAndHadRunIsAskedForAnew) {
  others_post(10);
  open_session();
  outbox.retain(cluster.now, {.count = 7, .by = "ann"});
  outbox.retain(cluster.now, {.room = "ops", .count = 4, .by = "ann"});
  outbox.redact(cluster.now, {.room = "ops", .seq = 9, .by = "ann"});
  for (const Sending& sending : outbox.take_output(cluster.now).sends)
    for (const paxos::Bytes& bytes : std::get<chat::ClientCommands>(sending.message).commands) {
      const auto command = *chat::decode_command(bytes.span());
      ASSERT_EQ(cluster.apply_batch({command}, cluster.time_ms()).at(0).verdict, chat::Verdict::done);
      outbox.on_reply(cluster.now, {0}, chat::CommandRefused{command.session, command.seq, "not known yet"});
    }
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 3u);
  for (const Delivery& delivery : cluster.delivered) EXPECT_EQ(delivery.refused, "");
  EXPECT_EQ(cluster.delivered[1].message.seq, 7u);
  EXPECT_EQ(cluster.delivered[2].message.seq, 9u);
}

}  // namespace
}  // namespace client::test
