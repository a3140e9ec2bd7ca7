#include <gtest/gtest.h>
#include <sys/stat.h>

#include <clocale>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>

#include "client/chat/chat_outbox.h"
#include "client/chat/days.h"
#include "client/chat/message_lines.h"
#include "client/chat/message_text.h"
#include "client/chat/waiting_text.h"
#include "client/command_line.h"
#include "client/person.h"
#include "client/terminal/line_editor.h"
#include "client/terminal/paste.h"

/// What a person types, pastes and reads: no terminal in it.
namespace client {
namespace {

using namespace std::chrono_literals;

// --- pastes ---

std::string told_apart(std::string_view bytes, std::size_t step) {
  PasteSplitter splitter(1000);
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += step)
    for (const auto& piece : splitter.feed(bytes.substr(at, step)))
      out += piece.pasted ? "<" + piece.bytes + ">" : piece.bytes;
  return out;
}

TEST(Paste, IsToldFromKeysWhereverTheBytesAreCut) {
  const std::string bytes = "ab\x1b[Dc\x1b[200~one\rtwo\x1b[20x\x1b[201~d\x1b[200~\x1b[201~\x1b[3~e";
  for (std::size_t step = 1; step <= bytes.size(); ++step)
    EXPECT_EQ(told_apart(bytes, step), "ab\x1b[Dc<one\rtwo\x1b[20x>d<>\x1b[3~e") << step;
}

TEST(Paste, HoldsNoMoreThanItsBoundAndCountsTheRest) {
  PasteSplitter splitter(10);
  EXPECT_TRUE(splitter.feed("\x1b[200~" + std::string(25, 'x')).empty());
  const auto pieces = splitter.feed("yyyyy\x1b[201~");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].bytes, std::string(10, 'x'));
  EXPECT_EQ(pieces[0].total, 30u);
}

TEST(Paste, OneWithoutAnEndIsGivenUp) {
  PasteSplitter splitter(100);
  EXPECT_TRUE(splitter.feed("\x1b[200~lost\x1b[20").empty());
  EXPECT_TRUE(splitter.inside());
  EXPECT_EQ(splitter.give_up().bytes, "lost\x1b[20");
  EXPECT_FALSE(splitter.inside());
  EXPECT_EQ(splitter.feed("k").at(0).bytes, "k");
}

TEST(Paste, AnEscAloneIsAKeyForWhoWaitsForIt) {
  PasteSplitter splitter(100);
  EXPECT_TRUE(splitter.feed("\x1b").empty());
  EXPECT_TRUE(splitter.lone_escape());
  EXPECT_FALSE(splitter.lone_escape());
  EXPECT_TRUE(splitter.feed("\x1b[").empty());
  EXPECT_FALSE(splitter.lone_escape());
}

TEST(Paste, BecomesTextWithoutWhatMovesATerminal) {
  EXPECT_EQ(pasted_text("one\rtwo\r\nthree\n\tfour\x1b[2J\x07\r\n\n"), "one\ntwo\nthree\n\tfour[2J");
  EXPECT_EQ(filled_lines("one\n\n  \ntwo"), (std::vector<std::string>{"one", "two"}));
}

TEST(Paste, AsksOnceAndIgnoresWhatIsNoAnswer) {
  using Answer = PasteQuestion::Answer;
  PasteQuestion question(20);
  EXPECT_FALSE(question.asking());
  question.ask("one\ntwo\nthree");
  EXPECT_EQ(question.prompt(), "3 lines: [o]ne message, [l]ines, [e]dit, Esc drops them ");
  for (const char* ignored : {"\r", "x", "\x1b[A", "yes", "\x04"})
    EXPECT_EQ(question.answer(ignored), Answer::none);
  EXPECT_EQ(question.answer("o"), Answer::message);
  EXPECT_EQ(question.answer("l"), Answer::lines);
  EXPECT_EQ(question.answer("e"), Answer::edit);
  EXPECT_EQ(question.answer("\x1b"), Answer::drop);
  EXPECT_EQ(question.answer("\x03"), Answer::drop);
  question.ask("four and five");
  EXPECT_EQ(question.answer("o"), Answer::none) << "too long for one message now";
  EXPECT_EQ(question.answer("e"), Answer::none);
  EXPECT_EQ(question.answer("l"), Answer::lines);
  EXPECT_EQ(question.take(), "one\ntwo\nthree\nfour and five");
  EXPECT_FALSE(question.asking());
}

TEST(LineEditorBreaks, AltEnterAndPastesPutLineBreaksIn) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr);
  LineEditor editor(20);
  (void)editor.feed("ac\x1b[D\x1b\r");
  EXPECT_TRUE(editor.put("b\nb"));
  EXPECT_EQ(editor.text(), "a\nb\nbc");
  EXPECT_EQ(editor.view(40).text, "a\\nb\\nbc") << "on one row";
  EXPECT_FALSE(editor.put(std::string(15, 'x')));
  EXPECT_EQ(editor.take_with("!"), "a\nb\nb!c");
  EXPECT_EQ(editor.text(), "");
}

// --- what is shown ---

TEST(MessageText, LinesAfterTheFirstAreIndentedSoThatNoneLooksLikeAMessage) {
  EXPECT_EQ(indented("one"), "one");
  EXPECT_EQ(indented("one\n12:00:00 bob: two\x1b\n"), "one\n         12:00:00 bob: two\\x1b\n         ");
  EXPECT_EQ(indented("1\n2\n3\n4\n5", 2), "1\n         2\n         (3 lines more)");
  EXPECT_EQ(on_one_row("one\ntwo", 40), "one\\ntwo");
  EXPECT_EQ(on_one_row("abcdef", 4), "abc…");
  chat::Message message{.room = "ops", .name = "ann", .text = "a\nb"};
  EXPECT_TRUE(to_line(message, false).ends_with(" ann: a\n         b"));
}

class ZoneTest : public ::testing::Test {
 protected:
  void SetUp() override { zone("UTC0"); }
  void TearDown() override {
    ::unsetenv("TZ");
    ::tzset();
  }
  static void zone(const char* name) {
    ::setenv("TZ", name, 1);
    ::tzset();
  }
};
constexpr std::int64_t day_ms = 86'400'000;

TEST_F(ZoneTest, ADayLineStandsWhereverTheDayChanges) {
  constexpr std::int64_t midnight = 20'000 * day_ms;  // 4 October 2024, a Friday
  Days days(midnight + 1000);
  EXPECT_EQ(days.before(midnight + 5), std::nullopt) << "today needs no line";
  EXPECT_EQ(days.before(midnight - 1), "--- Thursday, 3 October 2024 ---") << "a clock that went back, too";
  EXPECT_EQ(days.before(midnight - 2), std::nullopt);
  EXPECT_EQ(days.before(midnight), "--- Friday, 4 October 2024 ---");
  Days old(midnight + 30 * day_ms);
  EXPECT_EQ(old.before(midnight), "--- Friday, 4 October 2024 ---") << "the first is not of today";
}

TEST_F(ZoneTest, AMessageThatWaitedSaysWhenItWasWritten) {
  constexpr std::int64_t noon = 20'000 * day_ms + day_ms / 2;
  EXPECT_EQ(written_note(0, noon), "") << "not known";
  EXPECT_EQ(written_note(noon - 4'000, noon), "");
  EXPECT_EQ(written_note(noon + 60'000, noon), "") << "one of the clocks is wrong";
  EXPECT_EQ(written_note(noon - 60'000, noon), " (written 11:59:00)");
  EXPECT_EQ(written_note(noon - day_ms, noon), " (written 2024-10-03 12:00:00)");
  chat::Message message{
      .room = "ops", .name = "ann", .time_ms = noon, .text = "x", .written_ms = noon - 60'000};
  EXPECT_EQ(to_line(message, false), "12:00:00 ann (written 11:59:00): x");
  EXPECT_EQ(to_json(message).at("written_ms").get<std::int64_t>(), message.written_ms);
  message.written_ms = 0;
  EXPECT_FALSE(to_json(message).contains("written_ms"));
}

TEST_F(ZoneTest, TheDayIsThatOfTheZone) {
  zone("XXX-2");
  EXPECT_EQ(day_text(20'000 * day_ms - 1), "Friday, 4 October 2024");
  zone("XXX+2");
  EXPECT_EQ(day_text(20'000 * day_ms), "Thursday, 3 October 2024");
}

TEST_F(ZoneTest, AZoneThatNobodyKnowsIsSaid) {
  char name[] = "/tmp/zones-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::filesystem::path folder = name;
  std::ofstream(folder / "Here") << "TZif2...";
  std::ofstream(folder / "Nonsense") << "no zone";
  const auto fault = [&](const std::string& zone) { return zone_fault(zone, folder.string()); };
  for (const std::string fine :
       {"", "UTC", "Here", ":Here", "UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<+0330>-3:30"})
    EXPECT_EQ(fault(fine), "") << fine;
  EXPECT_EQ(fault((folder / "Here").string()), "");
  for (const std::string wrong : {"Mars/Phobos", "Nonsense", "CET", "There", ":UTC0"})
    EXPECT_EQ(fault(wrong),
              "TZ=" + wrong + " names no time zone that this machine knows: times are those of UTC");
  std::filesystem::remove_all(folder);
}

// --- who types ---

std::string person_with(std::map<std::string, std::string> variables, bool root, std::string session = "",
                        std::string account = "") {
  return person({.variable = [&](const char* name) { return variables[name]; },
                 .root = root,
                 .session = std::move(session),
                 .account = std::move(account)});
}

TEST(Person, IsWhoeverBecameRootAndNeverRootItself) {
  EXPECT_EQ(person_with({{"LOGNAME", "ann"}}, false), "ann");
  EXPECT_EQ(person_with({{"SUDO_USER", "ann"}, {"LOGNAME", "root"}}, true), "ann");
  EXPECT_EQ(person_with({{"DOAS_USER", "bob"}, {"LOGNAME", "root"}}, true), "bob");
  EXPECT_EQ(person_with({{"LOGNAME", "root"}, {"USER", "root"}}, true, "eve", "root"), "eve") << "su";
  EXPECT_EQ(person_with({{"LOGNAME", "root"}, {"USER", "root"}}, true, "", "root"), "")
      << "nobody else is known";
  EXPECT_EQ(person_with({{"SUDO_USER", "root"}}, true, "root", "root"), "");
  EXPECT_EQ(person_with({{"SUDO_USER", "ann"}, {"LOGNAME", "bot"}}, false), "bot") << "sudo -u bot is meant";
  EXPECT_EQ(person_with({}, false, "", "cron"), "cron");
  EXPECT_EQ(person_with({{"LOGNAME", "a\x1b"}}, false, "", "ann"), "ann") << "one that the log would refuse";
}

// --- the outbox of a chat ---

class ChatOutboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/typed-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    base_ = name;
    folder_ = base_ / "state" / "paxoschat";
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  ChatOutbox open() { return ChatOutbox::open(folder_, "cluster-1", "key"); }
  static void type(ChatOutbox& outbox, std::uint64_t ticket, std::string text) {
    const LedgerEvent event = Queued{ticket, {"ops", "ann", std::move(text)}};
    ASSERT_TRUE(outbox.own->state->append({&event, 1}, true));
  }
  static unsigned mode(const std::filesystem::path& path) {
    struct stat info{};
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
  }
  std::filesystem::path base_;
  std::filesystem::path folder_;
};

TEST_F(ChatOutboxTest, LiesInTheUsersStateFolder) {
  const auto with = [](std::map<std::string, std::string> variables) {
    return chat_state_folder([&](const char* name) { return variables[name]; }).value_or("none").string();
  };
  EXPECT_EQ(with({{"XDG_STATE_HOME", "/s"}, {"HOME", "/h"}}), "/s/paxoschat");
  EXPECT_EQ(with({{"XDG_STATE_HOME", "relative"}, {"HOME", "/h"}}), "/h/.local/state/paxoschat");
  EXPECT_EQ(with({}), "none");
}

TEST_F(ChatOutboxTest, IsOneAClusterAndKeyAndNobodyElsesToRead) {
  EXPECT_NE(chat_outbox_name("a", "key", 1), chat_outbox_name("b", "key", 1));
  EXPECT_NE(chat_outbox_name("a", "key", 1), chat_outbox_name("a", "other", 1));
  EXPECT_EQ(chat_outbox_name("../x", "key", 1).find('/'), std::string::npos);
  ChatOutbox outbox = open();
  ASSERT_TRUE(outbox.own);
  EXPECT_TRUE(outbox.notes.empty());
  EXPECT_TRUE(outbox.own->draft.keep({"ops", "draft"}));
  EXPECT_EQ(mode(folder_), 0700u);
  for (const auto& file : std::filesystem::directory_iterator(folder_))
    EXPECT_EQ(mode(file.path()), 0600u) << file.path();
}

TEST_F(ChatOutboxTest, AFolderThatOthersCouldReadIsClosed) {
  std::filesystem::create_directories(folder_);
  ::chmod(folder_.c_str(), 0755);
  EXPECT_TRUE(open().own);
  EXPECT_EQ(mode(folder_), 0700u);
}

TEST_F(ChatOutboxTest, KeepsWhatWasTypedAndForgetsASessionWithNothingInIt) {
  {
    ChatOutbox outbox = open();
    type(outbox, 1, "hello");
    const LedgerEvent opened = Opened{{paxos::Slot{12}, 3}};
    ASSERT_TRUE(outbox.own->state->append({&opened, 1}, true));
  }
  {
    ChatOutbox outbox = open();
    ASSERT_EQ(outbox.own->state->ledger().entries.size(), 1u);
    EXPECT_EQ(outbox.own->state->ledger().entries[0].post.text, "hello");
    EXPECT_EQ(outbox.own->state->ledger().session.slot.n, 12u) << "the same session goes on";
    const LedgerEvent answered = Answered{1};
    ASSERT_TRUE(outbox.own->state->append({&answered, 1}, false));
  }
  EXPECT_TRUE(open().own->state->ledger().session.none()) << "a later chat has a session of its own";
}

TEST_F(ChatOutboxTest, ASecondChatTakesAnotherFileAndWhatItLeavesIsFound) {
  {
    ChatOutbox first = open();
    {
      ChatOutbox second = open();
      ASSERT_TRUE(second.own);
      EXPECT_NE(second.own->file, first.own->file);
      ASSERT_EQ(second.notes.size(), 1u);
      EXPECT_NE(second.notes[0].find("another chat is open here"), std::string::npos);
      type(second, 1, "from the second");
    }
    type(first, 1, "from the first");
  }
  ChatOutbox next = open();
  EXPECT_EQ(next.own->state->ledger().entries.at(0).post.text, "from the first");
  ASSERT_EQ(next.left.size(), 1u);
  EXPECT_EQ(next.left[0].state->ledger().entries.at(0).post.text, "from the second");
}

TEST_F(ChatOutboxTest, ADamagedFileIsNamedAndLeftAlone) {
  std::filesystem::path file;
  {
    ChatOutbox outbox = open();
    type(outbox, 1, "hello");
    type(outbox, 2, "hello again");
    file = outbox.own->file;
  }
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(1060).put('\x7f');
  ChatOutbox outbox = open();
  ASSERT_TRUE(outbox.own);
  EXPECT_NE(outbox.own->file, file);
  ASSERT_EQ(outbox.notes.size(), 1u);
  EXPECT_NE(outbox.notes[0].find("damaged"), std::string::npos);
}

TEST_F(ChatOutboxTest, WithoutAFolderItSaysThatNothingIsKept) {
  std::ofstream(base_ / "file") << "x";
  ChatOutbox outbox = ChatOutbox::open(base_ / "file", "cluster-1", "key");
  EXPECT_FALSE(outbox.own);
  ASSERT_EQ(outbox.notes.size(), 1u);
  EXPECT_NE(outbox.notes[0].find("kept only as long as this chat is open"), std::string::npos);
  EXPECT_FALSE(ChatOutbox::open(std::nullopt, "cluster-1", "key").own);
}

TEST_F(ChatOutboxTest, ADraftIsThereUntilItIsEmpty) {
  std::filesystem::create_directories(folder_);
  const std::filesystem::path path = folder_ / "draft";
  EXPECT_FALSE(DraftFile(path).left());
  EXPECT_TRUE(DraftFile(path).keep({"ops", "two\nlines \xff"}));
  const auto left = DraftFile(path).left();
  ASSERT_TRUE(left);
  EXPECT_EQ(left->room, "ops");
  EXPECT_TRUE(left->text.starts_with("two\nlines "));
  EXPECT_TRUE(DraftFile(path).keep({"ops", ""})) << "of an earlier chat";
  EXPECT_FALSE(DraftFile(path).left());
  std::ofstream(path) << "{\"room\":1}";
  EXPECT_FALSE(DraftFile(path).left());
}

// --- what waits, in words ---

TEST(WaitingText, ShowsTheOldestFewThatHaveWaitedForAWhile) {
  const paxos::Time now{100s};
  std::vector<Outbox::Unfinished> oldest{{"ops", "one\nx", now - 3s, false},
                                         {"other", "two", now - 2s, true}};
  EXPECT_EQ(waiting_lines(oldest, 2, "ops", now),
            (std::vector<std::string>{"waiting: one\\nx", "waiting for other: two"}));
  oldest[1].queued = now;
  EXPECT_EQ(waiting_lines(oldest, 2, "ops", now).size(), 1u)
      << "a message that is just under way is not worth a row";
  oldest.assign(6, {"ops", "m", now - 3s, false});
  const auto lines = waiting_lines(oldest, 400, "ops", now);
  EXPECT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines.back(), "waiting: 395 more");
}

TEST(WaitingText, TheEndSaysOfEachWhatIsKnown) {
  const std::vector<Outbox::Unfinished> left{{"ops", "b", {}, true}, {"ops", "c", {}, false}};
  const auto kept = farewell_lines({"a"}, left, 3, "/s/file");
  ASSERT_EQ(kept.size(), 5u);
  EXPECT_EQ(kept[0], "delivered: a");
  EXPECT_EQ(kept[1], "unknown (sent, no answer), for ops: b");
  EXPECT_EQ(kept[2], "waiting (not sent), for ops: c");
  EXPECT_EQ(kept[3], "and 1 more");
  EXPECT_NE(kept[4].find("kept in /s/file"), std::string::npos);
  EXPECT_NE(farewell_lines({}, left, 2, "").back().find("paxoschat history"), std::string::npos);
}

}  // namespace
}  // namespace client
