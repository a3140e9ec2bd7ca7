#include "daemon/scrub.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace paxosd {

namespace {

/// Behind a slot that does not read, the log is tried again from there on: a block holds some.
constexpr std::uint64_t step_over = 64;

const char* const file_name = "scrubbed";

}  // namespace

Scrub::Page Scrub::read_page(const storage::Storage::Reader& reader, Place from, paxos::Slot accepted) {
  Page page{.next = std::move(from), .bytes = 0};
  switch (page.next.part) {
    case Place::Part::own:
      (void)reader.log_own();
      page.next.part = Place::Part::log;
      page.next.slot = reader.log_first();
      break;
    case Place::Part::log: {
      const auto entries = reader.log(page.next.slot, paxos::Slot{UINT64_MAX}, page_bytes);
      if (!entries) {
        page.next.slot = std::max(page.next.slot + step_over, reader.log_first());
        page.bytes =
            page_bytes;  // a table may not read at all, whatever it is asked for: that rests, too, and ends
        if (page.next.slot > accepted) page.next.part = Place::Part::state;
      } else if (entries->empty()) {
        page.next.part = Place::Part::state;
      } else {
        for (const paxos::LogEntry& entry : *entries) page.bytes += entry.decree.value.size();
        page.next.slot = entries->back().slot + 1;
      }
      break;
    }
    case Place::Part::state: {
      const auto next = reader.pass(page.next.row, page_bytes, page.bytes);
      page.next.row = next.value_or(std::string());
      if (!next) page.next.part = Place::Part::end;
      break;
    }
    case Place::Part::end:
      break;
  }
  return page;
}

void Scrub::begin(paxos::Time now, std::optional<std::chrono::seconds> last, std::chrono::seconds every) {
  counts_from_ = now - last.value_or(std::chrono::seconds{0});
  set_every(now, every);
}

void Scrub::set_every(paxos::Time now, std::chrono::seconds every) {
  every_ = every;
  if (place_) return;  // this pass goes on
  next_ = every_.count() == 0 ? paxos::time_never : std::max(now, counts_from_ + every_);
}

std::optional<Scrub::Place> Scrub::due(paxos::Time now) {
  if (reading_ || now < next_) return std::nullopt;
  if (!place_) {
    place_ = Place{};
    bytes_ = 0;
  }
  reading_ = true;
  return *place_;
}

bool Scrub::page_read(paxos::Time now, Page page) {
  reading_ = false;
  bytes_ += page.bytes;
  if (page.next.part != Place::Part::end) {
    next_ = now + std::chrono::nanoseconds{page.bytes * 1'000'000'000 / bytes_per_second};
    place_ = std::move(page.next);
    return false;
  }
  ++passes_;
  place_.reset();
  counts_from_ = now;
  set_every(now, every_);
  return true;
}

std::optional<std::chrono::seconds> since_last_scrub(const std::filesystem::path& directory) {
  struct stat info{};
  if (::stat((directory / file_name).c_str(), &info) != 0) return std::nullopt;
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  // A clock that went back says nothing.
  return std::chrono::seconds{std::max<std::int64_t>(now - info.st_mtime, 0)};
}

void note_scrub(const std::filesystem::path& directory) {
  const int fd = ::open((directory / file_name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;  // then the next pass comes sooner
  (void)::futimens(fd, nullptr);
  ::close(fd);
}

}  // namespace paxosd
