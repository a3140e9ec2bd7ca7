#include "client/ctl/daemon_binary.h"

#include <unistd.h>

namespace client {

std::filesystem::path daemon_binary() {
  std::error_code error;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const auto& candidate : {beside / "paxosd", beside.parent_path() / "daemon" / "paxosd"})
    if (!error && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  return "paxosd";
}

}  // namespace client
