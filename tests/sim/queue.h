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
  datagram,         ///< a sealed one, to a replica
  client_datagram,  ///< a sealed one, to a client
  datagram_tick,    ///< of a replica's fragments
  client_datagram_tick,
  erase_plan,  ///< a replica looks for what it has to take off its disk
  erasure,     ///< it is off it
  redact,      ///< somebody redacts
  snapshot,    ///< a replica has got a peer's state
  retain,      ///< somebody says what rooms keep
};

[[nodiscard]] inline const char* to_string(EventKind kind) {
  static constexpr const char* names[] = {"-",
                                          "peer_arrival",
                                          "client_arrival",
                                          "reply_arrival",
                                          "node_tick",
                                          "node_turn",
                                          "sync_done",
                                          "state_flush",
                                          "history_done",
                                          "log_read_done",
                                          "client_tick",
                                          "client_post",
                                          "client_read",
                                          "client_resume",
                                          "restart",
                                          "resume",
                                          "fault",
                                          "fault_end",
                                          "datagram",
                                          "client_datagram",
                                          "datagram_tick",
                                          "client_datagram_tick",
                                          "erase_plan",
                                          "erasure",
                                          "redact",
                                          "snapshot",
                                          "retain"};
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

/// What happens next, by (time, order of scheduling): no two events are ever equal. Some fifty are waiting at
/// a time, and a new one is mostly among the next ten: a sorted array, the next one last, beats a heap.
class Queue {
 public:
  void push(Nanos at, Event&& event) {
    std::uint32_t place;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(events_.size());
      events_.push_back(std::move(event));
    } else {
      place = free_.back();
      free_.pop_back();
      events_[place] = std::move(event);
    }
    const Waiting waiting{at, ++order_ << place_bits | place};
    waiting_.push_back(waiting);
    Waiting* const begin = waiting_.data();
    Waiting* hole = begin + (waiting_.size() - 1);
    Waiting* const far = hole - std::min<std::ptrdiff_t>(linear_steps, hole - begin);
    // What was scheduled before goes first where the times are equal.
    for (; hole != far && hole[-1].at <= at; --hole) *hole = hole[-1];
    if (hole == far && hole != begin) {
      Waiting* const place_of =
          std::lower_bound(begin, hole, at, [](const Waiting& w, Nanos time) { return w.at > time; });
      std::move_backward(place_of, hole, hole + 1);
      hole = place_of;
    }
    *hole = waiting;
  }
  [[nodiscard]] bool empty() const { return waiting_.empty(); }
  [[nodiscard]] Nanos next_at() const { return waiting_.empty() ? never : waiting_.back().at; }
  /// Requires !empty().
  Event pop() {
    const auto place = static_cast<std::uint32_t>(waiting_.back().order_and_place & ((1U << place_bits) - 1));
    waiting_.pop_back();
    free_.push_back(place);
    return std::move(events_[place]);  // what stays behind holds no payload
  }

 private:
  static constexpr unsigned place_bits = 24;
  static constexpr std::ptrdiff_t linear_steps = 16;
  struct Waiting {
    Nanos at;
    std::uint64_t order_and_place;
  };
  std::vector<Waiting> waiting_;  ///< by (at, order), descending
  std::vector<Event> events_;
  std::vector<std::uint32_t> free_;
  std::uint64_t order_ = 0;
};

}  // namespace sim
