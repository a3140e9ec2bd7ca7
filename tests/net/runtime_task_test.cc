#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "net/loop.h"
#include "net/task.h"

namespace net {
namespace {

using namespace std::chrono_literals;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
constexpr int deep = 2'000;  // a sanitizer's frames are no tail calls
#else
constexpr int deep = 1'000'000;
#endif
#else
constexpr int deep = 1'000'000;
#endif

Task<int> depth(int n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await depth(n - 1);
}
Task<int> one() { co_return 1; }
Task<int> sum(int n) {
  int total = 0;
  for (int i = 0; i < n; ++i) total += co_await one();
  co_return total;
}
Task<> fails(std::string why) {
  throw std::runtime_error(why);
  co_return;
}
Task<int> passes_on() {
  co_await fails("from below");
  co_return 1;
}
Task<std::string> catches() {
  try {
    (void)co_await passes_on();
  } catch (const std::runtime_error& error) {
    co_return std::string("caught ") + error.what();
  }
  co_return "nothing came";
}
Task<std::unique_ptr<int>> gives(int n) { co_return std::make_unique<int>(n); }
Task<int> takes() {
  const std::unique_ptr<int> value = co_await gives(7);
  co_return *value;
}

TEST(Task, AMillionAwaitsInARowTakeNoStack) {
  Loop loop;
  EXPECT_EQ(loop.run(sum(1'000'000)), 1'000'000);
}

TEST(Task, AChainOfAMillionAwaitsTakesNoStack) {
  Loop loop;
  EXPECT_EQ(loop.run(depth(deep)), deep);
}

TEST(Task, IsLazyUntilItIsAwaited) {
  bool began = false;
  const auto begin = [](bool& flag) -> Task<> {
    flag = true;
    co_return;
  };
  {
    const Task<> never = begin(began);
  }
  EXPECT_FALSE(began);
  Loop loop;
  loop.run(begin(began));
  EXPECT_TRUE(began);
}

TEST(Task, AnExceptionGoesUpTheAwaitsToWhoCatchesIt) {
  Loop loop;
  EXPECT_EQ(loop.run(catches()), "caught from below");
  EXPECT_THROW((void)loop.run(passes_on()), std::runtime_error);
  EXPECT_THROW(loop.run(fails("void")), std::runtime_error);
  EXPECT_EQ(loop.run(sum(3)), 3) << "the loop goes on";
}

TEST(Task, ResultsMove) {
  Loop loop;
  EXPECT_EQ(loop.run(takes()), 7);
}

Task<> note_later(Loop& loop, paxos::Duration after, int n, std::vector<int>& order) {
  co_await loop.sleep(after);
  order.push_back(n);
}
Task<> join_three(Loop& loop, std::vector<int>& order) {
  Scope scope(loop);
  scope.spawn(note_later(loop, 3ms, 3, order));
  scope.spawn(note_later(loop, 1ms, 1, order));
  scope.spawn(note_later(loop, 2ms, 2, order));
  EXPECT_EQ(scope.running(), 3u);
  co_await scope.join();
  EXPECT_EQ(scope.running(), 0u);
  order.push_back(4);
}

TEST(Scope, JoinWaitsForAll) {
  Loop loop;
  std::vector<int> order;
  loop.run(join_three(loop, order));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

Task<> join_failing(Loop& loop, std::vector<int>& order) {
  Scope scope(loop);
  scope.spawn(fails("first"));
  scope.spawn(fails("second"));
  scope.spawn(note_later(loop, 2ms, 1, order));
  std::string caught;
  try {
    co_await scope.join();
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  EXPECT_EQ(caught, "first");
  EXPECT_EQ(order, (std::vector<int>{1})) << "the others were waited for";
  co_await scope.join();  // empty, and told once
}

TEST(Scope, JoinTellsTheFirstFailureWhenAllHaveEnded) {
  Loop loop;
  std::vector<int> order;
  loop.run(join_failing(loop, order));
}

Task<> leaves_its_scope(Loop& loop, Event& event) {
  Scope scope(loop);
  scope.spawn([](Event& e) -> Task<> { (void)co_await e.wait(); }(event));
  co_return;
}

TEST(ScopeDeathTest, AScopeThatIsNotJoinedIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Loop loop;
        Event event(loop);
        loop.run(leaves_its_scope(loop, event));
      },
      "broken invariant: running_ == 0");
}

}  // namespace
}  // namespace net
