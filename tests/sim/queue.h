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
  datagram,           ///< a sealed one, to a replica
  client_datagram,    ///< a sealed one, to a client
  datagram_tick,      ///< of a replica's fragments
  client_datagram_tick,
};

[[nodiscard]] inline const char* to_string(EventKind kind) {
  static constexpr const char* names[] = {
      "-",         "peer_arrival", "client_arrival", "reply_arrival", "node_tick",   "node_turn",
      "sync_done", "state_flush",  "history_done",   "log_read_done", "client_tick", "client_post",
      "client_read", "client_resume", "restart",     "resume",        "fault",       "fault_end",
      "datagram",  "client_datagram", "datagram_tick", "client_datagram_tick"};
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

/// What happens next, by (time, order of scheduling): no two events are ever equal. A heap of four children a node,
/// whose entries are small; the events themselves stay where they are.
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
    const Entry entry =
        static_cast<Entry>(static_cast<std::uint64_t>(at)) << 64 | (++order_ << place_bits | place);
    std::size_t hole = heap_.size();
    heap_.push_back(entry);
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 4;
      if (!before(entry, heap_[parent])) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = entry;
  }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] Nanos next_at() const { return heap_.empty() ? never : static_cast<Nanos>(heap_.front() >> 64); }
  /// Requires !empty().
  Event pop() {
    const auto place =
        static_cast<std::uint32_t>(static_cast<std::uint64_t>(heap_.front()) & ((1U << place_bits) - 1));
    const Entry last = heap_.back();
    heap_.pop_back();
    const std::size_t size = heap_.size();
    for (std::size_t hole = 0; size > 0;) {
      const std::size_t child = 4 * hole + 1;
      if (child >= size) {
        heap_[hole] = last;
        break;
      }
      std::size_t least = child;
      Entry of_least = heap_[child];
      for (std::size_t other = child + 1; other < std::min(child + 4, size); ++other) {
        const bool less = before(heap_[other], of_least);
        least = less ? other : least;
        of_least = less ? heap_[other] : of_least;
      }
      if (!before(of_least, last)) {
        heap_[hole] = last;
        break;
      }
      heap_[hole] = of_least;
      hole = least;
    }
    free_.push_back(place);
    return std::move(events_[place]);  // what stays behind holds no payload
  }

 private:
  /// Time in the upper half, order of scheduling below it, then the place: one comparison, and four to a cache line.
  using Entry = unsigned __int128;
  static constexpr unsigned place_bits = 24;
  static bool before(Entry a, Entry b) { return a < b; }
  std::vector<Entry> heap_;
  std::vector<Event> events_;
  std::vector<std::uint32_t> free_;
  std::uint64_t order_ = 0;
};

}  // namespace sim
