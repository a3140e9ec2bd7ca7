#pragma once

#include <filesystem>
#include <string>

namespace storage {

/// Keeps replicas out of a directory while it is read. A shared lock: nothing is written for it, and several
/// may read.
class ReadLock {
 public:
  ReadLock() = default;
  ~ReadLock();
  ReadLock(const ReadLock&) = delete;
  ReadLock& operator=(const ReadLock&) = delete;

  /// Once. What is wrong, or nothing: a running replica has it, above all.
  [[nodiscard]] std::string take(const std::filesystem::path& directory);

 private:
  int fd_ = -1;
};

}  // namespace storage
