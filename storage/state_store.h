#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "storage/families.h"
#include "storage/log_store.h"
#include "storage/stores.h"

namespace storage {

/// A row or block that does not read: thrown by a reader inside a job, so that the job never answers from
/// half of the rows; caught in the same thread, where it ends the job.
struct StateDamage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// That a database with a state's rows has, once the rules say so.
[[nodiscard]] std::vector<Family> state_families();
/// Calls `use` with a reader of one point of time. Throws StateDamage.
void read_state(const Families& families, const std::function<void(const chat::RowReader&)>& use);

/// The state machine's rows: one RocksDB without a write-ahead log (the slot log redoes it), one thread.
/// Its families are flushed as one, so that rows, applied slot and hash reach the disk together.
class StateStore {
 public:
  /// `damaged`: whether that is because its files do not read, where it can't be opened.
  [[nodiscard]] static tl::expected<std::unique_ptr<StateStore>, std::string> open(const OpenOptions& options,
                                                                                   const LogStore& log,
                                                                                   bool* damaged = nullptr);
  ~StateStore();  ///< writes what is queued, flushes
  void start(const Completions& completions);
  /// Writes what is queued and ends the thread; nothing more may be asked for.
  void stop();
  void write(paxos::Slot slot, std::vector<chat::Row> rows);
  void read(std::function<void(const Storage::Reader&)> job, Storage::Unread unread);
  void drop_hashes(paxos::Slot below);
  void forget_messages(chat::MessageName keep_from);
  /// Bytes of rows queued or being written. Any thread.
  [[nodiscard]] std::size_t backlog_bytes() const { return backlog_bytes_.load(std::memory_order_relaxed); }
  /// When the piece of work under way began (steady clock, ns); 0 when there is none. Any thread.
  [[nodiscard]] std::int64_t work_started_ns() const {
    return work_started_ns_.load(std::memory_order_relaxed);
  }
  /// Nothing is left of what stood in these rows before. See forget_older(). Any thread.
  [[nodiscard]] std::string forget(const std::vector<chat::Row>& rows, std::atomic<bool>& stopping) const;
  /// All rows that are written are on the disk when it returns with nothing; else what is wrong. Any thread.
  [[nodiscard]] std::string flush() const;
  /// A copy in a folder that is not there yet, of one slot: files are linked, not copied. What is wrong, or
  /// nothing. Any thread.
  [[nodiscard]] std::string copy_to(const std::filesystem::path& folder) const;
  [[nodiscard]] DatabaseFigures database_figures() const;  ///< any thread; see Storage::disk_figures()
  /// These rules are in force (chat/versions.h): what they have families for goes there. Before start();
  /// later on the rows say it.
  [[nodiscard]] tl::expected<void, std::string> use_rules(std::uint16_t rules);
  /// Calls `use` with a reader, here and now. Before start() only. Throws StateDamage.
  void with_reader(const std::function<void(const chat::RowReader&)>& use) const;

 private:
  struct ReadJob {
    std::function<void(const Storage::Reader&)> run;
    Storage::Unread unread;
  };
  struct Write {
    paxos::Slot slot;
    std::vector<chat::Row> rows;
    std::size_t bytes = 0;
  };
  explicit StateStore(const LogStore& log) : log_(log) {}
  void work();
  void run(const ReadJob& job);
  /// Says so; false.
  bool failed(paxos::Slot slot, const rocksdb::Status& status) const;
  /// Now and then after a write: how far the rows have come to the disk.
  void tell_durable();
  std::string delete_hashes(paxos::Slot below);
  std::string delete_messages(const chat::RowReader& rows, const chat::MessageName& keep_from);
  bool write_all(const std::deque<std::variant<Write, ReadJob>>& items, std::size_t& at);

  const LogStore& log_;
  std::string where_;
  Families families_;  ///< changed by the state thread only
  Completions completions_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::variant<Write, ReadJob>> queue_;  ///< guarded by mutex_
  bool stopping_ = false;                           ///< guarded by mutex_
  bool reads_ = false;                              ///< a reader waits; guarded by mutex_
  std::atomic<std::int64_t> work_started_ns_{0};
  std::atomic<std::size_t> backlog_bytes_{0};
  std::int64_t durable_asked_ns_ = 0;  ///< state thread only
  paxos::Slot durable_;                ///< likewise
  std::thread thread_;
};

}  // namespace storage
