#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "paxos/bounds.h"
#include "paxos/types.h"

namespace paxos {

/// How much of the log is kept below the slot whose state is on the disk: at most so many slots, and at most
/// so many bytes of decrees; 0: no such bound. What exceeds either goes.
struct TrimSlack {
  std::uint64_t slots = 0;
  std::uint64_t bytes = 0;
  [[nodiscard]] bool unbounded() const { return slots == 0 && bytes == 0; }
  friend bool operator==(const TrimSlack&, const TrimSlack&) = default;
};

/// Decides how far a replica's log may be trimmed: behind what its state has on the disk, with slack for
/// peers that are slow, and not where one of them pulls. Pure; told the time.
class Trimmer {
 public:
  /// `log_bytes`: of what the log holds from `first` to `last`, about. The state that was found, at
  /// `applied`, is on the disk.
  Trimmer(Slot first, Slot applied, Slot last, std::uint64_t log_bytes, std::size_t replicas,
          const Bounds& bounds, BoundsReached& reached);

  /// None: nothing is trimmed. The default.
  void set_slack(std::optional<TrimSlack> slack);
  /// The state has applied the next slot, with a decree of so many bytes.
  void applied(Slot slot, std::size_t bytes);
  /// All rows that applying up to here gave are on the disk, and stay there in a crash. A log that was
  /// trimmed any further would leave a state that nothing can bring on.
  void durable(Slot slot);
  /// Until then, slots from `from` on stay: `peer` is about to ask for them.
  void hold(ReplicaId peer, Slot from, Time until);

  /// Slots below `first` do not read any more: they go, whatever the slack and whoever asks for them, as soon
  /// as the state behind them is on the disk.
  void cut(Slot first);

  /// The log's new first slot, where it is time to trim; it has to be done at once. Never above durable().
  [[nodiscard]] std::optional<Slot> next(Time now);
  [[nodiscard]] Slot durable() const { return durable_; }

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Mark {
    Slot last;
    std::uint64_t bytes = 0;  ///< of the slots above the mark before, up to this one
  };
  struct Hold {
    Slot from;
    Time until = Time::min();
  };
  void aim();
  Slot begin_at(Slot to);

  const Bounds& bounds_;
  BoundsReached& reached_;
  std::optional<TrimSlack> slack_;
  Slot first_;
  Slot durable_;
  Slot target_;               ///< the slack allows to trim up to here, this one excluded
  std::uint64_t stride_ = 0;  ///< and it is worth it from so many slots on
  std::deque<Mark> marks_;    ///< ascending; the last one grows
  std::uint64_t bytes_ = 0;   ///< of all marks
  std::vector<Hold> holds_;   ///< by peer
  Slot cut_;                  ///< the first slot that reads behind damage; none: all do
};

}  // namespace paxos
