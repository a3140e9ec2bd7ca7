#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "storage/stores.h"

namespace storage::test {

/// A folder of its own, gone with the test: in memory where that is possible, for these tests open some
/// thousand stores, and lose what was not synced by themselves.
class TempDir {
 public:
  TempDir() {
    const char* chosen = std::getenv("TMPDIR");
    const auto base = chosen == nullptr && ::access("/dev/shm", W_OK) == 0
                          ? std::filesystem::path("/dev/shm")
                          : std::filesystem::temp_directory_path();
    std::string name = (base / "storage-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// As a kill leaves it. A database that is open removes files meanwhile: then the copy is begun anew.
inline void copy_in_use(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  for (int tries = 0; tries < 100; ++tries) {
    std::filesystem::remove_all(to);
    std::filesystem::create_directories(to.parent_path());
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive, error);
    if (!error) return;
  }
  throw std::runtime_error(from.string() + " can't be copied: " + error.message());
}

inline paxos::Incarnation incarnation(std::uint8_t n) {
  paxos::Incarnation out;
  out.bytes.fill(n);
  return out;
}

inline OpenOptions options(const std::filesystem::path& directory) {
  return {.directory = directory / "replica",
          .cluster_id = "5f0a2b1e-0000-4000-8000-000000000001",
          .replica = {1},
          .replicas = 3,
          .fresh_incarnation = incarnation(7),
          .env = nullptr};
}

/// What the storage threads say, in order.
class Said {
 public:
  Completions completions() {
    return {.synced = [this](std::uint64_t group) { note([&] { synced_.push_back(group); }); },
            .failed = [this](std::string error) { note([&] { failures_.push_back(std::move(error)); }); },
            .damaged = [this](Damage damage) { note([&] { damages_.push_back(std::move(damage)); }); }};
  }
  /// False when neither that group nor a failure came in time.
  bool wait_synced(std::uint64_t group) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds{30},
                      [&] { return !failures_.empty() || (!synced_.empty() && synced_.back() >= group); });
    return !synced_.empty() && synced_.back() >= group;
  }
  bool wait_failed() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds{30}, [&] { return !failures_.empty(); });
  }
  std::vector<std::uint64_t> synced() {
    const std::lock_guard lock(mutex_);
    return synced_;
  }
  std::uint64_t last_synced() {
    const std::lock_guard lock(mutex_);
    return synced_.empty() ? 0 : synced_.back();
  }
  std::vector<std::string> failures() {
    const std::lock_guard lock(mutex_);
    return failures_;
  }
  std::vector<Damage> damages() {
    const std::lock_guard lock(mutex_);
    return damages_;
  }

 private:
  template <class Change>
  void note(const Change& change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> synced_;
  std::vector<std::string> failures_;
  std::vector<Damage> damages_;
};

inline paxos::Decree text(const std::string& bytes) {
  return {.kind = paxos::DecreeKind::commands, .value = paxos::Bytes::copy_of(std::string_view(bytes))};
}
/// The group of slot n: a vote whose text names it.
inline std::vector<paxos::Record> vote_group(std::uint64_t n, std::uint64_t round = 3) {
  return {paxos::VoteRecord{{n}, {round, {1}}, text("decree " + std::to_string(n))}};
}

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_file(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
/// The write-ahead log that is written now: the one with the highest number.
inline std::filesystem::path newest_wal(const std::filesystem::path& log) {
  std::filesystem::path newest;
  for (const auto& entry : std::filesystem::directory_iterator(log))
    if (entry.path().extension() == ".log" && entry.path().filename() > newest.filename())
      newest = entry.path();
  return newest;
}

/// Opens, or fails the test and throws.
inline Storage::Opened opened(const OpenOptions& o) {
  auto result = Storage::open(o);
  if (!result) throw std::runtime_error("does not open: " + result.error().message);
  return std::move(*result);
}
/// Why it does not open; empty when it does.
inline std::string refusal(const OpenOptions& o) {
  auto result = Storage::open(o);
  return result ? std::string() : result.error().message;
}

/// A directory with `groups` synced groups, one vote each, closed again.
inline void fill(const OpenOptions& o, std::uint64_t groups) {
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  for (std::uint64_t n = 1; n <= groups; ++n) s.storage->append(s.recovered.last_group + n, vote_group(n));
  if (!said.wait_synced(s.recovered.last_group + groups)) throw std::runtime_error("not synced");
}

}  // namespace storage::test
