#include "storage/wal_files.h"

#include <fcntl.h>
#include <rocksdb/file_system.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace storage {

namespace {

/// So far ahead of the end of the log; small, since a sync that follows writes all of it.
constexpr std::uint64_t chunk_bytes = 256 * 1024;

class PreparedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using MakeRoom = std::function<void(std::uint64_t)>;
  PreparedFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, int fd, std::string path, WalWatch& watch,
               const MakeRoom& make_room)
      : FSWritableFileOwnerWrapper(std::move(file)),
        watch_(watch),
        make_room_(make_room),
        fd_(fd),
        path_(std::move(path)) {}
  ~PreparedFile() override {
    if (fd_ >= 0) ::close(fd_);
  }

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    prepare(data.size());
    watch_.appended(this);
    const rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) end_ += data.size();
    return status;
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& info,
                           rocksdb::IODebugContext* debug) override {
    prepare(data.size());
    watch_.appended(this);
    const rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, info, debug);
    if (status.ok()) end_ += data.size();
    return status;
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Sync(options, debug);
    if (status.ok()) watch_.synced(this, !std::exchange(synced_before_, true));
    return status;
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Fsync(options, debug);
    if (status.ok()) watch_.synced(this, !std::exchange(synced_before_, true));
    return status;
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Close(options, debug);
    // The rest of the zeros; a file that keeps them reads the same.
    if (status.ok() && prepared_ > end_ && ::truncate(path_.c_str(), static_cast<off_t>(end_)) != 0)
      prepared_ = end_;
    return status;
  }

 private:
  /// Zeros from the end of what was prepared to a chunk beyond what comes now. When that fails (the disk is
  /// full, say) the file just grows as it would have, and the write itself says what is wrong.
  void prepare(std::size_t size) {
    if (end_ + size <= prepared_) return;
    make_room_(size + chunk_bytes);
    if (fd_ < 0) return;
    static const std::vector<char> zeros(chunk_bytes, '\0');
    const std::uint64_t from = std::max(prepared_, end_ + size);
    if (::pwrite(fd_, zeros.data(), zeros.size(), static_cast<off_t>(from)) ==
        static_cast<ssize_t>(zeros.size()))
      prepared_ = from + zeros.size();
  }

  WalWatch& watch_;
  const MakeRoom& make_room_;
  int fd_;
  std::string path_;
  bool synced_before_ = false;
  std::uint64_t end_ = 0;
  std::uint64_t prepared_ = 0;
};

class PreparedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  PreparedFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, WalWatch& watch,
                     PreparedFile::MakeRoom make_room)
      : FileSystemWrapper(base), watch_(watch), make_room_(std::move(make_room)) {}
  static const char* kClassName() { return "PreparedFileSystem"; }
  [[nodiscard]] const char* Name() const override { return kClassName(); }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, result, debug);
    if (!status.ok() || !path.ends_with(".log")) return status;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    result->reset(new PreparedFile(std::move(*result), fd, path, watch_, make_room_));
    return status;
  }

 private:
  WalWatch& watch_;
  const PreparedFile::MakeRoom make_room_;
};

}  // namespace

void WalWatch::arm(std::function<void()> told) {
  const std::lock_guard lock(mutex_);
  appended_ = false;
  named_ = true;
  called_ = false;
  thread_ = std::this_thread::get_id();
  told_ = std::move(told);
}

bool WalWatch::disarm() {
  const std::lock_guard lock(mutex_);
  told_ = {};
  return called_;
}

void WalWatch::appended(const void* file) {
  const std::lock_guard lock(mutex_);
  unsynced_.insert(file);
  if (std::this_thread::get_id() == thread_) appended_ = true;
}

void WalWatch::synced(const void* file, bool first) {
  std::function<void()> told;
  {
    const std::lock_guard lock(mutex_);
    unsynced_.erase(file);
    if (first) named_ = false;
    if (!named_ || !appended_ || !unsynced_.empty() || std::this_thread::get_id() != thread_) return;
    told = std::exchange(told_, {});
    if (told) called_ = true;
  }
  if (told) told();
}

std::unique_ptr<rocksdb::Env> with_prepared_wal(rocksdb::Env* base, WalWatch& watch,
                                                const std::function<void(std::uint64_t)>& make_room) {
  if (base == nullptr) base = rocksdb::Env::Default();
  return rocksdb::NewCompositeEnv(
      std::make_shared<PreparedFileSystem>(base->GetFileSystem(), watch, make_room));
}

}  // namespace storage
