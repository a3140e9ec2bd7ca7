#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "net/transport.h"

namespace paxosd {

/// What may leave only once a group of records is on the disk, between the loop, which seals it, and the log thread, which
/// knows when. One lock decides which of the two sends it, so that it is always one of them: who holds something for a group
/// that is on the disk by now gets it back. (An order of two separate steps on each side lost what was held between the
/// other's look at the queue and its word that the group is synced; where the group had no records, nothing ever looked again.)
/// Any thread.
class AfterSync {
 public:
  using Packets = std::vector<net::Outgoing>;

  explicit AfterSync(std::uint64_t synced) : synced_(synced) {}

  /// The packets may leave when `group` is synced. Groups must not descend. Returns what is to be sent now.
  [[nodiscard]] Packets hold(std::uint64_t group, Packets packets) {
    const std::lock_guard lock(mutex_);
    if (group <= synced_) return packets;
    if (!packets.empty()) held_.push_back({group, std::move(packets)});
    return {};
  }
  /// This group, and all before it, are on the disk. Returns what is to be sent now.
  [[nodiscard]] Packets synced(std::uint64_t group) {
    Packets out;
    const std::lock_guard lock(mutex_);
    synced_ = std::max(synced_, group);
    for (; !held_.empty() && held_.front().group <= synced_; held_.pop_front())
      std::move(held_.front().packets.begin(), held_.front().packets.end(), std::back_inserter(out));
    return out;
  }

 private:
  struct Held {
    std::uint64_t group = 0;
    Packets packets;
  };
  std::mutex mutex_;
  std::uint64_t synced_;   ///< guarded by mutex_
  std::deque<Held> held_;  ///< ascending by group, all above synced_; guarded by mutex_
};

}  // namespace paxosd
