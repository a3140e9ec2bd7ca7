#include "daemon/service_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <cstdint>
#include <cstdlib>

namespace paxosd {

bool ServiceManager::present() { return std::getenv("NOTIFY_SOCKET") != nullptr; }

void ServiceManager::ready() const { ::sd_notify(0, "READY=1"); }

void ServiceManager::reloading() const {
  using namespace std::chrono;
  // The time tells the manager which READY=1 ends this one (from version 253 on; older ones ignore it).
  const auto now = duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
  ::sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now).c_str());
}

void ServiceManager::stopping() const { ::sd_notify(0, "STOPPING=1"); }

void ServiceManager::status(const std::string& line) {
  if (line == status_) return;
  status_ = line;
  ::sd_notify(0, ("STATUS=" + line).c_str());
}

void ServiceManager::alive() const { ::sd_notify(0, "WATCHDOG=1"); }

std::optional<std::chrono::microseconds> ServiceManager::watchdog() {
  std::uint64_t usec = 0;
  if (::sd_watchdog_enabled(0, &usec) <= 0 || usec == 0) return std::nullopt;
  return std::chrono::microseconds{usec};
}

}  // namespace paxosd
