#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>

#include "tests/storage/support.h"

namespace storage::test {
namespace {

/// In the child: write as fast as it goes, and tell the parent of every acknowledged group. Never returns.
[[noreturn]] void write_load(const OpenOptions& o, int tell) {
  auto result = Storage::open(o);
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    ::_exit(7);
  }
  const std::uint64_t last = result->recovered.last_group;
  Completions completions;
  completions.synced = [tell](std::uint64_t group) {
    if (::write(tell, &group, sizeof group) != sizeof group) ::_exit(8);
  };
  completions.failed = [](std::string why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    ::_exit(9);
  };
  result->storage->start(std::move(completions));
  for (std::uint64_t n = last + 1;; ++n) {
    result->storage->append(n, vote_group(n));
    if (n % 32 == 0) ::usleep(300);  // so that the queue stays short: many small groups, not one of all
  }
}

/// Run by the test below in a process of its own (a fork alone would lack RocksDB's threads).
TEST(CrashChild, WritesUntilItIsKilled) {
  const char* folder = std::getenv("STORAGE_CRASH_FOLDER");
  const char* tell = std::getenv("STORAGE_CRASH_FD");
  if (folder == nullptr || tell == nullptr) GTEST_SKIP() << "only as the child of AKillAtAnyMoment…";
  write_load(options(folder), std::atoi(tell));
}

TEST(Crash, AKillAtAnyMomentLosesNothingAcknowledged) {
  const TempDir dir;
  const auto o = options(dir.path());
  std::mt19937 random(20261123);
  std::uint64_t acknowledged = 0;
  std::uint64_t boots = 0;
  for (int round = 0; round < 28; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe[0]);
      ::setenv("STORAGE_CRASH_FOLDER", dir.path().c_str(), 1);
      ::setenv("STORAGE_CRASH_FD", std::to_string(pipe[1]).c_str(), 1);
      ::unsetenv("GTEST_OUTPUT");
      ::execl("/proc/self/exe", "storage-tests", "--gtest_filter=CrashChild.*", "--gtest_brief=1", nullptr);
      ::_exit(6);
    }
    ::close(pipe[1]);
    // The moment is counted in acknowledgements, not in time; every fourth dies while it starts.
    std::uint64_t group = 0;
    if (round % 4 == 3) {
      ::usleep(static_cast<useconds_t>(random() % 30'000));
    } else {
      for (auto left = 1 + random() % 60; left > 0; --left)
        if (::read(pipe[0], &group, sizeof group) == sizeof group) acknowledged = group;
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself with " << WEXITSTATUS(status);
    while (::read(pipe[0], &group, sizeof group) == sizeof group) acknowledged = group;
    ::close(pipe[0]);

    const auto s = opened(o);
    ASSERT_GE(s.recovered.last_group, acknowledged);
    EXPECT_GT(s.recovered.boot, boots);
    boots = s.recovered.boot;
    ASSERT_EQ(s.recovered.entries.size(), s.recovered.last_group);
    for (std::uint64_t n = 1; n <= s.recovered.last_group; ++n)
      ASSERT_EQ(s.recovered.entries[n - 1].decree, text("decree " + std::to_string(n)));
    acknowledged = s.recovered.last_group;  // found once, it may not be lost later
  }
  EXPECT_GT(acknowledged, 100u);
}

}  // namespace
}  // namespace storage::test
