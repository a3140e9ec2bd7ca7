#include "storage/state_store.h"

#include <fmt/format.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <chrono>
#include <utility>

#include "storage/database_figures.h"
#include "storage/steady.h"

namespace storage {

namespace {

/// Applied slots are written together: after this long, at this many, or when someone reads.
constexpr std::chrono::milliseconds gather{2};
constexpr std::size_t batch_slots = 64;

rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }

rocksdb::Options state_options(const OpenOptions& o) {
  rocksdb::Options options;
  if (o.env != nullptr) options.env = static_cast<rocksdb::Env*>(o.env);
  options.create_if_missing = true;
  options.paranoid_checks = true;
  // Without a log of its own, what a full buffer holds is what a restart applies again.
  options.write_buffer_size = 8u << 20;
  options.max_write_buffer_number = 2;
  options.max_background_jobs = 2;
  options.max_open_files = 64;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1u << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(4u << 20);
  table.cache_index_and_filter_blocks = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

constexpr std::string_view move_away =
    "If it is damaged, stop the replica and move this folder away: the log next to it redoes the state";

/// Rows at one point of time.
class Snapshot final : public chat::RowReader {
 public:
  explicit Snapshot(rocksdb::DB& db) : db_(db), snapshot_(db.GetSnapshot()) {
    options_.snapshot = snapshot_;
    options_.verify_checksums = true;
  }
  ~Snapshot() override { db_.ReleaseSnapshot(snapshot_); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  void scan(std::string_view from, std::string_view to,
            const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    const std::unique_ptr<rocksdb::Iterator> at(db_.NewIterator(options_));
    for (at->Seek(slice(from)); at->Valid() && at->key().ToStringView() < to; at->Next())
      if (!visit(at->key().ToStringView(), at->value().ToStringView())) return;
    check(at->status());
  }
  void scan_back(std::string_view from, std::string_view to,
                 const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    const std::unique_ptr<rocksdb::Iterator> at(db_.NewIterator(options_));
    at->SeekForPrev(slice(to));
    if (at->Valid() && at->key().ToStringView() == to) at->Prev();
    for (; at->Valid() && at->key().ToStringView() >= from; at->Prev())
      if (!visit(at->key().ToStringView(), at->value().ToStringView())) return;
    check(at->status());
  }
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
    std::string value;
    const rocksdb::Status status = db_.Get(options_, slice(key), &value);
    if (status.IsNotFound()) return std::nullopt;
    check(status);
    return value;
  }

 private:
  /// An iterator that meets damage just ends: without this, half of a room would look like all of it.
  static void check(const rocksdb::Status& status) {
    if (!status.ok()) throw StateDamage("it does not read: " + status.ToString());
  }

  rocksdb::DB& db_;
  const rocksdb::Snapshot* snapshot_;
  rocksdb::ReadOptions options_;
};

}  // namespace

tl::expected<std::unique_ptr<StateStore>, std::string> StateStore::open(const OpenOptions& options,
                                                                        const LogStore& log) {
  std::unique_ptr<StateStore> store(new StateStore(log));
  store->where_ = (options.directory / "state").string();
  std::error_code error;
  std::filesystem::create_directories(store->where_, error);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(state_options(options), store->where_, &db);
  if (!status.ok())
    return tl::make_unexpected(
        fmt::format("{}: the state does not open: {}. {}", store->where_, status.ToString(), move_away));
  store->db_.reset(db);
  return store;
}

void StateStore::with_reader(const std::function<void(const chat::RowReader&)>& use) const {
  const Snapshot snapshot(*db_);
  use(snapshot);
}

DatabaseFigures StateStore::database_figures() const { return figures_of(*db_, where_); }

StateStore::~StateStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (db_) db_->Flush(rocksdb::FlushOptions());
}

void StateStore::start(const Completions& completions) {
  completions_ = completions;
  thread_ = std::thread([this] { work(); });
}

void StateStore::write(paxos::Slot slot, std::vector<chat::Row> rows) {
  std::size_t bytes = 0;
  for (const chat::Row& row : rows) bytes += row.key.size() + (row.value ? row.value->size() : 0);
  backlog_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    queue_.emplace_back(Write{slot, std::move(rows), bytes});
    if (queue_.size() > 1 && queue_.size() != batch_slots) return;  // it is awake, and gathers
  }
  wake_.notify_one();
}

void StateStore::read(std::function<void(const Storage::Reader&)> job, Storage::Unread unread) {
  {
    const std::lock_guard lock(mutex_);
    queue_.emplace_back(ReadJob{std::move(job), std::move(unread)});
    reads_ = true;
  }
  wake_.notify_one();
}

void StateStore::work() {
  std::deque<std::variant<Write, ReadJob>> items;
  for (;;) {
    items.clear();
    work_started_ns_.store(0, std::memory_order_relaxed);
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      // Nobody waits for rows but readers. Gathering a few slots leaves the processor to those who vote.
      wake_.wait_for(lock, gather, [this] { return stopping_ || reads_ || queue_.size() >= batch_slots; });
      if (queue_.empty()) return;
      items.swap(queue_);
      reads_ = false;
    }
    for (std::size_t at = 0; at < items.size();) {
      work_started_ns_.store(steady_ns(), std::memory_order_relaxed);
      if (auto* job = std::get_if<ReadJob>(&items[at])) {
        run(*job);
        ++at;
      } else if (!write_all(items, at)) {
        return;
      }
    }
  }
}

void StateStore::run(const ReadJob& job) {
  try {
    const Snapshot snapshot(*db_);
    job.run({.rows = snapshot,
             .log =
                 [this](paxos::Slot from, paxos::Slot to, std::size_t bytes_max) {
                   paxos::Slot damaged;
                   auto entries = log_.read(from, to, bytes_max, &damaged);
                   if (!entries)
                     completions_.damaged(
                         {.store = Damage::Store::log, .slot = damaged, .what = entries.error()});
                   return entries;
                 },
             .log_own =
                 [this] {
                   auto whole = log_.check_own();
                   if (!whole)
                     completions_.damaged(
                         {.store = Damage::Store::log, .slot = std::nullopt, .what = whole.error()});
                   return whole;
                 }});
  } catch (const StateDamage& damage) {
    const std::string what = fmt::format("{}: {}. {}", where_, damage.what(), move_away);
    completions_.damaged({.store = Damage::Store::state, .slot = std::nullopt, .what = what});
    if (job.unread) job.unread(what);
  }
}

/// Writes the run of slots that starts at `at` as one batch.
bool StateStore::write_all(const std::deque<std::variant<Write, ReadJob>>& items, std::size_t& at) {
  rocksdb::WriteBatch batch;
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  paxos::Slot last;
  std::size_t bytes = 0;
  for (; at < items.size() && batch.GetDataSize() < (1u << 20); ++at) {
    const auto* write = std::get_if<Write>(&items[at]);
    if (write == nullptr) break;
    for (const chat::Row& row : write->rows) {
      if (row.value)
        batch.Put(row.key, *row.value);
      else
        batch.Delete(row.key);
    }
    last = write->slot;
    bytes += write->bytes;
  }
  const rocksdb::Status status = db_->Write(options, &batch);
  backlog_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  if (status.ok()) return true;
  completions_.failed(fmt::format("{}: writing slot {}: {}{}{}", where_, last.n, status.ToString(),
                                  status.IsCorruption() ? ". " : "", status.IsCorruption() ? move_away : ""));
  return false;
}

}  // namespace storage
