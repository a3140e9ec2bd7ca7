#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"
#include "chat/redaction.h"
#include "paxos/records.h"
#include "storage/damage.h"
#include "storage/latency.h"
#include "storage/space_figures.h"

/// RocksDB behind two threads: log/ (synced groups) and state/ (applied rows, no WAL).
namespace storage {

/// Why a directory cannot be opened: for the operator, with the path and what to do.
struct OpenError {
  std::string message;
};

struct OpenOptions {
  std::filesystem::path directory;  ///< of one replica; log/ and state/ live inside
  std::string cluster_id;           ///< uuid of the config; another cluster's directory is refused
  paxos::ReplicaId replica;
  std::size_t replicas = 3;
  /// Filled by the caller from the operating system; used when the directory is empty.
  paxos::Incarnation fresh_incarnation;
  std::uint64_t life = 0;         ///< of this start, random; 0: it has none (paxos/lives.h)
  std::uint16_t rules_known = 1;  ///< the highest rules that this program knows (chat/versions.h)
  /// For fault tests: the file system under RocksDB (a rocksdb::Env*), else the default one.
  void* env = nullptr;
  class Space* space = nullptr;  ///< open() sets it
  /// Bytes kept in a file that can be given up (storage/space.h). 0: none; nothing: as much as fits the
  /// volume.
  std::optional<std::uint64_t> reserve = 0;
  /// How often a full volume is looked at.
  paxos::Duration look_every{std::chrono::milliseconds{50}};
  /// Nonempty: the state that is there does not read, for this reason: it is put aside, and made again.
  std::string renew_state;
  /// How long the log thread looks for work before it sleeps, under a steady load (paxos/patience.h).
  paxos::Duration busy_poll{};
};

/// Completions, posted from storage threads. The receiver must only queue them and wake the loop.
struct Completions {
  std::function<void(std::uint64_t group)> synced;  ///< this group and all before it are on disk
  /// A write or a sync failed: final. The daemon stops voting and exits.
  std::function<void(std::string error)> failed;
  /// A reader met a record that does not read; each time that one does.
  std::function<void(Damage damage)> damaged = [](const Damage&) {};
  /// The rows of every slot up to here are on the disk, and a crash leaves them there. Told now and then.
  std::function<void(paxos::Slot slot)> state_durable = [](paxos::Slot) {};
  /// What the volume has room for has changed.
  std::function<void(const SpaceFigures& space)> room = [](const SpaceFigures&) {};
};

/// One RocksDB's own figures.
struct DatabaseFigures {
  std::uint64_t memtable_bytes = 0;
  std::uint64_t sst_bytes = 0;  ///< live tables and blob files
  std::uint64_t wal_bytes = 0;  ///< on disk, zeros written ahead included
  std::uint64_t cache_bytes = 0;
  std::uint64_t pending_compaction_bytes = 0;  ///< an estimate
  std::uint64_t compactions_running = 0;
  std::uint64_t background_errors = 0;
};

class SnapshotFiles;  // storage/snapshot_files.h

/// One replica's storage. Constructed by open(); its threads run until destruction.
/// Public members: any thread unless said otherwise.
class Storage {
 public:
  struct Opened;
  [[nodiscard]] static tl::expected<Opened, OpenError> open(const OpenOptions& options);
  ~Storage();  ///< joins the threads after the queued work; see abandon()

  /// Starts the threads. Before this, nothing is written but what open() itself synced.
  void start(Completions completions);

  /// Queues one atomic group; groups must come with dense, ascending numbers (last_group + 1, …). The log
  /// thread takes all that waits, and writes and syncs it at once.
  void append(std::uint64_t group, std::vector<paxos::Record> records);

  /// Queues the rows of applied slots, in order.
  void write_state(paxos::Slot slot, std::vector<chat::Row> rows);

  /// Deletes the hashes of slots below, but that of each 4,096th one (chat::rows::hash_stride), after all
  /// write_state() queued before.
  void drop_hashes(paxos::Slot below);

  /// Deletes the runs of messages before the one that holds this message of the room, and what is said about
  /// messages in them, after all write_state() queued before. Their room takes as little time as a few rows
  /// do, however many they are; their place in the files comes free by and by.
  void forget_messages(chat::MessageName keep_from);

  /// Bytes of rows that were given to write_state() and are not written yet.
  [[nodiscard]] std::size_t state_backlog_bytes() const;

  /// Runs `job` on the state thread, after all write_state() queued before it; it must be short. The
  /// reader is a snapshot. A row that does not read ends the job there, and `unread` is called in its place
  /// with the reason.
  struct Reader {
    const chat::RowReader& rows;
    /// Log entries from..to that exist, ascending, until they take about `bytes_max` bytes of memory, but at
    /// least one; damage is an error.
    std::function<tl::expected<std::vector<paxos::LogEntry>, std::string>(paxos::Slot from, paxos::Slot to,
                                                                          std::size_t bytes_max)>
        log;
    /// The log's first slot: below it there is nothing.
    std::function<paxos::Slot()> log_first;
    /// Reads the state's rows from `from` on, past the cache, until they are about `bytes_max`; adds to
    /// `bytes` what they are. Where the next ones begin; nothing: there are no more.
    std::function<std::optional<std::string>(std::string_view from, std::size_t bytes_max,
                                             std::size_t& bytes)>
        pass;
    /// Reads the log's records about the replica itself; damage is an error.
    std::function<tl::expected<void, std::string>()> log_own;
  };
  using Unread = std::function<void(const std::string& why)>;
  void read(std::function<void(const Reader&)> job, Unread unread = {});

  /// Writes the rows after all write_state() queued before, then has both databases' files rid of what stood
  /// there, and in the records of those slots, before; their new records are synced. On a thread of its own,
  /// which holds up neither of the two. `done` is called once, with what is wrong or nothing; never when this
  /// ends first. One at a time.
  void erase(chat::Erasure erasure, std::function<void(std::string why)> done);

  /// Where a state that did not read was put aside, it is deleted, once all write_state() queued before is on
  /// the disk: that has to have all that it had. On a thread that holds up nobody.
  void drop_put_aside();

  /// The files of snapshots; to be started by itself, after start().
  [[nodiscard]] SnapshotFiles& snapshots();

  /// When the oldest piece of work began that either thread has under way (steady clock, ns since its epoch);
  /// 0 when there is none. A log sync counts from when its group could have been taken.
  [[nodiscard]] std::int64_t oldest_work_started_ns() const;

  struct Figures {
    std::uint64_t groups = 0;
    std::uint64_t syncs = 0;
    std::uint64_t bytes = 0;
    std::uint64_t sync_ns_max = 0;
    Latency::Figures sync_latency;
  };
  [[nodiscard]] Figures figures() const;

  struct DiskFigures {
    DatabaseFigures log;
    DatabaseFigures state;
    std::uint64_t free_bytes = 0;  ///< of the file system, for this user
    std::uint64_t size_bytes = 0;
  };
  /// As of the last look at the volume.
  [[nodiscard]] SpaceFigures space() const;

  /// Asks RocksDB and the file system, and may wait for them: any thread but the loop.
  [[nodiscard]] DiskFigures disk_figures() const;

 private:
  class Impl;
  explicit Storage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct Storage::Opened {
  std::unique_ptr<Storage> storage;
  paxos::Recovered recovered;
  chat::Machine machine;
  /// Why the state was put aside at this start, and is to be made again; empty: it was not.
  std::string put_aside;
  bool has_put_aside = false;  ///< now, or at an earlier start: see Storage::drop_put_aside()
};

}  // namespace storage
