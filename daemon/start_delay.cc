#include "daemon/start_delay.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <system_error>

namespace paxosd {

namespace {
constexpr unsigned at_once = 3;
constexpr std::chrono::milliseconds delay_max{30'000};
constexpr unsigned doublings_max = 5;
}  // namespace

std::chrono::milliseconds start_delay(unsigned early_ends) {
  if (early_ends < at_once) return std::chrono::milliseconds{0};
  return std::min(std::chrono::milliseconds{1000} * (1U << std::min(early_ends - at_once, doublings_max)),
                  delay_max);
}

StartCounter::StartCounter() {
  const char* folder = std::getenv("RUNTIME_DIRECTORY");
  if (folder == nullptr || *folder == '\0') return;
  file_ = std::filesystem::path(folder) / "early-ends";
  std::ifstream(file_) >> early_ends_;
  std::ofstream(file_, std::ios::trunc) << early_ends_ + 1 << '\n';
}

void StartCounter::lived() {
  std::error_code none;
  if (!file_.empty()) std::filesystem::remove(file_, none);
}

}  // namespace paxosd
