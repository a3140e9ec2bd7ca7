#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "chat/redaction.h"
#include "chat/redactor.h"
#include "chat/rooms.h"
#include "chat/rows.h"
#include "chat/wire.h"
#include "tests/chat/desk_fixture.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

const std::string secret = "hunter2 is the password of the vault";

Command redact(const SessionId& session, std::uint64_t seq, std::uint64_t of, std::string room = "ops") {
  return {.session = session,
          .seq = seq,
          .answered_below = 0,
          .operation = Redact{std::move(room), of, "bob", "a secret"}};
}
Command keyed(Command command, std::string key) {
  std::get<Post>(command.operation).key = std::move(key);
  return command;
}

/// A log under rules 2, and the decrees that went into it.
class RedactTest : public testing::Test {
 protected:
  Log log;
  std::vector<paxos::Decree> decrees{make_rules_decree(2)};
  SessionId session;
  paxos::Slot first{1};  ///< the log was trimmed below

  RedactTest() {
    log.apply(decrees[0]);
    session = apply({open_command(1)}).outcomes.at(0).session;
  }
  Applied apply(const std::vector<Command>& commands) {
    decrees.push_back(decree(log.time_ms, commands));
    return log.apply(decrees.back());
  }
  Outcome one(const Command& command) { return apply(std::vector{command}).outcomes.at(0); }
  [[nodiscard]] LogReader reader() const {
    return {.entries = [this](paxos::Slot from, paxos::Slot to,
                              std::size_t) -> tl::expected<std::vector<paxos::LogEntry>, std::string> {
              std::vector<paxos::LogEntry> out;
              for (paxos::Slot at = std::max(from, first); at <= to && at.n <= decrees.size(); ++at)
                out.push_back({.slot = at, .ballot = {7, {1}}, .chosen = true, .decree = decrees[at.n - 1]});
              return out;
            },
            .first = [this] { return first; }};
  }
  ErasePlan plan(std::vector<MessageName> messages) {
    ErasePlan out;
    for (MessageName& m : messages)
      out.targets.push_back({.message = std::move(m), .scan_from = {}, .place = {}});
    for (int i = 0; i < 1000 && !out.complete && out.fault.empty(); ++i) advance(out, log.rows, reader());
    return out;
  }
  /// As storage carries it out.
  void carry_out(const ErasePlan& done) {
    ASSERT_EQ(done.fault, "");
    ASSERT_TRUE(done.complete);
    for (const paxos::ChosenDecree& d : done.decrees) decrees[d.slot.n - 1] = d.decree;
    log.rows.write(done.rows);
  }
  [[nodiscard]] bool anywhere(const std::string& text) const {
    for (const paxos::Decree& d : decrees)
      if (std::string_view(reinterpret_cast<const char*>(d.value.data()), d.value.size()).find(text) !=
          std::string_view::npos)
        return true;
    bool found = false;
    log.rows.scan("", "\xff", [&](std::string_view, std::string_view value) {
      found = found || value.find(text) != std::string_view::npos;
      return true;
    });
    return found;
  }
  /// A replica that has nothing but what the log holds now.
  [[nodiscard]] Log redone() const {
    Log out;
    for (const paxos::Decree& d : decrees) out.apply(d);
    return out;
  }
  [[nodiscard]] static std::vector<Message> history(const Log& of, const std::string& room = "ops") {
    const auto page = read_history(of.rows, room, 1, 0);
    EXPECT_TRUE(page) << page.error();
    return page ? page->messages : std::vector<Message>{};
  }
};

TEST_F(RedactTest, HidesTheTextAtOnceAndKeepsThePlace) {
  one(post(session, 1, "one"));
  const Outcome posted = one(post(session, 2, secret));
  const Outcome done = one(redact(session, 3, posted.room_seq));
  EXPECT_EQ(done.verdict, Verdict::done);
  EXPECT_EQ(done.room_seq, posted.room_seq);
  const auto messages = history(log);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].text, "one");
  EXPECT_FALSE(messages[0].redacted);
  EXPECT_EQ(messages[1].text, "");
  EXPECT_EQ(messages[1].name, "ann");
  EXPECT_EQ(messages[1].slot, posted.slot);
  EXPECT_EQ(messages[1].redacted, (Redaction{"bob", "a secret", log.time_ms}));
  EXPECT_EQ(one(redact(session, 3, posted.room_seq)).verdict, Verdict::repeat);
  EXPECT_EQ(one(redact(session, 4, posted.room_seq)).verdict, Verdict::done) << "twice is fine";
}

TEST_F(RedactTest, OfWhatDoesNotStandIsAnsweredSo) {
  one(post(session, 1, "one"));
  EXPECT_EQ(one(redact(session, 2, 2)).verdict, Verdict::no_message);
  EXPECT_EQ(one(redact(session, 3, 1, "elsewhere")).verdict, Verdict::no_message);
  EXPECT_EQ(one(redact(session, 3, 1, "elsewhere")).verdict, Verdict::no_message) << "a repeat";
  Command bad = redact(session, 4, 1);
  std::get<Redact>(bad.operation).reason = "two\nlines";
  EXPECT_EQ(one(bad).verdict, Verdict::invalid);
  EXPECT_FALSE(history(log)[0].redacted);
}

TEST_F(RedactTest, IsNotKnownUnderRulesOne) {
  Log old;
  const SessionId at = old.open(1);
  old.one(post(at, 1, "one"));
  EXPECT_TRUE(old.apply(std::vector{redact(at, 2, 1)}).outcomes.empty())
      << "no batch to it, as to version 0.1.0";
  EXPECT_NE(validate(redact(at, 2, 1), 1), "");
  EXPECT_EQ(validate(redact(at, 2, 1), 2), "");
}

TEST_F(RedactTest, ItsTextIsNowhereAndARedoneStateIsTheSame) {
  // Every way in which a text gets into the log: early, run, again, after its receipt was given, and after
  // its session ended; and a message under a key by two sessions.
  apply({post(session, 2, secret)});
  apply({post(session, 1, "one"), post(session, 2, secret), post(session, 2, secret)});
  one(post(session, 2, secret));
  one(post(session, 3, "three", "ops", 3));
  one(post(session, 2, secret, "ops", 3));
  const SessionId other = apply({open_command(2)}).outcomes.at(0).session;
  one(keyed(post(session, 4, "keyed " + secret, "ops"), "deploy"));
  const Outcome second = one(keyed(post(other, 1, "keyed " + secret, "ops"), "deploy"));
  ASSERT_EQ(second.verdict, Verdict::repeat);
  ASSERT_EQ(second.room_seq, 4u);
  one(redact(other, 2, 2));
  one(close_command(session, 5));
  one(post(session, 2, secret));
  one(redact(other, 3, 4));
  ASSERT_TRUE(anywhere(secret));
  const Log before = redone();
  carry_out(plan({{"ops", 2}, {"ops", 4}}));
  EXPECT_FALSE(anywhere(secret));
  const Log after = redone();
  EXPECT_EQ(after.machine.hash(), before.machine.hash());
  EXPECT_EQ(after.machine.hash(), log.machine.hash());
  EXPECT_EQ(after.rows.rows(), log.rows.rows());
  EXPECT_EQ(history(after), history(log));
  EXPECT_EQ(history(log).at(2).text, "three") << "the others keep theirs";
}

TEST_F(RedactTest, AlsoWhatItsSenderSaidInVainBeforeAnotherSessionPostedIt) {
  one(close_command(session, 1));
  EXPECT_EQ(one(post(session, 2, secret)).verdict, Verdict::session_unknown);
  const SessionId next = apply({open_command(2)}).outcomes.at(0).session;
  EXPECT_EQ(one(post(next, 2, secret)).verdict, Verdict::early);
  one(post(next, 1, secret));
  one(redact(next, 2, 1));
  log.reload();
  Redactor redactor(log.machine.take_erasures());
  carry_out(plan({{"ops", 1}}));
  EXPECT_FALSE(anywhere(secret));
  EXPECT_EQ(redone().machine.hash(), log.machine.hash());
  // And later, from whatever session.
  auto known = redactor.next_plan({});
  while (!known->complete) advance(*known, log.rows, reader());
  EXPECT_FALSE(redactor.planned({}, *known, log.machine.applied()));
  Applied late = apply({post(session, 9, secret)});
  ASSERT_EQ(late.outcomes.at(0).verdict, Verdict::session_unknown);
  redactor.on_applied(late);
  EXPECT_EQ(redactor.figures().pending, 2u) << "one under way, and this";
}

// A decree that was trimmed is in no record any more; its files are to go all the same, and its copies are
// known by what the state still has of it.
TEST_F(RedactTest, OfATrimmedDecreeNothingIsWaitedFor) {
  one(post(session, 1, secret));
  const std::uint64_t posted = log.machine.applied().n;
  one(redact(session, 2, 1));
  // In vain, in another session: by its content alone it is known.
  SessionId other = one(open_command(9)).session;
  other.index += 7;
  ASSERT_EQ(one(post(other, 1, secret)).verdict, Verdict::session_unknown);
  const std::uint64_t copy = log.machine.applied().n;
  first = {posted + 1};
  const ErasePlan done = plan({{"ops", 1}});
  ASSERT_EQ(done.fault, "");
  ASSERT_TRUE(done.complete);
  EXPECT_EQ(done.slots, (std::vector<paxos::Slot>{{posted}, {copy}}));
  ASSERT_EQ(done.decrees.size(), 1u);
  EXPECT_EQ(done.decrees[0].slot, paxos::Slot{copy});
  EXPECT_FALSE(done.rows.empty());
}

TEST_F(RedactTest, ASlotThatIsMissingAndWasNotTrimmedIsAFault) {
  one(post(session, 1, secret));
  one(redact(session, 2, 1));
  const std::uint64_t posted = log.machine.applied().n - 1;
  decrees[posted - 1] = {};  // not what was applied
  EXPECT_NE(plan({{"ops", 1}}).fault, "");
}

TEST_F(RedactTest, RepeatsAreAnsweredAsBefore) {
  one(keyed(post(session, 1, secret), "deploy"));
  one(redact(session, 2, 1));
  carry_out(plan({{"ops", 1}}));
  Log after = redone();
  EXPECT_EQ(after.one(keyed(post(session, 1, secret), "deploy")).verdict, Verdict::repeat);
  EXPECT_EQ(after.one(keyed(post(session, 1, "another"), "deploy")).verdict, Verdict::conflict);
  EXPECT_EQ(after.one(keyed(post(session, 3, secret), "deploy")).room_seq, 1u);
  EXPECT_EQ(after.one(keyed(post(session, 4, "another"), "deploy")).verdict, Verdict::key_conflict);
}

TEST_F(RedactTest, TakesOutWhatWasPostedUnderRulesOne) {
  Log old;
  std::vector<paxos::Decree> all;
  const auto put = [&](const paxos::Decree& d) {
    all.push_back(d);
    return old.apply(d);
  };
  const SessionId at = put(decree(old.time_ms, {open_command(1)})).outcomes.at(0).session;
  put(decree(old.time_ms, {post(at, 1, secret), post(at, 2, "two")}));
  put(make_rules_decree(2));
  put(decree(old.time_ms, {redact(at, 3, 1)}));
  const std::uint32_t first[] = {0};
  const auto without = redacted(all[1], first);
  ASSERT_TRUE(without);
  all[1] = *without;
  Log after;
  for (const paxos::Decree& d : all) after.apply(d);
  EXPECT_EQ(after.machine.hash(), old.machine.hash());
  EXPECT_EQ(history(after), history(old));
  EXPECT_EQ(history(after).at(1).text, "two");
}

TEST_F(RedactTest, TheTopicGoesWithTheMessageThatSetIt) {
  const auto topic = [&](std::uint64_t seq, const std::string& text) {
    Command command = post(session, seq, "topic");
    std::get<Post>(command.operation).topic = text;
    std::get<Post>(command.operation).written_ms = log.time_ms - 5000;
    one(command);
  };
  const auto shown = [&](const Log& of) { return read_rooms(of.rows, "", 0)->rooms.at(0).topic; };
  topic(1, "first");
  topic(2, secret);
  one(redact(session, 3, 1));
  EXPECT_EQ(shown(log), secret) << "not the first one's any more";
  one(redact(session, 4, 2));
  EXPECT_EQ(shown(log), "");
  carry_out(plan({{"ops", 1}, {"ops", 2}}));
  EXPECT_FALSE(anywhere(secret));
  EXPECT_EQ(shown(redone()), "");
  EXPECT_EQ(redone().rows.rows(), log.rows.rows());
  EXPECT_EQ(history(log).at(1).written_ms, log.time_ms - 5000);
}

TEST_F(RedactTest, ARedactedDecreeIsTheSameButForTheText) {
  const paxos::Decree whole =
      decree(5, {post(session, 1, "one"), post(session, 2, "two"), redact(session, 3, 1)});
  const std::uint32_t one[] = {0}, both[] = {0, 1, 2};
  const auto first = redacted(whole, one);
  ASSERT_TRUE(first);
  const auto second = redacted(*first, both);
  ASSERT_TRUE(second);
  EXPECT_FALSE(redacted(*second, both)) << "nothing is left to take out";
  EXPECT_EQ(value_hash(*second), value_hash(whole));
  EXPECT_TRUE(same_but_redacted(whole, *second) && same_but_redacted(*first, *second) &&
              same_but_redacted(*second, *first));
  const paxos::Decree other =
      decree(5, {post(session, 1, "one"), post(session, 2, "too"), redact(session, 3, 1)});
  EXPECT_FALSE(same_but_redacted(other, *second));
  EXPECT_FALSE(same_but_redacted(whole, other));
  std::string bytes(reinterpret_cast<const char*>(second->value.data()), second->value.size());
  bytes.back() ^= 1;  // of the reason
  EXPECT_FALSE(same_but_redacted({paxos::DecreeKind::commands, paxos::Bytes::from(std::move(bytes))}, whole))
      << "the rest is looked at too";
}

TEST_F(RedactTest, ARedactedPostIsNoCommandOfAClient) {
  const paxos::Decree whole = decree(5, {post(session, 1, "one")});
  const std::uint32_t one[] = {0};
  const auto without = redacted(whole, one);
  ASSERT_TRUE(without);
  const std::size_t head = 1 + 16 + 8 + 1 + 1;
  EXPECT_FALSE(view_command(without->value.span().subspan(head)));
  // Nor does it stand in a batch that does not say what it was.
  std::string plain(1, '\1');
  plain.append(reinterpret_cast<const char*>(without->value.data()) + 17, without->value.size() - 17);
  EXPECT_FALSE(view_batch({paxos::DecreeKind::commands, paxos::Bytes::from(std::move(plain))}));
  EXPECT_TRUE(view_batch(*without));
}

TEST_F(RedactTest, NoDecreeGrowsOutOfItsBounds) {
  // As the intake counts them, with the shortest texts, whatever is taken out.
  std::vector<Command> commands;
  std::vector<std::uint32_t> all;
  std::size_t bytes = 0;
  for (std::uint32_t i = 0;; ++i) {
    const Command next =
        keyed(post(session, i + 1, "x", "r"), std::string(1, static_cast<char>('a' + i % 26)));
    const std::size_t size = encode(next).size();
    if (decree_bytes(commands.size() + 1, bytes + size) > paxos::limits::decree_bytes_max ||
        i == limits::commands_per_decree_max)
      break;
    bytes += size;
    commands.push_back(next);
    all.push_back(i);
  }
  ASSERT_GT(commands.size(), 1000u);
  const auto without = redacted(decree(5, commands), all);
  ASSERT_TRUE(without);
  EXPECT_LE(without->value.size(), decree_bytes(commands.size(), bytes));
}

TEST_F(RedactTest, ARedactorGoesOnWhereACrashLeftIt) {
  one(post(session, 1, secret));
  one(post(session, 2, "two"));
  one(redact(session, 3, 1));
  for (int crash = 0; crash < 4; ++crash) {
    log.reload();
    Redactor redactor(log.machine.take_erasures());
    EXPECT_EQ(redactor.figures().pending, 1u);
    auto next = redactor.next_plan({});
    ASSERT_TRUE(next);
    EXPECT_FALSE(redactor.next_plan({})) << "one at a time";
    if (crash == 0) continue;
    while (!next->complete) advance(*next, log.rows, reader());
    ASSERT_FALSE(redactor.planned({}, *next, log.machine.applied()));
    ASSERT_NE(redactor.to_place(), nullptr);
    if (crash == 1) continue;
    for (const auto& d : redactor.to_place()->decrees) decrees[d.slot.n - 1] = d.decree;
    redactor.placed(9);
    EXPECT_FALSE(redactor.next_erasure()) << "not synced yet";
    redactor.synced(9);
    auto erasure = redactor.next_erasure();
    ASSERT_TRUE(erasure);
    EXPECT_EQ(erasure->slots.size(), 1u) << "its record's old bytes are to go, whoever replaced it";
    if (crash == 2) continue;
    log.rows.write(erasure->rows);
    log.rows.write(redactor.erased({}, erasure->token, "").rows);
    EXPECT_EQ(redactor.figures().pending, 0u);
  }
  log.reload();
  EXPECT_FALSE(anywhere(secret));
  Redactor at_rest(log.machine.take_erasures());
  EXPECT_EQ(at_rest.figures().pending, 0u);
  // What its client says again much later is taken out as well.
  Applied late = apply({post(session, 1, secret)});
  ASSERT_EQ(late.outcomes.at(0).verdict, Verdict::repeat);
  at_rest.on_applied(late);
  log.rows.write(late.rows);
  EXPECT_EQ(at_rest.figures().pending, 1u);
  auto again = at_rest.next_plan({});
  while (!again->complete) advance(*again, log.rows, reader());
  carry_out(*again);
  EXPECT_FALSE(anywhere(secret));
}

TEST_F(RedactTest, WhatWasAppliedWhileARedactorSearchedIsSearchedToo) {
  one(post(session, 1, secret));
  one(redact(session, 2, 1));
  log.reload();
  Redactor redactor(log.machine.take_erasures());
  auto plan = redactor.next_plan({});
  while (!plan->complete) advance(*plan, log.rows, reader());
  Applied late = apply({post(session, 1, secret)});
  redactor.on_applied(late);
  EXPECT_EQ(redactor.figures().pending, 1u) << "it does not know yet whose command that is";
  plan = redactor.planned({}, *plan, log.machine.applied());
  ASSERT_TRUE(plan);
  while (!plan->complete) advance(*plan, log.rows, reader());
  EXPECT_FALSE(redactor.planned({}, *plan, log.machine.applied()));
  ASSERT_NE(redactor.to_place(), nullptr);
  EXPECT_EQ(redactor.to_place()->decrees.size(), 2u);
  carry_out(*redactor.to_place());
  EXPECT_FALSE(anywhere(secret));
}

TEST_F(RedactTest, OneThatFailsDoesNotHoldUpTheOthers) {
  one(post(session, 1, "one"));
  one(post(session, 2, "two"));
  apply({redact(session, 3, 1), redact(session, 4, 2)});
  log.reload();
  Redactor redactor(log.machine.take_erasures());
  auto plan = redactor.next_plan({});
  ASSERT_EQ(plan->targets.size(), 2u);
  plan->fault = "a record is damaged";
  EXPECT_FALSE(redactor.planned({}, *plan, {}));
  EXPECT_EQ(redactor.figures().fault, "a record is damaged");
  EXPECT_FALSE(redactor.next_plan({}));
  const paxos::Time later = redactor.deadline();
  ASSERT_NE(later, paxos::time_never);
  plan = redactor.next_plan(later);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->targets.size(), 1u);
}

TEST(RedactDesk, WhoDoesNotReadRedactionsGetsAWordInstead) {
  Office office;
  office.log.apply(make_rules_decree(2));
  const SessionId session = office.open(1);
  office.decide({post(session, 1, secret), redact(session, 2, 1)});
  for (const std::uint32_t wants : {std::uint32_t{0}, limit_wants_stamps}) {
    office.send(3, HistoryRequest{
                       .id = 3 + wants, .room = "ops", .from = 1, .last = 0, .limit = wants, .local = true});
    for (auto& [address, reply] : office.replies_of<HistoryReply>()) {
      ASSERT_EQ(reply.page.messages.size(), 1u);
      EXPECT_EQ(reply.page.messages[0].text, wants == 0 ? redacted_text : "");
      EXPECT_EQ(reply.page.messages[0].redacted.has_value(), wants != 0);
    }
  }
}

TEST(RedactWire, AReplyTellsWhatEachMessageHas) {
  HistoryReply reply;
  for (std::uint64_t seq = 1; seq <= 4; ++seq)
    reply.page.messages.push_back({.room = "ops",
                                   .seq = seq,
                                   .slot = {2},
                                   .name = "ann",
                                   .session = {},
                                   .text = seq == 2 || seq == 4 ? "" : "x"});
  reply.page.messages[1].redacted = Redaction{"bob", "a secret", 1000};
  reply.page.messages[2].written_ms = 5;
  reply.page.messages[3].written_ms = 6;
  reply.page.messages[3].redacted = Redaction{};
  std::string bytes;
  encode(bytes, ClientReply(reply));
  EXPECT_EQ(bytes[0], 6);
  const auto back = decode_client_reply(paxos::Bytes::from(std::string(bytes)));
  ASSERT_TRUE(back) << back.error();
  EXPECT_EQ(*back, ClientReply(reply));
}

TEST_F(RedactTest, AlsoRoomsWhoseLastMessageSaysWhenItWasWrittenAreListed) {
  Command command = post(session, 1, "one");
  std::get<Post>(command.operation).written_ms = log.time_ms - 5000;
  one(command);
  const auto rooms = read_rooms(log.rows, "", 0);
  ASSERT_TRUE(rooms) << rooms.error();
  EXPECT_EQ(rooms->rooms.at(0).messages, 1u);
}

}  // namespace
}  // namespace chat::test
