#include "net/resolver.h"

#include <fmt/format.h>
#include <pthread.h>

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
  // Signals are the loop's: whichever thread is there would be interrupted by them, or take one that the loop waits for.
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
    mailbox_.push({.number = number, .answer = tl::make_unexpected(fmt::format("no thread to look '{}' up: {}", text, none.what()))});
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace net
