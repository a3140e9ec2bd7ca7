#pragma once

#include <fstream>
#include <sstream>
#include <string>

namespace paxosd {

/// A file of /proc or /sys; empty where it can't be read.
[[nodiscard]] inline std::string text_of(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

}  // namespace paxosd
