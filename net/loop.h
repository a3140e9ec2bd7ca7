#pragma once

#include <liburing.h>

#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/task.h"
#include "paxos/patience.h"
#include "paxos/types.h"

namespace net {

class Loop;

/// One operation in the kernel's hands. It must outlive its last completion: owners call
/// Loop::cancel_and_wait before they go.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  [[nodiscard]] bool under_way() const { return under_way_; }

 protected:
  ~Operation() { PAXOS_ASSERT(!under_way_); }
  /// A completion arrived; runs while completions are collected: note it, schedule, don't resume anything.
  virtual void completed(int result, unsigned flags) = 0;

 private:
  friend class Loop;
  bool under_way_ = false;
};

using TimerId = std::uint64_t;

/// One event loop over one io_uring: one submit-and-wait a turn; all completions of a turn are queued first
/// and resumed after, so that nothing nests; then the turn's end hook runs once. Loop thread only, all of it.
class Loop {
 public:
  /// `busy_poll`: how long to look for a completion before sleeping, under a steady load (paxos/patience.h);
  /// zero: never. Throws std::system_error, or std::runtime_error with a sentence for the operator, when the
  /// ring can't be made: see probe().
  explicit Loop(paxos::Duration busy_poll = {});
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// What this kernel lacks for us, in one sentence with what to do; empty when nothing.
  [[nodiscard]] static std::string probe();

  struct Figures {
    std::uint64_t turns = 0;
    std::uint64_t submissions = 0;  ///< operations prepared; cancels not counted
    std::uint64_t completions = 0;
    std::uint64_t waits = 0;  ///< with nothing to do
    std::uint64_t sleeps =
        0;  ///< of them, the ones that gave the thread up: the others ended while it looked
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }

  /// The time of this turn.
  [[nodiscard]] paxos::Time now() const { return now_; }
  void refresh_now();

  TimerId add_timer(paxos::Time at, std::function<void()> callback);
  /// Harmless for one that has fired.
  void cancel_timer(TimerId id);

  /// Runs after the ready coroutines of each turn. What it wakes runs in another turn at once, which ends
  /// with the hook too: no coroutine's work is left lying while the loop sleeps.
  void on_turn_end(std::function<void()> hook) { turn_end_ = std::move(hook); }
  /// Resumes `handle` in this turn.
  void schedule(std::coroutine_handle<> handle) { ready_.push_back(handle); }
  /// Calls `work` in this turn, before the coroutines, unless its owner takes it back first.
  void defer(const void* owner, std::function<void()> work) {
    deferred_.emplace_back(owner, std::move(work));
  }
  /// What `owner` deferred is not called any more. For destructors.
  void undefer(const void* owner) {
    std::erase_if(deferred_, [&](const auto& work) { return work.first == owner; });
  }

  /// Runs the task to its end, and everything else meanwhile. Rethrows what it throws.
  template <class T>
  T run(Task<T> task);

  /// A submission entry bound to `operation`; the caller fills it in at once.
  io_uring_sqe* prepare(Operation& operation);
  /// Cancels it and waits until the kernel has let go of it (other completions are queued meanwhile).
  void cancel_and_wait(Operation& operation);
  [[nodiscard]] io_uring& ring() { return ring_; }
  /// A number for a ring of provided buffers; each is given once.
  [[nodiscard]] unsigned short next_buffer_group() {
    PAXOS_ASSERT(buffer_group_ < 0xffff);
    return ++buffer_group_;
  }
  /// Hands what is prepared to the kernel now, not at the turn's end.
  void submit() { io_uring_submit(&ring_); }
  void assert_thread() const { PAXOS_ASSERT(std::this_thread::get_id() == thread_); }

  /// Awaitable: some time later.
  auto sleep_until(paxos::Time at) {
    struct Awaiter {
      Loop& loop;
      paxos::Time at;
      [[nodiscard]] bool await_ready() const { return at <= loop.now(); }
      void await_suspend(std::coroutine_handle<> handle) {
        loop.add_timer(at, [&l = loop, handle] { l.schedule(handle); });
      }
      void await_resume() const {}
    };
    return Awaiter{*this, at};
  }
  auto sleep(paxos::Duration duration) { return sleep_until(now_ + duration); }

 private:
  void turn();
  void collect(bool wait);
  /// Looks for a completion without sleeping, as long as patience_ says; whether one came.
  bool look();
  void sleep_until_completion();
  void run_ready();
  Task<void> drive(Task<void> task, bool& done);

  io_uring ring_{};
  std::thread::id thread_;
  paxos::Time now_{};
  paxos::Patience patience_;
  Figures figures_;
  std::multimap<paxos::Time, TimerId> timer_order_;
  struct Timer {
    std::multimap<paxos::Time, TimerId>::iterator order;
    std::function<void()> callback;
  };
  std::unordered_map<TimerId, Timer> timers_;
  TimerId next_timer_ = 1;
  unsigned short buffer_group_ = 0;
  std::vector<std::coroutine_handle<>> ready_;
  std::deque<std::pair<const void*, std::function<void()>>> deferred_;
  std::function<void()> turn_end_;
};

namespace detail {
/// A coroutine that owns its frame and is started by hand: the bottom of a task chain.
struct Root {
  struct promise_type {
    Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const {}
    void unhandled_exception() const { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};
template <class T, class Done>
Root drive(Task<T> task, Done done) {
  std::exception_ptr error;
  if constexpr (std::is_void_v<T>) {
    try {
      co_await std::move(task);
    } catch (...) {
      error = std::current_exception();
    }
    done(error);
  } else {
    std::optional<T> value;
    try {
      value.emplace(co_await std::move(task));
    } catch (...) {
      error = std::current_exception();
    }
    done(error, std::move(value));
  }
}
}  // namespace detail

template <class T>
T Loop::run(Task<T> task) {
  assert_thread();
  bool finished = false;
  std::exception_ptr failure;
  if constexpr (std::is_void_v<T>) {
    const detail::Root root = detail::drive(std::move(task), [&](std::exception_ptr error) {
      finished = true;
      failure = error;
    });
    schedule(root.handle);
    while (!finished) turn();
    if (failure) std::rethrow_exception(failure);
  } else {
    std::optional<T> result;
    const detail::Root root =
        detail::drive(std::move(task), [&](std::exception_ptr error, std::optional<T> value) {
          finished = true;
          failure = error;
          result = std::move(value);
        });
    schedule(root.handle);
    while (!finished) turn();
    if (failure) std::rethrow_exception(failure);
    return std::move(*result);
  }
}

/// Tasks that run beside each other and are joined. Loop thread only.
class Scope {
 public:
  explicit Scope(Loop& loop) : loop_(loop) {}
  ~Scope() { PAXOS_ASSERT(running_ == 0); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  void spawn(Task<void> task) {
    ++running_;
    const detail::Root root = detail::drive(std::move(task), [this](std::exception_ptr error) {
      if (error && !error_) error_ = error;
      if (--running_ == 0 && joiner_) loop_.schedule(std::exchange(joiner_, {}));
    });
    loop_.schedule(root.handle);
  }
  [[nodiscard]] std::size_t running() const { return running_; }

  /// Awaitable: all have ended; rethrows the first exception.
  auto join() {
    struct Awaiter {
      Scope& scope;
      [[nodiscard]] bool await_ready() const { return scope.running_ == 0; }
      void await_suspend(std::coroutine_handle<> handle) { scope.joiner_ = handle; }
      void await_resume() const {
        if (scope.error_) std::rethrow_exception(std::exchange(scope.error_, {}));
      }
    };
    return Awaiter{*this};
  }

 private:
  Loop& loop_;
  std::size_t running_ = 0;
  std::exception_ptr error_;
  std::coroutine_handle<> joiner_;
};

/// Something that coroutines wait for, each until a deadline. Loop thread only.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop) {}
  ~Event() { PAXOS_ASSERT(waiters_.empty()); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void notify() {
    for (Waiter* w : std::exchange(waiters_, {})) {
      loop_.cancel_timer(w->timer);
      w->notified = true;
      loop_.schedule(w->handle);
    }
  }

  /// Awaitable: true when notified, false when `at` came first.
  auto wait_until(paxos::Time at) {
    struct Awaiter : Waiter {
      Event& event;
      paxos::Time at;
      Awaiter(Event& e, paxos::Time t) : event(e), at(t) {}
      [[nodiscard]] bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> h) {
        this->handle = h;
        event.waiters_.push_back(this);
        if (at == paxos::time_never) return;
        this->timer = event.loop_.add_timer(at, [this] {
          std::erase(event.waiters_, static_cast<Waiter*>(this));
          event.loop_.schedule(this->handle);
        });
      }
      bool await_resume() const { return this->notified; }
    };
    return Awaiter{*this, at};
  }
  auto wait() { return wait_until(paxos::time_never); }

 private:
  struct Waiter {
    std::coroutine_handle<> handle;
    TimerId timer = 0;
    bool notified = false;
  };
  Loop& loop_;
  std::vector<Waiter*> waiters_;
};

/// Awaitable: `fd` can be read (or has ended). For terminals, pipes, files.
class Readable {
 public:
  explicit Readable(Loop& loop, int fd);
  /// Ends a wait that is under way; await_resume gives false then.
  void cancel();
  auto operator co_await() {
    struct Awaiter {
      Readable& self;
      [[nodiscard]] bool await_ready() const { return self.cancelled_; }
      void await_suspend(std::coroutine_handle<> handle) { self.start(handle); }
      [[nodiscard]] bool await_resume() const { return !self.cancelled_; }
    };
    return Awaiter{*this};
  }

 private:
  struct Poll final : Operation {
    explicit Poll(Loop& l) : loop(l) {}
    ~Poll() { loop.cancel_and_wait(*this); }
    void completed(int polled, unsigned) override {
      result = polled;
      if (waiting) loop.schedule(std::exchange(waiting, {}));
    }
    Loop& loop;
    std::coroutine_handle<> waiting;
    int result = 0;  ///< events, or a negative error
  };
  friend class HungUp;
  Readable(Loop& loop, int fd, unsigned events) : poll_(loop), fd_(fd), events_(events) {}
  void start(std::coroutine_handle<> handle);
  Poll poll_;
  int fd_;
  unsigned events_;
  bool cancelled_ = false;
};

/// Whether whoever reads what is written to `fd` has gone: the other end of a pipe or socket, a terminal.
class HungUp {
 public:
  explicit HungUp(Loop& loop, int fd) : poll_(loop, fd, 0) {}
  /// Ends a wait that is under way; it gives false then.
  void cancel() { poll_.cancel(); }
  /// Waits for it. False at once for a file that can't be waited for, as one on a disk.
  Task<bool> wait();

 private:
  Readable poll_;
};

}  // namespace net
