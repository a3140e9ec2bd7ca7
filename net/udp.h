#pragma once

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/address.h"
#include "net/loop.h"
#include "net/paths.h"
#include "paxos/bytes.h"

namespace net {

/// One received datagram; the view is valid until the next receive().
struct Datagram {
  Address from;
  std::span<const std::byte> data;
};

/// An unconnected UDP socket on the loop's ring: multishot receive into a ring of provided buffers, GRO and
/// GSO. Loop thread only. The loop must outlive it.
class UdpSocket {
 public:
  struct Options {
    unsigned buffers = 64;                ///< of 64 KiB each: one GRO bundle fits
    std::size_t socket_bytes = 8u << 20;  ///< kernel buffers, each way, as far as the system lets us
    std::size_t sends_max = 4096;         ///< in flight; beyond, datagrams are dropped and counted
  };
  struct Refused {
    std::string sentence;  ///< for the operator: what address, why, what to do
    int error = 0;         ///< errno
    /// Not yet, perhaps later: this machine does not have the address, or another process has the port.
    [[nodiscard]] bool may_pass() const { return error == EADDRNOTAVAIL || error == EADDRINUSE; }
  };

  [[nodiscard]] static tl::expected<UdpSocket, Refused> try_open(Loop& loop, const Address& local,
                                                                 Options options);
  /// The same; the error is the sentence.
  [[nodiscard]] static tl::expected<UdpSocket, std::string> open(Loop& loop, const Address& local,
                                                                 Options options) {
    auto socket = try_open(loop, local, options);
    if (!socket) return tl::make_unexpected(std::move(socket.error().sentence));
    return std::move(*socket);
  }
  [[nodiscard]] static tl::expected<UdpSocket, std::string> open(Loop& loop, const Address& local) {
    return open(loop, local, Options{});
  }
  UdpSocket(UdpSocket&&) noexcept;
  UdpSocket& operator=(UdpSocket&&) = delete;
  ~UdpSocket();  ///< stop(), then closes

  [[nodiscard]] Address local_address() const;
  /// What the kernel gave for datagrams that wait to be taken, in bytes of payload.
  [[nodiscard]] std::size_t receive_buffer() const;

  /// Awaitable: all datagrams that have come since the last call, at least one; empty only after stop().
  auto receive() {
    struct Awaiter {
      UdpSocket& socket;
      [[nodiscard]] bool await_ready() const { return socket.ready(); }
      void await_suspend(std::coroutine_handle<> handle) { socket.suspend(handle); }
      std::span<const Datagram> await_resume() { return socket.take(); }
    };
    return Awaiter{*this};
  }

  /// Fire and forget; the bytes live until the kernel has them. With `segment` the kernel cuts them into
  /// datagrams of that size; where it will not (the path carries less, its device cuts nothing), they leave
  /// one by one. What a network may do to a datagram is no error: refused, unreachable, no buffers count as
  /// loss.
  void send(const Address& to, paxos::Bytes data, std::size_t segment = 0);
  /// The same with a plain system call, at once. Any thread, while the socket lives.
  void send_now(const Address& to, const paxos::Bytes& data, std::size_t segment = 0) const;
  /// What the kernel did not take since the last call, of both ways of sending; the latest where there was
  /// much.
  [[nodiscard]] std::vector<Refusal> take_refusals();
  /// The same since the start, by errno.
  [[nodiscard]] std::map<int, std::uint64_t> errors() const;
  /// Nothing is in the kernel's hands any more.
  [[nodiscard]] bool idle() const;
  /// Ends receiving; waits for the kernel's last completion. A receive() under way gives an empty span.
  void stop();

  struct Figures {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t send_errors = 0;  ///< of both ways of sending
    std::uint64_t sent_singly = 0;  ///< that the kernel should have cut out of a buffer and would not
    std::uint64_t dropped_sends = 0;
    std::uint64_t out_of_buffers = 0;
    std::uint64_t rearms = 0;  ///< multishot receives started again after the kernel had ended one
    std::uint64_t truncated = 0;
  };
  [[nodiscard]] const Figures& figures() const;

 private:
  struct Impl;
  explicit UdpSocket(std::unique_ptr<Impl> impl);
  [[nodiscard]] bool ready() const;
  void suspend(std::coroutine_handle<> handle);
  std::span<const Datagram> take();
  std::unique_ptr<Impl> impl_;
};

}  // namespace net
