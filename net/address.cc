#include "net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <cerrno>
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
    std::memcpy(&out.raw_[1], &in.sin6_port, 2);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr) != 0) {
      out.raw_[0] = 4;
      std::memcpy(&out.raw_[7], &in.sin6_addr.s6_addr[12], 4);
      return out;
    }
    out.raw_[0] = 6;
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

namespace {

/// Host and port of "host:port" or "[v6]:port"; false without a port.
bool split(std::string_view text, std::string& host, std::string& port) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  host = text.substr(0, colon);
  port = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return true;
}

int look_up(const std::string& host, const std::string& port, int flags, std::vector<Address>& out) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return error;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const Address address = Address::from_sockaddr(at->ai_addr, at->ai_addrlen);
    if (!address.empty() && std::find(out.begin(), out.end(), address) == out.end()) out.push_back(address);
  }
  freeaddrinfo(found);
  return 0;
}

}  // namespace

std::optional<Address> Address::literal(std::string_view text) {
  std::string host;
  std::string port;
  std::vector<Address> found;
  if (!split(text, host, port) || host.empty() ||
      look_up(host, port, AI_NUMERICHOST | AI_NUMERICSERV, found) != 0 || found.empty())
    return std::nullopt;
  return found.front();
}

tl::expected<std::vector<Address>, std::string> Address::resolve_all(std::string_view text) {
  std::string host;
  std::string port;
  if (!split(text, host, port))
    return tl::make_unexpected(fmt::format("'{}' has no port: write host:port or [v6]:port", text));
  std::vector<Address> found;
  errno = 0;
  if (const int error = look_up(host, port, 0, found); error != 0)
    return tl::make_unexpected(fmt::format("name '{}' does not resolve: {}", host,
                                           error == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(error)));
  if (found.empty())
    return tl::make_unexpected(fmt::format("name '{}' has neither an IPv4 nor an IPv6 address", host));
  return found;
}

tl::expected<Address, std::string> Address::resolve(std::string_view text) {
  auto all = resolve_all(text);
  if (!all) return tl::make_unexpected(std::move(all.error()));
  return all->front();
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

bool Address::is_any() const {
  return !empty() && std::all_of(raw_.begin() + 7, raw_.end(), [](std::uint8_t b) { return b == 0; });
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

std::string Address::host_text() const {
  const std::string text = to_string();
  return empty() ? text : text.substr(0, text.rfind(':'));
}

}  // namespace net
