#pragma once

#include <algorithm>
#include <deque>
#include <optional>

#include "paxos/types.h"

namespace paxos {

/// The oldest slot that a replica knows of and has not applied.
struct Waiting {
  Slot slot;
  Time since{};  ///< it is known here (proposed by this leader, or chosen) since then, at least
  Time still{};  ///< nothing was applied since then, though something waited
  friend bool operator==(const Waiting&, const Waiting&) = default;
};

/// Answers whether a replica makes progress: which slot waits to be applied, and since when. A slot's age
/// says how late things are, the standstill whether they move at all: who catches up with a long log is late,
/// and moves. Pure; told the time.
///
/// Remembers when the highest known slot rose, not every slot: rises within `grain` are one, and of old ones
/// only every second is kept, later and later times first, so that an age is never told longer than it is by
/// more than `grain`. Invariant: marks_ ascend strictly, in slot and time, and all lie above applied_.
class WaitWatch {
 public:
  static constexpr std::size_t marks_max = 32;

  WaitWatch(Duration grain, Slot applied, Time now) : grain_(grain), applied_(applied), moved_(now) {}

  /// `known`: the highest slot that this replica has to apply one day, as far as it knows; falls when a
  /// leader is deposed, whose proposals are no longer its own to finish.
  void saw(Time now, Slot known, Slot applied) {
    if (applied > applied_) {
      applied_ = applied;
      moved_ = now;
      while (!marks_.empty() && marks_.front().last <= applied_) marks_.pop_front();
    }
    while (!marks_.empty() && marks_.back().last > known) {
      const Slot below = marks_.size() > 1 ? marks_[marks_.size() - 2].last : applied_;
      if (known > below) {
        marks_.back().last = known;
        return;
      }
      marks_.pop_back();
    }
    if (known <= (marks_.empty() ? applied_ : marks_.back().last)) return;
    if (!marks_.empty() && now - marks_.back().since < grain_) {
      marks_.back().last = known;
      return;
    }
    if (marks_.size() == marks_max) thin_out();
    marks_.push_back({known, now});
  }

  [[nodiscard]] std::optional<Waiting> oldest() const {
    if (marks_.empty()) return std::nullopt;
    const Time since = marks_.front().since;
    return Waiting{.slot = applied_ + 1, .since = since, .still = std::max(since, moved_)};
  }

 private:
  struct Mark {
    Slot last;  ///< slots above the mark before, up to this one, are known since
    Time since;
  };
  /// The oldest one is what people are told: it stays as it is.
  void thin_out() {
    std::deque<Mark> kept{marks_.front()};
    for (std::size_t i = 2; i < marks_.size(); i += 2) kept.push_back(marks_[i]);
    if (marks_.size() % 2 == 0) kept.push_back(marks_.back());
    marks_.swap(kept);
  }

  Duration grain_;
  Slot applied_;
  Time moved_;  ///< when something was applied last; the start, where nothing was
  std::deque<Mark> marks_;
};

}  // namespace paxos
