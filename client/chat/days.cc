#include "client/chat/days.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <regex>

namespace client {

std::string day_text(std::int64_t time_ms) {
  static constexpr std::array days{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
  static constexpr std::array months{"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
  const std::time_t seconds = time_ms / 1000;
  std::tm local{};
  if (localtime_r(&seconds, &local) == nullptr) return "a day out of range";
  return fmt::format("{}, {} {} {}", days.at(static_cast<std::size_t>(local.tm_wday)), local.tm_mday,
                     months.at(static_cast<std::size_t>(local.tm_mon)), local.tm_year + 1900LL);
}

std::string written_note(std::int64_t written_ms, std::int64_t posted_ms) {
  constexpr std::int64_t worth_a_word_ms = 5'000;
  if (written_ms <= 0 || posted_ms - written_ms < worth_a_word_ms) return {};
  const std::time_t seconds = written_ms / 1000;
  std::tm local{};
  if (localtime_r(&seconds, &local) == nullptr) return {};
  const std::string time = fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
  if (day_text(written_ms) == day_text(posted_ms)) return " (written " + time + ")";
  return fmt::format(" (written {:04}-{:02}-{:02} {})", local.tm_year + 1900LL, local.tm_mon + 1,
                     local.tm_mday, time);
}

std::optional<std::string> Days::before(std::int64_t time_ms) {
  std::string day = day_text(time_ms);
  if (day == day_) return std::nullopt;
  day_ = std::move(day);
  return "--- " + day_ + " ---";
}

namespace {

bool is_zone_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 4> magic{};
  return file.read(magic.data(), magic.size()) && std::string(magic.begin(), magic.end()) == "TZif";
}

}  // namespace

std::string zone_fault(const std::string& zone, const std::string& zones) {
  const std::string name = zone.starts_with(':') ? zone.substr(1) : zone;
  if (name.empty() || name == "UTC" || name == "GMT") return {};
  if (is_zone_file(name.starts_with('/') ? name : zones + "/" + name)) return {};
  // As POSIX has it: CET-1CEST,M3.5.0,M10.5.0/3
  static const std::regex posix(
      R"(([A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[+-]?\d{1,2}(:\d{2}){0,2}(([A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>).*)?)");
  if (name.size() < 256 && !zone.starts_with(':') && std::regex_match(name, posix)) return {};
  return fmt::format("TZ={} names no time zone that this machine knows: times are those of UTC", zone);
}

std::string zone_fault_here() {
  const char* zone = std::getenv("TZ");
  if (zone == nullptr) return {};
  const char* zones = std::getenv("TZDIR");
  return zones != nullptr && *zones != '\0' ? zone_fault(zone, zones) : zone_fault(zone);
}

std::int64_t wall_clock_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace client
