#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "net/mailbox.h"

namespace net {
namespace {

using namespace std::chrono_literals;

Task<> wait_for(Event& event) { (void)co_await event.wait(); }
/// An event remembers nothing: what it tells of may have happened before anybody waited.
Task<> wait_until_count(Event& event, const int& count, int enough) {
  while (count < enough) (void)co_await event.wait();
}

TEST(Mailbox, EveryItemOfEveryThreadArrivesOnceAndInItsOrder) {
  constexpr int threads = 4;
  constexpr int each = 20'000;
  Loop loop;
  Event done(loop);
  // Whole objects, so that a missing fence between the threads shows in a sanitizer.
  Mailbox<std::unique_ptr<std::pair<int, int>>> mailbox(loop);
  std::vector<int> next(threads);
  int all = 0;
  mailbox.on_receive([&](std::unique_ptr<std::pair<int, int>>& item) {
    loop.assert_thread();
    EXPECT_EQ(item->second, next[static_cast<std::size_t>(item->first)]++);
    if (++all == threads * each) done.notify();
  });
  std::vector<std::thread> senders;
  for (int t = 0; t < threads; ++t)
    senders.emplace_back([&mailbox, t] {
      for (int n = 0; n < each; ++n) mailbox.push(std::make_unique<std::pair<int, int>>(t, n));
    });
  loop.run(wait_until_count(done, all, threads * each));
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(all, threads * each);
}

TEST(Mailbox, AnItemFromTheHandlerItselfArrivesToo) {
  Loop loop;
  Event done(loop);
  Mailbox<int> mailbox(loop);
  int last = 0;
  mailbox.on_receive([&](int& n) {
    last = n;
    if (n < 1000)
      mailbox.push(n + 1);
    else
      done.notify();
  });
  mailbox.push(1);
  loop.run(wait_for(done));
  EXPECT_EQ(last, 1000);
}

/// Two loops that look before they sleep throw a ball to each other; neither may sleep on a ball that came
/// while it looked.
TEST(Mailbox, LoopsThatLookBeforeTheySleepMissNothing) {
  constexpr int stop = -1;
  Loop here(2ms);
  Event done(here);
  Mailbox<int> to_here(here);
  std::promise<Mailbox<int>*> made;
  std::promise<void> pushed;
  std::thread other([&] {
    Loop there(2ms);
    Event ended(there);
    Mailbox<int> to_there(there);
    to_there.on_receive([&](int& ball) {
      if (ball == stop)
        ended.notify();
      else
        to_here.push(ball + 1);
    });
    made.set_value(&to_there);
    there.run(wait_for(ended));
    pushed.get_future()
        .wait();  // the item may be here before push() has returned, and a mailbox outlives that
  });
  Mailbox<int>* to_there = made.get_future().get();
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  int expected = 0;
  std::uint64_t looked = 0;
  to_here.on_receive([&](int& ball) {
    EXPECT_EQ(ball, expected + 1);
    looked = here.figures().waits - here.figures().sleeps;
    // On a busy machine it hardly ever looks; some time it does.
    if (ball >= 3'000 && (looked >= 100 || std::chrono::steady_clock::now() > deadline)) {
      done.notify();
      return;
    }
    expected = ball + 1;
    to_there->push(expected);
  });
  to_there->push(expected);
  here.run(wait_for(done));
  EXPECT_GE(looked, 100U);
  to_there->push(stop);
  pushed.set_value();
  other.join();
}

TEST(Mailbox, GoesAwayWithItemsThatNobodyTook) {
  Loop loop;
  auto item = std::make_shared<int>(1);
  {
    Mailbox<std::shared_ptr<int>> mailbox(loop);
    mailbox.on_receive([](std::shared_ptr<int>&) { FAIL() << "the loop did not run"; });
    for (int n = 0; n < 10; ++n) mailbox.push(item);
    EXPECT_EQ(item.use_count(), 11);
  }
  EXPECT_EQ(item.use_count(), 1);
  loop.run([](Loop& l) -> Task<> { co_await l.sleep(std::chrono::milliseconds{1}); }(loop));
}

}  // namespace
}  // namespace net
