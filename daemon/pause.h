#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "net/transport.h"
#include "paxos/types.h"

namespace paxosd {

/// `paxosctl pause`: a replica that hangs, to its peers and clients. What comes meanwhile waits here, as a
/// socket's buffer would keep it, and so does what the storage threads have done. Loop thread only.
class Pause {
 public:
  using Work = std::function<void()>;
  struct Held {
    std::deque<net::Received> received;
    std::vector<Work> work;
  };

  void begin(paxos::Time until) { until_ = until; }
  /// It lasts.
  [[nodiscard]] bool lasts(paxos::Time now) const { return until_ && now < *until_; }
  [[nodiscard]] std::optional<paxos::Time> until() const { return until_; }

  void hold(Work work) { held_.work.push_back(std::move(work)); }
  /// `bytes` of a datagram; what would not fit a buffer of `bytes_max` is lost.
  void hold(net::Received received, std::size_t bytes, std::size_t bytes_max) {
    if (bytes_ + bytes > bytes_max) return;
    bytes_ += bytes;
    held_.received.push_back(std::move(received));
  }
  /// Gives what was held.
  [[nodiscard]] Held end() {
    until_.reset();
    bytes_ = 0;
    return std::exchange(held_, {});
  }

 private:
  std::optional<paxos::Time> until_;
  std::size_t bytes_ = 0;  ///< of held_.received
  Held held_;
};

}  // namespace paxosd
