#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "paxos/types.h"
#include "storage/room_gauge.h"
#include "storage/space_figures.h"

namespace storage {

/// Keeps some of the volume in a file, `reserve`, so that a disk that fills up is noticed before a write
/// fails, and there is something to give up for the writes that must not fail. Looks at the volume on a
/// thread of its own: even that question may hang with a disk. begin() and start(): once; all else: any
/// thread.
class Space {
 public:
  /// `reserve`: bytes; nothing: default_reserve().
  Space(std::filesystem::path directory, std::optional<std::uint64_t> reserve);
  ~Space();
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;

  /// Takes up what an earlier run kept, and gives some of it up where an opening needs it. After this,
  /// figures() has a judgement. Requires: the directory is there, and this process' own.
  void begin();
  /// Looks every so often from now on, more rarely while there is enough, and tells of each change.
  void start(paxos::Duration every, std::function<void(const SpaceFigures&)> changed);
  /// Whoever is about to write so many bytes says so: what the volume lacks is given up for it, as far as the
  /// reserve goes.
  void make_room(std::uint64_t bytes);
  [[nodiscard]] SpaceFigures figures() const;

  /// The environment `base` (nullptr: RocksDB's default), which asks for room before every write but those to
  /// write-ahead logs (with_prepared_wal() does that). This object outlives it.
  [[nodiscard]] std::unique_ptr<rocksdb::Env> env(rocksdb::Env* base);

 private:
  void watch(paxos::Duration every);
  // With disk_ held.
  /// Looks and acts; true when the judgement is another one.
  [[nodiscard]] bool look();
  [[nodiscard]] bool ask();
  void hold(std::uint64_t bytes);
  [[nodiscard]] bool open();
  void show();

  const std::filesystem::path file_;
  const std::filesystem::path directory_;
  const std::optional<std::uint64_t> wanted_;
  std::function<void(const SpaceFigures&)> changed_;

  std::mutex disk_;        ///< whoever holds it may hang with the disk
  int fd_ = -1;            ///< -1: there is no file
  bool supported_ = true;  ///< this file system can keep a file's space
  RoomGauge gauge_;
  SpaceFigures figures_;
  std::uint64_t credit_ = 0;   ///< bytes that can be written before the volume is asked again,
  std::int64_t asked_ns_ = 0;  ///< as long as the last answer is young

  mutable std::mutex mutex_;  ///< of the two below; never held for long
  SpaceFigures shown_;
  bool stopping_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace storage
