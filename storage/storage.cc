#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "chat/rows.h"
#include "chat/versions.h"
#include "storage/folders.h"
#include "storage/log_store.h"
#include "storage/recovery.h"
#include "storage/snapshot_files.h"
#include "storage/space.h"
#include "storage/state_store.h"
#include "storage/stores.h"

namespace storage {

namespace {

/// One process a directory. The file holds the owner's pid, for the one that comes second.
class DirectoryLock {
 public:
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  std::string take(const std::filesystem::path& directory) {
    const auto file = directory / "lock";
    fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0)
      return fmt::format("{}: {}; may this user write there?", file.string(), std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      char pid[32] = "";
      [[maybe_unused]] const auto got = ::pread(fd_, pid, sizeof pid - 1, 0);
      return fmt::format(
          "{}: is in use by a running replica{}{}; stop that one first, or check --id and `data_dir`",
          directory.string(), *pid != '\0' ? ", pid " : "", pid);
    }
    return {};
  }
  /// Requires: taken.
  std::string sign(const std::filesystem::path& directory) {
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, pid.data(), pid.size(), 0) < 0)
      return fmt::format("{}: can't be written: {}", (directory / "lock").string(), std::strerror(errno));
    return {};
  }

 private:
  int fd_ = -1;
};

}  // namespace

/// One erasure after another. What it waits for may take a while, so neither of the two stores' threads does
/// it.
class Eraser {
 public:
  Eraser(const LogStore& log, const StateStore& state, SnapshotFiles& snapshots)
      : log_(log), state_(state), snapshots_(snapshots) {}
  ~Eraser() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  /// State thread only: one after the other.
  void start(chat::Erasure erasure, std::function<void(std::string)> done) {
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([this, erasure = std::move(erasure), done = std::move(done)] {
      std::string why = log_.forget(erasure.slots, stopping_);
      if (why.empty()) why = state_.forget(erasure.rows, stopping_);
      if (why.empty()) why = snapshots_.forget();
      if (!stopping_) done(std::move(why));
    });
  }

 private:
  const LogStore& log_;
  const StateStore& state_;
  SnapshotFiles& snapshots_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

namespace {

/// What a start found in `state/`.
struct FoundState {
  std::unique_ptr<StateStore> store;
  std::optional<chat::Machine> machine;
  std::optional<paxos::Slot> installed;  ///< see installed_slot()
  std::string fault;                     ///< why it can't be used; empty: it can
  bool damaged = false;                  ///< because it does not read as it was written
};

FoundState find_state(const OpenOptions& options, LogStore& log) {
  FoundState out;
  out.fault = marked_damaged(options.directory / "state");
  out.damaged = !out.fault.empty();
  if (out.damaged) return out;
  auto store = StateStore::open(options, log, &out.damaged);
  if (!store) {
    out.fault = store.error();
    return out;
  }
  out.store = std::move(*store);
  const std::string where = (options.directory / "state").string();
  bool of_another_version = false;
  try {
    out.store->with_reader([&](const chat::RowReader& rows) {
      if (const auto meta = rows.get(chat::rows::meta()); meta && meta->size() > 1)
        of_another_version = static_cast<std::uint8_t>(meta->front()) != chat::rows::row_version ||
                             static_cast<std::uint8_t>((*meta)[1]) > options.rules_known;
      auto machine = chat::Machine::load(rows, options.rules_known);
      if (machine)
        out.machine = std::move(*machine);
      else
        out.fault = fmt::format("{}: {}", where, machine.error());
      out.installed = installed_slot(rows);
    });
  } catch (const StateDamage& damage) {
    out.fault = fmt::format("{}: {}", where, damage.what());
  }
  out.damaged = !out.fault.empty() && !of_another_version;
  return out;
}

}  // namespace

class Storage::Impl {
 public:
  /// The state's thread may be about to give the eraser something to do: it goes before the eraser, and the
  /// eraser before both databases.
  ~Impl() {
    if (snapshots) snapshots->stop();
    if (state) state->stop();
    eraser.reset();
  }

  std::filesystem::path directory;
  paxos::Duration look_every{};
  DirectoryLock lock;
  std::unique_ptr<Space> space;       ///< goes after everything that writes
  std::unique_ptr<rocksdb::Env> env;  ///< likewise
  std::unique_ptr<LogStore> log;
  std::unique_ptr<StateStore> state;         ///< goes before the log, which its jobs read
  std::unique_ptr<SnapshotFiles> snapshots;  ///< goes before the state, of which it makes copies
  std::unique_ptr<Eraser> eraser;
};

Storage::Storage(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Storage::~Storage() = default;

tl::expected<Storage::Opened, OpenError> Storage::open(const OpenOptions& given) {
  OpenOptions options = given;
  const auto fail = [](std::string why) { return tl::make_unexpected(OpenError{std::move(why)}); };
  std::error_code error;
  // The stores sync their own folders; the way to them is ours, or a power cut takes the whole directory.
  if (std::string why = make_folder(options.directory); !why.empty()) return fail(std::move(why));
  auto impl = std::make_unique<Impl>();
  impl->directory = options.directory;
  impl->look_every = options.look_every;
  if (std::string why = impl->lock.take(options.directory); !why.empty()) return fail(std::move(why));
  impl->space = std::make_unique<Space>(options.directory, options.reserve);
  impl->space->begin();
  impl->env = impl->space->env(static_cast<rocksdb::Env*>(options.env));
  options.env = impl->env.get();
  options.space = impl->space.get();
  if (std::string why = impl->lock.sign(options.directory); !why.empty()) return fail(std::move(why));
  const bool has_log = std::filesystem::exists(options.directory / "log" / "CURRENT", error);
  if (error)
    return fail(fmt::format("{}/log: can't be read: {}", options.directory.string(), error.message()));
  if (!has_log && std::filesystem::exists(options.directory / "state" / "CURRENT", error))
    return fail(
        fmt::format("{}: state/ is there, but log/ is gone: the directory is damaged. If somebody moved log/ "
                    "away, put it back. {}",
                    options.directory.string(), damage_hint));
  if (has_log)
    if (std::string why = install_snapshot(options.directory, options.env); !why.empty())
      return fail(std::move(why));
  for (const char* part : {"log", "state"})
    std::filesystem::create_directories(options.directory / part, error);
  if (error) return fail(fmt::format("{}: can't be made: {}", options.directory.string(), error.message()));
  if (std::string why = sync_folder(options.directory); !why.empty()) return fail(std::move(why));
  paxos::Recovered recovered;
  auto log = LogStore::open(options, recovered);
  if (!log) return fail(log.error());
  impl->log = std::move(*log);
  // No vote rests on the state: the log makes it again, or a peer has it.
  std::string put_aside = options.renew_state;
  FoundState found;
  if (put_aside.empty()) {
    found = find_state(options, *impl->log);
    if (found.damaged) put_aside = found.fault;
  }
  if (!put_aside.empty()) {
    found = {};  // closes it
    if (std::string why = put_state_aside(options.directory); !why.empty())
      return fail(fmt::format("{}. It can't be put aside: {}", put_aside, why));
    found = find_state(options, *impl->log);
  }
  if (!found.fault.empty()) return fail(std::move(found.fault));
  impl->state = std::move(found.store);
  std::optional<chat::Machine>& machine = found.machine;
  if (const auto raised = impl->log->raise_format(chat::formats_of(machine->rules()).log); !raised)
    return fail(raised.error());
  if (const auto raised = impl->state->use_rules(machine->rules()); !raised) return fail(raised.error());
  if (found.installed)
    if (const auto done = impl->log->begin_above(*found.installed, recovered); !done)
      return fail(done.error());
  impl->snapshots = std::make_unique<SnapshotFiles>(options.directory, options.env, *impl->state);
  settle(recovered, machine->applied(), machine->hash());
  for (const paxos::Slot slot : landmarks(recovered)) {
    const auto there = impl->log->read(slot, slot, SIZE_MAX);
    if (!there) return fail(there.error());
    if (there->empty())
      return fail(fmt::format("{}: {}", options.directory.string(), landmark_missing(recovered, slot)));
  }
  // Votes and what was learned ahead: what a replica holds in memory at most.
  auto entries = impl->log->read(recovered.redo_to + 1, paxos::Slot{UINT64_MAX}, SIZE_MAX);
  if (!entries) return fail(entries.error());
  recovered.entries = std::move(*entries);
  recovered.log_bytes = impl->log->database_figures().sst_bytes;
  Opened opened{.storage = std::unique_ptr<Storage>(new Storage(std::move(impl))),
                .recovered = std::move(recovered),
                .machine = std::move(*machine),
                .put_aside = std::move(put_aside),
                .has_put_aside = has_put_aside(options.directory)};
  return opened;
}

void Storage::start(Completions completions) {
  // A full disk fails both stores; the first sentence is the one to tell.
  completions.failed = [told = std::make_shared<std::atomic<bool>>(false),
                        tell = std::move(completions.failed)](std::string why) {
    if (!told->exchange(true)) tell(std::move(why));
  };
  impl_->space->start(impl_->look_every, completions.room);
  impl_->log->start(completions);
  impl_->state->start(completions);
  impl_->eraser = std::make_unique<Eraser>(*impl_->log, *impl_->state, *impl_->snapshots);
}
void Storage::erase(chat::Erasure erasure, std::function<void(std::string)> done) {
  impl_->state->write({}, erasure.rows);
  impl_->state->read([this, erasure = std::move(erasure),
                      done = std::move(done)](const Reader&) { impl_->eraser->start(erasure, done); },
                     {});
}
void Storage::drop_hashes(paxos::Slot below) { impl_->state->drop_hashes(below); }
void Storage::forget_messages(chat::MessageName keep_from) {
  impl_->state->forget_messages(std::move(keep_from));
}
void Storage::append(std::uint64_t group, std::vector<paxos::Record> records) {
  impl_->log->append(group, std::move(records));
}
void Storage::write_state(paxos::Slot slot, std::vector<chat::Row> rows) {
  impl_->state->write(slot, std::move(rows));
}
void Storage::read(std::function<void(const Reader&)> job, Unread unread) {
  impl_->state->read(std::move(job), std::move(unread));
}
void Storage::drop_put_aside() {
  impl_->state->read([this](const Reader&) { impl_->snapshots->drop_put_aside(); }, {});
}
SpaceFigures Storage::space() const { return impl_->space->figures(); }
SnapshotFiles& Storage::snapshots() { return *impl_->snapshots; }
std::size_t Storage::state_backlog_bytes() const { return impl_->state->backlog_bytes(); }
std::int64_t Storage::oldest_work_started_ns() const {
  const std::int64_t log = impl_->log->oldest_sync_started_ns();
  const std::int64_t state = impl_->state->work_started_ns();
  return log == 0 ? state : state == 0 ? log : std::min(log, state);
}
Storage::Figures Storage::figures() const { return impl_->log->figures(); }
Storage::DiskFigures Storage::disk_figures() const {
  DiskFigures out{.log = impl_->log->database_figures(), .state = impl_->state->database_figures()};
  struct statvfs info{};
  if (::statvfs(impl_->directory.c_str(), &info) == 0) {
    out.free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize;
    out.size_bytes = std::uint64_t{info.f_blocks} * info.f_frsize;
  }
  return out;
}

}  // namespace storage
