#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "paxos/bounds.h"
#include "paxos/types.h"

namespace paxosd {

/// How long a heartbeat takes to the other replicas and back: what an election timeout is to be set by. Pure.
class RoundTrips {
 public:
  static constexpr std::size_t nonces_max = 512;
  static constexpr std::size_t samples = 32;

  /// A heartbeat left with this nonce.
  void asked(paxos::Time now, std::uint64_t nonce) {
    if (asked_.size() == nonces_max) asked_.pop_front();
    asked_.push_back({nonce, now});
  }
  /// Its answer came.
  void answered(paxos::Time now, paxos::ReplicaId from, std::uint64_t nonce) {
    for (auto at = asked_.rbegin(); at != asked_.rend(); ++at) {
      if (at->nonce != nonce) continue;
      Peer& peer = peers_[from.n];
      peer.took[peer.count++ % samples] = now - at->when;
      return;
    }
  }
  /// The median of the last ones; nothing before the first.
  [[nodiscard]] std::optional<paxos::Duration> of(paxos::ReplicaId id) const {
    const Peer& peer = peers_[id.n];
    const std::size_t n = std::min<std::size_t>(peer.count, samples);
    if (n == 0) return std::nullopt;
    auto sorted = peer.took;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(n / 2);
    std::nth_element(sorted.begin(), middle, sorted.begin() + static_cast<std::ptrdiff_t>(n));
    return *middle;
  }

 private:
  struct Asked {
    std::uint64_t nonce = 0;
    paxos::Time when{};
  };
  struct Peer {
    std::array<paxos::Duration, samples> took{};
    std::uint64_t count = 0;
  };
  std::deque<Asked> asked_;
  std::array<Peer, paxos::limits::replicas_max> peers_;
};

}  // namespace paxosd
