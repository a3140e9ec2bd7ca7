#include "client/terminal/say.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace client {
namespace {

// Sets the title, clears the screen, colours (C1), turns the line round; and a line break, to forge a second
// line.
const std::string hostile =
    "\x1b]0;x\x07\x1b[2J\xc2\x9b"
    "31m\xe2\x80\xae\r\nroot: fine";
const std::string harmless = "\\x1b]0;x\\x07\\x1b[2J\\x9b31m\\u202e\\x0d\\nroot: fine";

TEST(Say, NoKindOfForeignStringMovesTheTerminal) {
  testing::internal::CaptureStdout();
  say(stdout, "{}|{}|{}|{:>3}|{:.1f}\n", hostile, std::string_view(hostile), std::string(hostile), 7, 0.25);
  std::fflush(stdout);
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            harmless + "|" + harmless + "|" + harmless + "|  7|0.2\n");
}

TEST(Say, LinesKeepTheirBreaksAndNothingElse) {
  testing::internal::CaptureStdout();
  say(stdout, "{}\n{}", Lines{hostile}, hostile.c_str());
  std::fflush(stdout);
  const std::string lines = "\\x1b]0;x\\x07\\x1b[2J\\x9b31m\\u202e\\x0d\nroot: fine";
  EXPECT_EQ(testing::internal::GetCapturedStdout(), lines + "\n" + lines);
}

TEST(Say, ItsOwnTextGoesOutAsItIs) {
  testing::internal::CaptureStdout();
  say(stdout, "\x1b[1m{}{:<4}{}|\n", Own{"\x1b[31m"}, "bad", Own{"\x1b[0m"});
  std::fflush(stdout);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "\x1b[1m\x1b[31mbad \x1b[0m|\n");
}

}  // namespace
}  // namespace client
