#include "client/terminal/table.h"

#include <gtest/gtest.h>

#include <clocale>

#include "client/terminal/words.h"

namespace client {
namespace {

TEST(Table, ColumnsAreAsWideAsWhatIsInThemAndNoLineEndsInABlank) {
  EXPECT_EQ(table_text({{"id", "name", "n"}, {"0", "ann", "7"}, {"10", "", "1234"}}, "><>"),
            "id  name     n\n"
            " 0  ann      7\n"
            "10        1234\n");
  EXPECT_EQ(table_text({{"a", "b"}, {"1", ""}}, "<<"), "a  b\n1\n");
}

TEST(Table, ARemarkThatEndsARowWidensNothing) {
  EXPECT_EQ(table_text({{"id", "role", "slot"}, {"0", "no answer in 1000 ms"}, {"1", "leader", "3"}}, "><>"),
            "id  role    slot\n"
            " 0  no answer in 1000 ms\n"
            " 1  leader     3\n");
}

TEST(Table, CountsColumnsNotBytes) {
  (void)std::setlocale(LC_CTYPE, "C.UTF-8");
  EXPECT_EQ(table_text({{"世界", "1"}, {"a", "2"}}, "<<"), "世界  1\na     2\n");
}

using Rows = std::vector<std::string>;

TEST(Folded, BreaksBetweenWordsAndIndentsWhatFollows) {
  EXPECT_EQ(folded("-- no quorum for 12 s: replicas 1 and 2 are missing", 25, "   "),
            (Rows{"-- no quorum for 12 s:", "   replicas 1 and 2 are", "   missing"}));
  EXPECT_EQ(folded("-- short", 25, "   "), Rows{"-- short"});
  EXPECT_EQ(folded("", 25, "   "), Rows{""});
}

TEST(Folded, BreaksAWordThatFitsNoRowAndLosesNothing) {
  EXPECT_EQ(folded("-- aaaaaaaaaaaaaaaaaaaa b", 14, "   "), (Rows{"-- aaaaaaaaaa", "   aaaaaaaaaa", "   b"}));
  EXPECT_EQ(folded("-- x", 1, "   ").size(), 1U) << "a terminal that is no wider than nothing";
}

TEST(Folded, CountsColumnsNotBytes) {
  (void)std::setlocale(LC_CTYPE, "C.UTF-8");
  EXPECT_EQ(folded("-- 世界世界世界", 14, "   "), (Rows{"-- 世界世界世", "   界"}));
}

}  // namespace
}  // namespace client
