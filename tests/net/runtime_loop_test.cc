#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "net/loop.h"
#include "net/signals.h"

namespace net {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  }
  ~Pipe() {
    ::close(ends[0]);
    if (ends[1] >= 0) ::close(ends[1]);
  }
  void write() const { ASSERT_EQ(::write(ends[1], "x", 1), 1); }
  void close_writer() {
    ::close(ends[1]);
    ends[1] = -1;
  }
  std::array<int, 2> ends{};
};

Task<> pass(Loop& loop, paxos::Duration time) { co_await loop.sleep(time); }

TEST(Timers, FireInTheOrderOfTheirTimesAndNotBefore) {
  Loop loop;
  std::vector<int> order;
  const auto start = loop.now();
  const auto at = [&](paxos::Duration after, int n) {
    return loop.add_timer(start + after, [&, after, n] {
      EXPECT_GE(loop.now(), start + after);
      order.push_back(n);
    });
  };
  at(5ms, 4);
  at(1ms, 1);
  const TimerId never = at(2ms, 99);
  at(3ms, 2);
  at(3ms, 3);  // equal times: as they were added
  at(-1ms, 0);
  loop.cancel_timer(never);
  loop.cancel_timer(never);
  loop.run(pass(loop, 8ms));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(Timers, ACallbackMayAddAndCancelTimers) {
  Loop loop;
  int fired = 0;
  const auto now = loop.now();
  const TimerId victim = loop.add_timer(now + 1ms, [&] { fired += 100; });
  TimerId self = 0;
  self = loop.add_timer(now, [&] {
    ++fired;
    loop.cancel_timer(victim);
    loop.cancel_timer(self);
    loop.add_timer(now, [&] { ++fired; });  // already due: this turn
  });
  loop.run(pass(loop, 3ms));
  EXPECT_EQ(fired, 2);
}

Task<bool> wait_for(Event& event, paxos::Time at) { co_return co_await event.wait_until(at); }
Task<> two_waiters(Loop& loop) {
  Event event(loop);
  Scope scope(loop);
  int notified = 0;
  int late = 0;
  const auto waiter = [](Event& e, paxos::Time at, int& yes, int& no) -> Task<> {
    (co_await wait_for(e, at) ? yes : no) += 1;
  };
  scope.spawn(waiter(event, loop.now() + 1ms, notified, late));
  scope.spawn(waiter(event, paxos::time_never, notified, late));
  scope.spawn(waiter(event, loop.now() + 1h, notified, late));
  co_await loop.sleep(4ms);
  EXPECT_EQ(late, 1);
  EXPECT_EQ(notified, 0);
  event.notify();
  event.notify();
  co_await scope.join();
  EXPECT_EQ(late, 1);
  EXPECT_EQ(notified, 2);
}

TEST(Event, EachWaiterIsNotifiedOrLate) {
  Loop loop;
  loop.run(two_waiters(loop));
}

TEST(Loop, TheTurnsEndComesAfterItsCoroutines) {
  Loop loop;
  std::vector<std::string> order;
  loop.on_turn_end([&] {
    if (order.size() < 3) order.emplace_back("end");
  });
  const auto work = [](Loop& l, std::vector<std::string>& o) -> Task<> {
    o.emplace_back("work");
    co_await l.sleep(1ms);
    o.emplace_back("more");
  };
  loop.run(work(loop, order));
  EXPECT_THAT(order, ::testing::ElementsAre("work", "end", "more"));
  loop.on_turn_end({});
}

TEST(Loop, WhatTheTurnsEndWakesIsFollowedByATurnsEndAtOnce) {
  Loop loop;
  Event woken(loop);
  Event done(loop);
  bool rang = false;
  bool worked = false;
  loop.on_turn_end([&] {
    if (!std::exchange(rang, true)) woken.notify();
    if (worked) done.notify();  // as a daemon sends here what its coroutines made
  });
  const auto all = [](Loop& l, Event& w, Event& d, bool& flag) -> Task<bool> {
    (void)co_await w.wait();
    flag = true;  // nothing else will wake the loop
    co_return co_await d.wait_until(l.now() + 5s);
  };
  EXPECT_TRUE(loop.run(all(loop, woken, done, worked))) << "it slept on work that was ready";
  loop.on_turn_end({});
}

TEST(Loop, ATurnsEndThatAlwaysWakesSomebodyStarvesNoTimer) {
  Loop loop;
  Event again(loop);
  bool stop = false;
  loop.on_turn_end([&] { again.notify(); });
  loop.add_timer(loop.now() + 2ms, [&] { stop = true; });
  loop.run([](Event& e, bool& flag) -> Task<> {
    while (!flag) (void)co_await e.wait();
  }(again, stop));
  EXPECT_TRUE(stop);
  loop.on_turn_end({});
}

TEST(Loop, WhatAnOwnerTakesBackIsNotCalled) {
  Loop loop;
  int called = 0;
  int mine = 0;
  loop.defer(&mine, [&] { called += 10; });
  loop.defer(&called, [&] { called += 1; });
  loop.undefer(&mine);
  loop.run(pass(loop, 0ms));
  EXPECT_EQ(called, 1);
}

TEST(Loop, AtRestSleepsAtOnceWhateverItsPatience) {
  Loop loop(400us);
  for (int i = 0; i < 20; ++i) loop.run(pass(loop, 2ms));
  EXPECT_GE(loop.figures().waits, 20U);
  EXPECT_EQ(loop.figures().sleeps, loop.figures().waits);
}

TEST(Loop, TimersFireInTimeWhileItLooks) {
  Loop loop(20s);
  for (int i = 0; i < 50; ++i) {
    const auto due = loop.now() + 100us;
    loop.run(pass(loop, 100us));
    EXPECT_GE(loop.now(), due);
    EXPECT_LT(loop.now(), due + 5s) << "it looked past a timer";
  }
}

TEST(LoopDeathTest, AnotherThreadMayNotRunIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Loop loop;
        std::thread([&] { loop.run(pass(loop, 0ms)); }).join();
      },
      "broken invariant");
}

struct Reading final : Operation {
  void completed(int r, unsigned) override {
    result = r;
    ++completions;
  }
  int result = 1;
  int completions = 0;
};

TEST(Loop, CancelAndWaitLeavesNothingWithTheKernel) {
  Loop loop;
  const Pipe pipe;
  for (int round = 0; round < 1000; ++round) {
    Reading reading;
    char byte = 0;
    io_uring_sqe* sqe = loop.prepare(reading);
    io_uring_prep_read(sqe, pipe.ends[0], &byte, 1, 0);
    io_uring_sqe_set_data(sqe, static_cast<Operation*>(&reading));
    EXPECT_TRUE(reading.under_way());
    loop.cancel_and_wait(reading);
    EXPECT_FALSE(reading.under_way());
    EXPECT_EQ(reading.completions, 1);
    EXPECT_LT(reading.result, 0);
    loop.cancel_and_wait(reading);  // harmless
    EXPECT_EQ(reading.completions, 1);
  }
}

TEST(Loop, MoreOperationsThanTheSubmissionQueueHolds) {
  Loop loop;
  const Pipe pipe;
  std::vector<std::unique_ptr<Reading>> readings;
  for (int i = 0; i < 3000; ++i) {
    readings.push_back(std::make_unique<Reading>());
    io_uring_sqe* sqe = loop.prepare(*readings.back());
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data(sqe, static_cast<Operation*>(readings.back().get()));
  }
  loop.run(pass(loop, 1ms));
  for (const auto& reading : readings) {
    EXPECT_EQ(reading->completions, 1);
    EXPECT_EQ(reading->result, 0);
  }
}

Task<bool> wait_readable(Readable& readable) { co_return co_await readable; }

TEST(Readable, TellsWhenThereIsSomethingToRead) {
  Loop loop;
  const Pipe pipe;
  Readable readable(loop, pipe.ends[0]);
  pipe.write();
  EXPECT_TRUE(loop.run(wait_readable(readable)));
  EXPECT_TRUE(loop.run(wait_readable(readable))) << "it is still there";
  char byte = 0;
  ASSERT_EQ(::read(pipe.ends[0], &byte, 1), 1);
  loop.add_timer(loop.now() + 1ms, [&] { pipe.write(); });
  EXPECT_TRUE(loop.run(wait_readable(readable)));
}

TEST(Readable, TheEndOfAPipeIsReadable) {
  Loop loop;
  Pipe pipe;
  Readable readable(loop, pipe.ends[0]);
  loop.add_timer(loop.now() + 1ms, [&] { pipe.close_writer(); });
  EXPECT_TRUE(loop.run(wait_readable(readable)));
}

TEST(Readable, AFileIsAlwaysReadable) {
  Loop loop;
  const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  {
    Readable readable(loop, fd);
    EXPECT_TRUE(loop.run(wait_readable(readable)));
    ::lseek(fd, 0, SEEK_END);
    EXPECT_TRUE(loop.run(wait_readable(readable))) << "at its end too";
  }
  ::close(fd);
}

TEST(Readable, CancelEndsTheWaitThatIsUnderWay) {
  Loop loop;
  const Pipe pipe;
  Readable readable(loop, pipe.ends[0]);
  loop.add_timer(loop.now() + 1ms, [&] { readable.cancel(); });
  EXPECT_FALSE(loop.run(wait_readable(readable)));
  pipe.write();
  EXPECT_FALSE(loop.run(wait_readable(readable))) << "and every later one";
}

TEST(HungUp, TellsWhenNobodyReadsAPipeAnyMore) {
  Loop loop;
  Pipe pipe;
  pipe.write();  // what nobody has read yet is no hang-up
  HungUp output(loop, pipe.ends[1]);
  loop.add_timer(loop.now() + 20ms, [&] { ::close(std::exchange(pipe.ends[0], -1)); });
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(loop.run(output.wait()));
  EXPECT_GE(std::chrono::steady_clock::now() - began, 20ms) << "not before its reader goes";
}

TEST(HungUp, CancelEndsTheWait) {
  Loop loop;
  const Pipe pipe;
  HungUp output(loop, pipe.ends[1]);
  loop.add_timer(loop.now() + 1ms, [&] { output.cancel(); });
  EXPECT_FALSE(loop.run(output.wait()));
}

TEST(HungUp, AFileOnADiskNeverHangsUp) {
  Loop loop;
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    HungUp output(loop, ::fileno(file));
    loop.add_timer(loop.now() + 5ms, [&] { output.cancel(); });
    EXPECT_FALSE(loop.run(output.wait()));
  }
  std::fclose(file);
}

Task<int> next_signal(Signals& signals) { co_return co_await signals.next(); }

TEST(Signals, AreAwaitedInsteadOfKilling) {
  Loop loop;
  Signals signals(loop, {SIGUSR1, SIGTERM});
  loop.add_timer(loop.now() + 1ms, [] { ::raise(SIGTERM); });
  EXPECT_EQ(loop.run(next_signal(signals)), SIGTERM);
  ::raise(SIGUSR1);
  EXPECT_EQ(loop.run(next_signal(signals)), SIGUSR1);
}

TEST(Probe, FindsNothingMissingHere) { EXPECT_EQ(Loop::probe(), ""); }

/// What probe() says, and how the constructor fails, in a child in which io_uring_setup gives `error`.
std::string refused_with(int error) {
  int pipe[2];
  if (::pipe(pipe) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const auto number = static_cast<std::uint32_t>(SYS_io_uring_setup);
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = 4, .filter = filter};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, 2, &program) != 0)
      ::_exit(2);
    std::string said = Loop::probe();
    try {
      const Loop loop;
      said += " | it was made all the same";
    } catch (const std::runtime_error& refused) {
      said += refused.what() == said ? "" : " | the constructor says something else";
    }
    [[maybe_unused]] const auto written = ::write(pipe[1], said.data(), said.size());
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string out;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(pipe[0], buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(got));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return "the child failed";
  return out;
}

TEST(Probe, ForbiddenIoUringIsNamedWithWhatToCheck) {
  const std::string said = refused_with(EPERM);
  EXPECT_THAT(said, HasSubstr("io_uring is forbidden here"));
  EXPECT_THAT(said, HasSubstr("kernel.io_uring_disabled"));
  EXPECT_THAT(said, HasSubstr("seccomp"));
  EXPECT_THAT(said, ::testing::Not(HasSubstr("|")));
}

TEST(Probe, AnOldKernelALimitAndTooManyFilesAreNamed) {
  EXPECT_THAT(refused_with(ENOSYS), HasSubstr("this kernel has no io_uring: Linux 6.1 or later"));
  EXPECT_THAT(refused_with(EINVAL), HasSubstr("Linux 6.1 or later"));
  EXPECT_THAT(refused_with(ENOMEM), HasSubstr("ulimit -l"));
  EXPECT_THAT(refused_with(EMFILE), HasSubstr("ulimit -n"));
}

}  // namespace
}  // namespace net
