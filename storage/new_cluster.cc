#include "storage/new_cluster.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>

#include "chat/rows.h"
#include "storage/folders.h"
#include "storage/state_folder.h"
#include "storage/stores.h"

namespace storage {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t rows_flush_bytes = 32u << 20;
constexpr std::size_t rows_count_bytes = 1u << 20;
/// As a pulled snapshot that is whole: the next start takes it for its state (storage/snapshot_files.h).
constexpr const char* staged_folder = "install";

std::string sync_file(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const std::string why = synced ? std::string() : fmt::format("{}: {}", file.string(), std::strerror(errno));
  if (fd >= 0) ::close(fd);
  return why;
}

std::string copy_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy(from, to, error);
  if (error) return fmt::format("{}: can't be copied: {}", to.string(), error.message());
  for (const fs::directory_entry& entry : fs::directory_iterator(to, error))
    if (std::string why = sync_file(entry.path()); !why.empty()) return why;
  if (error) return fmt::format("{}: {}", to.string(), error.message());
  return sync_folder(to);
}

}  // namespace

NewCluster::NewCluster(Options options) : options_(std::move(options)) {}

NewCluster::~NewCluster() {
  rows_.reset();
  std::error_code error;
  for (const Member& member : options_.members) fs::remove_all(unfinished(member), error);
}

fs::path NewCluster::unfinished(const Member& member) {
  // Beside it, also where its name ends with a slash.
  fs::path plain = member.directory.lexically_normal();
  if (!plain.has_filename()) plain = plain.parent_path();
  return plain.string() + ".restoring";
}

std::string NewCluster::begin() {
  std::error_code error;
  for (const Member& member : options_.members) {
    const fs::path& directory = member.directory;
    if (fs::exists(directory, error) && !fs::is_empty(directory, error))
      return fmt::format("{}: is there already, and not empty: move it away", directory.string());
    if (error) return fmt::format("{}: {}", directory.string(), error.message());
  }
  for (const Member& member : options_.members) {
    fs::remove_all(unfinished(member), error);
    if (std::string why = make_folder(unfinished(member)); !why.empty()) return why;
  }
  auto rows = StateFolder::open(unfinished(options_.members.front()) / staged_folder,
                                StateFolder::Mode::filled, nullptr);
  if (!rows) return std::move(rows.error());
  rows_ = std::move(*rows);
  return {};
}

std::string NewCluster::write(const std::vector<chat::Row>& rows) {
  if (std::string why = rows_->write(rows); !why.empty()) return why;
  for (const chat::Row& row : rows) unflushed_ += row.key.size() + (row.value ? row.value->size() : 0);
  if (unflushed_ < rows_flush_bytes) return {};
  unflushed_ = 0;
  return rows_->flush();
}

std::string NewCluster::check_rows(const chat::SnapshotId& id, const chat::SnapshotSum& sum) {
  std::string why;
  try {
    rows_->with_reader([&](const chat::RowReader& rows) {
      chat::SnapshotCount count;
      while (!count.advance(rows, rows_count_bytes)) continue;
      const auto mark = chat::read_applied(rows);
      if (count.sum().sum != sum.sum || count.sum().rows != sum.rows)
        why = fmt::format("its {} rows are not those that it says it has ({})", count.sum().rows, sum.rows);
      else if (!mark || mark->slot != id.slot || mark->hash != id.hash)
        why = fmt::format("its rows are not those of slot {}", id.slot.n);
    });
  } catch (const StateDamage& damage) {
    why = damage.what();
  }
  return why;
}

std::string NewCluster::finish(const chat::SnapshotId& id, const chat::SnapshotSum& sum) {
  if (std::string why = rows_->flush(); !why.empty()) return why;
  if (std::string why = check_rows(id, sum); !why.empty()) return why;
  const chat::SnapshotProgress whole{
      .id = id, .place = {.offset = sum.bytes, .key = {}}, .bytes_about = sum.bytes, .complete = true};
  if (std::string why = rows_->write({{chat::rows::progress(), chat::encode_progress(whole)}}); !why.empty())
    return why;
  if (std::string why = rows_->flush(); !why.empty()) return why;
  rows_.reset();
  const fs::path first = unfinished(options_.members.front()) / staged_folder;
  if (std::string why = sync_folder(first); !why.empty()) return why;
  for (std::size_t i = 0; i < options_.members.size(); ++i) {
    const paxos::ReplicaId replica{static_cast<std::uint8_t>(i)};
    if (std::string why = bear(replica); !why.empty()) return why;
    if (i > 0)
      if (std::string why = copy_folder(first, unfinished(options_.members[i]) / staged_folder); !why.empty())
        return why;
  }
  for (std::size_t i = 0; i < options_.members.size(); ++i)
    if (std::string why = take_state({static_cast<std::uint8_t>(i)}, id.slot); !why.empty()) return why;
  for (const Member& member : options_.members) {
    if (::rename(unfinished(member).c_str(), member.directory.c_str()) != 0)
      return fmt::format("{}: {}", member.directory.string(), std::strerror(errno));
    if (std::string why = sync_folder(unfinished(member).parent_path()); !why.empty()) return why;
  }
  return {};
}

/// A log that says that the cluster is born, and who is in it.
std::string NewCluster::bear(paxos::ReplicaId id) {
  const Member& member = options_.members[id.n];
  const OpenOptions open{.directory = unfinished(member),
                         .cluster_id = options_.cluster_id,
                         .replica = id,
                         .replicas = options_.members.size(),
                         .fresh_incarnation = member.incarnation,
                         .life = options_.life + 2 * std::uint64_t{id.n} + 1,
                         .rules_known = options_.rules_known};
  // What is staged is not looked at yet: there is no log.
  auto opened = Storage::open(open);
  if (!opened) return std::move(opened.error().message);
  paxos::BirthRecord birth{.members = {}, .born = true};
  for (const Member& each : options_.members) birth.members.push_back(each.incarnation);
  std::mutex mutex;
  std::condition_variable told;
  std::optional<std::string> why;
  const auto tell = [&](std::string what) {
    const std::lock_guard lock(mutex);
    if (!why) why = std::move(what);
    told.notify_one();
  };
  opened->storage->start({.synced = [&](std::uint64_t) { tell({}); }, .failed = tell});
  opened->storage->append(opened->recovered.last_group + 1, {std::move(birth)});
  {
    std::unique_lock lock(mutex);
    told.wait(lock, [&] { return why.has_value(); });
  }
  opened->storage.reset();
  return *why;
}

/// A start puts the state in place, and lets the log begin behind it.
std::string NewCluster::take_state(paxos::ReplicaId id, paxos::Slot slot) {
  const Member& member = options_.members[id.n];
  const auto opened = Storage::open({.directory = unfinished(member),
                                     .cluster_id = options_.cluster_id,
                                     .replica = id,
                                     .replicas = options_.members.size(),
                                     .fresh_incarnation = {},
                                     .life = options_.life + 2 * std::uint64_t{id.n} + 2,
                                     .rules_known = options_.rules_known});
  if (!opened) return opened.error().message;
  const paxos::Recovered& r = opened->recovered;
  if (r.applied != slot || r.chosen_prefix != slot || r.first_slot != slot + 1 || !r.birth ||
      !r.birth->born || r.incarnation != member.incarnation)
    return fmt::format("{}: what was written there does not come back: slot {} applied, the log from {} on",
                       unfinished(member).string(), r.applied.n, r.first_slot.n);
  return {};
}

}  // namespace storage
