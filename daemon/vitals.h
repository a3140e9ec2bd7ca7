#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "paxos/types.h"

/// What `paxosctl top` and `doctor` are told of a replica besides the protocol's own standing.
namespace paxosd {

/// Since when there is no quorum, who leads since when, and who is not heard since when. Told the time; loop
/// thread only.
class Vitals {
 public:
  explicit Vitals(paxos::Time started) : no_quorum_since_(started), leader_since_(started) {
    unheard_since_.fill(started);
  }

  /// `missing`: who is not heard now.
  void standing(paxos::Time now, bool quorum_connected, std::optional<paxos::ReplicaId> leader,
                const std::vector<paxos::ReplicaId>& missing);

  /// Nothing while it is connected to a quorum; before the first quorum, its start.
  [[nodiscard]] std::optional<paxos::Time> no_quorum_since() const { return no_quorum_since_; }
  /// When it last changed its mind about who leads.
  [[nodiscard]] paxos::Time leader_since() const { return leader_since_; }
  /// Of one that is missing: when it was last heard; its start where that never was.
  [[nodiscard]] paxos::Time unheard_since(paxos::ReplicaId id) const { return unheard_since_[id.n]; }

 private:
  std::array<paxos::Time, paxos::limits::replicas_max> unheard_since_{};
  std::optional<paxos::Time> no_quorum_since_;
  std::optional<paxos::ReplicaId> leader_;
  paxos::Time leader_since_;
};

/// When to say something again that has not changed: at once when it is new, then ever more rarely.
class Reminder {
 public:
  static constexpr paxos::Duration first = std::chrono::seconds{10};
  static constexpr paxos::Duration longest = std::chrono::minutes{10};

  /// `what`: empty while there is nothing to say.
  [[nodiscard]] bool due(paxos::Time now, const std::string& what);
  [[nodiscard]] bool saying() const { return !what_.empty(); }

 private:
  std::string what_;
  paxos::Time next_{};
  paxos::Duration interval_{};
};

/// Whether to hint that the others may have raised the rules over this program: once in its life, when
/// datagrams in a format that it does not know came since it last heard a leader. What came before that says
/// nothing: it was heard then.
class MissedRaise {
 public:
  /// `unknown`: how many such datagrams came since the start.
  [[nodiscard]] bool due(bool hears_leader, std::uint64_t unknown) {
    if (hears_leader) while_led_ = unknown;
    if (told_ || unknown == while_led_) return false;
    return told_ = true;
  }

 private:
  std::uint64_t while_led_ = 0;
  bool told_ = false;
};

/// Counters by name. One that is not known is not there.
using Counts = std::map<std::string, std::uint64_t>;

/// How much counters grew in the last minute: what is going on, where the counters themselves tell what ever
/// was.
class RecentCounts {
 public:
  static constexpr paxos::Duration every = std::chrono::seconds{10};  ///< between two samples
  static constexpr std::size_t samples_max = 7;                       ///< a minute's

  [[nodiscard]] bool due(paxos::Time now) const {
    return samples_.empty() || now - samples_.back().at >= every;
  }
  void take(paxos::Time now, Counts counts);
  struct Window {
    paxos::Duration span{};
    Counts counts;  ///< growth
  };
  /// From the oldest sample to `counts`; empty before the first sample.
  [[nodiscard]] Window until(paxos::Time now, const Counts& counts) const;

 private:
  struct Sample {
    paxos::Time at;
    Counts counts;
  };
  std::deque<Sample> samples_;
};

/// Datagrams that the kernel dropped because this port's buffer was full: the `drops` of the socket in a text
/// like /proc/net/udp; nothing when no socket is bound to the port.
[[nodiscard]] std::optional<std::uint64_t> udp_drops(std::string_view table, std::uint16_t port);

}  // namespace paxosd
