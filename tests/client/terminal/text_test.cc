#include <gtest/gtest.h>

#include <clocale>
#include <random>

#include "client/terminal/line_editor.h"
#include "client/terminal/line_reader.h"
#include "client/terminal/printable.h"

namespace client {
namespace {

TEST(Printable, LeavesOrdinaryTextAlone) {
  EXPECT_EQ(printable("Grüße, 世界 👋 ~!"), "Grüße, 世界 👋 ~!");
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, EscapesWhatMovesATerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("a\nb\tc\r\x7f"), "a\\nb\\tc\\x0d\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m");  // CSI as one C1 character
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "evil"),
            "\\u202eevil");  // right-to-left override
  EXPECT_EQ(printable("\xe2\x81\xa6x"), "\\u2066x");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Printable, EscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc3"), "\\xc3");
  EXPECT_EQ(printable("\xc0\x9b"), "\\xc0\\x9b");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

TEST(Printable, NoControlCharacterEverGetsThrough) {
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int k = 0; k < 12; ++k) text += static_cast<char>(random() % 256);
    const std::string out = printable(text);
    for (std::size_t at = 0; at < out.size(); ++at) {
      const auto c = static_cast<unsigned char>(out[at]);
      ASSERT_TRUE(c >= 0x20 && c != 0x7f);
      if (c == 0xc2 && at + 1 < out.size()) {
        ASSERT_GE(static_cast<unsigned char>(out[at + 1]), 0xa0);
      }
    }
  }
}

TEST(Printable, ShowsInNamesWhatNobodyWouldSee) {
  EXPECT_EQ(printable_name("an\u200bn"), "an\\u200bn");
  EXPECT_EQ(printable_name("\ufeff"
                           "ann\u00ad"),
            "\\ufeffann\\xad");
  EXPECT_EQ(printable_name("👨\u200d👩 ❤\ufe0f"), "👨\u200d👩 ❤\ufe0f") << "emoji stay whole";
  EXPECT_EQ(printable("an\u200bn"), "an\u200bn") << "texts may have them";
}

TEST(Printable, SentencesKeepTheirLinesAndNothingElse) {
  EXPECT_EQ(printable_lines("one\ntwo\x1b]0;x\x07\r"), "one\ntwo\\x1b]0;x\\x07\\x0d");
}

TEST(LineReader, TakesTheEndOfALineAsWindowsWritesIt) {
  LineReader reader(100);
  reader.feed("one\r\n\r\ntwo\r");
  reader.feed("\nthree\rmiddle\nfour\r");
  reader.end();
  for (const char* line : {"one", "", "two", "three\rmiddle", "four"}) {
    ASSERT_FALSE(reader.empty());
    const auto taken = reader.take();
    EXPECT_EQ(taken.text, line);
    EXPECT_EQ(taken.bytes, taken.text.size());
  }
}

TEST(LineReader, CutsLinesWhereverTheBytesAreCut) {
  const std::string all = "one\n\ntwo words\nlast without newline";
  for (std::size_t step = 1; step <= all.size(); ++step) {
    LineReader reader(100);
    for (std::size_t at = 0; at < all.size(); at += step) reader.feed(std::string_view(all).substr(at, step));
    reader.end();
    std::vector<std::string> lines;
    while (!reader.empty()) lines.push_back(reader.take().text);
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "", "two words", "last without newline"}));
  }
}

TEST(LineReader, KeepsNoMoreOfALongLineThanIsNeededToRefuseIt) {
  LineReader reader(10);
  for (int i = 0; i < 1000; ++i) reader.feed("xxxxxxxxxx");
  reader.feed("\nshort\n");
  const auto first = reader.take();
  EXPECT_EQ(first.bytes, 10000u);
  EXPECT_EQ(first.text.size(), 11u);
  EXPECT_EQ(reader.take().text, "short");
}

TEST(LineReader, AnEndAfterANewlineIsNoLine) {
  LineReader reader(10);
  reader.feed("a\n");
  reader.end();
  EXPECT_EQ(reader.take().text, "a");
  EXPECT_TRUE(reader.empty());
}

class LineEditorTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr); }
  std::string line(std::string_view keys) {
    for (const auto& event : editor.feed(keys))
      if (event.key == LineEditor::Key::line) return event.line;
    return "(none)";
  }
  LineEditor editor{100};
};

TEST_F(LineEditorTest, EditsByCharactersNotBytes) {
  EXPECT_EQ(line("Grüße\x7f\x7f"
                 "x\r"),
            "Grüx");
  EXPECT_EQ(line("世界\x1b[D\x7f!\r"), "!界");
  EXPECT_EQ(line("abc\x01X\x05Y\r"), "XabcY");
  EXPECT_EQ(line("one two\x17"
                 "2\r"),
            "one 2");
}

TEST_F(LineEditorTest, KeysMayComeInPieces) {
  std::string got;
  for (const char c : std::string("ab\x1b[D\xc3\xbc\r"))
    for (const auto& event : editor.feed({&c, 1}))
      if (event.key == LineEditor::Key::line) got = event.line;
  EXPECT_EQ(got, "aüb");
}

TEST_F(LineEditorTest, EscapeSequencesAreNeverText) {
  EXPECT_EQ(line("a\x1b[200~b\x1b[1;5Cc\x1bOPd\r"), "abcd");
}

TEST_F(LineEditorTest, AnEscapeByItselfSwallowsNothing) {
  (void)editor.feed("ab\x1b");
  EXPECT_TRUE(editor.forget_escape());
  (void)editor.feed("c");
  EXPECT_EQ(editor.text(), "abc");
  (void)editor.feed("\x1b[");
  EXPECT_FALSE(editor.forget_escape());  // more than an ESC: the rest of a key is still to come
  (void)editor.feed("D\x1b");
  (void)editor.feed("[Dx");
  EXPECT_EQ(editor.text(), "axbc");
}

TEST_F(LineEditorTest, RemembersLines) {
  line("first\r");
  line("second\r");
  EXPECT_EQ(line("\x1b[A\x1b[A\r"), "first");
  EXPECT_EQ(line("draft\x1b[A\x1b[B!\r"), "draft!");
}

TEST_F(LineEditorTest, CtrlDEndsOnlyAnEmptyLine) {
  EXPECT_EQ(editor.feed("\x04").front().key, LineEditor::Key::end);
  EXPECT_EQ(editor.feed("x\x04").front().key, LineEditor::Key::redraw);
}

TEST_F(LineEditorTest, ShowsThePartAroundTheCursorThatFits) {
  (void)editor.feed(std::string(90, 'a') + "世界");
  const auto view = editor.view(20);
  EXPECT_LE(columns_of(view.text), 20u);
  EXPECT_EQ(view.cursor, columns_of(view.text));
  EXPECT_TRUE(view.text.ends_with("世界"));
}

TEST_F(LineEditorTest, TakesNoMoreThanItsBound) {
  (void)editor.feed(std::string(500, 'a'));
  EXPECT_EQ(editor.text().size(), 100u);
}

}  // namespace
}  // namespace client
