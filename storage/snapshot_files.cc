#include "storage/snapshot_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "chat/rows.h"
#include "storage/folders.h"
#include "storage/log_format.h"
#include "storage/state_folder.h"
#include "storage/state_store.h"
#include "storage/steady.h"

namespace storage {

namespace fs = std::filesystem;

namespace {

/// Rows are on the disk after so many bytes, or so long.
constexpr std::size_t flush_bytes = 8u << 20;
constexpr std::int64_t flush_ns = 2'000'000'000;
/// Counting reads so much at once, and rests as long as anybody else might want the disk.
constexpr std::size_t count_bytes = 1u << 20;
constexpr std::chrono::milliseconds count_rest{10};
constexpr std::string_view id_key = "snapshot";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string write_synced(const fs::path& file, std::string_view bytes) {
  const auto fail = [&] { return fmt::format("{}: {}", file.string(), std::strerror(errno)); };
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail();
  const bool done =
      ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) && ::fsync(fd) == 0;
  const std::string why = done ? std::string() : fail();
  ::close(fd);
  return why;
}

std::string read_small(const fs::path& file) {
  std::string out(1024, '\0');
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t size = fd < 0 ? -1 : ::read(fd, out.data(), out.size());
  if (fd >= 0) ::close(fd);
  out.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return out;
}

/// As rows have it; what does not read counts as none.
std::optional<chat::SnapshotProgress> progress_in(const StateFolder& folder) {
  std::optional<chat::SnapshotProgress> out;
  try {
    folder.with_reader([&](const chat::RowReader& rows) {
      if (const auto row = rows.get(chat::rows::progress())) out = chat::decode_progress(*row);
    });
  } catch (const StateDamage&) {
  }
  return out;
}

}  // namespace

SnapshotFiles::SnapshotFiles(fs::path directory, void* env, StateStore& state)
    : directory_(std::move(directory)), env_(env), state_(state) {
  (void)clear_away(directory_ / "snapshot.new");
  if (is_there(directory_ / "snapshot")) {
    const auto sealed = read_small(directory_ / "snapshot" / "id");
    const auto value = open_value(id_key, sealed);
    const auto known = value ? chat::decode_progress(*value) : std::nullopt;
    auto rows = StateFolder::open(directory_ / "snapshot" / "state", StateFolder::Mode::read_only, env_);
    if (known && rows) {
      served_rows_ = std::move(*rows);
      served_ = found_served_ = Served{known->id, known->bytes_about};
    } else {
      (void)clear_away(directory_ / "snapshot");
    }
  }
  if (!is_there(directory_ / "incoming")) return;
  if (const auto rows = StateFolder::open(directory_ / "incoming", StateFolder::Mode::read_only, env_))
    found_staged_ = progress_in(**rows);
  if (!found_staged_) (void)clear_away(directory_ / "incoming");
}

SnapshotFiles::~SnapshotFiles() { stop(); }

void SnapshotFiles::start(std::function<void(std::string)> failed, std::function<void()> lost) {
  failed_ = std::move(failed);
  lost_ = std::move(lost);
  thread_ = std::thread([this] { work(); });
}

void SnapshotFiles::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (staged_) (void)flush_staged();
  staged_.reset();
}

void SnapshotFiles::enqueue(Job job) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void SnapshotFiles::work() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      const auto ready = [this] { return stopping_ || !queue_.empty(); };
      if (counting_)
        wake_.wait_for(lock, count_rest, ready);
      else
        wake_.wait(lock, ready);
      if (stopping_) return;
      if (!queue_.empty()) {
        job = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    if (job)
      job();
    else if (counting_)
      count_some();
  }
}

void SnapshotFiles::make(const paxos::Incarnation& source, std::uint64_t number,
                         std::function<void(Made)> done) {
  // A job of the state's thread comes after the rows that wait there.
  state_.read(
      [this, source, number, done = std::move(done)](const Storage::Reader&) {
        enqueue([this, source, number, done] {
          const std::lock_guard lock(files_mutex_);
          done(make_now(source, number));
        });
      },
      {});
}

SnapshotFiles::Made SnapshotFiles::make_now(const paxos::Incarnation& source, std::uint64_t number) {
  const fs::path fresh = directory_ / "snapshot.new";
  const auto fail = [&](std::string why) {
    (void)clear_away(fresh);
    return tl::make_unexpected(std::move(why));
  };
  if (std::string why = drop_now(); !why.empty()) return fail(std::move(why));
  if (std::string why = clear_away(fresh); !why.empty()) return fail(std::move(why));
  std::error_code error;
  fs::create_directory(fresh, error);
  if (error) return fail(fmt::format("{}: {}", fresh.string(), error.message()));
  if (std::string why = state_.copy_to(fresh / "state"); !why.empty()) return fail(std::move(why));
  auto rows = StateFolder::open(fresh / "state", StateFolder::Mode::read_only, env_);
  if (!rows) return fail(std::move(rows.error()));
  tl::expected<chat::AppliedMark, std::string> mark = tl::make_unexpected(std::string());
  try {
    (*rows)->with_reader([&](const chat::RowReader& reader) { mark = chat::read_applied(reader); });
  } catch (const StateDamage& damage) {
    mark = tl::make_unexpected(std::string(damage.what()));
  }
  if (!mark) return fail(std::move(mark.error()));
  if (mark->slot.none()) return fail("there is nothing in it");
  const chat::SnapshotProgress written{
      .id = {.source = source, .number = number, .slot = mark->slot, .hash = mark->hash},
      .place = {},
      .bytes_about = (*rows)->bytes(),
      .complete = true};
  if (std::string why = write_synced(fresh / "id", seal_value(id_key, chat::encode_progress(written)));
      !why.empty())
    return fail(std::move(why));
  if (std::string why = sync_folder(fresh); !why.empty()) return fail(std::move(why));
  rows->reset();
  if (std::string why = move_folder(fresh, directory_ / "snapshot"); !why.empty())
    return fail(std::move(why));
  rows = StateFolder::open(directory_ / "snapshot" / "state", StateFolder::Mode::read_only, env_);
  if (!rows) return fail(std::move(rows.error()));
  served_rows_ = std::move(*rows);
  served_ = Served{written.id, written.bytes_about};
  return chat::SnapshotSource::Made{.slot = mark->slot, .hash = mark->hash, .bytes = written.bytes_about};
}

void SnapshotFiles::read(const chat::SnapshotId& id, chat::SnapshotPlace from, std::size_t bytes,
                         std::function<void(std::optional<chat::SnapshotChunk>)> done) {
  enqueue([this, id, from = std::move(from), bytes, done = std::move(done)] {
    std::optional<chat::SnapshotChunk> chunk;
    {
      const std::lock_guard lock(files_mutex_);
      try {
        if (served_ && served_->id == id)
          served_rows_->with_reader(
              [&](const chat::RowReader& rows) { chunk = chat::read_snapshot(rows, id, from, bytes); });
      } catch (const StateDamage&) {
        chunk.reset();
      }
    }
    done(std::move(chunk));
  });
}

void SnapshotFiles::count_served(
    std::function<void(const chat::SnapshotId&, const chat::SnapshotSum&)> done) {
  enqueue([this, done = std::move(done)] {
    if (!counting_) counting_.emplace(Counting{{}, done});
  });
}

void SnapshotFiles::count_some() {
  const std::lock_guard lock(files_mutex_);
  if (!served_) return counting_.reset();
  bool all = false;
  try {
    served_rows_->with_reader(
        [&](const chat::RowReader& rows) { all = counting_->count.advance(rows, count_bytes); });
  } catch (const StateDamage&) {
    (void)drop_now();  // it is of no use to anybody
    if (lost_) lost_();
    return;
  }
  if (!all) return;
  counting_->done(served_->id, counting_->count.sum());
  counting_.reset();
}

std::string SnapshotFiles::drop_now() {
  counting_.reset();
  served_rows_.reset();
  served_.reset();
  return clear_away(directory_ / "snapshot");
}

void SnapshotFiles::drop_served() {
  enqueue([this] {
    const std::lock_guard lock(files_mutex_);
    if (const std::string why = drop_now(); !why.empty()) failed_(why);
  });
}

void SnapshotFiles::drop_put_aside() {
  // Only a start needs its place, or a redaction: nothing is lost by what stays until then.
  enqueue([this] {
    if (state_.flush().empty()) (void)storage::drop_put_aside(directory_);
  });
}

std::string SnapshotFiles::forget() {
  const std::lock_guard lock(files_mutex_);
  // The state that forgets has what that one had.
  if (std::string why = storage::drop_put_aside(directory_); !why.empty()) return why;
  if (!is_there(directory_ / "snapshot")) return {};
  std::string why = drop_now();
  if (lost_) lost_();
  return why;
}

void SnapshotFiles::begin() {
  enqueue([this] {
    staged_.reset();
    unflushed_ = 0;
    if (const std::string why = clear_away(directory_ / "incoming"); !why.empty()) failed_(why);
  });
}

std::string SnapshotFiles::open_staged() {
  if (staged_) return {};
  auto folder = StateFolder::open(directory_ / "incoming", StateFolder::Mode::filled, env_);
  if (!folder) return std::move(folder.error());
  staged_ = std::move(*folder);
  flushed_at_ns_ = steady_ns();
  return {};
}

std::string SnapshotFiles::flush_staged() {
  unflushed_ = 0;
  flushed_at_ns_ = steady_ns();
  return staged_->flush();
}

void SnapshotFiles::write(chat::SnapshotPuller::Write write, std::function<void()> done) {
  enqueue([this, write = std::move(write), done = std::move(done)]() mutable {
    write.rows.push_back({chat::rows::progress(), chat::encode_progress(write.progress)});
    std::string why = open_staged();
    if (why.empty()) why = staged_->write(write.rows);
    unflushed_ += write.bytes;
    if (why.empty() && (unflushed_ >= flush_bytes || steady_ns() - flushed_at_ns_ >= flush_ns))
      why = flush_staged();
    if (!why.empty()) return failed_(why);
    done();
  });
}

void SnapshotFiles::count_staged(std::function<void(Counted)> done) {
  enqueue([this, done = std::move(done)] {
    if (const std::string why = open_staged(); !why.empty()) return failed_(why);
    if (const std::string why = flush_staged(); !why.empty()) return failed_(why);
    Counted counted;
    try {
      staged_->with_reader([&](const chat::RowReader& rows) {
        chat::SnapshotCount count;
        while (!count.advance(rows, count_bytes)) {
          const std::lock_guard lock(mutex_);
          if (stopping_) return;
        }
        if (const auto mark = chat::read_applied(rows)) counted.emplace(count.sum(), *mark);
      });
    } catch (const StateDamage&) {
      counted.reset();
    }
    done(counted);
  });
}

void SnapshotFiles::finish(chat::SnapshotProgress progress, std::function<void()> done) {
  enqueue([this, progress = std::move(progress), done = std::move(done)] {
    std::string why = open_staged();
    if (why.empty()) why = staged_->write({{chat::rows::progress(), chat::encode_progress(progress)}});
    if (why.empty()) why = flush_staged();
    staged_.reset();
    if (why.empty()) why = sync_folder(directory_ / "incoming");
    if (why.empty()) why = clear_away(directory_ / "install");
    if (why.empty()) why = move_folder(directory_ / "incoming", directory_ / "install");
    if (!why.empty()) return failed_(why);
    done();
  });
}

std::optional<paxos::Slot> installed_slot(const chat::RowReader& rows) {
  const auto row = rows.get(chat::rows::progress());
  const auto progress = row ? chat::decode_progress(*row) : std::nullopt;
  return progress && progress->complete ? std::optional(progress->id.slot) : std::nullopt;
}

std::string install_snapshot(const fs::path& directory, void* env) {
  const fs::path install = directory / "install";
  const fs::path state = directory / "state";
  const fs::path old = directory / "state-old";
  const auto applied_in = [&](const fs::path& folder) -> std::optional<paxos::Slot> {
    const auto rows = StateFolder::open(folder, StateFolder::Mode::read_only, env);
    if (!rows) return std::nullopt;
    std::optional<paxos::Slot> slot;
    try {
      (*rows)->with_reader([&](const chat::RowReader& reader) {
        if (const auto mark = chat::read_applied(reader)) slot = mark->slot;
      });
    } catch (const StateDamage&) {
    }
    return slot;
  };
  if (is_there(install)) {
    std::optional<chat::SnapshotProgress> progress;
    if (const auto rows = StateFolder::open(install, StateFolder::Mode::read_only, env))
      progress = progress_in(**rows);
    const auto brought = applied_in(install);
    const bool whole = progress && progress->complete && brought == progress->id.slot;
    const bool has_state = is_there(state / "CURRENT");
    const auto stands = has_state ? applied_in(state) : std::nullopt;
    if (!whole || (stands && *stands >= *brought)) {
      // The replica asks for another one, if it still needs it.
      if (std::string why = clear_away(install); !why.empty()) return why;
    } else {
      if (is_there(state)) {
        if (std::string why = clear_away(old); !why.empty()) return why;
        if (std::string why = move_folder(state, old); !why.empty()) return why;
      }
      if (std::string why = move_folder(install, state); !why.empty()) return why;
    }
  }
  // A crash between the two renames, and then a snapshot that does not read: what stood before is still
  // whole.
  if (!is_there(state) && is_there(old) && applied_in(old)) return move_folder(old, state);
  return is_there(state) ? clear_away(old) : std::string();
}

}  // namespace storage
