#include "daemon/log.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/spool.h"

namespace daemon_log {

namespace {
std::atomic<Level> level_max{Level::info};
std::atomic<int> replica{-1};
constexpr std::array<std::string_view, 4> names{"error", "warning", "info", "debug"};

/// Whether standard error is the journal's own stream, as sd-daemon(3) has it: the variable alone may be
/// inherited by a program whose standard error goes elsewhere.
bool to_journal() {
  static const bool answer = [] {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat info{};
    if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
    return fmt::format("{}:{}", info.st_dev, info.st_ino) == stream;
  }();
  return answer;
}

void write_journal(const Line& line) {
  // syslog's numbers.
  static constexpr std::array<int, 4> priority{3, 4, 6, 7};
  std::vector<std::string> fields{fmt::format("MESSAGE={}", line.text),
                                  fmt::format("PRIORITY={}", priority[static_cast<std::size_t>(line.level)]),
                                  "SYSLOG_IDENTIFIER=paxosd"};
  if (replica >= 0) fields.push_back(fmt::format("REPLICA={}", replica.load()));
  if (!line.event.empty()) fields.push_back("EVENT=" + line.event);
  if (!line.ballot.empty()) fields.push_back("BALLOT=" + line.ballot);
  if (!line.slot.empty()) fields.push_back("SLOT=" + line.slot);
  std::vector<iovec> parts;
  for (std::string& field : fields) parts.push_back({field.data(), field.size()});
  ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

void write_text(int fd, const Line& line) {
  using namespace std::chrono;
  const auto ms = duration_cast<milliseconds>(line.at.time_since_epoch()).count();
  const std::time_t seconds = ms / 1000;
  tm local{};
  localtime_r(&seconds, &local);
  std::string text =
      fmt::format("{:02}:{:02}:{:02}.{:03} ", local.tm_hour, local.tm_min, local.tm_sec, ms % 1000);
  if (replica >= 0) text += fmt::format("replica {}: ", replica.load());
  if (line.level != Level::info) text += fmt::format("{}: ", names[static_cast<std::size_t>(line.level)]);
  text += line.text;
  text += '\n';
  // One write a line, so that lines of several threads don't mix.
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// What begin() made; never destroyed, since its threads may hang in a write for as long as the process
/// lives.
struct Way {
  int out = -1;    ///< standard error as it was given to us
  int stray = -1;  ///< what was written to descriptor 2, to be read
  std::unique_ptr<Spool> spool;
};
std::atomic<Way*> way{nullptr};

void put(Line line) {
  if (const Way* to = way.load(std::memory_order_acquire); to != nullptr) {
    to->spool->push(std::move(line));
  } else if (to_journal()) {
    write_journal(line);
  } else {
    write_text(STDERR_FILENO, line);
  }
}

void put(Level level, const About& about, std::string_view text) {
  put({.at = std::chrono::system_clock::now(),
       .level = level,
       .event = std::string(about.event),
       .ballot = about.ballot.none() ? std::string() : paxos::to_string(about.ballot),
       .slot = about.slot.none() ? std::string() : std::to_string(about.slot.n),
       .text = std::string(text)});
}

/// Bytes that were written to descriptor 2 and are not read yet.
int stray_bytes(const Way& of) {
  int bytes = 0;
  return of.stray >= 0 && ::ioctl(of.stray, FIONREAD, &bytes) == 0 ? bytes : 0;
}

void carry_strays(Way& to) {
  std::string text;
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t got = ::read(to.stray, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      put(Level::error, {}, std::string_view(text).substr(0, end));
      text.erase(0, end + 1);
    }
    if (text.size() < chunk.size()) continue;
    put(Level::error, {}, text);
    text.clear();
  }
}

/// A thread that begins with every signal blocked, and that nobody waits for.
template <class Work>
void start_aside(Work work) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(std::move(work)).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// Looks every 2 ms, `looks` times at most; whether nothing is left. Async-signal-safe.
bool wait_until_said(const Way& of, int looks) {
  constexpr timespec moment{.tv_sec = 0, .tv_nsec = 2'000'000};
  // Twice in a row: what was read a moment ago is a line in the spool only now.
  for (int quiet = 0; looks > 0; --looks) {
    quiet = stray_bytes(of) == 0 && of.spool->empty() ? quiet + 1 : 0;
    if (quiet == 2) return true;
    ::nanosleep(&moment, nullptr);
  }
  return false;
}

constexpr int last_looks = 250;
constexpr std::array<int, 4> fatal_signals{SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
constexpr int crash_looks = 150;

/// Async-signal-safe, if the crash left the other threads able to run. Below it in the chain is the default:
/// a core.
extern "C" void say_last_words(int signal, siginfo_t* info, void*) {
  const int error = errno;
  if (const Way* to = way.load(std::memory_order_acquire); to != nullptr) {
    (void)wait_until_said(*to, crash_looks);
  }
  ::signal(signal, SIG_DFL);
  if (info == nullptr || info->si_code <= 0) ::raise(signal);
  errno = error;
}

// Sanitizers write their reports to descriptor 2 and end the process at once.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PAXOSD_SANITIZED 1
#endif
#endif
#ifdef PAXOSD_SANITIZED
constexpr bool takes_strays = false;
#else
constexpr bool takes_strays = true;
#endif

/// Descriptor 2 becomes a pipe of our own that never blocks its writers. The given one is used as it is:
/// O_NONBLOCK on it would be seen by everybody who shares it, a shell's terminal for one.
void take_strays(Way& to) {
  if (!takes_strays) return;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  const int flags = ::fcntl(ends[1], F_GETFL);
  if (::fcntl(ends[1], F_SETFL, flags | O_NONBLOCK) != 0 || ::dup2(ends[1], STDERR_FILENO) < 0) {
    ::close(ends[0]);
    ::close(ends[1]);
    return;
  }
  ::close(ends[1]);
  to.stray = ends[0];
  start_aside([&to] { carry_strays(to); });
  for (int signal : fatal_signals) {
    struct sigaction action{};
    action.sa_sigaction = say_last_words;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }
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

void begin() {
  if (way.load(std::memory_order_acquire) != nullptr) return;
  auto* made = new Way;
  const bool journal = to_journal();
  made->out = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  made->spool = std::make_unique<Spool>([journal, out = made->out](const Line& line) {
    if (journal)
      write_journal(line);
    else
      write_text(out, line);
  });
  way.store(made, std::memory_order_release);
  if (made->out >= 0) take_strays(*made);
}

bool finish() {
  const Way* to = way.load(std::memory_order_acquire);
  return to == nullptr || wait_until_said(*to, last_looks);
}

void exit_now(int code) {
  finish();
  std::_Exit(code);
}

std::uint64_t lines_lost() {
  const Way* to = way.load(std::memory_order_acquire);
  return to == nullptr ? 0 : to->spool->lost();
}

std::chrono::milliseconds stuck_for() {
  const Way* to = way.load(std::memory_order_acquire);
  return to == nullptr ? std::chrono::milliseconds{0} : to->spool->stuck_for();
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
  // Computed states that differ ask for a hand, whoever is right.
  const bool grave = event.name == "disagrees" || event.name == "diverged";
  write(grave ? Level::error : Level::info, {.event = event.name, .ballot = event.ballot, .slot = event.slot},
        event.text);
}

}  // namespace daemon_log
