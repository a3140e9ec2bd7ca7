#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "net/mailbox.h"

namespace net {
namespace {

Task<> wait_for(Event& event) { (void)co_await event.wait(); }

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
  loop.run(wait_for(done));
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
