#include "client/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "chat/bounds.h"
#include "paxos/coding.h"

namespace client {

namespace {

constexpr std::string_view magic = "paxoschat state 1\n";
constexpr std::size_t cluster_id_bytes_max = 256;
constexpr std::size_t record_header_bytes = 4 + 8;
enum class EventNumber : std::uint8_t { queued = 1, opened = 2, abandoned = 3, answered = 4, snapshot = 5 };

void encode_post(paxos::ByteWriter& w, const chat::Post& post) {
  w.sized(post.room);
  w.sized(post.name);
  w.sized(post.text);
}
chat::Post decode_post(paxos::ByteReader& r) {
  chat::Post post;
  post.room = r.sized_view(chat::limits::room_bytes_max);
  post.name = r.sized_view(chat::limits::name_bytes_max);
  post.text = r.sized_view(chat::limits::text_bytes_max);
  return post;
}

void encode_event(paxos::ByteWriter& w, const LedgerEvent& event) {
  const auto number = [&](EventNumber n) { w.fixed(static_cast<std::uint8_t>(n)); };
  if (const auto* queued = std::get_if<Queued>(&event)) {
    number(EventNumber::queued);
    w.varint(queued->ticket);
    encode_post(w, queued->post);
  } else if (const auto* opened = std::get_if<Opened>(&event)) {
    number(EventNumber::opened);
    w.varint(opened->session.slot.n);
    w.varint(opened->session.index);
  } else if (std::holds_alternative<Abandoned>(event)) {
    number(EventNumber::abandoned);
  } else {
    number(EventNumber::answered);
    w.varint(std::get<Answered>(event).ticket);
  }
}

void encode_snapshot(paxos::ByteWriter& w, const Ledger& ledger) {
  w.fixed(static_cast<std::uint8_t>(EventNumber::snapshot));
  w.varint(ledger.session.slot.n);
  w.varint(ledger.session.index);
  w.varint(ledger.next_seq);
  w.varint(ledger.next_ticket);
  w.varint(ledger.entries.size());
  for (const Ledger::Entry& entry : ledger.entries) {
    w.varint(entry.ticket);
    w.varint(entry.seq);
    encode_post(w, entry.post);
  }
}

/// Applies one payload; false when it is not what we write.
bool apply_payload(std::string_view payload, Ledger& ledger) {
  paxos::ByteReader r(payload);
  while (r.ok() && r.remaining() > 0) {
    switch (static_cast<EventNumber>(r.fixed<std::uint8_t>())) {
      case EventNumber::queued: {
        Queued queued;
        queued.ticket = r.varint();
        queued.post = decode_post(r);
        if (!r.ok() || !ledger.apply(queued)) return false;
        break;
      }
      case EventNumber::opened: {
        Opened opened;
        opened.session.slot.n = r.varint();
        opened.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
        if (!r.ok() || !ledger.apply(opened)) return false;
        break;
      }
      case EventNumber::abandoned:
        if (!ledger.apply(Abandoned{})) return false;
        break;
      case EventNumber::answered: {
        const std::uint64_t ticket = r.varint();
        if (!r.ok() || !ledger.apply(Answered{ticket})) return false;
        break;
      }
      case EventNumber::snapshot: {
        ledger = {};
        ledger.session.slot.n = r.varint();
        ledger.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
        ledger.next_seq = r.varint();
        ledger.next_ticket = r.varint();
        const std::uint64_t count = r.varint();
        for (std::uint64_t i = 0; i < count && r.ok(); ++i) {
          Ledger::Entry entry;
          entry.ticket = r.varint();
          entry.seq = r.varint();
          entry.post = decode_post(r);
          ledger.entries.push_back(std::move(entry));
        }
        break;
      }
      default:
        return false;
    }
  }
  return r.done();
}

std::string frame(std::string_view payload) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(static_cast<std::uint32_t>(payload.size()));
  w.fixed(static_cast<std::uint64_t>(XXH3_64bits(payload.data(), payload.size())));
  w.raw(payload);
  return out;
}

std::string system_error() { return std::strerror(errno); }

bool sync_folder_of(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path().empty() ? "." : path.parent_path();
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = ::fsync(fd) == 0;
  ::close(fd);
  return synced;
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

std::string StateFile::header() const {
  std::string out(magic);
  paxos::ByteWriter w(out);
  w.sized(cluster_id_);
  w.fixed(static_cast<std::uint64_t>(XXH3_64bits(out.data(), out.size())));
  return out;
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
  const std::string mine = header();
  if (bytes.size() < mine.size() && mine.compare(0, bytes.size(), bytes) == 0) {
    // New, or its making was cut short: nothing can have been sent.
    if (::ftruncate(fd_, 0) != 0) return tl::make_unexpected(fault("cannot be written: " + system_error()));
    if (const auto written = write_all(mine); !written) return written;
    if (::fsync(fd_) != 0 || !sync_folder_of(path_))
      return tl::make_unexpected(fault("cannot be synced: " + system_error()));
    return {};
  }
  const std::string advice =
      "; put a copy of it back that is known to be good, or move it away: messages that are left in it are "
      "then not sent";
  if (bytes.compare(0, magic.size(), magic) != 0)
    return tl::make_unexpected(
        fault("is not a paxoschat state file of this version; give another one with --state"));
  paxos::ByteReader r(std::string_view(bytes).substr(magic.size()));
  const std::string cluster(r.sized_view(cluster_id_bytes_max));
  const std::size_t signed_bytes = r.ok() ? bytes.size() - r.remaining() : 0;
  const auto sum = r.fixed<std::uint64_t>();
  if (!r.ok() || sum != XXH3_64bits(bytes.data(), signed_bytes))
    return tl::make_unexpected(fault("its header is damaged" + advice));
  if (cluster != cluster_id_)
    return tl::make_unexpected(
        fault("belongs to the cluster with id " + cluster + ", the config names " + cluster_id_ +
              "; give that cluster's config with --config, or another file with --state"));
  std::size_t at = signed_bytes + 8;
  while (at < bytes.size()) {
    const std::string_view rest = std::string_view(bytes).substr(at);
    paxos::ByteReader record(rest);
    const auto size = record.fixed<std::uint32_t>();
    const auto checksum = record.fixed<std::uint64_t>();
    const bool whole = record.ok() && size <= record.remaining();
    const std::string_view payload = whole ? rest.substr(record_header_bytes, size) : std::string_view();
    if (!whole || size == 0 || XXH3_64bits(payload.data(), payload.size()) != checksum) {
      // The end of the last append may be missing, or stand there as zeros: nothing of it was sent yet.
      const bool last = !whole || record_header_bytes + size == rest.size();
      const bool zeros = std::all_of(rest.begin(), rest.end(), [](char c) { return c == 0; });
      if (last || zeros) break;
      return tl::make_unexpected(fault("is damaged at byte " + std::to_string(at) + advice));
    }
    if (!apply_payload(payload, ledger_))
      return tl::make_unexpected(
          fault("the record at byte " + std::to_string(at) + " makes no sense" + advice));
    at += record_header_bytes + size;
  }
  bytes_ = at;
  if (at < bytes.size()) {
    if (::ftruncate(fd_, static_cast<off_t>(at)) != 0 || ::fsync(fd_) != 0)
      return tl::make_unexpected(fault("its torn end cannot be cut off: " + system_error()));
  }
  if (::lseek(fd_, static_cast<off_t>(at), SEEK_SET) < 0)
    return tl::make_unexpected(fault("cannot be positioned: " + system_error()));
  // What the last owner wrote may not have reached the disk; we go on as if it had.
  if (::fdatasync(fd_) != 0) return tl::make_unexpected(fault("cannot be synced: " + system_error()));
  return {};
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
  std::string payload;
  paxos::ByteWriter w(payload);
  for (const LedgerEvent& event : events) {
    encode_event(w, event);
    PAXOS_ASSERT(ledger_.apply(event));
  }
  if (!payload.empty()) {
    if (auto written = write_all(frame(payload)); !written) {
      failed_ = true;
      return written;
    }
  }
  if (sync && ::fdatasync(fd_) != 0) {
    failed_ = true;  // a failed sync is never retried and believed
    return tl::make_unexpected(fault("cannot be synced: " + system_error() + "; nothing more is sent"));
  }
  if (bytes_ > compact_at_) return compact();
  return {};
}

tl::expected<void, std::string> StateFile::compact() {
  std::string payload;
  paxos::ByteWriter w(payload);
  encode_snapshot(w, ledger_);
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
  if (!write_all(header() + frame(payload)) || ::fsync(fd) != 0) return give_up();
  if (::rename(fresh.c_str(), path_.c_str()) != 0) return give_up();
  ::close(old);
  if (!sync_folder_of(path_)) {
    failed_ = true;
    return tl::make_unexpected(fault("its folder cannot be synced: " + system_error()));
  }
  compact_at_ = std::max(compact_above, bytes_ * 4);
  return {};
}

}  // namespace client
