#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <utility>

#include "chat/snapshot.h"
#include "chat/snapshot_puller.h"
#include "chat/snapshot_source.h"

namespace storage {

class StateFolder;
class StateStore;

/// The files of the snapshot that this replica serves, and of the one that it pulls (docs/DISK.md), on a
/// thread of their own that holds up neither of the two stores. Calls come from any thread, are carried out
/// in their order, and answered on that thread; whoever asks only queues the answer.
class SnapshotFiles {
 public:
  /// What an earlier life left. Clears away what is of no use.
  SnapshotFiles(std::filesystem::path directory, void* env, StateStore& state);
  ~SnapshotFiles();

  struct Served {
    chat::SnapshotId id;
    std::uint64_t bytes = 0;  ///< about
  };
  /// Before start().
  [[nodiscard]] const std::optional<Served>& found_served() const { return found_served_; }
  [[nodiscard]] const std::optional<chat::SnapshotProgress>& found_staged() const { return found_staged_; }
  /// `failed`: what is pulled can't be written. `lost`: what is served had to go.
  void start(std::function<void(std::string)> failed, std::function<void()> lost);
  /// Nothing more is begun; what runs ends soon. To be called before the state goes.
  void stop();

  // --- served ---

  using Made = tl::expected<chat::SnapshotSource::Made, std::string>;
  /// Of all rows that were given to the state before.
  void make(const paxos::Incarnation& source, std::uint64_t number, std::function<void(Made)> done);
  /// Nothing where it does not read, or is not this one any more.
  void read(const chat::SnapshotId& id, chat::SnapshotPlace from, std::size_t bytes,
            std::function<void(std::optional<chat::SnapshotChunk>)> done);
  /// A piece at a time, between other work. Not answered where it does not read.
  void count_served(std::function<void(const chat::SnapshotId&, const chat::SnapshotSum&)> done);
  void drop_served();
  /// A state that was put aside goes, once the rows that the present one has by now are on the disk.
  void drop_put_aside();
  /// Like drop_served(), for a redaction, at once: a snapshot keeps files that hold what is to be gone. What
  /// is wrong, or nothing.
  [[nodiscard]] std::string forget();

  // --- staged ---

  /// What is staged goes.
  void begin();
  void write(chat::SnapshotPuller::Write write, std::function<void()> done);
  using Counted = std::optional<std::pair<chat::SnapshotSum, chat::AppliedMark>>;
  void count_staged(std::function<void(Counted)> done);
  /// The next start takes it for its state.
  void finish(chat::SnapshotProgress progress, std::function<void()> done);

 private:
  using Job = std::function<void()>;
  void enqueue(Job job);
  void work();
  void count_some();
  [[nodiscard]] Made make_now(const paxos::Incarnation& source, std::uint64_t number);
  [[nodiscard]] std::string drop_now();
  [[nodiscard]] std::string flush_staged();
  [[nodiscard]] std::string open_staged();

  const std::filesystem::path directory_;
  void* env_;
  StateStore& state_;
  std::function<void(std::string)> failed_;
  std::function<void()> lost_;
  std::optional<Served> found_served_;
  std::optional<chat::SnapshotProgress> found_staged_;

  // Own thread, once started; all but staged_ also under files_mutex_.
  std::mutex files_mutex_;  ///< held while files of the snapshot that is served are used
  std::optional<Served> served_;
  std::unique_ptr<StateFolder> served_rows_;
  std::unique_ptr<StateFolder> staged_;
  std::size_t unflushed_ = 0;
  std::int64_t flushed_at_ns_ = 0;
  struct Counting {
    chat::SnapshotCount count;
    std::function<void(const chat::SnapshotId&, const chat::SnapshotSum&)> done;
  };
  std::optional<Counting> counting_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;  ///< guarded by mutex_
  bool stopping_ = false;  ///< guarded by mutex_
  std::thread thread_;
};

/// What a start has to do about a snapshot that is complete, before it opens anything: it is the state from
/// now on, unless the state is further already. Any crash in between is put right by the next start. What is
/// wrong, or nothing.
[[nodiscard]] std::string install_snapshot(const std::filesystem::path& directory, void* env);

/// The slot below which the log of this state may begin, since the state came as a snapshot; nothing: it did
/// not.
[[nodiscard]] std::optional<paxos::Slot> installed_slot(const chat::RowReader& rows);

}  // namespace storage
