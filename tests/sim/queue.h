#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "paxos/types.h"

namespace sim {

/// Virtual time since the start of the run.
using Nanos = std::int64_t;
inline constexpr Nanos millisecond = 1'000'000;
inline constexpr Nanos second = 1'000'000'000;
inline constexpr Nanos never = INT64_MAX;

enum class EventKind : std::uint8_t {
  peer_arrival = 1,
  client_arrival,
  reply_arrival,
  node_tick,
  node_turn,
  sync_done,
  state_flush,
  history_done,
  log_read_done,
  client_tick,
  client_post,
  client_read,
  client_resume,
  restart,
  resume,
  fault,
  fault_end,
};

[[nodiscard]] inline const char* to_string(EventKind kind) {
  static constexpr const char* names[] = {
      "-",         "peer_arrival", "client_arrival", "reply_arrival", "node_tick",   "node_turn",
      "sync_done", "state_flush",  "history_done",   "log_read_done", "client_tick", "client_post",
      "client_read", "client_resume", "restart",     "resume",        "fault",       "fault_end"};
  return names[static_cast<std::size_t>(kind)];
}

/// One thing that will happen. What the numbers mean depends on the kind; `payload` is a message or a wish.
struct Event {
  EventKind kind{};
  std::uint8_t to = 0;
  std::uint8_t from = 0;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  paxos::Incarnation incarnation;
  std::shared_ptr<const void> payload;
};

/// What happens next, by (time, order of scheduling): no two events are ever equal.
class Queue {
 public:
  void push(Nanos at, Event event) {
    std::uint32_t place;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(events_.size());
      events_.push_back(std::move(event));
    } else {
      place = free_.back();
      free_.pop_back();
      events_[place] = std::move(event);
    }
    heap_.push_back({at, ++order_, place});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] Nanos next_at() const { return heap_.empty() ? never : heap_.front().at; }
  Event pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const std::uint32_t place = heap_.back().place;
    heap_.pop_back();
    free_.push_back(place);
    return std::exchange(events_[place], Event{});
  }

 private:
  struct Entry {
    Nanos at;
    std::uint64_t order;
    std::uint32_t place;
  };
  static bool later(const Entry& a, const Entry& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
  std::vector<Entry> heap_;
  std::vector<Event> events_;
  std::vector<std::uint32_t> free_;
  std::uint64_t order_ = 0;
};

}  // namespace sim
