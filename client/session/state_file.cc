#include "client/session/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "paxos/invariant.h"

namespace client {

namespace {

std::string system_error() { return std::strerror(errno); }

bool sync_folder_of(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path().empty() ? "." : path.parent_path();
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = ::fsync(fd) == 0;
  ::close(fd);
  return synced;
}

/// Puts `content` into a file of that name, where there is none yet or one with just that content. Why it
/// could not; empty: done.
std::string put_beside(const std::string& name, const std::string& content) {
  const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return system_error();
  std::string why;
  std::string there(content.size() + 1, '\0');
  const ssize_t had = ::pread(fd, there.data(), there.size(), 0);
  if (had < 0) {
    why = system_error();
  } else if (had > 0) {
    if (static_cast<std::size_t>(had) != content.size() ||
        std::string_view(there).substr(0, content.size()) != content)
      why = "a file of that name is there already; move it away and try again";
  } else {
    for (std::size_t at = 0; at < content.size() && why.empty();) {
      const ssize_t n = ::pwrite(fd, content.data() + at, content.size() - at, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        why = system_error();
      else
        at += static_cast<std::size_t>(n);
    }
    if (why.empty() && ::fsync(fd) != 0) why = system_error();
  }
  ::close(fd);
  return why;
}

}  // namespace

StateFile::StateFile(std::filesystem::path path, std::string cluster_id, int fd)
    : path_(std::move(path)), cluster_id_(std::move(cluster_id)), fd_(fd) {}

StateFile::~StateFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::string StateFile::fault(const std::string& what) const {
  return "state file " + path_.string() + ": " + what;
}

tl::expected<std::unique_ptr<StateFile>, std::string> StateFile::open(const std::filesystem::path& path,
                                                                      std::string cluster_id) {
  const auto fault = [&](const std::string& what) {
    return tl::make_unexpected("state file " + path.string() + ": " + what);
  };
  for (;;) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
      return fault("cannot be opened: " + system_error() + "; give a file that you may write with --state");
    std::unique_ptr<StateFile> file(new StateFile(path, cluster_id, fd));
    struct stat opened{};
    struct stat named{};
    if (::fstat(fd, &opened) != 0) return fault("cannot be examined: " + system_error());
    if (!S_ISREG(opened.st_mode)) return fault("is not a regular file; give another one with --state");
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK)
        return fault(
            "is in use by another program; wait until that one ends, or give this one a file of its own with "
            "--state");
      return fault("cannot be locked: " + system_error());
    }
    // Its owner may have put a compacted one in its place between our open and our lock.
    if (::stat(path.c_str(), &named) != 0 || named.st_ino != opened.st_ino || named.st_dev != opened.st_dev)
      continue;
    if (const auto loaded = file->load(); !loaded) return tl::make_unexpected(loaded.error());
    return file;
  }
}

bool StateFile::in_use(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return locked;
}

tl::expected<void, std::string> StateFile::load() {
  std::string bytes;
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t n = ::pread(fd_, buffer, sizeof buffer, static_cast<off_t>(bytes.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::make_unexpected(fault("cannot be read: " + system_error()));
    if (n == 0) break;
    bytes.append(buffer, static_cast<std::size_t>(n));
    if (bytes.size() > bytes_max)
      return tl::make_unexpected(fault("is larger than any that paxoschat writes; is it the right file?"));
  }
  auto contents = state_format::read(bytes, cluster_id_);
  if (!contents) return tl::make_unexpected(fault(contents.error()));
  if (contents->fresh) {
    // New, or its making was cut short: nothing can have been sent.
    if (::ftruncate(fd_, 0) != 0) return tl::make_unexpected(fault("cannot be written: " + system_error()));
    if (const auto written = write_all(state_format::head(cluster_id_, state_format::records_offset));
        !written)
      return written;
    if (::fsync(fd_) != 0 || !sync_folder_of(path_))
      return tl::make_unexpected(fault("cannot be synced: " + system_error()));
    return {};
  }
  if (!contents->damage.empty()) return tl::make_unexpected(damaged(*contents));
  ledger_ = std::move(contents->ledger);
  bytes_ = contents->end;
  if (contents->first_format) {
    // Of version 0.1.0: taken over at once, so that what is appended has its checksums.
    first_format_ = true;
    if (const auto done = compact(); !done) return done;
    if (first_format_)
      return tl::make_unexpected(fault("cannot be written anew in this version's format: " + system_error()));
    return {};
  }
  if (bytes_ < bytes.size() && ::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0)
    return tl::make_unexpected(fault("its torn end cannot be cut off: " + system_error()));
  if (::lseek(fd_, static_cast<off_t>(bytes_), SEEK_SET) < 0)
    return tl::make_unexpected(fault("cannot be positioned: " + system_error()));
  // What the last owner wrote may not have reached the disk; we go on as if it had.
  if (::fdatasync(fd_) != 0) return tl::make_unexpected(fault("cannot be synced: " + system_error()));
  note_synced();
  return {};
}

/// What is whole is put beside the file, which stays as it is: only a person can say what became of the rest.
std::string StateFile::damaged(const state_format::Contents& contents) const {
  std::string lines;
  std::size_t open = 0;
  for (const state_format::Found& found : contents.found) {
    nlohmann::ordered_json line{{"ticket", found.ticket},
                                {"room", found.post.room},
                                {"name", found.post.name},
                                {"text", found.post.text}};
    if (!found.post.key.empty()) line["key"] = found.post.key;
    if (found.post.topic) line["topic"] = *found.post.topic;
    if (found.post.written_ms != 0) line["written_ms"] = found.post.written_ms;
    line["answered"] = found.answered;
    lines += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    open += found.answered ? 0 : 1;
  }
  const std::string out = contents.damage + "; nothing was changed in it, and nothing is sent";
  if (contents.found.empty())
    return fault(out + ". No message in it can be read. Move it away to begin anew");
  const std::string kept = path_.string() + ".whole";
  if (const auto why = put_beside(kept, lines); !why.empty())
    return fault(out + ". What can be read of it could not be written to " + kept + ": " + why);
  return fault(out + ". " + std::to_string(contents.found.size()) +
               (contents.found.size() == 1 ? " message" : " messages") + " of it can be read, " +
               std::to_string(open) + " without a known fate: " + kept +
               " has them, one a line. Compare with `paxoschat history`, move the damaged file away, and "
               "send what is missing");
}

/// The mark says that everything up to here is on the disk. It needs no sync of its own: it may be too low
/// after a power cut, never too high.
void StateFile::note_synced() {
  const std::string mark = state_format::mark(bytes_);
  [[maybe_unused]] const ssize_t n = ::pwrite(fd_, mark.data(), mark.size(), state_format::mark_offset);
}

tl::expected<void, std::string> StateFile::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return tl::make_unexpected(fault("cannot be written: " + system_error() + "; nothing more is sent"));
    bytes.remove_prefix(static_cast<std::size_t>(n));
    bytes_ += static_cast<std::size_t>(n);
  }
  return {};
}

tl::expected<void, std::string> StateFile::append(std::span<const LedgerEvent> events, bool sync) {
  if (failed_) return tl::make_unexpected(fault("an earlier write failed"));
  for (const LedgerEvent& event : events) PAXOS_ASSERT(ledger_.apply(event));
  if (!events.empty()) {
    if (auto written = write_all(state_format::record(bytes_, events)); !written) {
      failed_ = true;
      return written;
    }
  }
  if (sync) {
    if (::fdatasync(fd_) != 0) {
      failed_ = true;  // a failed sync is never retried and believed
      return tl::make_unexpected(fault("cannot be synced: " + system_error() + "; nothing more is sent"));
    }
    note_synced();
  }
  if (bytes_ > compact_at_) return compact();
  return {};
}

tl::expected<void, std::string> StateFile::compact() {
  const std::string record = state_format::snapshot_record(state_format::records_offset, ledger_);
  const std::filesystem::path fresh = path_.string() + ".new";
  const int fd = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int old = fd_;
  const std::size_t old_bytes = bytes_;
  // A file that cannot be compacted is still good: it only grows.
  const auto give_up = [&]() -> tl::expected<void, std::string> {
    if (fd >= 0) {
      ::close(fd);
      ::unlink(fresh.c_str());
    }
    fd_ = old;
    bytes_ = old_bytes;
    compact_at_ = old_bytes * 2;
    if (bytes_ > bytes_max / 2) return tl::make_unexpected(fault("cannot be compacted: " + system_error()));
    return {};
  };
  if (fd < 0 || ::flock(fd, LOCK_EX | LOCK_NB) != 0) return give_up();
  fd_ = fd;
  bytes_ = 0;
  const std::string head = state_format::head(cluster_id_, state_format::records_offset + record.size());
  if (!write_all(head + record) || ::fsync(fd) != 0) return give_up();
  if (::rename(fresh.c_str(), path_.c_str()) != 0) return give_up();
  ::close(old);
  if (!sync_folder_of(path_)) {
    failed_ = true;
    return tl::make_unexpected(fault("its folder cannot be synced: " + system_error()));
  }
  first_format_ = false;
  compact_at_ = std::max(compact_above, bytes_ * 4);
  return {};
}

}  // namespace client
