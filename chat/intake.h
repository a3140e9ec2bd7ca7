#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "chat/bounds.h"
#include "chat/command.h"
#include "chat/machine.h"
#include "chat/ticket.h"

namespace chat {

/// Commands that wait for a slot at the leader. Each session's in order, each once a leadership.
/// Loop thread only; everything is bounded.
class Intake {
 public:
  Intake(const Machine& machine, const NodeBounds& bounds, BoundsReached& reached)
      : machine_(machine), bounds_(bounds), reached_(reached) {}

  enum class Taken : std::uint8_t {
    queued,     ///< will be proposed
    under_way,  ///< was queued or proposed before, in this leadership
    held_back,  ///< its predecessors are missing
    full,       ///< a bound is reached: dropped
  };
  /// `view` is what `bytes` hold, and passed validate().
  Taken take(paxos::Time now, const paxos::Bytes& bytes, const CommandView& view);
  /// As many as one decree holds, in order; nothing when none waits.
  [[nodiscard]] std::optional<paxos::Decree> next_batch(std::int64_t time_ms);
  /// After the machine applied it.
  void on_applied(const Applied& applied);
  /// Forgets what waits for a slot or for its predecessors; what was proposed stays.
  void let_go();
  /// What an earlier leadership took may be lost, and its clients repeat it: forget everything.
  void clear();

  /// Forgets what has been held back since before `time`: who still wants it has repeated what was missing.
  void forget_held(paxos::Time time);

  /// Queued, proposed or held back, so that the log will say something of it.
  [[nodiscard]] bool has(const Ticket& ticket) const;

  [[nodiscard]] bool queued() const { return !queue_.empty(); }
  [[nodiscard]] std::size_t waiting() const { return queue_.size() + held_count_; }

 private:
  struct Line {
    std::uint64_t last = 0;     ///< highest seq that is under way or has run
    std::size_t under_way = 0;  ///< queued or proposed, not yet applied
    std::map<std::uint64_t, paxos::Bytes> held;
    paxos::Time held_since{};
  };
  using Lines = std::unordered_map<SessionId, Line, SessionHash>;

  void push(paxos::Bytes bytes, const Ticket& ticket, Line* line);
  void release(Line& line);
  void drop(std::map<std::uint64_t, paxos::Bytes>& held);
  /// The bound that keeps one more command of so many bytes out.
  [[nodiscard]] std::optional<Bound> no_room(std::size_t bytes) const;
  [[nodiscard]] std::optional<Bound> no_room_to_hold(const Line& line, std::size_t bytes) const;

  const Machine& machine_;
  const NodeBounds& bounds_;
  BoundsReached& reached_;
  std::deque<paxos::Bytes> queue_;
  std::size_t queue_bytes_ = 0;
  std::unordered_set<Ticket, TicketHash> under_way_;  ///< queued or proposed, not yet applied
  /// Sessions with something under way or held back, so there are no more of them than of these.
  Lines lines_;
  std::size_t held_count_ = 0;
  std::size_t held_bytes_ = 0;
};

}  // namespace chat
