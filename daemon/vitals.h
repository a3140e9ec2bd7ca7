#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>

#include "paxos/types.h"

/// What `paxosctl top` and `doctor` are told of a replica besides the protocol's own standing.
namespace paxosd {

/// Sums that only grow: who asks twice knows what happened in between. Pure.
struct LatencyCount {
  /// [i]: those of 2^(i-1) to 2^i - 1 us, the last one all longer ones; like Storage::Figures.
  std::array<std::uint64_t, 24> buckets{};
  std::uint64_t count = 0;
  std::uint64_t us_total = 0;
  void add(paxos::Duration took);
};

/// Since when there is no quorum, who leads since when, and how long slots take from proposal to application
/// here. Told the time; loop thread only.
class Vitals {
 public:
  /// Slots that are timed at once; above it the oldest are forgotten.
  static constexpr std::size_t timed_max = 4096;

  explicit Vitals(paxos::Time started) : no_quorum_since_(started), leader_since_(started) {}

  void standing(paxos::Time now, bool quorum_connected, std::optional<paxos::ReplicaId> leader);
  /// This replica proposed `slot`; said again, it is a repeat.
  void proposed(paxos::Time now, paxos::Slot slot);
  void applied(paxos::Time now, paxos::Slot slot);

  /// Nothing while it is connected to a quorum; before the first quorum, its start.
  [[nodiscard]] std::optional<paxos::Time> no_quorum_since() const { return no_quorum_since_; }
  /// When it last changed its mind about who leads.
  [[nodiscard]] paxos::Time leader_since() const { return leader_since_; }
  [[nodiscard]] const LatencyCount& commits() const { return commits_; }

 private:
  std::optional<paxos::Time> no_quorum_since_;
  std::optional<paxos::ReplicaId> leader_;
  paxos::Time leader_since_;
  std::deque<std::pair<paxos::Slot, paxos::Time>> timed_;  ///< ascending
  paxos::Slot proposed_;                                   ///< highest ever timed
  LatencyCount commits_;
};

/// Datagrams that the kernel dropped because this port's buffer was full: the `drops` of the socket in a text like
/// /proc/net/udp; nothing when no socket is bound to the port.
[[nodiscard]] std::optional<std::uint64_t> udp_drops(std::string_view table, std::uint16_t port);

}  // namespace paxosd
