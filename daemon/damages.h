#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "storage/damage.h"

namespace paxosd {

/// Records that did not read as they were written: how often that was met, and which ones, a few of them.
/// Loop thread only.
class Damages {
 public:
  /// So many different ones are told and shown; a disk that fails whole has no end of them.
  static constexpr std::size_t told_max = 8;

  /// Counts it. False: it is shown already.
  [[nodiscard]] bool meet(const storage::Damage& damage) {
    ++(damage.store == storage::Damage::Store::log ? log_reads_ : state_reads_);
    return std::none_of(shown_.begin(), shown_.end(), [&](const storage::Damage& one) {
      return one.store == damage.store && one.what == damage.what;
    });
  }
  [[nodiscard]] bool full() const { return shown_.size() + mended_.size() >= told_max; }
  /// Shows it from now on, unless there are so many already.
  void show(storage::Damage damage) {
    if (!full()) shown_.push_back(std::move(damage));
  }
  /// The log has let go of all slots below. True: some of what was shown is gone with them.
  bool trimmed(paxos::Slot first) {
    const auto gone = std::partition(shown_.begin(), shown_.end(), [&](const storage::Damage& one) {
      return one.store != storage::Damage::Store::log || !one.slot || *one.slot >= first;
    });
    const bool any = gone != shown_.end();
    std::move(gone, shown_.end(), std::back_inserter(mended_));
    shown_.erase(gone, shown_.end());
    return any;
  }

  /// What does not read now, and what was shown and is of no use any more.
  [[nodiscard]] const std::vector<storage::Damage>& shown() const { return shown_; }
  [[nodiscard]] const std::vector<storage::Damage>& mended() const { return mended_; }
  [[nodiscard]] std::uint64_t log_reads() const { return log_reads_; }
  [[nodiscard]] std::uint64_t state_reads() const { return state_reads_; }

 private:
  std::vector<storage::Damage> shown_;
  std::vector<storage::Damage> mended_;
  std::uint64_t log_reads_ = 0;
  std::uint64_t state_reads_ = 0;
};

/// What is to be done about them, and what stands in its way. Loop thread only.
class Repairs {
 public:
  /// A state that does not read is made again once so often at most: where that is not enough, the disk is
  /// the matter.
  static constexpr std::chrono::minutes renewal_rest{60};

  /// At the start. `aside`: a state was put aside; it is of no use once slots up to `has` are applied again.
  void found(bool aside, paxos::Slot has) {
    aside_ = aside;
    aside_has_ = has;
  }
  /// It is worth a look again.
  [[nodiscard]] bool due(paxos::Time now) {
    if (now < look_at_) return false;
    look_at_ = now + std::chrono::milliseconds{200};
    return true;
  }
  /// True, once: the state that was put aside may go.
  [[nodiscard]] bool done_at(paxos::Slot applied) {
    return applied >= aside_has_ && std::exchange(aside_, false);
  }
  [[nodiscard]] bool makes_state() const { return aside_; }

  /// False: another look for the end of such damage is under way.
  [[nodiscard]] bool begin_look() { return !std::exchange(looking_, true); }
  /// The log reads from there on.
  void looked(paxos::Slot first) {
    looking_ = false;
    cut_ = std::max(cut_, first);
  }
  [[nodiscard]] paxos::Slot cut() const { return cut_; }

  void state_damaged(const std::string& why) {
    if (state_.empty()) state_ = why;
  }
  /// Why the state is to be made again; empty: it reads.
  [[nodiscard]] const std::string& state() const { return state_; }
  /// True, once: nothing is done about it for now, for this reason.
  [[nodiscard]] bool tell(const std::string& obstacle) { return std::exchange(told_, obstacle) != obstacle; }

 private:
  bool aside_ = false;
  paxos::Slot aside_has_;
  bool looking_ = false;
  paxos::Time look_at_{};
  paxos::Slot cut_;
  std::string state_;
  std::string told_;
};

}  // namespace paxosd
