#include "storage/space.h"

#include <fcntl.h>
#include <rocksdb/file_system.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "storage/steady.h"

namespace storage {

namespace {

/// Given up with it whatever is asked for: a file system takes some blocks for itself.
constexpr std::uint64_t floor_bytes = 64u << 10;
/// An opening writes at least so much: a table, a manifest, a new log.
constexpr std::uint64_t opening_bytes = 1u << 20;
constexpr std::int64_t answer_kept_ns = 10'000'000;
/// While there is enough, it is looked so many times more rarely.
constexpr int rarely = 4;

class WatchedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WatchedFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, Space& space)
      : FSWritableFileOwnerWrapper(std::move(file)), space_(space) {}

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    space_.make_room(data.size());
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& info,
                           rocksdb::IODebugContext* debug) override {
    space_.make_room(data.size());
    return FSWritableFileOwnerWrapper::Append(data, options, info, debug);
  }

 private:
  Space& space_;
};

class WatchedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  WatchedFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, Space& space)
      : FileSystemWrapper(base), space_(space) {}
  static const char* kClassName() { return "WatchedFileSystem"; }
  [[nodiscard]] const char* Name() const override { return kClassName(); }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, result, debug);
    // Write-ahead logs are written ahead (storage/wal_files.h): most of what is appended needs no room.
    if (status.ok() && !path.ends_with(".log")) result->reset(new WatchedFile(std::move(*result), space_));
    return status;
  }

 private:
  Space& space_;
};

}  // namespace

Space::Space(std::filesystem::path directory, std::optional<std::uint64_t> reserve)
    : file_(directory / "reserve"), directory_(std::move(directory)), wanted_(reserve) {}

Space::~Space() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (fd_ >= 0) ::close(fd_);
}

bool Space::open() {
  if (fd_ < 0) fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd_ >= 0;
}

void Space::begin() {
  if (wanted_ == 0u) {
    ::unlink(file_.c_str());  // of an earlier start, with another config
    return;
  }
  {
    const std::lock_guard lock(disk_);
    struct stat info{};
    // A power cut may leave its length without its blocks.
    if (open() && ::fstat(fd_, &info) == 0)
      figures_.held = std::min<std::uint64_t>(static_cast<std::uint64_t>(info.st_size),
                                              static_cast<std::uint64_t>(info.st_blocks) * 512);
    static_cast<void>(look());
  }
  make_room(opening_bytes);
}

bool Space::ask() {
  struct statvfs volume{};
  if (::statvfs(directory_.c_str(), &volume) != 0) return false;
  figures_.free = std::uint64_t{volume.f_bavail} * volume.f_frsize;
  const std::uint64_t size = std::uint64_t{volume.f_blocks} * volume.f_frsize;
  // Not more than half of a volume, or nothing fits beside it.
  figures_.reserve = wanted_ ? std::min(*wanted_, size / 2) : default_reserve(size);
  asked_ns_ = steady_ns();
  credit_ = figures_.free - std::min(figures_.free, floor_bytes);
  return true;
}

/// Smaller at once; larger if the volume gives it.
void Space::hold(std::uint64_t bytes) {
  if (bytes == figures_.held || !open()) return;
  if (bytes < figures_.held) {
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return;
  } else {
    if (!supported_) return;
    // From its beginning: what has a length and no blocks gets them.
    if (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0) {
      supported_ = errno != EOPNOTSUPP && errno != ENOSYS;
      static_cast<void>(::ftruncate(fd_, static_cast<off_t>(figures_.held)) == 0);
      return;
    }
  }
  figures_.free += std::exchange(figures_.held, bytes);
  figures_.free -= std::min(figures_.free, bytes);
  credit_ = figures_.free - std::min(figures_.free, floor_bytes);
}

bool Space::look() {
  if (!ask()) return false;
  const paxos::DiskRoom before = figures_.room;
  figures_.room = gauge_.judge(figures_.free + figures_.held, figures_.reserve);
  hold(RoomGauge::to_hold(figures_.room, figures_.held, figures_.reserve));
  show();
  return figures_.room != before;
}

void Space::show() {
  const std::lock_guard lock(mutex_);
  shown_ = figures_;
}

void Space::make_room(std::uint64_t bytes) {
  if (wanted_ == 0u) return;
  const std::lock_guard lock(disk_);
  if (figures_.held == 0) return;
  if (credit_ >= bytes && steady_ns() - asked_ns_ < answer_kept_ns) {
    credit_ -= bytes;
    return;
  }
  if (!ask()) return;
  const std::uint64_t needed = bytes + floor_bytes;
  if (figures_.free < needed) hold(figures_.held - std::min(figures_.held, needed - figures_.free));
  credit_ -= std::min(credit_, bytes);
  show();
}

SpaceFigures Space::figures() const {
  const std::lock_guard lock(mutex_);
  return shown_;
}

void Space::start(paxos::Duration every, std::function<void(const SpaceFigures&)> changed) {
  changed_ = std::move(changed);
  if (wanted_ == 0u) return;
  thread_ = std::thread([this, every] { watch(every); });
}

void Space::watch(paxos::Duration every) {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const bool enough = shown_.room == paxos::DiskRoom::enough;
      if (wake_.wait_for(lock, enough ? rarely * every : every, [this] { return stopping_; })) return;
    }
    bool changed = false;
    {
      const std::lock_guard lock(disk_);
      changed = look();
    }
    if (changed) changed_(figures());
  }
}

std::unique_ptr<rocksdb::Env> Space::env(rocksdb::Env* base) {
  if (base == nullptr) base = rocksdb::Env::Default();
  return rocksdb::NewCompositeEnv(std::make_shared<WatchedFileSystem>(base->GetFileSystem(), *this));
}

}  // namespace storage
