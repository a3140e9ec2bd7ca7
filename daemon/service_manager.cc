#include "daemon/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace paxosd {

namespace {
constexpr const char* variable = "NOTIFY_SOCKET";
constexpr std::size_t unsaid_max = 16;
}  // namespace

bool ServiceManager::present() { return std::getenv(variable) != nullptr; }

// Not sd_notify(): it sends on a socket that blocks.
ServiceManager::ServiceManager() {
  const char* path = std::getenv(variable);
  if (path == nullptr || (*path != '/' && *path != '@') || std::strlen(path) >= sizeof name_.sun_path) return;
  name_.sun_family = AF_UNIX;
  const std::size_t size = std::strlen(path);
  std::memcpy(name_.sun_path, path, size);
  if (*path == '@') name_.sun_path[0] = '\0';  // an abstract name
  name_bytes_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

ServiceManager::~ServiceManager() {
  if (fd_ >= 0) ::close(fd_);
}

bool ServiceManager::say(const std::string& text) const {
  if (fd_ < 0) return true;
  // By name each time: a manager that was started again has another socket there.
  return ::sendto(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                  reinterpret_cast<const sockaddr*>(&name_), name_bytes_) >= 0 ||
         (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);
}

void ServiceManager::must_say(std::string text) {
  flush();
  if ((!unsaid_.empty() || !say(text)) && unsaid_.size() < unsaid_max) unsaid_.push_back(std::move(text));
}

void ServiceManager::flush() {
  while (!unsaid_.empty() && say(unsaid_.front())) unsaid_.pop_front();
}

void ServiceManager::ready() { must_say("READY=1"); }

void ServiceManager::reloading() {
  using namespace std::chrono;
  // The time tells the manager which READY=1 ends this one (from version 253 on; older ones ignore it).
  const auto now = duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  must_say(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now));
}

void ServiceManager::stopping() { must_say("STOPPING=1"); }

void ServiceManager::status(const std::string& line) {
  if (line == status_ || !say("STATUS=" + line)) return;
  status_ = line;
}

void ServiceManager::alive() { (void)say("WATCHDOG=1"); }

std::optional<std::chrono::microseconds> ServiceManager::watchdog() {
  std::uint64_t usec = 0;
  if (::sd_watchdog_enabled(0, &usec) <= 0 || usec == 0) return std::nullopt;
  return std::chrono::microseconds{usec};
}

}  // namespace paxosd
