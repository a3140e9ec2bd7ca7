#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "paxos/types.h"

/// What `paxosctl top` and `doctor` are told of the data directory's disk. Looking at it may take its time,
/// even a question about a file may hang with its disk, so that the state thread does it; the classes say
/// when it is due. Loop thread only.
namespace paxosd {

struct DiskUse {
  std::uint64_t used = 0;             ///< by the directory, in bytes
  std::optional<std::uint64_t> free;  ///< on its volume; none: it can't be told
};
/// Blocks.
[[nodiscard]] DiskUse look_at_disk(const std::filesystem::path& directory);
/// A few synced writes to a file that has no name, as JSON: how many, median and worst in us, or why it can't
/// be done. Blocks, for 100 ms and a sync at most.
[[nodiscard]] std::string probe_disk(const std::filesystem::path& directory);

/// The use of the disk, looked at again when somebody asks and it is some seconds old.
class DiskFigures {
 public:
  static constexpr std::chrono::seconds kept{2};

  /// Whether to look now; found() is to follow then.
  [[nodiscard]] bool begin(paxos::Time now) {
    if (asked_ || (at_ != paxos::Time{} && now - at_ < kept)) return false;
    return asked_ = true;
  }
  void found(paxos::Time now, DiskUse use) {
    asked_ = false;
    at_ = now;
    use_ = use;
  }
  /// Nothing before the first look.
  [[nodiscard]] const std::optional<DiskUse>& use() const { return use_; }

 private:
  bool asked_ = false;  ///< the state thread is at it
  paxos::Time at_{};    ///< of the last look; none: never
  std::optional<DiskUse> use_;
};

/// The last probe; a young one is given again.
class DiskProbe {
 public:
  static constexpr std::chrono::seconds kept{5};

  [[nodiscard]] bool fresh(paxos::Time now) const { return found_ && now - at_ < kept; }
  /// False: one is under way, and answers whoever asked for it.
  [[nodiscard]] bool begin() { return !std::exchange(under_way_, true); }
  void found(paxos::Time now, std::string json) {
    under_way_ = false;
    at_ = now;
    found_ = std::move(json);
  }
  [[nodiscard]] const std::optional<std::string>& last() const { return found_; }

 private:
  bool under_way_ = false;
  paxos::Time at_{};
  std::optional<std::string> found_;
};

}  // namespace paxosd
