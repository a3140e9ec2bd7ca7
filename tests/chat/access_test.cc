#include "chat/access.h"

#include <gtest/gtest.h>

#include "chat/redaction.h"
#include "chat/wire.h"
#include "tests/chat/desk_fixture.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

constexpr Credential ann{Role::client, 0xa0000001}, bot{Role::client, 0xb0000002},
    eye{Role::reader, 0xc0000003}, boss{Role::operates, 0xd0000004}, none{};

Command open_under(std::uint64_t n, const Credential& whose) {
  return {.session = {}, .seq = 0, .answered_below = 0, .operation = Open{nonce(n), whose}};
}
Command say(const SessionId& session, std::uint64_t seq, std::string name, std::string text = "hello") {
  return {.session = session,
          .seq = seq,
          .answered_below = seq,
          .operation = Post{.room = "ops", .name = std::move(name), .text = std::move(text)}};
}

/// A log under rules 2, an operator's session with the secret, and one more for whoever comes.
struct Access : testing::Test {
  Log log;
  SessionId root;
  std::uint64_t root_seq = 0;

  Access() {
    log.apply(make_rules_decree(2));
    root = log.open(1);
  }
  Verdict set(SetAccess wanted) {
    ++root_seq;
    return log
        .one({.session = root, .seq = root_seq, .answered_below = root_seq, .operation = std::move(wanted)})
        .verdict;
  }
  Verdict issue(const Credential& whose, std::string name = {}) {
    return set({.kind = SetAccess::Kind::issue,
                .whose = whose,
                .name = std::move(name),
                .by = "op",
                .secret = 5,
                .before = 6});
  }
  Verdict revoke(const Credential& whose) {
    return set({.kind = SetAccess::Kind::revoke, .whose = whose, .name = {}, .by = "op"});
  }
  Verdict open_names(bool allowed) {
    return set({.kind = allowed ? SetAccess::Kind::open_names : SetAccess::Kind::close_names,
                .whose = {},
                .name = {},
                .by = "op"});
  }
  SessionId session_of(const Credential& whose, std::uint64_t n) {
    return log.one(open_under(n, whose)).session;
  }
  [[nodiscard]] std::vector<Message> messages() const {
    return read_history(log.rows, "ops", 1, 0)->messages;
  }
};

TEST_F(Access, AKeyPostsUnderItsOwnNameAndUnderNoOther) {
  EXPECT_EQ(issue(ann, "ann"), Verdict::done);
  const SessionId session = session_of(ann, 2);
  EXPECT_EQ(log.one(say(session, 1, "ann")).verdict, Verdict::done);
  EXPECT_EQ(log.one(say(session, 2, "bob")).verdict, Verdict::name_bound);
  EXPECT_EQ(log.one(say(session, 3, "")).verdict, Verdict::name_bound);
  EXPECT_EQ(log.one(say(session, 4, "Ann")).verdict, Verdict::name_bound) << "exactly as it was issued";
  ASSERT_EQ(messages().size(), 1U);
  EXPECT_EQ(messages()[0].key, ann.id);
  EXPECT_TRUE(messages()[0].proven);
}

TEST_F(Access, NobodyElsePostsUnderANameThatLooksLikeIt) {
  issue(ann, "ann");
  issue(bot);
  const SessionId other = session_of(bot, 3);
  std::uint64_t seq = 0;
  for (const char* name : {"ann", "Ann", "ANN", "\uff41\uff4e\uff4e", "\u0430nn", "ann "}) {
    EXPECT_EQ(log.one(say(other, ++seq, name)).verdict, Verdict::name_owned) << name;
    EXPECT_EQ(log.one(say(root, ++root_seq, name)).verdict, Verdict::name_owned)
        << name << ", with the secret";
  }
  EXPECT_EQ(log.one(say(other, ++seq, "anna")).verdict, Verdict::done);
  EXPECT_EQ(log.one(say(root, ++root_seq, "bob")).verdict, Verdict::done);
  ASSERT_EQ(messages().size(), 2U);
  EXPECT_EQ(messages()[0].key, bot.id);
  EXPECT_FALSE(messages()[0].proven) << "a key without a name proves none";
  EXPECT_EQ(messages()[1].key, 0U);
}

/// Case and shape disagree about I: each way of looking meets the other.
TEST_F(Access, EitherWayOfLookingMeetsTheOther) {
  std::uint32_t id = 0x100;
  for (const auto& [owner, other] : {std::pair("Isabella", "isabeIIa"), {"BILL", "biIl"}, {"Ilse", "iIse"}}) {
    EXPECT_EQ(issue({Role::client, ++id}, owner), Verdict::done);
    EXPECT_EQ(log.one(say(root, ++root_seq, other)).verdict, Verdict::name_owned) << other;
  }
  EXPECT_EQ(log.one(say(root, ++root_seq, "ali")).verdict, Verdict::done);
  EXPECT_EQ(issue({Role::client, ++id}, "all"), Verdict::done) << "ali and all are two";
}

TEST_F(Access, ASecretIsRotatedAndRetiredByTheSecretAloneAndOneAtATime) {
  issue(boss, "boss");
  const SessionId operators = session_of(boss, 3);
  const auto rotate = [](std::uint64_t secret, std::uint64_t before) {
    return SetAccess{.kind = SetAccess::Kind::rotate,
                     .whose = {},
                     .name = {},
                     .by = {},
                     .secret = secret,
                     .before = before};
  };
  const auto retire = [](std::uint64_t before) {
    return SetAccess{
        .kind = SetAccess::Kind::retire, .whose = {}, .name = {}, .by = {}, .secret = 0, .before = before};
  };
  EXPECT_EQ(log.one({.session = operators, .seq = 1, .answered_below = 1, .operation = rotate(2, 1)}).verdict,
            Verdict::key_may_not);
  EXPECT_EQ(set(retire(1)), Verdict::no_rotation);
  EXPECT_EQ(set(rotate(2, 1)), Verdict::done);
  EXPECT_EQ(set(rotate(2, 1)), Verdict::done) << "again";
  EXPECT_EQ(set(rotate(3, 2)), Verdict::rotation_open);
  EXPECT_EQ(set(retire(2)), Verdict::no_rotation);
  EXPECT_EQ(set(retire(1)), Verdict::done);
  EXPECT_EQ(set(retire(1)), Verdict::done) << "again";
  EXPECT_EQ(set(rotate(2, 1)), Verdict::rotation_open) << "a recording of the first one brings nothing back";
  EXPECT_EQ(set(rotate(1, 2)), Verdict::rotation_open) << "nor does a retired one come again";
  EXPECT_EQ(log.machine.access().secrets(), (SecretNames{.speaks = 2, .before = 0, .retired = {1}}));
  EXPECT_EQ(set(rotate(3, 2)), Verdict::done);
  log.reload();
  EXPECT_EQ(log.machine.access().secrets(), (SecretNames{.speaks = 3, .before = 2, .retired = {1}}));
}

TEST_F(Access, NoNameHoldsTheMarkOfAProvenOne) {
  for (const char* name : {"ann\u2713", "\u2714 ann", "ann\u2705"})
    EXPECT_EQ(log.one(say(root, ++root_seq, name)).verdict, Verdict::invalid) << name;
}

TEST_F(Access, ANameHasOneKeyThatIsNotRevoked) {
  EXPECT_EQ(issue(ann, "ann"), Verdict::done);
  EXPECT_EQ(issue(ann, "ann"), Verdict::done) << "the same again, whose answer was lost, is as good";
  EXPECT_EQ(set({.kind = SetAccess::Kind::issue,
                 .whose = ann,
                 .name = "ann",
                 .by = "op",
                 .secret = 5,
                 .before = 7}),
            Verdict::key_exists)
      << "with another claim it is somebody else's";
  EXPECT_EQ(issue(ann, "anna"), Verdict::key_exists) << "an id stands once, for ever";
  EXPECT_EQ(issue(bot, "ANN"), Verdict::key_exists) << "it looks like ann";
  EXPECT_EQ(revoke(ann), Verdict::done);
  EXPECT_EQ(log.one(say(root, ++root_seq, "ann")).verdict, Verdict::name_owned)
      << "it stays hers: nobody gets it by waiting";
  EXPECT_EQ(issue(bot, "ANN"), Verdict::done) << "her next key";
  EXPECT_EQ(log.machine.access().owner("ann")->whose, bot);
  EXPECT_EQ(issue(ann, "x"), Verdict::key_exists) << "nor does a revoked id come again";
}

TEST_F(Access, ARevokedKeyDoesNothingMoreAndIsToldWhatItDid) {
  issue(ann, "ann");
  const SessionId session = session_of(ann, 2);
  const Command first = say(session, 1, "ann", "before");
  EXPECT_EQ(log.one(first).verdict, Verdict::done);
  EXPECT_EQ(revoke(ann), Verdict::done);
  EXPECT_EQ(log.one(first).verdict, Verdict::repeat) << "it stands: whoever asks again hears so";
  EXPECT_EQ(log.one(say(session, 2, "ann", "after")).verdict, Verdict::key_unknown);
  EXPECT_EQ(log.one(open_under(7, ann)).verdict, Verdict::key_unknown);
  EXPECT_EQ(revoke(ann), Verdict::done) << "again is fine";
  EXPECT_EQ(revoke({Role::client, 77}), Verdict::no_such_key);
  EXPECT_TRUE(messages()[0].proven) << "what it said was hers";
}

TEST_F(Access, AClientsKeyPostsAndNoMore) {
  issue(ann, "ann");
  issue(boss, "boss");
  issue(eye);
  const SessionId client_session = session_of(ann, 2), operators = session_of(boss, 3);
  EXPECT_EQ(log.one(open_under(4, eye)).verdict, Verdict::key_may_not);
  EXPECT_EQ(log.one(open_under(5, {Role::operates, ann.id})).verdict, Verdict::key_unknown)
      << "an id in another role is another key";
  std::uint64_t seq = 0;
  const auto of = [&](const SessionId& session, std::string by, Operation operation) {
    std::visit(
        [&](auto& op) {
          if constexpr (requires { op.by; }) op.by = by;
        },
        operation);
    return log.one({.session = session, .seq = ++seq, .answered_below = 1, .operation = std::move(operation)})
        .verdict;
  };
  const SetAccess more{
      .kind = SetAccess::Kind::issue, .whose = bot, .name = {}, .by = {}, .secret = 5, .before = 6};
  EXPECT_EQ(of(client_session, "ann", Redact{.room = "ops", .seq = 1, .by = {}, .reason = {}}),
            Verdict::key_may_not);
  EXPECT_EQ(of(client_session, "ann", Retain{.room = {}, .count = 1, .by = {}}), Verdict::key_may_not);
  EXPECT_EQ(of(client_session, "ann", more), Verdict::key_may_not);
  seq = 0;
  EXPECT_EQ(of(operators, "ann", more), Verdict::name_bound)
      << "nor does an operator do it in another's name";
  EXPECT_EQ(of(operators, "boss", more), Verdict::done);
  EXPECT_EQ(of(operators, "", Retain{.room = {}, .count = 5, .by = {}}), Verdict::done);
  EXPECT_EQ(log.machine.access().find(bot.id)->issued_by, "boss");
}

TEST_F(Access, WhoHasNoNamePostsWhileThatIsOpen) {
  issue(ann, "ann");
  issue(bot);
  const SessionId named = session_of(ann, 2), nameless = session_of(bot, 3);
  EXPECT_EQ(open_names(false), Verdict::done);
  EXPECT_EQ(log.one(say(named, 1, "ann")).verdict, Verdict::done);
  EXPECT_EQ(log.one(say(nameless, 1, "robot")).verdict, Verdict::names_closed);
  EXPECT_EQ(log.one(say(root, ++root_seq, "op")).verdict, Verdict::names_closed);
  EXPECT_EQ(open_names(true), Verdict::done) << "whoever set it can set it back: that is no post";
  EXPECT_EQ(log.one(say(nameless, 2, "robot")).verdict, Verdict::done);
}

TEST_F(Access, AReloadFindsKeysNamesAndSessionsAsTheyWere) {
  log.bounds.journal_slots = 4;
  log.machine = Machine(rules_released, log.bounds);
  log.rows = {};
  log.apply(make_rules_decree(2));
  root = log.open(1);
  issue(ann, "ann");
  issue(bot, "bob");
  revoke(bot);
  open_names(false);
  const SessionId session = session_of(ann, 2);
  log.one(say(session, 1, "ann"));
  for (int i = 0; i < 10; ++i) log.noop();  // until the session has a row of its own
  {
    Log other{.bounds = log.bounds,
              .machine = Machine(rules_released, log.bounds),
              .rows = log.rows,
              .time_ms = log.time_ms};
    other.reload();
    EXPECT_EQ(other.machine.session(session)->whose, ann);
    EXPECT_TRUE(other.machine.session(root)->whose.is_secret());
    EXPECT_EQ(*other.machine.access().find(ann.id), *log.machine.access().find(ann.id));
    EXPECT_EQ(*other.machine.access().find(bot.id), *log.machine.access().find(bot.id));
    EXPECT_EQ(other.machine.access().open_names(), log.machine.access().open_names());
    EXPECT_EQ(other.machine.access().owner("Ann")->whose, ann);
    EXPECT_EQ(other.one(say(session, 2, "bob")).verdict, Verdict::name_bound);
    log.one(say(session, 2, "bob"));
    EXPECT_EQ(other.machine.hash(), log.machine.hash());
    log.one(say(session, 3, "ann"));  // now its change is in the journal
  }
  log.reload();
  EXPECT_EQ(log.machine.session(session)->whose, ann);
  EXPECT_EQ(messages().back().key, ann.id);
}

TEST_F(Access, ARedactedMessageKeepsItsKey) {
  issue(ann, "ann");
  const SessionId session = session_of(ann, 2);
  log.one(say(session, 1, "ann", "a secret"));
  log.one(say(session, 2, "ann", "another"));
  const auto run = run_without_text(log.rows, {"ops", 1});
  ASSERT_TRUE(run) << run.error();
  EXPECT_EQ(run->text, "a secret");
  log.rows.write({run->row});
  const auto page = messages();
  EXPECT_EQ(page[0].text, "");
  EXPECT_EQ(page[0].key, ann.id);
  EXPECT_EQ(page[1].key, ann.id);
}

TEST_F(Access, UnderTheFirstRulesThereAreNoKeys) {
  Log first;
  const SessionId session = first.open(1);
  EXPECT_FALSE(validate(open_under(2, ann), 1).empty());
  const Applied applied = first.apply({open_under(2, ann)});
  EXPECT_TRUE(applied.outcomes.empty()) << "no batch to a program of the first rules";
  EXPECT_EQ(first.machine.sessions(), 1U);
  EXPECT_TRUE(first
                  .apply({{.session = session,
                           .seq = 1,
                           .answered_below = 1,
                           .operation = SetAccess{.kind = SetAccess::Kind::issue, .whose = ann}}})
                  .outcomes.empty());
}

TEST_F(Access, AsManyKeysAsAreAllowed) {
  AccessTable table;
  for (std::uint32_t i = 1; i <= limits::access_keys_max; ++i)
    ASSERT_EQ(table.issue({.whose = {Role::client, i}, .name = {}, .issued_by = {}, .revoked_by = {}}),
              Verdict::done);
  EXPECT_EQ(table.issue({.whose = {Role::client, 0xffffffff}, .name = {}, .issued_by = {}, .revoked_by = {}}),
            Verdict::access_full);
}

TEST(AccessCommands, ReadBackAsTheyWere) {
  const SessionId session{{7}, 1};
  for (const Operation& operation : {Operation{Open{nonce(1), ann}},
                                     Operation{SetAccess{SetAccess::Kind::issue, boss, "boss", "op", 5, 6}},
                                     Operation{SetAccess{SetAccess::Kind::revoke, eye, "", ""}},
                                     Operation{SetAccess{SetAccess::Kind::close_names, {}, "", "op"}},
                                     Operation{SetAccess{SetAccess::Kind::rotate, {}, "", "op", 7, 8}},
                                     Operation{SetAccess{SetAccess::Kind::retire, {}, "", "op", 0, 8}}}) {
    const bool open = std::holds_alternative<Open>(operation);
    const Command command{.session = open ? SessionId{} : session,
                          .seq = open ? 0U : 3U,
                          .answered_below = open ? 0U : 2U,
                          .operation = operation};
    const paxos::Bytes bytes = encode(command);
    const auto back = decode_command(bytes.span());
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(*back, command);
    EXPECT_TRUE(validate(command, 2).empty()) << validate(command, 2);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(decode_command(bytes.span().first(size))) << size;
  }
  for (const SetAccess& bad :
       {SetAccess{SetAccess::Kind::issue, {}, "", ""}, SetAccess{SetAccess::Kind::open_names, ann, "", ""},
        SetAccess{SetAccess::Kind::revoke, ann, "ann", ""},
        SetAccess{SetAccess::Kind::issue, eye, "ann", "", 5, 6},
        SetAccess{SetAccess::Kind::issue, ann, "ann", ""},
        SetAccess{SetAccess::Kind::rotate, {}, "", "", 5, 5}})
    EXPECT_FALSE(
        validate(Command{.session = session, .seq = 1, .answered_below = 0, .operation = bad}, 2).empty());
}

// --- the desk: what comes under which key ---

struct KeyedOffice : Office {
  SessionId root;
  KeyedOffice() {
    log.apply(make_rules_decree(2));
    root = log.open(1);
    std::uint64_t seq = 0;
    for (const auto& [whose, name] :
         {std::pair(ann, "ann"), std::pair(bot, ""), std::pair(eye, ""), std::pair(boss, "")})
      log.one({.session = root,
               .seq = ++seq,
               .answered_below = 1,
               .operation = SetAccess{SetAccess::Kind::issue, whose, name, "op", 5, 6}});
  }
  void say_under(const Credential& whose, const Command& command, bool forward = false) {
    ClientCommands message{.forward = forward, .commands = {encode(command)}};
    desk.on_message(now, client(1), whose, message, standing);
  }
  /// What is said to whoever sent it; the proposals wait.
  std::vector<ClientReply> told() {
    std::vector<ClientReply> out;
    for (Reply& reply : desk.take_output().replies) out.push_back(std::move(reply.message));
    return out;
  }
  bool refused(const std::string& word) {
    const auto replies = told();
    const auto* why = replies.size() == 1 ? std::get_if<CommandRefused>(&replies[0]) : nullptr;
    return why != nullptr && why->reason.find(word) != std::string::npos && propose().empty();
  }
};

TEST(AccessAtTheDesk, AKeyTouchesNoOtherKeysSession) {
  KeyedOffice office;
  const SessionId hers = office.log.one(open_under(2, ann)).session;
  office.say_under(bot, say(hers, 1, "robot"));
  EXPECT_TRUE(office.refused("another key"));
  office.say_under(bot, open_under(3, ann));
  EXPECT_TRUE(office.refused("another key"));
  office.say_under(bot, open_under(4, none));
  EXPECT_TRUE(office.refused("another key"));
  office.say_under(ann, say(hers, 1, "ann"));
  EXPECT_EQ(office.propose().size(), 1U);
  office.say_under(bot, say(office.root, 9, "robot"));
  EXPECT_TRUE(office.refused("another key")) << "nor one that was opened with the secret";
}

TEST(AccessAtTheDesk, WhatTheLogWouldRefuseCostsNoSlot) {
  KeyedOffice office;
  const SessionId hers = office.log.one(open_under(2, ann)).session;
  office.say_under(ann, say(hers, 1, "bob"));
  EXPECT_TRUE(office.refused("its own name"));
  office.say_under(none, say(office.root, 5, "ann"));
  EXPECT_TRUE(office.refused("belongs to somebody"));
  office.say_under(
      ann, {.session = hers, .seq = 1, .answered_below = 1, .operation = Retain{.room = {}, .by = "ann"}});
  EXPECT_TRUE(office.refused("may not"));
  office.say_under(eye, open_under(3, eye));
  EXPECT_TRUE(office.refused("only reads"));
}

/// A receipt that was lost is not taken for a refusal because the key was revoked since.
TEST(AccessAtTheDesk, WhatRanIsAnsweredByTheLogWhateverBecameOfTheKey) {
  KeyedOffice office;
  const SessionId hers = office.log.one(open_under(2, ann)).session;
  const Command first = say(hers, 1, "ann");
  office.decide({first});
  office.decide({{.session = office.root,
                  .seq = 5,
                  .answered_below = 1,
                  .operation = SetAccess{SetAccess::Kind::revoke, ann, "", "op"}}});
  static_cast<void>(office.desk.take_output());
  office.say_under(ann, first);
  EXPECT_TRUE(office.told().empty());
  office.work();
  const auto replies = office.told();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(std::get<Receipts>(replies[0]).receipts[0].outcome.verdict, Verdict::repeat);
  for (const Command& other : {say(hers, 2, "ann"), say(hers, 1, "ann", "other words"),
                               say({{3}, 77}, 1, "ann"), open_under(9, ann)}) {
    office.say_under(ann, other);
    EXPECT_TRUE(office.refused("revoked")) << "it costs no slot";
    office.pass(1000);
  }
  office.say_under({Role::client, 0x999}, open_under(10, {Role::client, 0x999}));
  EXPECT_TRUE(office.propose().empty()) << "nor does a key that nobody knows";
}

/// A replica that lags can't know whose a session is.
TEST(AccessAtTheDesk, ASessionOfASlotToComeIsNotTakenUnderAKeyWithARole) {
  KeyedOffice office;
  const SessionId to_come{office.log.machine.applied() + 3, 0};
  office.say_under(ann, say(to_come, 1, "ann"));
  const auto replies = office.told();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<Waiting>(replies[0]));
  EXPECT_TRUE(office.propose().empty());
  office.say_under(none, say(to_come, 1, "bob"));
  EXPECT_EQ(office.propose().size(), 1U) << "with the secret it is the log's to say";
}

TEST(AccessAtTheDesk, AReaderReadsAndNobodyReadsUnderARevokedKey) {
  KeyedOffice office;
  office.decide({say(office.root, 5, "op")});
  const HistoryRequest wanted{.id = 4, .room = "ops", .from = 1, .local = true};
  office.desk.on_message(office.now, client(2), eye, wanted, office.standing);
  EXPECT_EQ(office.desk.take_output().history.size(), 1U);
  office.decide({{.session = office.root,
                  .seq = 6,
                  .answered_below = 1,
                  .operation = SetAccess{SetAccess::Kind::revoke, eye, "", "op"}}});
  static_cast<void>(office.desk.take_output());
  for (const Credential& whose : {eye, Credential{Role::reader, 5}, Credential{Role::client, eye.id}}) {
    office.desk.on_message(office.now, client(2), whose, wanted, office.standing);
    const DeskOutput out = office.desk.take_output();
    EXPECT_TRUE(out.history.empty());
    ASSERT_EQ(out.replies.size(), 1U);
    EXPECT_FALSE(std::get<HistoryReply>(out.replies[0].message).refused.empty());
  }
}

TEST(AccessAtTheDesk, OperatorsRequestsGoByTheRole) {
  const KeyedOffice office;
  const AccessTable& access = office.log.machine.access();
  for (const Credential& whose : {ann, eye}) {
    EXPECT_EQ(refused_to(whose, access, StatusRequest{}), "");
    EXPECT_EQ(refused_to(whose, access, HashRequest{}), "");
    for (const OperatorCommand& command :
         {OperatorCommand{LogRequest{}}, OperatorCommand{KillRequest{}}, OperatorCommand{ScrubRequest{}},
          OperatorCommand{DoctorRequest{}}, OperatorCommand{ExplainRequest{}}, OperatorCommand{SkipRequest{}},
          OperatorCommand{SnapshotRequest{}}, OperatorCommand{MemberRequest{}},
          OperatorCommand{RestartRequest{}}, OperatorCommand{AccessKeysRequest{}},
          OperatorCommand{DeriveKeyRequest{}}})
      EXPECT_NE(refused_to(whose, access, command), "") << command.index();
  }
  EXPECT_EQ(refused_to(boss, access, KillRequest{}), "");
  EXPECT_EQ(refused_to(none, access, KillRequest{}), "");
  const Credential stranger{Role::operates, 99};
  EXPECT_EQ(refused_to(stranger, access, StatusRequest{}), "")
      << "a replica that lags is to be asked how it is";
  EXPECT_NE(refused_to(stranger, access, HashRequest{}), "");
  EXPECT_NE(refused_to(stranger, access, KillRequest{}), "");
}

TEST(AccessAtTheDesk, NobodyIsThereUnderAnothersName) {
  KeyedOffice office;
  const auto here = [&](std::uint8_t from, const Credential& whose, const char* name) {
    office.desk.on_message(office.now, client(from), whose,
                           WhoRequest{.id = 1, .what = Whereabouts::here, .room = "ops", .name = name},
                           office.standing);
  };
  here(1, ann, "ann");
  here(2, bot, "Ann");
  here(3, ann, "bob");
  here(4, eye, "eve");
  here(5, bot, "robot");
  office.desk.on_message(office.now, client(6), eye,
                         WhoRequest{.id = 2, .what = Whereabouts::ask, .room = "ops", .name = {}},
                         office.standing);
  const DeskOutput out = office.desk.take_output();
  ASSERT_EQ(out.replies.size(), 1U);
  std::vector<std::string> names;
  for (const Present& present : std::get<WhoReply>(out.replies[0].message).present)
    names.push_back(present.name);
  EXPECT_EQ(names, (std::vector<std::string>{"ann", "robot"}));
}

}  // namespace
}  // namespace chat::test
