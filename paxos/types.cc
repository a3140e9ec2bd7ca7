#include "paxos/types.h"

namespace paxos {

const char* to_string(DecreeKind kind) {
  switch (kind) {
    case DecreeKind::noop:
      return "noop";
    case DecreeKind::commands:
      return "commands";
    case DecreeKind::rules:
      return "rules";
    case DecreeKind::configuration:
      return "configuration";
  }
  return "unknown";
}

const char* to_string(DiskRoom room) {
  switch (room) {
    case DiskRoom::enough:
      return "enough";
    case DiskRoom::reserve:
      return "reserve";
    case DiskRoom::none:
      return "none";
  }
  return "unknown";
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (std::uint8_t byte : bytes) {
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
  return out;
}

}  // namespace paxos
