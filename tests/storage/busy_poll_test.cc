#include <gtest/gtest.h>

#include <chrono>

#include "tests/storage/support.h"

namespace storage::test {
namespace {

TEST(BusyPoll, ALogThreadThatLooksBeforeItSleepsSyncsEveryGroupAndEnds) {
  const TempDir dir;
  OpenOptions o = options(dir.path());
  o.busy_poll =
      std::chrono::milliseconds{20};  // so long that a sync under a sanitizer counts as a short wait
  constexpr std::uint64_t groups = 200;
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    // One after the other, as one writer does it: the thread is at the end of its work each time.
    for (std::uint64_t n = 1; n <= groups; ++n) {
      s.storage->append(s.recovered.last_group + n, vote_group(n));
      ASSERT_TRUE(said.wait_synced(s.recovered.last_group + n)) << "group " << n;
    }
    s.storage.reset();  // while it looks
    EXPECT_TRUE(said.failures().empty());
  }
  EXPECT_EQ(opened(o).recovered.entries.size(), groups);
}

}  // namespace
}  // namespace storage::test
