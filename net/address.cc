#include "net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <cstring>

namespace net {

Address Address::loopback(std::uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return from_sockaddr(reinterpret_cast<const sockaddr*>(&in), sizeof in);
}

Address Address::from_sockaddr(const sockaddr* address, socklen_t size) {
  Address out;
  if (address->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    out.raw_[0] = 4;
    std::memcpy(&out.raw_[1], &in.sin_port, 2);
    std::memcpy(&out.raw_[7], &in.sin_addr, 4);
  } else if (address->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    out.raw_[0] = 6;
    std::memcpy(&out.raw_[1], &in.sin6_port, 2);
    std::memcpy(&out.raw_[3], &in.sin6_scope_id, 4);
    std::memcpy(&out.raw_[7], &in.sin6_addr, 16);
  }
  return out;
}

Address Address::from_bytes(std::span<const std::uint8_t> bytes) {
  Address out;
  if (bytes.size() == bytes_max) std::copy(bytes.begin(), bytes.end(), out.raw_.begin());
  return out;
}

tl::expected<Address, std::string> Address::resolve(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return tl::make_unexpected(fmt::format("'{}' has no port: write host:port or [v6]:port", text));
  std::string host(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0)
    return tl::make_unexpected(
        fmt::format("'{}' is no address that can be looked up: {}", text, gai_strerror(error)));
  const Address out = from_sockaddr(found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  if (out.empty()) return tl::make_unexpected(fmt::format("'{}' is neither IPv4 nor IPv6", text));
  return out;
}

socklen_t Address::to_sockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof out);
  if (family() == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_port, &raw_[1], 2);
    std::memcpy(&in.sin_addr, &raw_[7], 4);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  std::memcpy(&in.sin6_port, &raw_[1], 2);
  std::memcpy(&in.sin6_scope_id, &raw_[3], 4);
  std::memcpy(&in.sin6_addr, &raw_[7], 16);
  std::memcpy(&out, &in, sizeof in);
  return sizeof in;
}

bool Address::is_loopback() const {
  if (family() == AF_INET) return raw_[7] == 127;
  in6_addr in{};
  std::memcpy(&in, &raw_[7], 16);
  return family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in) != 0;
}

std::string Address::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) {
    inet_ntop(AF_INET, &raw_[7], text, sizeof text);
    return fmt::format("{}:{}", text, port());
  }
  if (family() == AF_INET6) {
    inet_ntop(AF_INET6, &raw_[7], text, sizeof text);
    return fmt::format("[{}]:{}", text, port());
  }
  return "(no address)";
}

}  // namespace net
