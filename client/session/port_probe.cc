#include "client/session/port_probe.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace client {

std::set<unsigned> closed_ports(const std::map<unsigned, net::Address>& where,
                                std::chrono::milliseconds patience) {
  std::set<unsigned> closed;
  std::vector<unsigned> asked;
  std::vector<pollfd> sockets;
  for (const auto& [id, address] : where) {
    sockaddr_storage name{};
    const socklen_t size = address.to_sockaddr(name);
    // Only a connected socket is told what came back for what it sent.
    const int fd = ::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    const char byte = 0;
    if (::connect(fd, reinterpret_cast<sockaddr*>(&name), size) != 0 || ::send(fd, &byte, 1, 0) != 1) {
      ::close(fd);
      continue;
    }
    asked.push_back(id);
    sockets.push_back({.fd = fd, .events = 0, .revents = 0});
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point until = Clock::now() + patience;
  std::size_t open = sockets.size();
  while (open > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    const int ready = ::poll(sockets.data(), sockets.size(), static_cast<int>(left > 0 ? left : 0));
    if (ready == 0 || (ready < 0 && errno != EINTR)) break;
    for (std::size_t i = 0; ready > 0 && i < sockets.size(); ++i) {
      if (sockets[i].fd < 0 || sockets[i].revents == 0) continue;
      int error = 0;
      socklen_t size = sizeof error;
      if (::getsockopt(sockets[i].fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNREFUSED)
        closed.insert(asked[i]);
      ::close(sockets[i].fd);
      sockets[i].fd = -1;  // poll leaves it out
      --open;
    }
  }
  for (const pollfd& socket : sockets)
    if (socket.fd >= 0) ::close(socket.fd);
  return closed;
}

}  // namespace client
