#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
  [[nodiscard]] bool full() const { return shown_.size() >= told_max; }
  /// Shows it from now on, unless there are so many already.
  void show(storage::Damage damage) {
    if (!full()) shown_.push_back(std::move(damage));
  }

  [[nodiscard]] const std::vector<storage::Damage>& shown() const { return shown_; }
  [[nodiscard]] std::uint64_t log_reads() const { return log_reads_; }
  [[nodiscard]] std::uint64_t state_reads() const { return state_reads_; }

 private:
  std::vector<storage::Damage> shown_;
  std::uint64_t log_reads_ = 0;
  std::uint64_t state_reads_ = 0;
};

}  // namespace paxosd
