#include <gtest/gtest.h>

#include <clocale>

#include "client/chat/chat_words.h"
#include "client/chat/completion.h"
#include "client/chat/joined_rooms.h"
#include "client/session/room_names.h"
#include "client/terminal/line_editor.h"
#include "client/terminal/screen.h"

/// Rooms and people on a person's screen: names, mentions, what waits, what keys do.
namespace client {
namespace {

chat::Message message(std::string name, std::string text, std::string room = "ops", std::uint64_t seq = 1) {
  return {
      .room = std::move(room), .seq = seq, .name = std::move(name), .time_ms = 0, .text = std::move(text)};
}

TEST(Mention, IsTheWholeNameInWhateverCase) {
  for (const char* text : {"ann", "Ann: look", "hey @ann!", "is ann there?", "annabel and ANN"})
    EXPECT_TRUE(mentions(text, "ann")) << text;
  for (const char* text : {"annabel", "joann", "an n", "", "annä"})
    EXPECT_FALSE(mentions(text, "ann")) << text;
  EXPECT_TRUE(mentions("grüße ÄNNE", "änne"));
  EXPECT_FALSE(mentions("anything", ""));
}

TEST(Words, ADeedHasNoColon) {
  EXPECT_EQ(said(message("ann", "hello"), {}), "ann: hello");
  EXPECT_EQ(said(message("ann", "/me waves"), {}), "* ann waves");
  EXPECT_EQ(said(message("ann", "/mean it"), {}), "ann: /mean it");
  EXPECT_EQ(said(message("", "/me \x1b[2J"), {}), "* someone \\x1b[2J");
  EXPECT_EQ(said(message("a\u200bnn", "x"), {}), "a\\u200bnn: x");
}

TEST(Words, ANameHasAColourOfItsOwnAndWithoutColourNoneOfItsBytes) {
  const std::string ann = shown_name("ann", true);
  EXPECT_EQ(ann, shown_name("ann", true));
  EXPECT_NE(ann.find("ann\x1b[0m"), std::string::npos);
  std::set<std::string> colours;
  for (const char* name :
       {"ann", "bob", "eve", "joe", "kim", "liz", "max", "pat", "sam", "tom", "uwe", "zoe"}) {
    const std::string shown = shown_name(name, true);
    colours.insert(shown.substr(0, shown.find('m')));
  }
  EXPECT_GE(colours.size(), 5u);
  EXPECT_EQ(shown_name("ann", false), "ann");
  EXPECT_EQ(said(message("bob", "ann: look"), {.colour = false, .me = "ann"}).find('\x1b'),
            std::string::npos);
  EXPECT_EQ(dimmed("x", false), "x");
}

TEST(Words, WhatCallsMeStandsOut) {
  EXPECT_NE(said(message("bob", "ann: look"), {.colour = true, .me = "ann"}).find("\x1b[1;7mann: look"),
            std::string::npos);
  EXPECT_EQ(said(message("ann", "ann here"), {.colour = true, .me = "ann"}).find("\x1b[1;7m"),
            std::string::npos)
      << "not my own";
}

struct Joined : ::testing::Test {
  JoinedRooms rooms;
  std::uint64_t ops = 0, dev = 0;
  void SetUp() override {
    ops = rooms.all()[*rooms.join("ops")].visit;
    dev = rooms.all()[*rooms.join("dev")].visit;
    (void)rooms.go(0);
  }
};

TEST_F(Joined, CountWhatCameWhileAnotherOneWasOnTheScreen) {
  using Came = JoinedRooms::Came;
  EXPECT_EQ(rooms.take(ops, message("bob", "hi"), "ann", false), Came::show);
  EXPECT_EQ(rooms.take(dev, message("bob", "old", "dev"), "ann", true), Came::wait);
  EXPECT_EQ(rooms.prompt(), "ops> ") << "what was there before is not new";
  EXPECT_EQ(rooms.take(dev, message("bob", "one", "dev", 2), "ann", false), Came::wait);
  EXPECT_EQ(rooms.take(dev, message("bob", "two", "dev", 3), "ann", false), Came::wait);
  EXPECT_EQ(rooms.prompt(), "[2 dev 2] ops> ");
  const auto entered = rooms.go(1);
  ASSERT_EQ(entered.old.size(), 1u);
  EXPECT_EQ(entered.old[0].text, "old");
  ASSERT_EQ(entered.fresh.size(), 2u);
  EXPECT_EQ(entered.fresh[0].text, "one");
  EXPECT_EQ(entered.left_out, 0u);
  EXPECT_EQ(rooms.prompt(), "dev> ");
  EXPECT_TRUE(rooms.go(1).fresh.empty());
}

TEST_F(Joined, RingOnceUntilThePersonIsThere) {
  using Came = JoinedRooms::Came;
  EXPECT_EQ(rooms.take(dev, message("bob", "ann!", "dev"), "ann", false), Came::ring);
  EXPECT_EQ(rooms.take(dev, message("bob", "ann!!", "dev"), "ann", false), Came::wait);
  EXPECT_EQ(rooms.take(ops, message("bob", "ann, are you there"), "ann", false), Came::show);
  EXPECT_EQ(rooms.prompt(), "[2 dev 2!] ops> ");
  rooms.looked();
  EXPECT_EQ(rooms.take(ops, message("bob", "ann?"), "ann", false), Came::ring);
  rooms.looked();
  EXPECT_EQ(rooms.take(ops, message("ann", "ann is me"), "ann", false), Came::show);
  EXPECT_EQ(rooms.take(dev, message("bob", "ann, before", "dev"), "ann", true), Came::wait)
      << "nobody is called by what is over";
}

TEST_F(Joined, ARoomOfTwoCallsByItself) {
  const std::uint64_t two = rooms.all()[*rooms.join("@ann,bob")].visit;
  EXPECT_EQ(rooms.take(two, message("bob", "psst", "@ann,bob"), "ann", false), JoinedRooms::Came::ring);
  EXPECT_EQ(rooms.next(), 2u) << "who calls comes first";
  rooms.take(dev, message("bob", "x", "dev"), "ann", false);
  EXPECT_EQ(rooms.next(), 2u);
  (void)rooms.go(2);
  EXPECT_EQ(rooms.next(), 1u) << "then what is unread";
  (void)rooms.go(1);
  EXPECT_EQ(rooms.next(), 2u) << "then simply the next";
}

TEST_F(Joined, KeepOnlySoMuchAndSayWhatIsLeftOut) {
  for (std::uint64_t i = 1; i <= JoinedRooms::kept_max + 7; ++i)
    rooms.take(dev, message("bob", "x", "dev", i), "ann", false);
  const auto entered = rooms.go(1);
  EXPECT_EQ(entered.fresh.size(), JoinedRooms::kept_max);
  EXPECT_EQ(entered.left_out, 7u);
  EXPECT_TRUE(entered.old.empty());
}

TEST_F(Joined, AreLeftAndBounded) {
  rooms.leave(0);
  EXPECT_EQ(rooms.current().name, "dev");
  EXPECT_EQ(rooms.take(ops, message("bob", "late"), "ann", false), JoinedRooms::Came::wait)
      << "of a room that was left";
  EXPECT_EQ(*rooms.join("dev"), 0u) << "twice is once";
  std::size_t i = 0;
  while (rooms.join("room" + std::to_string(++i))) continue;
  EXPECT_EQ(rooms.all().size(), JoinedRooms::rooms_max);
}

TEST_F(Joined, ThePromptStaysShortAndNeverLeavesOutWhoIsCalled) {
  for (int i = 0; i < 6; ++i) {
    const std::string name = "a room with a long name " + std::to_string(i);
    const std::uint64_t visit = rooms.all()[*rooms.join(name)].visit;
    rooms.take(visit, message("bob", i == 5 ? "ann" : "x", name), "ann", false);
  }
  EXPECT_EQ(rooms.prompt().find("[8 a room with  1!"), 0u) << rooms.prompt();
  EXPECT_LE(rooms.prompt().size(), 80u);
}

TEST(Completion, OfCommandsRoomsAndNames) {
  const std::vector<std::string> rooms{"ops", "opera", "dev"};
  const std::vector<std::string> names{"ann", "Anna", "bob", "a\u200bnn"};
  EXPECT_EQ(complete("/jo", rooms, names).text, "/join ");
  EXPECT_EQ(complete("/n", rooms, names).candidates, (std::vector<std::string>{"/name", "/next", "/nick"}));
  EXPECT_EQ(complete("/join d", rooms, names).text, "dev ");
  EXPECT_EQ(complete("/join #D", rooms, names).text, "dev ");
  EXPECT_EQ(complete("/join o", rooms, names).text, "op") << "as far as they agree";
  EXPECT_EQ(complete("bo", rooms, names).text, "bob: ") << "who is spoken to";
  EXPECT_EQ(complete("ask bo", rooms, names).text, "bob ");
  EXPECT_EQ(complete("ask bo", rooms, names).from, 4u);
  EXPECT_EQ(complete("@bo", rooms, names).text, "bob ");
  EXPECT_EQ(complete("@bo", rooms, names).from, 1u);
  EXPECT_EQ(complete("an", rooms, names).candidates, (std::vector<std::string>{"Anna", "ann"}))
      << "not what nobody can see";
  EXPECT_TRUE(complete("", rooms, names).candidates.empty());
  EXPECT_TRUE(complete("/msg x", rooms, names).candidates.empty());
  EXPECT_EQ(complete("/msg b", rooms, names).text, "bob ");
  const std::vector<std::string> wide{"äa", "äö", "äü"};
  EXPECT_EQ(complete("/join ä", wide, names).text, "ä") << "cut between characters";
}

TEST(Commands, AnUnknownOneSuggestsTheNearest) {
  EXPECT_NE(no_such_command("/jion").find("did you mean /join?"), std::string::npos);
  EXPECT_NE(no_such_command("/hist").find("did you mean /history?"), std::string::npos);
  EXPECT_EQ(no_such_command("/xyzzy").find("did you mean"), std::string::npos);
  for (const ChatCommand& command : chat_commands())
    if (!command.about.empty()) {
      const auto help = chat_help();
      EXPECT_TRUE(std::any_of(help.begin(), help.end(), [&](const std::string& line) {
        return line.starts_with(command.name);
      })) << command.name;
    }
}

struct Keys : ::testing::Test {
  void SetUp() override { (void)std::setlocale(LC_CTYPE, "C.UTF-8"); }
  LineEditor editor{100};
  std::string type(std::string_view keys) {
    std::string out;
    for (const LineEditor::Event& event : editor.feed(keys)) {
      if (event.key == LineEditor::Key::line) out += "line " + event.line;
      if (event.key == LineEditor::Key::room) out += "room " + event.line;
      if (event.key == LineEditor::Key::complete) out += "complete";
      if (event.key == LineEditor::Key::clear) out += "clear";
      if (event.key == LineEditor::Key::suspend) out += "suspend";
      if (event.key == LineEditor::Key::interrupt) out += "interrupt";
    }
    return out;
  }
};

TEST_F(Keys, GoByWords) {
  type(
      "eins zwei drei\x1b"
      "bX");
  EXPECT_EQ(editor.text(), "eins zwei Xdrei");
  type(
      "\x1b"
      "b\x1b"
      "bY");
  EXPECT_EQ(editor.text(), "eins Yzwei Xdrei");
  type(
      "\x1b"
      "f\x1b"
      "fZ");
  EXPECT_EQ(editor.text(), "eins Yzwei XdreiZ");
}

TEST_F(Keys, OfTheChatAreEvents) {
  EXPECT_EQ(type("\x1b"
                 "3"),
            "room 3");
  EXPECT_EQ(type("\x1b"
                 "0"),
            "");
  EXPECT_EQ(type("\x0c"), "clear");
  EXPECT_EQ(type("\x1a"), "suspend");
  EXPECT_EQ(type("\t"), "complete");
  EXPECT_EQ(type("a\tb"), "") << "a Tab in what was pasted is a blank";
  EXPECT_EQ(editor.text(), "a b");
  editor.complete(2, "bob: ");
  EXPECT_EQ(editor.text(), "a bob: ");
  EXPECT_EQ(editor.before_cursor(), "a bob: ");
  editor.complete(0, std::string(101, 'x'));
  EXPECT_EQ(editor.text(), "a bob: ") << "too long: nothing is changed";
}

TEST_F(Keys, CtrlRLooksThroughWhatWasWritten) {
  for (const char* line : {"restart db3\r", "hello\r", "restart db4\r", "Grüße\r"}) type(line);
  type(
      "draft\x12"
      "restart");
  EXPECT_EQ(editor.view(80).text, "search \"restart\": restart db4");
  type("\x12");
  EXPECT_EQ(editor.text(), "restart db3") << "once more: the one before";
  type("\x12");
  EXPECT_EQ(editor.text(), "restart db3") << "there is no other";
  EXPECT_EQ(type("\r"), "") << "Enter takes it to the line";
  EXPECT_EQ(editor.text(), "restart db3");
  EXPECT_EQ(type("!\r"), "line restart db3!");
  type(
      "draft\x12"
      "GRÜ");
  EXPECT_EQ(editor.text(), "Grüße");
  type(
      "\x7f\x7f\x7f"
      "hel");
  EXPECT_EQ(editor.text(), "hello");
  type("\x07");
  EXPECT_EQ(editor.text(), "draft") << "Ctrl-G lets it be";
  EXPECT_EQ(type("\x12"
                 "db4\x03"),
            "")
      << "Ctrl-C ends the search, not the chat";
  EXPECT_EQ(editor.text(), "draft");
  type(
      "\x12"
      "db4\x1b[D?");
  EXPECT_EQ(editor.text(), "restart db?4") << "any other key goes on with what was found";
  EXPECT_LE(columns_of(editor.view(10).text), 10u);
}

}  // namespace
}  // namespace client
