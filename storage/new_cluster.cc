#include "storage/new_cluster.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>

#include "chat/rows.h"
#include "storage/folders.h"
#include "storage/state_folder.h"
#include "storage/state_store.h"
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
  if (error) return fmt::format("{}: can't be copied: {} (is there room?)", to.string(), error.message());
  for (const fs::directory_entry& entry : fs::directory_iterator(to, error))
    if (std::string why = sync_file(entry.path()); !why.empty()) return why;
  if (error) return fmt::format("{}: {}", to.string(), error.message());
  return sync_folder(to);
}

/// A place where nothing is, or an empty folder that a rename can replace.
std::string fault_of_place(const fs::path& directory) {
  struct stat there{}, above{};
  if (::lstat(directory.c_str(), &there) != 0)
    return errno == ENOENT ? std::string() : fmt::format("{}: {}", directory.string(), std::strerror(errno));
  if (S_ISLNK(there.st_mode))
    return fmt::format("{}: is a link: restore into another place, and copy what is to be there",
                       directory.string());
  if (!S_ISDIR(there.st_mode)) return fmt::format("{}: is there already, and no folder", directory.string());
  std::error_code error;
  if (!fs::is_empty(directory, error) || error)
    return fmt::format("{}: is there already, and not empty: move it away", directory.string());
  if (::stat((directory / "..").c_str(), &above) == 0 && above.st_dev != there.st_dev)
    return fmt::format(
        "{}: is a file system of its own: restore into another place, and copy what is to be there",
        directory.string());
  return {};
}

}  // namespace

NewCluster::NewCluster(Options options) : options_(std::move(options)) {}

NewCluster::~NewCluster() {
  rows_.reset();
  std::error_code error;
  for (std::size_t i = 0; i < held_.size(); ++i) fs::remove_all(unfinished(options_.members[i]), error);
  for (const int fd : held_) ::close(fd);
}

fs::path NewCluster::unfinished(const Member& member) {
  // Beside it, also where its name ends with a slash.
  fs::path plain = member.directory.lexically_normal();
  if (!plain.has_filename()) plain = plain.parent_path();
  return plain.string() + ".restoring";
}

/// Makes it, or takes over what an earlier run left; locked until this ends.
std::string NewCluster::take_folder(const Member& member) {
  const fs::path folder = unfinished(member);
  if (std::string why = make_folder(folder); !why.empty()) return why;
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fmt::format("{}: {}", folder.string(), std::strerror(errno));
  struct stat ours{}, there{};
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 || ::fstat(fd, &ours) != 0 ||
      ::lstat(folder.c_str(), &there) != 0 || ours.st_ino != there.st_ino) {
    ::close(fd);
    return fmt::format("{}: another restore is under way there", folder.string());
  }
  held_.push_back(fd);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    fs::remove_all(entry.path(), error);
  return error ? fmt::format("{}: {}", folder.string(), error.message()) : std::string();
}

std::string NewCluster::begin() {
  for (const Member& member : options_.members)
    if (std::string why = fault_of_place(member.directory); !why.empty()) return why;
  for (const Member& member : options_.members)
    if (std::string why = take_folder(member); !why.empty()) return why;
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

tl::expected<chat::SnapshotSum, std::string> NewCluster::count(const chat::SnapshotId& id) {
  if (std::string why = rows_->flush(); !why.empty()) return tl::make_unexpected(std::move(why));
  std::string why;
  chat::SnapshotCount count;
  try {
    rows_->with_reader([&](const chat::RowReader& rows) {
      while (!count.advance(rows, rows_count_bytes)) continue;
      const auto mark = chat::read_applied(rows);
      if (!mark || mark->slot != id.slot || mark->hash != id.hash)
        why = fmt::format("its rows are not those of slot {}", id.slot.n);
    });
  } catch (const StateDamage& damage) {
    why = damage.what();
  }
  if (!why.empty()) return tl::make_unexpected(std::move(why));
  return count.sum();
}

std::string NewCluster::check(const chat::SnapshotId& id, const chat::SnapshotSum& sum) {
  const auto counted = count(id);
  if (!counted) return counted.error();
  if (counted->sum != sum.sum || counted->rows != sum.rows)
    return fmt::format("its {} rows are not those that it says it has ({})", counted->rows, sum.rows);
  return {};
}

std::string NewCluster::finish(const chat::SnapshotId& id, const chat::SnapshotSum& sum) {
  const chat::SnapshotProgress whole{
      .id = id, .place = {.offset = sum.bytes, .key = {}}, .bytes_about = sum.bytes, .complete = true};
  // Who voted in the cluster that this comes from is nobody here: the new one begins with what birth says.
  if (std::string why = rows_->write({{chat::rows::progress(), chat::encode_progress(whole)},
                                      {chat::rows::configuration(), std::nullopt},
                                      // It has a secret of its own, which no log speaks of yet.
                                      {chat::rows::secrets(), std::nullopt}});
      !why.empty())
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
  std::string why;
  std::size_t placed = 0;
  for (; placed < options_.members.size() && why.empty(); ++placed) {
    const Member& member = options_.members[placed];
    if (::rename(unfinished(member).c_str(), member.directory.c_str()) != 0) {
      why = fmt::format("{}: {}", member.directory.string(), std::strerror(errno));
      break;
    }
    why = sync_folder(unfinished(member).parent_path());
  }
  if (why.empty()) return {};
  while (placed-- > 0)
    if (const Member& member = options_.members[placed];
        ::rename(member.directory.c_str(), unfinished(member).c_str()) != 0)
      why += fmt::format("; {} stays there: remove it", member.directory.string());
  return why;
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
