#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "paxos/types.h"

/// What `paxosctl top` and `doctor` are told of a replica besides the protocol's own standing.
namespace paxosd {

/// Since when there is no quorum, and who leads since when. Told the time; loop thread only.
class Vitals {
 public:
  explicit Vitals(paxos::Time started) : no_quorum_since_(started), leader_since_(started) {}

  void standing(paxos::Time now, bool quorum_connected, std::optional<paxos::ReplicaId> leader);

  /// Nothing while it is connected to a quorum; before the first quorum, its start.
  [[nodiscard]] std::optional<paxos::Time> no_quorum_since() const { return no_quorum_since_; }
  /// When it last changed its mind about who leads.
  [[nodiscard]] paxos::Time leader_since() const { return leader_since_; }

 private:
  std::optional<paxos::Time> no_quorum_since_;
  std::optional<paxos::ReplicaId> leader_;
  paxos::Time leader_since_;
};

/// Datagrams that the kernel dropped because this port's buffer was full: the `drops` of the socket in a text like
/// /proc/net/udp; nothing when no socket is bound to the port.
[[nodiscard]] std::optional<std::uint64_t> udp_drops(std::string_view table, std::uint16_t port);

}  // namespace paxosd
