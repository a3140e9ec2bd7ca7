#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace net {

/// An IPv4 or IPv6 address with its UDP port. A value; the empty one has no family.
class Address {
 public:
  /// Bytes of the canonical form: family (1), port (2), scope (4), IPv6 (16).
  static constexpr std::size_t bytes_max = 23;

  Address() = default;
  [[nodiscard]] static Address loopback(std::uint16_t port);
  /// An IPv4 address as an IPv6 socket tells it (::ffff:10.0.0.1) is that IPv4 address.
  [[nodiscard]] static Address from_sockaddr(const sockaddr* address, socklen_t size);
  [[nodiscard]] static Address from_bytes(std::span<const std::uint8_t> bytes);
  /// "host:port" or "[v6]:port" that names no host: nothing has to be looked up.
  [[nodiscard]] static std::optional<Address> literal(std::string_view text);
  /// The same, and names are looked up: all that the resolver knows, in its order, at least one. Blocks, for
  /// as long as the resolver likes: net/resolver.h does it beside a loop. Errors are one sentence.
  [[nodiscard]] static tl::expected<std::vector<Address>, std::string> resolve_all(std::string_view text);
  /// The first of them.
  [[nodiscard]] static tl::expected<Address, std::string> resolve(std::string_view text);

  [[nodiscard]] socklen_t to_sockaddr(sockaddr_storage& out) const;
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {raw_.data(), bytes_max}; }
  [[nodiscard]] int family() const { return raw_[0] == 6 ? AF_INET6 : raw_[0] == 4 ? AF_INET : AF_UNSPEC; }
  [[nodiscard]] std::uint16_t port() const { return static_cast<std::uint16_t>(raw_[1] << 8 | raw_[2]); }
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_any() const;  ///< 0.0.0.0 or [::]
  [[nodiscard]] bool empty() const { return raw_[0] == 0; }
  [[nodiscard]] std::string to_string() const;
  /// Of the same host, whatever the ports.
  [[nodiscard]] bool same_host(const Address& other) const { return with_port(0) == other.with_port(0); }
  [[nodiscard]] Address with_port(std::uint16_t port) const {
    Address out = *this;
    out.raw_[1] = static_cast<std::uint8_t>(port >> 8);
    out.raw_[2] = static_cast<std::uint8_t>(port);
    return out;
  }
  /// Without its port.
  [[nodiscard]] std::string host_text() const;
  friend auto operator<=>(const Address&, const Address&) = default;

 private:
  std::array<std::uint8_t, bytes_max> raw_{};
};

struct AddressHash {
  std::size_t operator()(const Address& a) const {
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(a.bytes().data()), Address::bytes_max});
  }
};

}  // namespace net
