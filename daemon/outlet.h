#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "net/transport.h"
#include "net/udp.h"

namespace paxosd {

/// The way out and in: a socket that may come late and be changed for another, and what this turn says by it.
/// Loop thread only, but for send_now().
class Outlet {
 public:
  using Packets = std::vector<net::Outgoing>;

  /// False: this replica has no address yet.
  explicit operator bool() const { return socket_ != nullptr; }
  net::UdpSocket* operator->() const { return socket_.get(); }
  [[nodiscard]] const std::shared_ptr<net::UdpSocket>& socket() const { return socket_; }
  /// Returns the one before.
  [[nodiscard]] std::shared_ptr<net::UdpSocket> change(std::shared_ptr<net::UdpSocket> socket) {
    const std::lock_guard lock(mutex_);
    return std::exchange(socket_, std::move(socket));
  }

  void add(Packets packets) { std::move(packets.begin(), packets.end(), std::back_inserter(packets_)); }
  [[nodiscard]] std::size_t size() const { return packets_.size(); }
  /// Takes back what was added after the first `size`.
  [[nodiscard]] Packets take_behind(std::size_t size) {
    const auto begin = packets_.begin() + static_cast<std::ptrdiff_t>(size);
    Packets out(std::make_move_iterator(begin), std::make_move_iterator(packets_.end()));
    packets_.resize(size);
    return out;
  }
  /// What has no socket to leave by is lost, as datagrams are.
  void send() {
    if (socket_)
      for (net::Outgoing& packet : packets_) socket_->send(packet.to, std::move(packet.data), packet.segment);
    packets_.clear();
  }
  /// Any thread.
  void send_now(const Packets& packets) {
    const std::lock_guard lock(mutex_);
    if (!socket_) return;
    for (const net::Outgoing& packet : packets) socket_->send_now(packet.to, packet.data, packet.segment);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<net::UdpSocket> socket_;  ///< written by the loop alone, under mutex_
  Packets packets_;
};

}  // namespace paxosd
