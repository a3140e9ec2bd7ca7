#pragma once

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <system_error>

#include "net/loop.h"

namespace net {

/// Signals as something to await. Blocks them for this thread, and for threads that it starts afterwards.
class Signals {
 public:
  Signals(Loop& loop, std::initializer_list<int> signals) : loop_(loop) {
    sigset_t set;
    sigemptyset(&set);
    for (int signal : signals) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  }
  ~Signals() { ::close(fd_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// 0: cancelled.
  Task<int> next() {
    for (;;) {
      if (cancelled_) co_return 0;
      Readable readable(loop_, fd_);
      waiting_ = &readable;
      const bool came = co_await readable;
      waiting_ = nullptr;
      if (!came) co_return 0;
      signalfd_siginfo info{};
      if (::read(fd_, &info, sizeof info) == sizeof info) co_return static_cast<int>(info.ssi_signo);
    }
  }

  /// Ends the wait that is under way, and all later ones.
  void cancel() {
    cancelled_ = true;
    if (waiting_ != nullptr) waiting_->cancel();
  }

 private:
  Loop& loop_;
  int fd_ = -1;
  Readable* waiting_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace net
