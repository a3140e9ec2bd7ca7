#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "net/transport.h"

namespace paxosd {

/// What may leave only once a group of records is on the disk, between the loop, which seals it, and the log
/// thread, which knows when. One lock decides which of the two sends it, so that it is always one of them:
/// who holds something for a group that is on the disk by now gets it back. (An order of two separate steps
/// on each side lost what was held between the other's look at the queue and its word that the group is
/// synced; where the group had no records, nothing ever looked again.) Any thread.
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

/// How far the log is on the disk, between the log thread, which knows, and the loop, which tells the node:
/// that hears of it when it waits for it, or is awake for something else.
class Syncs {
 public:
  explicit Syncs(std::uint64_t synced) : after_(synced), told_(synced), synced_(synced) {}

  // Log thread.
  /// Returns what is to be sent now that `group` is on the disk.
  [[nodiscard]] AfterSync::Packets release(std::uint64_t group) { return after_.synced(group); }
  /// True: the loop wants to be woken for it.
  [[nodiscard]] bool note(std::uint64_t group) {
    synced_ = group;
    return awaited_;
  }

  // Loop thread.
  /// As AfterSync::hold.
  [[nodiscard]] AfterSync::Packets hold(std::uint64_t group, AfterSync::Packets packets) {
    return after_.hold(group, std::move(packets));
  }
  /// The group up to which all is on the disk, where that is news.
  [[nodiscard]] std::optional<std::uint64_t> news() {
    const std::uint64_t group = synced_;
    if (group <= told_) return std::nullopt;
    return told_ = group;
  }
  [[nodiscard]] std::uint64_t told() const { return told_; }
  /// Whether to be woken for the next one. True: it is there already. In this order, as note() does it in the
  /// other: one of the two sees what the other wrote.
  [[nodiscard]] bool await(bool wanted) {
    awaited_ = wanted;
    return wanted && synced_ > told_;
  }

 private:
  AfterSync after_;
  std::uint64_t told_;  ///< as the node knows
  std::atomic<std::uint64_t> synced_;
  std::atomic<bool> awaited_{true};
};

}  // namespace paxosd
