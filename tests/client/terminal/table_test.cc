#include "client/terminal/table.h"

#include <gtest/gtest.h>

#include <clocale>

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

}  // namespace
}  // namespace client
