#include "storage/state_store.h"

#include <fmt/format.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "chat/retention.h"
#include "chat/rows.h"
#include "chat/versions.h"
#include "storage/database_figures.h"
#include "storage/folders.h"
#include "storage/forget.h"
#include "storage/steady.h"

namespace storage {

namespace {

/// Applied slots are written together: after this long, at this many, or when someone reads.
constexpr std::chrono::milliseconds gather{2};
constexpr std::size_t batch_slots = 64;
/// Asking what a crash would leave takes a look into the tables.
constexpr std::chrono::nanoseconds durable_every = std::chrono::milliseconds{250};

rocksdb::WriteOptions unlogged() {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  return options;
}

constexpr std::string_view move_away =
    "If it is damaged, stop the replica and move this folder away: the log next to it redoes the state";

/// The rules that a slot's rows leave in force; 0: they don't say.
std::uint16_t rules_after(const std::vector<chat::Row>& rows) {
  for (const chat::Row& row : rows)
    if (row.key == chat::rows::meta() && row.value && row.value->size() > 1)
      return static_cast<std::uint8_t>((*row.value)[1]);
  return 0;
}

bool have_families(std::uint16_t rules) {
  return rules >= chat::rules_first && rules <= chat::formats.size() &&
         chat::formats_of(rules).log >= families_format;
}

/// The keys from `from` on that are of one family, up to `to`: they lie together, for the first byte says
/// which.
struct Stretch {
  Family family;
  std::string end;  ///< the first key that is not in it
};
std::vector<std::pair<std::string, Stretch>> stretches(std::string_view from, std::string_view to) {
  std::vector<std::pair<std::string, Stretch>> out;
  std::string at(from);
  for (const char own : {chat::rows::family_hash, chat::rows::family_journal, chat::rows::family_message}) {
    for (const std::string& end : {chat::rows::family_begin(own), chat::rows::family_end(own)}) {
      if (at >= to) return out;
      if (at >= end) continue;
      const std::string stop = std::min<std::string>(std::string(to), end);
      out.push_back({at, {.family = family_of_row(at), .end = stop}});
      at = stop;
    }
  }
  if (at < to) out.push_back({at, {.family = family_of_row(at), .end = std::string(to)}});
  return out;
}

/// Rows at one point of time.
class Snapshot final : public chat::RowReader {
 public:
  enum class Cache : std::uint8_t { filled, passed_by };
  /// `persisted`: get() looks at what a crash would leave only.
  explicit Snapshot(const Families& families, bool persisted = false, Cache cache = Cache::filled)
      : families_(families), snapshot_(families.db().GetSnapshot()) {
    options_.fill_cache = cache == Cache::filled;
    if (persisted) options_.read_tier = rocksdb::kPersistedTier;
    options_.snapshot = snapshot_;
    options_.verify_checksums = true;
  }
  ~Snapshot() override { families_.db().ReleaseSnapshot(snapshot_); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  using Visit = std::function<bool(std::string_view, std::string_view)>;
  void scan(std::string_view from, std::string_view to, const Visit& visit) const override {
    for (const auto& [begin, stretch] : stretches(from, to)) {
      Rows rows(families_, options_, stretch.family);
      for (rows.seek(begin); rows.valid() && rows.key() < stretch.end; rows.next())
        if (!visit(rows.key(), rows.value())) return;
      check(rows.status());
    }
  }
  void scan_back(std::string_view from, std::string_view to, const Visit& visit) const override {
    const auto parts = stretches(from, to);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      Rows rows(families_, options_, part->second.family);
      for (rows.seek_before(part->second.end); rows.valid() && rows.key() >= part->first; rows.prev())
        if (!visit(rows.key(), rows.value())) return;
      check(rows.status());
    }
  }
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
    std::string value;
    const rocksdb::Status status = families_.get(options_, family_of_row(key), key, value);
    if (status.IsNotFound()) return std::nullopt;
    check(status);
    return value;
  }

 private:
  /// An iterator that meets damage just ends: without this, half of a room would look like all of it.
  static void check(const rocksdb::Status& status) {
    if (!status.ok()) throw StateDamage("it does not read: " + status.ToString());
  }

  const Families& families_;
  const rocksdb::Snapshot* snapshot_;
  rocksdb::ReadOptions options_;
};

}  // namespace

std::vector<Family> state_families() { return {Family::rest, Family::journal, Family::hashes, Family::runs}; }

void read_state(const Families& families, const std::function<void(const chat::RowReader&)>& use) {
  const Snapshot snapshot(families);
  use(snapshot);
}

std::string StateStore::flush() const {
  const rocksdb::Status status = families_.flush();
  return status.ok() ? std::string() : where_ + ": " + status.ToString();
}

std::string StateStore::copy_to(const std::filesystem::path& folder) const {
  rocksdb::Checkpoint* checkpoint = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(&families_.db(), &checkpoint);
  const std::unique_ptr<rocksdb::Checkpoint> owner(checkpoint);
  // 0: what the memory tables hold is written first, since there is no log of its own.
  if (status.ok()) status = checkpoint->CreateCheckpoint(folder.string(), 0);
  return status.ok() ? std::string() : where_ + ": " + status.ToString();
}

tl::expected<std::unique_ptr<StateStore>, std::string> StateStore::open(const OpenOptions& options,
                                                                        const LogStore& log, bool* damaged) {
  std::unique_ptr<StateStore> store(new StateStore(log));
  store->where_ = (options.directory / "state").string();
  std::error_code error;
  std::filesystem::create_directories(store->where_, error);
  const rocksdb::Status status = store->families_.open(
      database_options(static_cast<rocksdb::Env*>(options.env)), store->where_, state_families());
  // What a file system refuses (its rights, its room, a sector) is another matter: there the same files may
  // read later.
  if (damaged != nullptr) *damaged = status.IsCorruption() || status.IsNotFound() || status.IsPathNotFound();
  if (!status.ok())
    return tl::make_unexpected(
        fmt::format("{}: the state does not open: {}. {}", store->where_, status.ToString(), move_away));
  return store;
}

void StateStore::with_reader(const std::function<void(const chat::RowReader&)>& use) const {
  read_state(families_, use);
}

std::string StateStore::forget(const std::vector<chat::Row>& rows, std::atomic<bool>& stopping) const {
  std::vector<Forgotten> keys;
  for (const chat::Row& row : rows) keys.push_back({.family = family_of_row(row.key), .key = row.key});
  const std::string why = forget_older(families_, where_, keys, unlogged(), stopping);
  return why.empty() ? why : where_ + ": " + why;
}

DatabaseFigures StateStore::database_figures() const { return figures_of(families_, where_); }

void StateStore::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

StateStore::~StateStore() {
  stop();
  if (families_.is_open()) static_cast<void>(families_.flush());
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
    tell_durable();
  }
}

void StateStore::run(const ReadJob& job) {
  try {
    const Snapshot snapshot(families_);
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
             .log_first = [this] { return log_.first_slot(); },
             .pass =
                 [this](std::string_view from, std::size_t bytes_max, std::size_t& bytes) {
                   const Snapshot all(families_, false, Snapshot::Cache::passed_by);
                   const std::string behind_all(1, '\xff');
                   std::optional<std::string> next;
                   std::size_t read = 0;
                   all.scan(from, behind_all, [&](std::string_view key, std::string_view value) {
                     if (read >= bytes_max) {
                       next = key;
                       return false;
                     }
                     read += key.size() + value.size();
                     return true;
                   });
                   bytes += read;
                   return next;
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
    const std::string what = fmt::format("{}: {}", where_, damage.what());
    completions_.damaged({.store = Damage::Store::state, .slot = std::nullopt, .what = what});
    if (job.unread) job.unread(what);
  }
}

void StateStore::tell_durable() {
  const std::int64_t now = steady_ns();
  if (now - durable_asked_ns_ < durable_every.count()) return;
  durable_asked_ns_ = now;
  try {
    const auto mark = chat::read_applied(Snapshot(families_, true));
    if (!mark || mark->slot <= durable_) return;
    durable_ = mark->slot;
    completions_.state_durable(durable_);
  } catch (const StateDamage&) {  // who reads it in earnest says so
  }
}

void StateStore::drop_hashes(paxos::Slot below) {
  read(
      [this, below](const Storage::Reader&) {
        if (const std::string why = delete_hashes(below); !why.empty()) completions_.failed(why);
      },
      {});
}

/// A block between two that are kept at a time, from the last one down to where nothing is left.
std::string StateStore::delete_hashes(paxos::Slot below) {
  constexpr std::uint64_t stride = chat::rows::hash_stride;
  for (std::uint64_t block = below.n / stride + 1; block-- > 0;) {
    const std::string from = chat::rows::hash({block * stride + 1});
    const std::string to = chat::rows::hash({std::min(below.n, (block + 1) * stride)});
    if (from >= to) continue;
    {
      Rows at(families_, {}, Family::hashes);
      at.seek(from);
      if (!at.valid() || at.key() >= to) {
        if (!at.status().ok()) return where_ + ": " + at.status().ToString();
        return {};
      }
    }
    rocksdb::WriteBatch batch;
    families_.remove_range(batch, Family::hashes, from, to);
    const auto status = families_.db().Write(unlogged(), &batch);
    if (!status.ok())
      return fmt::format("{}: deleting hashes of slots below {}: {}", where_, below.n, status.ToString());
  }
  return {};
}

void StateStore::forget_messages(chat::MessageName keep_from) {
  read(
      [this, keep_from = std::move(keep_from)](const Storage::Reader& reader) {
        if (const std::string why = delete_messages(reader.rows, keep_from); !why.empty())
          completions_.failed(why);
      },
      {});
}

/// By ranges: one entry for each, however many rows there are. From the first row that is there on, so that
/// ranges don't lie over one another.
std::string StateStore::delete_messages(const chat::RowReader& rows, const chat::MessageName& keep_from) {
  const chat::ForgottenRows gone = chat::forgotten_rows(rows, keep_from.room, keep_from.seq);
  if (gone.below == 0) return {};
  rocksdb::WriteBatch batch;
  families_.remove_range(batch, Family::runs, gone.runs_from, gone.runs_to);
  // What this replica has taken off its log stays known, so that a copy that comes late is known as one.
  const std::string end = chat::rows::redaction(keep_from.room, gone.below);
  std::string from;
  rows.scan(chat::rows::redaction(keep_from.room, 0), end, [&](std::string_view key, std::string_view) {
    from = key;
    return false;
  });
  if (!from.empty()) families_.remove_range(batch, Family::rest, from, end);
  if (const auto status = families_.db().Write(unlogged(), &batch); !status.ok())
    return fmt::format("{}: deleting messages of a room below {}: {}", where_, gone.below, status.ToString());
  return {};
}

bool StateStore::failed(paxos::Slot slot, const rocksdb::Status& status) const {
  std::string why = fmt::format("{}: writing slot {}: {}", where_, slot.n, status.ToString());
  // Met where RocksDB moves rows, which it does again after every start.
  if (status.IsCorruption()) {
    mark_damaged(where_, why);
    why += ". The next start puts it aside and makes the state again";
  }
  completions_.failed(std::move(why));
  return false;
}

tl::expected<void, std::string> StateStore::use_rules(std::uint16_t rules) {
  if (!have_families(rules) || families_.split()) return {};
  if (const rocksdb::Status status = families_.make(); !status.ok())
    return tl::make_unexpected(fmt::format("{}: making its column families: {}", where_, status.ToString()));
  return {};
}

/// Writes the run of slots that starts at `at` as one batch.
bool StateStore::write_all(const std::deque<std::variant<Write, ReadJob>>& items, std::size_t& at) {
  rocksdb::WriteBatch batch;
  paxos::Slot last;
  std::size_t bytes = 0;
  for (; at < items.size() && batch.GetDataSize() < (1u << 20); ++at) {
    const auto* write = std::get_if<Write>(&items[at]);
    if (write == nullptr) break;
    // The slot that raises the rules: its rows are the first that lie apart, those before go ahead of it.
    if (!families_.split() && have_families(rules_after(write->rows))) {
      if (batch.Count() > 0) break;
      if (const rocksdb::Status status = families_.make(); !status.ok()) return failed(write->slot, status);
    }
    for (const chat::Row& row : write->rows) {
      const Family family = family_of_row(row.key);
      if (row.value)
        families_.put(batch, family, row.key, *row.value);
      else
        families_.remove(batch, family, row.key);
    }
    last = write->slot;
    bytes += write->bytes;
  }
  const rocksdb::Status status = families_.db().Write(unlogged(), &batch);
  backlog_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  return status.ok() || failed(last, status);
}

}  // namespace storage
