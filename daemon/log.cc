#include "daemon/log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <vector>

namespace daemon_log {

namespace {
std::atomic<Level> level_max{Level::info};
std::atomic<int> replica{-1};
constexpr std::array<std::string_view, 4> names{"error", "warning", "info", "debug"};

/// Whether standard error is the journal's own stream, as sd-daemon(3) has it: the variable alone may be inherited by
/// a program whose standard error goes elsewhere.
bool to_journal() {
  static const bool answer = [] {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat info{};
    if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
    return fmt::format("{}:{}", info.st_dev, info.st_ino) == stream;
  }();
  return answer;
}

void write_journal(Level level, const About& about, std::string_view text) {
  // syslog's numbers.
  static constexpr std::array<int, 4> priority{3, 4, 6, 7};
  std::vector<std::string> fields{fmt::format("MESSAGE={}", text),
                                  fmt::format("PRIORITY={}", priority[static_cast<std::size_t>(level)]),
                                  "SYSLOG_IDENTIFIER=paxosd"};
  if (replica >= 0) fields.push_back(fmt::format("REPLICA={}", replica.load()));
  if (!about.event.empty()) fields.push_back(fmt::format("EVENT={}", about.event));
  if (!about.ballot.none()) fields.push_back("BALLOT=" + paxos::to_string(about.ballot));
  if (!about.slot.none()) fields.push_back(fmt::format("SLOT={}", about.slot.n));
  std::vector<iovec> parts;
  for (std::string& field : fields) parts.push_back({field.data(), field.size()});
  ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

void write_stderr(Level level, std::string_view text) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  localtime_r(&now.tv_sec, &local);
  std::string line = fmt::format("{:02}:{:02}:{:02}.{:03} ", local.tm_hour, local.tm_min, local.tm_sec,
                                 now.tv_nsec / 1'000'000);
  if (replica >= 0) line += fmt::format("replica {}: ", replica.load());
  if (level != Level::info) line += fmt::format("{}: ", names[static_cast<std::size_t>(level)]);
  line += text;
  line += '\n';
  // One write a line, so that lines of several threads don't mix.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

void put(Level level, const About& about, std::string_view text) {
  if (to_journal())
    write_journal(level, about, text);
  else
    write_stderr(level, text);
}
}  // namespace

bool set_level(std::string_view name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) return false;
  level_max = static_cast<Level>(at - names.begin());
  return true;
}

void set_replica(unsigned id) { replica = static_cast<int>(id); }

LineLimit::Verdict LineLimit::ask(std::string_view kind, Time now) {
  auto at = buckets_.find(kind);
  if (at == buckets_.end()) {
    if (buckets_.size() >= kinds_max) return {.say = true, .left_out = 0};
    at = buckets_.emplace(std::string(kind), Bucket{.tokens = burst, .filled = now, .left_out = 0}).first;
  }
  Bucket& bucket = at->second;
  const double seconds = std::max(0.0, std::chrono::duration<double>(now - bucket.filled).count());
  bucket.tokens = std::min<double>(burst, bucket.tokens + seconds * per_second);
  bucket.filled = std::max(bucket.filled, now);
  if (bucket.tokens < 1) {
    ++bucket.left_out;
    return {};
  }
  bucket.tokens -= 1;
  return {.say = true, .left_out = std::exchange(bucket.left_out, 0)};
}

void write(Level level, const About& about, std::string_view text) {
  if (level > level_max.load(std::memory_order_relaxed)) return;
  // An error is the last thing that a process says, or asks for a hand; debug is wanted as it comes.
  if (level == Level::warning || level == Level::info) {
    static std::mutex mutex;
    static LineLimit limit;
    LineLimit::Verdict verdict;
    {
      const std::lock_guard lock(mutex);
      verdict = limit.ask(about.event, std::chrono::steady_clock::now());
    }
    if (!verdict.say) return;
    if (verdict.left_out > 0)
      put(level, {.event = "left_out", .ballot = {}, .slot = {}},
          fmt::format("{} more lines like the next one were left out", verdict.left_out));
  }
  put(level, about, text);
}

void tell(const paxos::Event& event) {
  write(Level::info, {.event = event.name, .ballot = event.ballot, .slot = event.slot}, event.text);
}

}  // namespace daemon_log
