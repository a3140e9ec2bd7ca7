#include "chat/rooms.h"

#include <gtest/gtest.h>

#include "chat/presence.h"
#include "tests/chat/desk_fixture.h"

/// The list of rooms, topics (rules 2), and who is where.
namespace chat::test {
namespace {

using namespace std::chrono_literals;

Command topic(const SessionId& session, std::uint64_t seq, std::string text, std::string topic,
              std::string room = "ops", std::string name = "ann", std::string key = {}) {
  return {
      .session = session,
      .seq = seq,
      .answered_below = 0,
      .operation = Post{std::move(room), std::move(name), std::move(text), std::move(key), std::move(topic)}};
}

struct Rooms : ::testing::Test {
  Log log{.machine = Machine(rules_released), .rows = {}};
  void SetUp() override { log.apply(make_rules_decree(2)); }
  RoomLine line(const std::string& name) {
    const auto page = read_rooms(log.rows, name, 1);
    EXPECT_TRUE(page && page->rooms.size() == 1 && page->rooms[0].name == name) << name;
    return page && !page->rooms.empty() ? page->rooms[0] : RoomLine{};
  }
};

TEST_F(Rooms, AreListedWithTheirMessagesAndTheLastOnesTime) {
  EXPECT_TRUE(read_rooms(log.rows, "", 0)->rooms.empty());
  const auto s = log.open(1);
  log.apply({post(s, 1, "a", "ops"), post(s, 2, "b", "ops"), post(s, 3, "c", "dev")});
  log.time_ms += 5000;
  log.apply({post(s, 4, "d", "ops")});
  log.apply({post(s, 5, "e", "a longer name")});
  const auto page = read_rooms(log.rows, "", 0);
  ASSERT_TRUE(page);
  ASSERT_EQ(page->rooms.size(), 3u);
  EXPECT_EQ(page->next, "");
  EXPECT_EQ(
      page->rooms[0],
      (RoomLine{.name = "dev", .messages = 1, .last_ms = log.time_ms - 5000, .topic = {}, .topic_by = {}}));
  EXPECT_EQ(page->rooms[1],
            (RoomLine{.name = "ops", .messages = 3, .last_ms = log.time_ms, .topic = {}, .topic_by = {}}));
  EXPECT_EQ(page->rooms[2].name, "a longer name");
}

TEST_F(Rooms, ComeInPagesWithoutAGapOrARepeat) {
  const auto s = log.open(1);
  std::set<std::string> made;
  for (std::uint64_t i = 1; i <= 40; ++i) {
    made.insert("room" + std::to_string(i));
    log.one(post(s, i, "x", "room" + std::to_string(i), i));
  }
  for (const std::size_t limit : {1, 7, 40, 41}) {
    std::set<std::string> seen;
    std::size_t pages = 0;
    std::string from;
    do {
      const auto page = read_rooms(log.rows, from, limit);
      ASSERT_TRUE(page);
      EXPECT_LE(page->rooms.size(), limit);
      for (const RoomLine& room : page->rooms)
        EXPECT_TRUE(seen.insert(room.name).second) << room.name << " twice";
      from = page->next;
      ++pages;
    } while (!from.empty());
    EXPECT_EQ(seen, made) << limit;
    EXPECT_EQ(pages, (40 + limit - 1) / limit);
  }
  EXPECT_EQ(read_rooms(log.rows, "zz", 0)->rooms.at(0).name, "room1")
      << "a longer name comes behind every shorter one";
  EXPECT_TRUE(read_rooms(log.rows, std::string(65, 'x'), 0)->rooms.empty());
}

TEST_F(Rooms, ATopicStandsUntilTheNextOneOrNone) {
  const auto s = log.open(1);
  ASSERT_EQ(log.one(topic(s, 1, "/me set the topic: db3 is down", "db3 is down")).verdict, Verdict::done);
  EXPECT_EQ(log.machine.room_head("ops"), 1u) << "the message that sets it stands in the room";
  EXPECT_EQ(line("ops").topic, "db3 is down");
  EXPECT_EQ(line("ops").topic_by, "ann");
  EXPECT_EQ(line("ops").topic_ms, log.time_ms);
  log.one(post(s, 2, "an ordinary message"));
  EXPECT_EQ(line("ops").topic, "db3 is down");
  // The last one of a slot counts.
  log.apply({topic(s, 3, "t", "one"), topic(s, 4, "t", "two", "ops", "bob")});
  EXPECT_EQ(line("ops").topic, "two");
  EXPECT_EQ(line("ops").topic_by, "bob");
  log.reload();
  EXPECT_EQ(line("ops").topic, "two");
  log.one(topic(s, 5, "t", ""));
  EXPECT_EQ(line("ops").topic, "");
  EXPECT_EQ(line("ops").topic_ms, 0);
  log.apply({topic(s, 6, "t", "three"), topic(s, 7, "t", "")});
  EXPECT_EQ(line("ops").topic, "") << "set and taken away in one slot";
}

TEST_F(Rooms, ARepeatedCommandSetsNoTopicAgain) {
  const auto a = log.open(1), b = log.open(2);
  log.one(topic(a, 1, "t", "first"));
  log.one(topic(b, 1, "t", "second"));
  EXPECT_EQ(log.one(topic(a, 1, "t", "first")).verdict, Verdict::repeat);
  EXPECT_EQ(line("ops").topic, "second");
  EXPECT_EQ(log.one(topic(a, 1, "t", "third")).verdict, Verdict::conflict)
      << "the topic is part of what a repeat must equal";
  log.one(topic(a, 2, "k", "keyed", "ops", "ann", "key"));
  log.one(topic(b, 2, "t", "newer"));
  EXPECT_EQ(log.one(topic(b, 3, "k", "keyed", "ops", "bob", "key")).verdict, Verdict::repeat);
  EXPECT_EQ(line("ops").topic, "newer");
}

TEST_F(Rooms, TopicsAreInTheHash) {
  Log other{.machine = Machine(rules_released), .rows = {}};
  other.apply(make_rules_decree(2));
  const auto s = log.open(1);
  ASSERT_EQ(other.open(1), s);
  log.one(topic(s, 1, "t", "one"));
  other.one(topic(s, 1, "t", "another"));
  EXPECT_NE(log.machine.hash(), other.machine.hash());
}

TEST(Topic, IsRefusedUnderRulesOneAndABatchWithOneIsNone) {
  Log log{.machine = Machine(rules_released), .rows = {}};
  const auto s = log.open(1);
  EXPECT_NE(validate(topic(s, 1, "t", "x"), 1), "");
  EXPECT_EQ(validate(topic(s, 1, "t", "x"), 2), "");
  const Applied applied = log.apply({topic(s, 1, "t", "x")});
  EXPECT_TRUE(applied.outcomes.empty()) << "as a program of version 0.1.0 does it";
  EXPECT_EQ(log.machine.room_head("ops"), 0u);
}

TEST(Topic, HasBounds) {
  const SessionId s{{1}, 0};
  EXPECT_EQ(validate(topic(s, 1, "t", std::string(limits::topic_bytes_max, 'x')), 2), "");
  EXPECT_NE(validate(topic(s, 1, "t", std::string(limits::topic_bytes_max + 1, 'x')), 2), "");
  EXPECT_NE(validate(topic(s, 1, "t", "a\nb"), 2), "");
  EXPECT_NE(validate(topic(s, 1, "t", "\xff"), 2), "");
  const std::string most(limits::text_bytes_max, 'x');
  EXPECT_EQ(validate(topic(s, 1, most, ""), 2), "");
  EXPECT_NE(validate(topic(s, 1, most, "y"), 2), "") << "the two together are what a text may be";
  const std::string key(limits::key_bytes_max, 'k'), room(limits::room_bytes_max, 'r'),
      name(limits::name_bytes_max, 'n');
  const Command largest{.session = {{UINT64_MAX}, UINT32_MAX},
                        .seq = UINT64_MAX,
                        .answered_below = UINT64_MAX,
                        .operation = Post{room, name, most.substr(limits::topic_bytes_max), key,
                                          std::string(limits::topic_bytes_max, 't')}};
  EXPECT_LE(encode(largest).size(), limits::command_bytes_max);
}

TEST(Topic, ComesBackFromItsBytesAndHasOneEncoding) {
  const SessionId s{{7}, 1};
  for (const std::string& key : {std::string(), std::string("k")})
    for (const std::string& text : {std::string(), std::string("x")}) {
      const Command command = topic(s, 1, "t", text, "ops", "ann", key);
      const paxos::Bytes bytes = encode(command);
      const auto back = decode_command(bytes.span());
      ASSERT_TRUE(back) << back.error();
      EXPECT_EQ(*back, command);
    }
  // The options the other way round, twice, or none of them: all of it is refused.
  const auto refused = [&](const std::string& options) {
    const paxos::Bytes plain = encode(post(s, 1, "t"));
    std::string bytes(reinterpret_cast<const char*>(plain.data()), plain.size());
    const std::size_t number = bytes.find(std::string("\x03\x03ops", 5));
    bytes[number] = 4;
    bytes += options;
    return !decode_command(paxos::Bytes::from(std::move(bytes)).span()).has_value();
  };
  EXPECT_FALSE(refused(std::string("\x02\x01\x01k\x14\x01t", 7))) << "a key, then a topic";
  EXPECT_TRUE(refused(std::string("\x02\x14\x01t\x01\x01k", 7)));
  EXPECT_TRUE(refused(std::string("\x02\x14\x01t\x14\x01t", 7)));
  EXPECT_TRUE(refused(std::string("\0", 1)));
  EXPECT_TRUE(refused(std::string("\x01\x13\x01t", 4)));
}

TEST_F(Rooms, ANewOneHasNothingBlankAtItsEnds) {
  const auto s = log.open(1);
  std::uint64_t seq = 0;
  for (const char* name : {" ops", "ops ", "\u00a0ops", "ops\u3000", " "})
    EXPECT_EQ(log.one(post(s, ++seq, "x", name)).verdict, Verdict::invalid) << name;
  EXPECT_EQ(log.one(post(s, ++seq, "x", "on call")).verdict, Verdict::done);
}

TEST(RoomWithBlankEnds, ThatIsOlderThanTheRuleStaysInUse) {
  Log log{.machine = Machine(rules_released), .rows = {}};
  const auto s = log.open(1);
  ASSERT_EQ(log.one(post(s, 1, "x", " ops")).verdict, Verdict::done);
  log.apply(make_rules_decree(2));
  EXPECT_EQ(log.one(post(s, 2, "y", " ops")).verdict, Verdict::done);
}

TEST(Desk, ListsRoomsOnceItsReadIsConfirmedAndApplied) {
  Office office;
  const auto s = office.open(1);
  office.decide({post(s, 1, "a", "ops")});
  (void)office.replies();
  office.send(1, RoomsRequest{.id = 5, .from = {}, .limit = 0, .local = false});
  EXPECT_TRUE(office.replies_of<RoomsReply>().empty());
  ASSERT_EQ(office.reads.size(), 1u);
  office.desk.read_index(office.reads[0], office.log.machine.applied() + 1);
  EXPECT_TRUE(office.replies_of<RoomsReply>().empty()) << "its index is not applied yet";
  office.decide({post(s, 2, "b", "dev")});
  const auto answers = office.replies_of<RoomsReply>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].second.id, 5u);
  EXPECT_EQ(answers[0].second.refused, "");
  EXPECT_EQ(answers[0].second.page.rooms.size(), 2u);
  EXPECT_EQ(answers[0].second.applied, office.log.machine.applied());
}

TEST(Desk, ListsRoomsLocallyWithoutAQuorumAndRefusesByNameOtherwise) {
  Office office;
  office.standing.voting = false;
  office.send(1, RoomsRequest{.id = 6, .from = {}, .limit = 0, .local = true});
  auto answers = office.replies_of<RoomsReply>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].second.refused, "");
  office.send(1, RoomsRequest{.id = 7, .from = {}, .limit = 0, .local = false});
  answers = office.replies_of<RoomsReply>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].second.id, 7u);
  EXPECT_NE(answers[0].second.refused.find("does not vote"), std::string::npos);
  EXPECT_TRUE(office.replies_of<HistoryReply>().empty());
}

TEST(Desk, TellsWhoSaidThatTheyAreThere) {
  Office office;
  const auto tell = [&](std::uint8_t from, Whereabouts what, std::string room, std::string name) {
    office.send(from, WhoRequest{.id = 1, .what = what, .room = std::move(room), .name = std::move(name)});
    EXPECT_TRUE(office.replies().empty()) << "only who asks is answered";
  };
  const auto who = [&](const std::string& room) {
    office.send(9, WhoRequest{.id = 2, .what = Whereabouts::ask, .room = room, .name = {}});
    std::string names;
    for (const auto& [to, reply] : office.replies_of<WhoReply>())
      for (const Present& present : reply.present) names += present.name + " ";
    return names;
  };
  tell(1, Whereabouts::here, "ops", "ann");
  tell(2, Whereabouts::here, "ops", "bob");
  tell(3, Whereabouts::here, "dev", "eve");
  tell(4, Whereabouts::here, "ops", "b\u200bob");
  tell(5, Whereabouts::here, "ops", "");
  EXPECT_EQ(who("ops"), "ann bob ");
  tell(2, Whereabouts::here, "ops", "robert");
  EXPECT_EQ(who("ops"), "ann robert ") << "one client has one name in a room";
  tell(1, Whereabouts::gone, "ops", "ann");
  EXPECT_EQ(who("ops"), "robert ");
  office.pass(limits::presence_kept_ms - 1000);
  tell(3, Whereabouts::here, "dev", "eve");
  office.pass(1001);
  EXPECT_EQ(who("ops"), "") << "silent for too long";
  EXPECT_EQ(who("dev"), "eve ");
}

TEST(Presence, IsBoundedAndTheLongestSilentGoesFirst) {
  Presence presence(3);
  for (std::uint8_t i = 1; i <= 3; ++i) presence.here(at_ms(i), client(i), "ops", "name" + std::to_string(i));
  presence.here(at_ms(4), client(1), "ops", "name1");
  presence.here(at_ms(5), client(4), "ops", "name4");
  EXPECT_EQ(presence.size(), 3u);
  std::vector<std::string> names;
  for (const Present& present : presence.in(at_ms(10), "ops")) names.push_back(present.name);
  EXPECT_EQ(names, (std::vector<std::string>{"name1", "name3", "name4"}));
  presence.here(at_ms(20), client(9), "ops", "name1");
  EXPECT_EQ(presence.in(at_ms(25), "ops").at(0), (Present{"name1", 5}))
      << "of two under one name the one heard last";
}

}  // namespace
}  // namespace chat::test
