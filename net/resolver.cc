#include "net/resolver.h"

#include <fmt/format.h>
#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <system_error>
#include <thread>

namespace net {

Resolver::Resolver(Loop& loop) : mailbox_(loop), gate_(std::make_shared<Gate>()) {
  gate_->mailbox = &mailbox_;
  mailbox_.on_receive([this](Found& found) {
    under_way_.erase(found.number);
    if (handler_) handler_(found.number, found.answer);
  });
}

Resolver::~Resolver() {
  const std::lock_guard lock(gate_->mutex);
  gate_->mailbox = nullptr;
}

void Resolver::look_up(std::size_t number, const std::string& text) {
  if (!under_way_.insert(number).second) return;
  // Signals are the loop's: whichever thread is there would be interrupted by them, or take one that the loop
  // waits for.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread([gate = gate_, number, text] {
      pthread_setname_np(pthread_self(), "resolver");
      Found found{.number = number, .answer = Address::resolve_all(text)};
      const std::lock_guard lock(gate->mutex);
      if (gate->mailbox != nullptr) gate->mailbox->push(std::move(found));
    }).detach();
  } catch (const std::system_error& none) {
    mailbox_.push(
        {.number = number,
         .answer = tl::make_unexpected(fmt::format("no thread to look '{}' up: {}", text, none.what()))});
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::vector<Resolver::Answer> resolve_within(const std::vector<std::string>& texts,
                                             std::chrono::milliseconds patience) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable come;
    std::vector<Resolver::Answer> answers;
    std::size_t missing = 0;
  };
  const auto shared = std::make_shared<Shared>();
  const auto late = [&](const std::string& text) {
    return Resolver::Answer(
        tl::make_unexpected(fmt::format("name '{}' does not resolve: no name server answered within {} ms",
                                        text.substr(0, text.rfind(':')), patience.count())));
  };
  for (const std::string& text : texts) shared->answers.push_back(late(text));
  shared->missing = texts.size();
  for (std::size_t n = 0; n < texts.size(); ++n)
    std::thread([shared, n, text = texts[n]] {
      auto answer = Address::resolve_all(text);
      const std::lock_guard lock(shared->mutex);
      shared->answers[n] = std::move(answer);
      if (--shared->missing == 0) shared->come.notify_one();
    }).detach();
  std::unique_lock lock(shared->mutex);
  shared->come.wait_for(lock, patience, [&] { return shared->missing == 0; });
  return shared->answers;
}

}  // namespace net
