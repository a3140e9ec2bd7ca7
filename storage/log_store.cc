#include "storage/log_store.h"

#include <fmt/format.h>
#include <rocksdb/write_batch.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "chat/versions.h"
#include "paxos/invariant.h"
#include "storage/database_figures.h"
#include "storage/forget.h"
#include "storage/log_format.h"
#include "storage/recovery.h"
#include "storage/space.h"
#include "storage/steady.h"

namespace storage {

namespace {

rocksdb::Slice slice_of(std::string_view text) { return {text.data(), text.size()}; }

rocksdb::DBOptions log_options(rocksdb::Env* env) {
  rocksdb::DBOptions options = database_options(env);
  // Up to the first record that does not read; GroupMark tells torn from damaged. The default, on purpose:
  // the mode that allows recycled files can step over damage in the middle.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // A second net under the chain of groups: the manifest knows each finished file of the log and how long it
  // was.
  options.track_and_verify_wals_in_manifest = true;
  return options;
}

rocksdb::WriteOptions synced() {
  rocksdb::WriteOptions options;
  options.sync = true;
  return options;
}

/// Of a row of the log.
Family family_of(std::string_view key) {
  return !key.empty() && key.front() == log_key::slot_family ? Family::slots : Family::legacy;
}

}  // namespace

tl::expected<std::unique_ptr<LogStore>, std::string> LogStore::open(const OpenOptions& options,
                                                                    paxos::Recovered& recovered) {
  std::unique_ptr<LogStore> store(new LogStore);
  const auto directory = options.directory / "log";
  store->where_ = directory.string();
  store->patience_ = paxos::Patience(options.busy_poll);
  const auto make_room = [space = options.space](std::uint64_t bytes) {
    if (space != nullptr) space->make_room(bytes);
  };
  store->env_ = with_prepared_wal(static_cast<rocksdb::Env*>(options.env), store->wal_, make_room);
  std::error_code error;
  if (!std::filesystem::exists(directory / "CURRENT", error) &&
      std::filesystem::exists(options.directory / "log-mark", error))
    return tl::make_unexpected(
        fmt::format("{}: the log is gone, but its mark is there: the directory is damaged. {}",
                    options.directory.string(), damage_hint));
  store->chain_ = std::make_unique<WalChain>(directory);
  rocksdb::DBOptions db_options = log_options(store->env_.get());
  db_options.wal_filter = store->chain_.get();
  const rocksdb::Status status =
      store->families_.open(db_options, directory.string(), {Family::slots}, slot_blob_bytes);
  if (!store->chain_->fault().empty())
    return tl::make_unexpected(fmt::format("{}: the log is damaged: {}. {}", directory.string(),
                                           store->chain_->fault(), damage_hint));
  if (!status.ok())
    return tl::make_unexpected(fmt::format("{}: the log does not open: {}{}{}", directory.string(),
                                           status.ToString(), status.IsCorruption() ? ". " : "",
                                           status.IsCorruption() ? damage_hint : ""));
  if (auto done = store->mark_.open(options.directory / "log-mark"); !done)
    return tl::make_unexpected(done.error());
  if (auto done = store->recover(options, recovered); !done)
    return tl::make_unexpected(fmt::format("{}: {}", directory.string(), done.error()));
  return store;
}

tl::expected<std::optional<std::string>, std::string> LogStore::get(std::string_view key) const {
  std::string stored;
  // Not from a cache: whoever looks later means the disk.
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const rocksdb::Status status = families_.get(options, Family::legacy, key, stored);
  if (status.IsNotFound()) return std::optional<std::string>{};
  if (!status.ok())
    return tl::make_unexpected(
        fmt::format("'{}' does not read: {}. {}", key, status.ToString(), damage_hint));
  auto value = open_row(key, stored);
  if (!value) return tl::make_unexpected(value.error());
  return std::optional<std::string>(std::move(*value));
}

tl::expected<void, std::string> LogStore::check_own() const {
  for (std::string_view key : {log_key::format, log_key::cluster, log_key::replica, log_key::incarnation,
                               log_key::boot, log_key::birth, log_key::promised, log_key::chosen_prefix,
                               log_key::first_slot, log_key::group, log_key::outdated, log_key::lives})
    if (const auto row = get(key); !row)
      return tl::make_unexpected(fmt::format("{}: {}", where_, row.error()));
  for (std::uint8_t id = 0; id < paxos::limits::replicas_max; ++id)
    if (const auto row = get(log_key::peer({id})); !row)
      return tl::make_unexpected(fmt::format("{}: {}", where_, row.error()));
  return {};
}

tl::expected<void, std::string> LogStore::raise_format(std::uint32_t format) {
  const auto row = raised_format([this](std::string_view key) { return get(key); }, format);
  if (!row) return tl::make_unexpected(row.error());
  if (const auto stored = get(log_key::format); stored && *stored)
    format_ = std::max(format_, static_cast<std::uint32_t>(decode_number(**stored).value_or(0)));
  format_ = std::max(format_, format);
  rocksdb::Status status;
  if (*row) {
    rocksdb::WriteBatch batch;
    batch.Put(slice_of((*row)->key), slice_of((*row)->value));
    status = families_.db().Write(synced(), &batch);
  }
  // A crash may have come between: looked at by every start.
  if (status.ok() && format >= families_format && !families_.split()) status = families_.make();
  if (!status.ok())
    return tl::make_unexpected(
        fmt::format("{}: raising the format to {}: {}", where_, format, status.ToString()));
  return {};
}

tl::expected<void, std::string> LogStore::begin_above(paxos::Slot slot, paxos::Recovered& recovered) {
  if (recovered.first_slot > slot) return {};
  rocksdb::WriteBatch batch;
  const auto put = [&](std::string_view key, paxos::Slot value) {
    batch.Put(slice_of(key), seal_value(key, encode_number(value.n)));
  };
  recovered.first_slot = slot + 1;
  first_slot_ = recovered.first_slot.n;
  put(log_key::first_slot, recovered.first_slot);
  if (recovered.chosen_prefix < slot) put(log_key::chosen_prefix, recovered.chosen_prefix = slot);
  const std::string from = log_key::slot({0});
  const std::string to = log_key::slot(slot + 1);
  families_.remove_range(batch, Family::slots, from, to);
  rocksdb::Status status = families_.db().Write(synced(), &batch);
  // What was redacted meanwhile goes from its files, too.
  if (status.ok()) status = families_.drop_files(Family::slots, from, to);
  std::atomic<bool> never{false};
  if (status.ok()) status = families_.write_anew(Family::slots, from, to, never);
  if (!status.ok())
    return tl::make_unexpected(fmt::format("{}: letting go of slots up to {}, which came as a snapshot: {}",
                                           where_, slot.n, status.ToString()));
  return {};
}

tl::expected<void, std::string> LogStore::recover(const OpenOptions& options, paxos::Recovered& out) {
  const auto fail = [](std::string why) { return tl::make_unexpected(std::move(why)); };
  const LogOwner owner{.cluster_id = options.cluster_id,
                       .replica = options.replica,
                       .fresh_incarnation = options.fresh_incarnation,
                       .life = options.life,
                       .format_known = chat::formats_of(options.rules_known).log};
  const auto rows = recover_log([this](std::string_view key) { return get(key); },
                                {.boot = mark_.boot(), .group = mark_.group()}, owner, out);
  if (!rows) return fail(rows.error());
  rocksdb::WriteBatch batch;
  for (const LogRow& row : *rows) batch.Put(slice_of(row.key), slice_of(row.value));
  promised_ = out.promised;
  appended_ = out.last_group;
  first_slot_ = out.first_slot.n;
  // What was read may have been in the page cache only: a kill is no power cut. Before anything of it is
  // promised again it goes to disk, and the new boot with it.
  if (const auto status = families_.flush(); !status.ok()) return fail("flush: " + status.ToString());
  if (const auto status = families_.db().Write(synced(), &batch); !status.ok())
    return fail("write: " + status.ToString());
  boot_ = out.boot;
  if (!mark_.write(boot_, appended_))
    return fail(fmt::format("the mark can't be written: {}", std::strerror(errno)));
  return {};
}

LogStore::~LogStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void LogStore::start(const Completions& completions) {
  completions_ = completions;
  thread_ = std::thread([this] { work(); });
}

void LogStore::append(std::uint64_t group, std::vector<paxos::Record> records) {
  {
    const std::lock_guard lock(mutex_);
    PAXOS_ASSERT(group == appended_ + 1);
    appended_ = group;
    if (queue_.empty() && sync_started_ns_.load(std::memory_order_relaxed) == 0)
      sync_started_ns_.store(steady_ns(), std::memory_order_relaxed);
    queue_.push_back({group, std::move(records)});
  }
  wake_.notify_one();
}

void LogStore::wait_for_work() {
  const std::int64_t began = steady_ns();
  const std::int64_t until = began + patience_.look().count();
  // append() sets it with the first group that it queues.
  const auto work_came = [this] { return sync_started_ns_.load(std::memory_order_relaxed) != 0; };
  for (std::int64_t at = began; at < until && !work_came();) {
    ::sched_yield();
    const std::int64_t after = steady_ns();
    if (after - at > paxos::Patience::crowded_after.count()) break;
    at = after;
  }
  {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  }
  patience_.came_after(paxos::Duration{steady_ns() - began});
}

void LogStore::work() {
  std::vector<LogGroup> groups;
  for (;;) {
    groups.clear();
    wait_for_work();
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) return;
      groups.swap(queue_);
    }
    if (const std::string error = write(groups); !error.empty()) {
      // Final: nothing is retried, nothing later is acknowledged.
      completions_.failed(where_ + ": " + error);
      return;
    }
  }
}

void LogStore::announce(const std::vector<LogGroup>& groups, std::int64_t began) {
  const auto took = static_cast<std::uint64_t>(steady_ns() - began);
  ++syncs_;
  groups_ += groups.size();
  if (took > sync_ns_max_) sync_ns_max_ = took;
  sync_latency_.add(static_cast<std::int64_t>(took));
  {
    const std::lock_guard lock(mutex_);
    sync_started_ns_.store(queue_.empty() ? 0 : steady_ns(), std::memory_order_relaxed);
  }
  // Before it is told: who hears of a trim and asks then must not hear of the beginning before it.
  if (const std::optional<paxos::Slot> first = trimmed_to(groups)) first_slot_ = first->n;
  completions_.synced(groups.back().number);
}

std::string LogStore::write(const std::vector<LogGroup>& groups) {
  rocksdb::WriteBatch batch;
  const auto put = [&](std::string_view key, const std::string& value) {
    families_.put(batch, family_of(key), key, value);
  };
  const paxos::Ballot promised = each_row(groups, promised_, put);
  // (The rules that go with the next format are in force, and on the disk, before anything that needs it.)
  bool raised = false;
  each_row_of_format(groups, format_, [&](std::string_view key, const std::string& value) {
    put(key, value);
    raised = true;
  });
  const std::optional<paxos::Slot> first = trimmed_to(groups);
  // The same write says where the log begins.
  if (first && *first > first_slot())
    families_.remove_range(batch, Family::slots, log_key::slot({0}), log_key::slot(*first));
  bytes_ += batch.GetDataSize();
  const std::int64_t began = steady_ns();
  // As soon as the record is on disk: what RocksDB does after that only serves readers, and they wait for it.
  std::unique_lock readable(readable_mutex_, std::defer_lock);
  wal_.arm([&] {
    readable.lock();
    announce(groups, began);
  });
  const rocksdb::Status status = families_.db().Write(synced(), &batch);
  const bool told = wal_.disarm();
  if (told) readable.unlock();
  if (!status.ok()) return "a synced write failed: " + status.ToString();
  if (!told) announce(groups, began);
  promised_ = promised;
  if (raised) format_ = trimming_format;
  if (first) {
    if (std::string why = drop_files(*first); !why.empty()) return why;
  }
  if (!mark_.write(boot_, groups.back().number))
    return fmt::format("the mark can't be written: {}", std::strerror(errno));
  return {};
}

std::string LogStore::drop_files(paxos::Slot first) {
  const rocksdb::Status status =
      families_.drop_files(Family::slots, log_key::slot({0}), log_key::slot(first));
  return status.ok() ? std::string() : "dropping files of trimmed slots: " + status.ToString();
}

tl::expected<std::vector<paxos::LogEntry>, std::string> LogStore::read(paxos::Slot first, paxos::Slot last,
                                                                       std::size_t bytes_max,
                                                                       paxos::Slot* damaged) const {
  std::vector<paxos::LogEntry> out;
  // A file that was dropped may have hidden an older record of a trimmed slot.
  first = std::max(first, first_slot());
  if (first > last) return out;
  {
    const std::lock_guard everything_announced_is_readable(readable_mutex_);
  }
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  Rows at(families_, options, Family::slots);
  std::size_t bytes = 0;
  for (at.seek(log_key::slot(first)); at.valid(); at.next()) {
    const std::string_view key = at.key();
    const auto slot = log_key::parse_slot(key);
    if (!slot || *slot > last) break;
    const auto value = open_value(key, at.value());
    auto entry = value ? decode_slot(*slot, *value) : std::nullopt;
    if (!entry) {
      if (damaged != nullptr) *damaged = *slot;
      return tl::make_unexpected(
          fmt::format("{}: the record of slot {} is damaged. {}", where_, slot->n, damage_hint));
    }
    // As it is held: a no-op has no value, and a long run of them is a long answer all the same.
    bytes += sizeof *entry + entry->decree.value.size();
    out.push_back(std::move(*entry));
    // Not one further: what stands behind the last one is nobody's question, and may be damaged.
    if (*slot == last || bytes >= bytes_max) break;
  }
  if (!at.status().ok()) {
    const paxos::Slot from = out.empty() ? first : out.back().slot + 1;
    if (damaged != nullptr) *damaged = from;
    return tl::make_unexpected(
        fmt::format("{}: reading slot {} on: {}. {}", where_, from.n, at.status().ToString(), damage_hint));
  }
  return out;
}

std::string LogStore::forget(const std::vector<paxos::Slot>& slots, std::atomic<bool>& stopping) const {
  {
    const std::lock_guard everything_announced_is_in_the_table(readable_mutex_);
  }
  std::vector<Forgotten> keys;
  for (const paxos::Slot slot : slots) keys.push_back({.family = Family::slots, .key = log_key::slot(slot)});
  std::string why = forget_older(families_, where_, keys, synced(), stopping);
  // Copies that were trimmed away are in no list, and may still be in a file. (One that was dropped may have
  // hidden an older row, so it is all deleted again.)
  if (const paxos::Slot first = first_slot(); why.empty() && first > paxos::Slot{1}) {
    rocksdb::WriteBatch batch;
    const std::string from = log_key::slot({0}), to = log_key::slot(first);
    families_.remove_range(batch, Family::slots, from, to);
    rocksdb::Status status = families_.db().Write(synced(), &batch);
    if (status.ok()) status = families_.flush(false);
    if (status.ok()) status = families_.write_anew(Family::slots, from, to, stopping);
    if (!status.ok()) why = "trimmed slots: " + status.ToString();
  }
  return why.empty() ? why : where_ + ": " + why;
}

Storage::Figures LogStore::figures() const {
  return {.groups = groups_,
          .syncs = syncs_,
          .bytes = bytes_,
          .sync_ns_max = sync_ns_max_,
          .sync_latency = sync_latency_.figures()};
}

DatabaseFigures LogStore::database_figures() const { return figures_of(families_, where_); }

}  // namespace storage
