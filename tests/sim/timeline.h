#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "chat/node.h"
#include "tests/sim/queue.h"

namespace sim {

enum class Topic : std::uint8_t {
  life,    ///< starts, deaths, faults, who leads: always told
  ballot,  ///< messages of phase 1
  slot,    ///< messages and syncs that are about slots
};

/// What happened, for people: one line each, with what it was about. Only runs that are to be read have one.
class Timeline {
 public:
  struct Line {
    Nanos at = 0;
    Topic topic{};
    paxos::SlotRange slots;  ///< none: about no slot
    std::string text;
  };

  void add(Line line);
  [[nodiscard]] bool empty() const { return lines_.empty(); }
  [[nodiscard]] std::size_t size() const { return lines_.size(); }
  /// All of it, or the last `lines_max`.
  [[nodiscard]] std::string all(std::size_t lines_max = SIZE_MAX) const;
  /// Lives, ballots, and what concerns the slots and client messages that `violation` names; the last
  /// `lines_max`. Where it names none: the last lines but for heartbeats and the like.
  [[nodiscard]] std::string relevant(std::string_view violation, std::size_t lines_max) const;

 private:
  static constexpr std::size_t lines_kept = 400'000;
  std::deque<Line> lines_;
};

/// "3 -> 1: Accept …"; false: not worth a line (heartbeats, births).
[[nodiscard]] bool tell(const paxos::PeerMessage& message, Timeline::Line& line);
[[nodiscard]] bool tell(const paxos::Record& record, Timeline::Line& line);

}  // namespace sim
