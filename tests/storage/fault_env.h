#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace storage::test {

/// A disk that fails when told to, under RocksDB: counts every append and every sync of every file; from the
/// `fail_from`th on it fails the chosen kind (for good: a broken disk, a full one), or only that one (a
/// hiccup that must not be retried and believed: what a failed sync was to write is lost, whatever a later
/// sync of the file says). Remembers how far each file was synced, for drop_unsynced().
class FaultDisk {
 public:
  enum class Fault { none, append, sync, any, full };

  FaultDisk() : files_(std::make_shared<Files>(*this)), env_(rocksdb::NewCompositeEnv(files_)) {}
  [[nodiscard]] rocksdb::Env* env() { return env_.get(); }

  void fail(Fault fault, std::uint64_t from, bool once) {
    const std::lock_guard lock(mutex_);
    fault_ = fault;
    from_ = from;
    once_ = once;
    operations_ = 0;
    faults_ = 0;
  }
  void heal() { fail(Fault::none, 0, false); }
  /// Appends and syncs that the chosen kind counts, since fail().
  [[nodiscard]] std::uint64_t operations() {
    const std::lock_guard lock(mutex_);
    return operations_;
  }
  [[nodiscard]] std::uint64_t faults() {
    const std::lock_guard lock(mutex_);
    return faults_;
  }

  /// The power goes: what no sync covered is gone. All stores on this disk are closed.
  void drop_unsynced() {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, synced] : synced_) {
      std::error_code error;
      if (std::filesystem::file_size(name, error) > synced && !error)
        std::filesystem::resize_file(name, synced, error);
    }
  }

 private:
  rocksdb::IOStatus step(Fault kind) {
    const std::lock_guard lock(mutex_);
    const bool counts =
        fault_ == Fault::any || fault_ == kind || (fault_ == Fault::full && kind == Fault::append);
    if (!counts) return rocksdb::IOStatus::OK();
    ++operations_;
    if (operations_ < from_ || (once_ && operations_ > from_)) return rocksdb::IOStatus::OK();
    ++faults_;
    if (fault_ == Fault::full) return rocksdb::IOStatus::NoSpace("No space left on device");
    return rocksdb::IOStatus::IOError(kind == Fault::sync ? "injected: sync" : "injected: append");
  }

  class File final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(FaultDisk& disk, std::string name, std::unique_ptr<rocksdb::FSWritableFile>&& file)
        : FSWritableFileOwnerWrapper(std::move(file)), disk_(disk), name_(std::move(name)) {}

    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      if (auto status = disk_.step(Fault::append); !status.ok()) return status;
      auto status = FSWritableFileOwnerWrapper::Append(data, options, debug);
      if (status.ok()) size_ += data.size();
      return status;
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo&, rocksdb::IODebugContext* debug) override {
      return Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return synced(FSWritableFileOwnerWrapper::Sync(options, debug));
    }
    rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return synced(FSWritableFileOwnerWrapper::Fsync(options, debug));
    }
    rocksdb::IOStatus RangeSync(std::uint64_t, std::uint64_t, const rocksdb::IOOptions&,
                                rocksdb::IODebugContext*) override {
      return rocksdb::IOStatus::OK();
    }

   private:
    rocksdb::IOStatus synced(rocksdb::IOStatus done) {
      if (auto status = disk_.step(Fault::sync); !status.ok()) {
        disk_.note_lost(name_);
        return status;
      }
      if (done.ok()) disk_.note_synced(name_, size_);
      return done;
    }
    FaultDisk& disk_;
    std::string name_;
    std::uint64_t size_ = 0;
  };

  class Files final : public rocksdb::FileSystemWrapper {
   public:
    explicit Files(FaultDisk& disk) : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(disk) {}
    [[nodiscard]] const char* Name() const override { return "FaultDisk"; }

    rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* out,
                                      rocksdb::IODebugContext* debug) override {
      std::unique_ptr<rocksdb::FSWritableFile> file;
      auto status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
      if (!status.ok()) return status;
      disk_.note_created(name);
      *out = std::make_unique<File>(disk_, name, std::move(file));
      return status;
    }
    rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                                 const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      auto status = FileSystemWrapper::RenameFile(from, to, options, debug);
      if (status.ok()) disk_.note_renamed(from, to);
      return status;
    }
    rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                                 rocksdb::IODebugContext* debug) override {
      disk_.note_deleted(name);
      return FileSystemWrapper::DeleteFile(name, options, debug);
    }

   private:
    FaultDisk& disk_;
  };

  void note_created(const std::string& name) {
    const std::lock_guard lock(mutex_);
    synced_[name] = 0;
    lost_.erase(name);
  }
  void note_synced(const std::string& name, std::uint64_t size) {
    const std::lock_guard lock(mutex_);
    if (!lost_.contains(name)) synced_[name] = size;
  }
  void note_lost(const std::string& name) {
    const std::lock_guard lock(mutex_);
    lost_.insert(name);
  }
  void note_renamed(const std::string& from, const std::string& to) {
    const std::lock_guard lock(mutex_);
    if (auto moved = synced_.extract(from)) synced_[to] = moved.mapped();
    lost_.erase(to);
    if (lost_.erase(from) != 0) lost_.insert(to);
  }
  void note_deleted(const std::string& name) {
    const std::lock_guard lock(mutex_);
    synced_.erase(name);
    lost_.erase(name);
  }

  std::mutex mutex_;
  Fault fault_ = Fault::none;
  std::uint64_t from_ = 0;
  bool once_ = false;
  std::uint64_t operations_ = 0;
  std::uint64_t faults_ = 0;
  std::map<std::string, std::uint64_t> synced_;
  std::set<std::string> lost_;  ///< files of which a sync failed: later ones bring nothing back
  std::shared_ptr<Files> files_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace storage::test
