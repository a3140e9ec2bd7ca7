#pragma once

#include <map>
#include <string>
#include <vector>

#include "chat/machine.h"
#include "paxos/types.h"

namespace chat {

/// Has what rooms have forgotten taken off this replica's disk, some at a time. A crash takes nothing back
/// that matters: what a start finds forgotten is asked for again. Pure. Loop thread only.
class Forgetter {
 public:
  /// `kept_from`: Machine::kept_from().
  explicit Forgetter(std::vector<MessageName> kept_from);

  void on_applied(const std::vector<MessageName>& kept_from);
  /// The next rooms whose rows are to go, each with the first message that is to stay: where that is not the
  /// first one that the room keeps, it comes again.
  template <class FirstWaiting>
  [[nodiscard]] std::vector<MessageName> next(paxos::Time now, FirstWaiting&& first_waiting) {
    std::vector<MessageName> out = due(now);
    for (MessageName& room : out) {
      const std::uint64_t waiting = first_waiting(room.room);
      if (waiting >= room.seq) continue;
      waiting_.emplace(room.room, room.seq);
      room.seq = waiting;
    }
    return out;
  }
  [[nodiscard]] paxos::Time deadline() const { return waiting_.empty() ? paxos::time_never : not_before_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  [[nodiscard]] std::vector<MessageName> due(paxos::Time now);

  std::map<std::string, std::uint64_t> waiting_;  ///< by room: what it keeps begins there
  std::string last_;                              ///< room that was looked at
  paxos::Time not_before_{};
};

}  // namespace chat
