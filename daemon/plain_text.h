#pragma once

#include <string>

namespace paxosd {

/// For a terminal: what a damaged file says may hold anything.
[[nodiscard]] inline std::string plain_text(const std::string& text) {
  std::string out;
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

}  // namespace paxosd
