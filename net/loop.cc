#include "net/loop.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace net {

namespace {

constexpr unsigned submission_entries = 1024;
constexpr unsigned completion_entries = 8192;

int make_ring(io_uring& ring) {
  io_uring_params params{};
  // TASKRUN_FLAG: look() sees by a word in shared memory that there is something to collect.
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = completion_entries;
  return io_uring_queue_init_params(submission_entries, &ring, &params);
}

std::string explain(int error) {
  switch (error) {
    case ENOSYS:
      return "this kernel has no io_uring: Linux 6.1 or later is needed";
    case EPERM:
    case EACCES:
      return "io_uring is forbidden here: check `sysctl kernel.io_uring_disabled` (0 allows it) and any "
             "seccomp filter of "
             "the container or service";
    case EINVAL:
      return "this kernel's io_uring lacks SINGLE_ISSUER or DEFER_TASKRUN: Linux 6.1 or later is needed";
    case ENOMEM: {
      rlimit limit{};
      getrlimit(RLIMIT_MEMLOCK, &limit);
      return fmt::format(
          "the ring's memory can't be locked: the limit is {} KiB; raise it (`ulimit -l 8192`, or "
          "LimitMEMLOCK= "
          "in the unit)",
          limit.rlim_cur / 1024);
    }
    case EMFILE:
    case ENFILE:
      return "too many open files: raise the limit (`ulimit -n 4096`)";
    default:
      return fmt::format("io_uring can't be set up: {}", std::strerror(error));
  }
}

}  // namespace

std::string Loop::probe() {
  io_uring ring{};
  if (const int error = make_ring(ring); error < 0) return explain(-error);
  std::string missing;
  io_uring_probe* found = io_uring_get_probe_ring(&ring);
  const std::pair<int, const char*> needed[] = {{IORING_OP_SENDMSG, "sendmsg"},
                                                {IORING_OP_RECVMSG, "recvmsg"},
                                                {IORING_OP_POLL_ADD, "poll"},
                                                {IORING_OP_READ, "read"},
                                                {IORING_OP_ASYNC_CANCEL, "cancel"}};
  for (const auto& [code, name] : needed)
    if (found == nullptr || io_uring_opcode_supported(found, code) == 0) missing += fmt::format(" {}", name);
  if (found != nullptr) io_uring_free_probe(found);
  // SEND_ZC came with 6.0, as multishot recvmsg and DEFER_TASKRUN's fixes did: a probe for what has no
  // opcode.
  if (missing.empty() && (ring.features & IORING_FEAT_EXT_ARG) == 0) missing = " timeouts on wait";
  io_uring_queue_exit(&ring);
  if (missing.empty()) return {};
  return fmt::format("this kernel's io_uring lacks{}: Linux 6.1 or later is needed", missing);
}

Loop::Loop(paxos::Duration busy_poll) : thread_(std::this_thread::get_id()), patience_(busy_poll) {
  if (const int error = make_ring(ring_); error < 0) throw std::runtime_error(explain(-error));
  refresh_now();
}

Loop::~Loop() { io_uring_queue_exit(&ring_); }

void Loop::refresh_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  now_ = paxos::Time{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
}

TimerId Loop::add_timer(paxos::Time at, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  const auto order = timer_order_.emplace(at, id);
  timers_.emplace(id, Timer{order, std::move(callback)});
  return id;
}

void Loop::cancel_timer(TimerId id) {
  const auto timer = timers_.find(id);
  if (timer == timers_.end()) return;
  timer_order_.erase(timer->second.order);
  timers_.erase(timer);
}

io_uring_sqe* Loop::prepare(Operation& operation) {
  PAXOS_ASSERT(!operation.under_way_);
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    io_uring_submit(&ring_);  // the queue is full: hand it over and go on
    sqe = io_uring_get_sqe(&ring_);
    PAXOS_ASSERT(sqe != nullptr);
  }
  operation.under_way_ = true;
  ++figures_.submissions;
  io_uring_sqe_set_data(sqe, &operation);
  return sqe;
}

bool Loop::look() {
  const paxos::Duration longest = patience_.look();
  if (longest == paxos::Duration{0}) return false;
  io_uring_submit_and_get_events(&ring_);
  paxos::Time until = now_ + longest;
  if (!timer_order_.empty()) until = std::min(until, timer_order_.begin()->first);
  while (io_uring_cq_ready(&ring_) == 0) {
    if (now_ >= until) return false;
    if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0) {
      io_uring_get_events(&ring_);
      continue;
    }
    const paxos::Time before = now_;
    ::sched_yield();
    refresh_now();
    if (now_ - before > paxos::Patience::crowded_after) return false;
  }
  return true;
}

void Loop::sleep_until_completion() {
  __kernel_timespec timeout{};
  __kernel_timespec* limit = nullptr;
  if (!timer_order_.empty()) {
    const auto left = std::max(timer_order_.begin()->first - now_, paxos::Duration{0});
    timeout.tv_sec = left / std::chrono::seconds{1};
    timeout.tv_nsec = (left % std::chrono::seconds{1}).count();
    limit = &timeout;
  }
  io_uring_cqe* first = nullptr;
  const int result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, limit, nullptr);
  if (result < 0 && result != -ETIME && result != -EINTR && result != -EAGAIN && result != -EBUSY)
    throw std::system_error(-result, std::generic_category(), "io_uring_submit_and_wait");
  refresh_now();
}

void Loop::collect(bool wait) {
  if (wait) {
    refresh_now();  // the turn took its time: that is not waited for again
    const paxos::Time began = now_;
    ++figures_.waits;
    if (!look()) {
      ++figures_.sleeps;
      sleep_until_completion();
    }
    patience_.came_after(now_ - began);
  } else {
    io_uring_submit_and_get_events(&ring_);
  }
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++count;
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(cqe));
    if (operation == nullptr) continue;  // a cancel's own completion
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) operation->under_way_ = false;
    operation->completed(cqe->res, cqe->flags);
  }
  io_uring_cq_advance(&ring_, count);
  figures_.completions += count;
}

void Loop::cancel_and_wait(Operation& operation) {
  if (!operation.under_way_) return;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  io_uring_prep_cancel(sqe, &operation, 0);
  io_uring_sqe_set_data(sqe, nullptr);
  while (operation.under_way_) {
    io_uring_submit_and_wait(&ring_, 1);
    collect(false);
  }
}

void Loop::run_ready() {
  while (!ready_.empty() || !deferred_.empty()) {
    while (!deferred_.empty()) {
      const auto work = std::move(deferred_.front().second);
      deferred_.pop_front();
      work();
    }
    for (std::coroutine_handle<> handle : std::exchange(ready_, {})) handle.resume();
  }
}

void Loop::turn() {
  ++figures_.turns;
  // What the last turn's end woke is ready now: look what came, without waiting, run it, and end this turn
  // too. Run right after the hook instead, its work would lie until the next completion or timer.
  collect(ready_.empty() && deferred_.empty());
  refresh_now();
  while (!timer_order_.empty() && timer_order_.begin()->first <= now_) {
    const TimerId id = timer_order_.begin()->second;
    auto node = timers_.extract(id);
    timer_order_.erase(timer_order_.begin());
    node.mapped().callback();
  }
  run_ready();
  if (turn_end_) turn_end_();
}

Readable::Readable(Loop& loop, int fd) : Readable(loop, fd, POLLIN) {}

Task<bool> HungUp::wait() {
  // The kernel reports these two whether they are asked for or not.
  co_return co_await poll_&& poll_.poll_.result > 0 && (poll_.poll_.result & (POLLERR | POLLHUP)) != 0;
}

void Readable::start(std::coroutine_handle<> handle) {
  io_uring_sqe* sqe = poll_.loop.prepare(poll_);
  io_uring_prep_poll_add(sqe, fd_, events_);
  io_uring_sqe_set_data(sqe, static_cast<Operation*>(&poll_));
  poll_.waiting = handle;
}

void Readable::cancel() {
  cancelled_ = true;
  poll_.loop.cancel_and_wait(poll_);
}

}  // namespace net
