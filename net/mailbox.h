#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "net/loop.h"

namespace net {

/// Hands items from other threads to the loop: a queue under a mutex, one eventfd wake-up for many items.
/// push(): any thread, while the mailbox lives. Everything else: loop thread only.
template <class T>
class Mailbox {
 public:
  explicit Mailbox(Loop& loop) : read_(loop, *this) {
    fd_ = ::eventfd(0, EFD_CLOEXEC);
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    arm();
  }
  ~Mailbox() {
    read_.loop.cancel_and_wait(read_);
    read_.loop.undefer(&read_);
    ::close(fd_);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void push(T item) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = items_.empty();
      items_.push_back(std::move(item));
    }
    if (!first) return;  // whoever pushed onto the empty queue has rung already
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }

  /// Called in the loop thread for each item, in order, among the ready coroutines of a turn.
  void on_receive(std::function<void(T&)> handler) { handler_ = std::move(handler); }

 private:
  struct Read final : Operation {
    Read(Loop& l, Mailbox& m) : loop(l), mailbox(m) {}
    void completed(int, unsigned) override {
      loop.defer(this, [this] { mailbox.deliver(); });
    }
    Loop& loop;
    Mailbox& mailbox;
    std::uint64_t count = 0;
  };

  void arm() {
    io_uring_sqe* sqe = read_.loop.prepare(read_);
    io_uring_prep_read(sqe, fd_, &read_.count, sizeof read_.count, 0);
    io_uring_sqe_set_data(sqe, static_cast<Operation*>(&read_));
  }
  void deliver() {
    if (!read_.under_way()) arm();
    std::vector<T> items;
    {
      const std::lock_guard lock(mutex_);
      items.swap(items_);
    }
    for (T& item : items)
      if (handler_) handler_(item);
  }

  Read read_;
  int fd_ = -1;
  std::mutex mutex_;
  std::vector<T> items_;  ///< guarded by mutex_
  std::function<void(T&)> handler_;
};

}  // namespace net
