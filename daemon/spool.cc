#include "daemon/spool.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace daemon_log {

namespace {
std::int64_t steady_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}
}  // namespace

struct Spool::State {
  struct Held {
    Line line;
    std::uint64_t lost_before = 0;  ///< lines missing in front of this one
  };
  const Sink sink;
  mutable std::mutex mutex;
  std::condition_variable wake;
  std::deque<Held> queue;            ///< guarded by mutex
  std::size_t bytes = 0;             ///< of the texts in it; guarded by mutex
  std::uint64_t untold = 0;          ///< lost since the last line that found room; guarded by mutex
  bool ending = false;               ///< guarded by mutex
  std::atomic<std::size_t> open{0};  ///< lines that have not left yet
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::int64_t> began_ms{0};  ///< of the line in the sink's hands; 0: none
  static_assert(std::atomic<std::size_t>::is_always_lock_free);

  explicit State(Sink s) : sink(std::move(s)) {}

  void carry(const Line& line) {
    began_ms.store(std::max<std::int64_t>(steady_ms(), 1), std::memory_order_relaxed);
    sink(line);
    began_ms.store(0, std::memory_order_relaxed);
  }
  void tell_lost(std::uint64_t count) {
    carry({.at = std::chrono::system_clock::now(),
           .level = Level::warning,
           .event = "lines_lost",
           .ballot = {},
           .slot = {},
           .text = fmt::format("{} log line{} lost here: whoever takes the log did not take {}", count,
                               count == 1 ? " is" : "s are", count == 1 ? "it" : "them")});
  }

  void work() {
    for (;;) {
      std::optional<Held> held;
      std::uint64_t lost_now = 0;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [this] { return ending || !queue.empty() || untold > 0; });
        if (ending) return;
        if (!queue.empty()) {
          held = std::move(queue.front());
          queue.pop_front();
          bytes -= held->line.text.size();
          lost_now = held->lost_before;
        } else {
          lost_now = std::exchange(untold, 0);
        }
      }
      if (lost_now > 0) tell_lost(lost_now);
      if (!held) continue;
      carry(held->line);
      open.fetch_sub(1, std::memory_order_release);
    }
  }
};

Spool::Spool(Sink sink) : state_(std::make_shared<State>(std::move(sink))) {
  // Signals are for other threads; and a pipe without a reader is an error there, no death.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([state = state_] { state->work(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Spool::~Spool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
  }
  state_->wake.notify_one();
}

bool Spool::push(Line line) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->queue.size() >= lines_max || state_->bytes + line.text.size() > bytes_max) {
      ++state_->untold;
      state_->lost.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    state_->bytes += line.text.size();
    state_->open.fetch_add(1, std::memory_order_relaxed);
    state_->queue.push_back({.line = std::move(line), .lost_before = std::exchange(state_->untold, 0)});
  }
  state_->wake.notify_one();
  return true;
}

bool Spool::empty() const { return state_->open.load(std::memory_order_acquire) == 0; }

std::uint64_t Spool::lost() const { return state_->lost.load(std::memory_order_relaxed); }

std::chrono::milliseconds Spool::stuck_for() const {
  const std::int64_t began = state_->began_ms.load(std::memory_order_relaxed);
  return std::chrono::milliseconds{began == 0 ? 0 : std::max<std::int64_t>(steady_ms() - began, 0)};
}

}  // namespace daemon_log
