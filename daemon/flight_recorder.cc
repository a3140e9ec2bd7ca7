#include "daemon/flight_recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <ctime>
#include <iterator>

#include "paxos/invariant.h"

namespace paxosd {

using chat::FlightEntry;
using chat::FlightKind;

static_assert(FlightRecorder::entries <= chat::flight_entries_max);

namespace {

constexpr std::array<int, 4> crash_signals{SIGABRT, SIGSEGV, SIGBUS, SIGFPE};

std::int64_t clock_ns(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// All that the handler needs, laid out before: it may only open, write and read clocks.
struct Crash {
  char path[4096];
  chat::FlightDumpHead head;
  const FlightEntry* ring = nullptr;
  const std::uint64_t* written = nullptr;
  std::array<struct sigaction, crash_signals.size()> before;
  std::array<std::byte, 64 * 1024> stack;
};
Crash crash;
std::atomic_flag crashed = ATOMIC_FLAG_INIT;
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

bool write_all(int file, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = ::write(file, at, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    size -= static_cast<std::size_t>(done);
  }
  return true;
}

/// Async-signal-safe.
void write_dump(int signal) {
  const int file = ::open(crash.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return;
  crash.head.written = *crash.written;
  crash.head.steady_ns = clock_ns(CLOCK_MONOTONIC);
  crash.head.wall_ns = clock_ns(CLOCK_REALTIME);
  crash.head.signal = static_cast<std::uint32_t>(signal);
  const std::uint64_t kept = std::min<std::uint64_t>(crash.head.written, crash.head.capacity);
  if (write_all(file, &crash.head, sizeof crash.head))
    write_all(file, crash.ring, kept * sizeof(FlightEntry));
  ::close(file);
}

extern "C" void on_crash(int signal, siginfo_t* info, void*) {
  const int error = errno;
  // A second thread that crashes meanwhile waits for the end of the process; a crash in here ends it at once,
  // since the signal is blocked.
  if (crashed.test_and_set())
    for (;;) ::pause();
  write_dump(signal);
  for (std::size_t i = 0; i < crash_signals.size(); ++i)
    ::sigaction(crash_signals[i], &crash.before[i], nullptr);
  // A fault happens again on return, with its address for a core file; what was sent is sent again.
  if (info == nullptr || info->si_code <= 0) ::raise(signal);
  errno = error;
}

std::optional<std::uint64_t> boot_of(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  constexpr std::string_view front = "flight-";
  constexpr std::string_view back = ".bin";
  if (!name.starts_with(front) || !name.ends_with(back)) return std::nullopt;
  std::uint64_t boot = 0;
  const char* end = name.data() + name.size() - back.size();
  const auto read = std::from_chars(name.data() + front.size(), end, boot);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  return boot;
}

std::uint16_t what(const paxos::Decree& decree) {
  switch (decree.kind) {
    case paxos::DecreeKind::noop:
      return 1;
    case paxos::DecreeKind::commands:
      return 0;
    case paxos::DecreeKind::rules:
      return 2;
    case paxos::DecreeKind::configuration:
      return 3;
  }
  return 0;
}

}  // namespace

FlightRecorder::FlightRecorder(std::size_t capacity)
    : capacity_(capacity), ring_(std::make_unique_for_overwrite<FlightEntry[]>(capacity)) {
  PAXOS_ASSERT(std::has_single_bit(capacity));
}

FlightRecorder::~FlightRecorder() {
  if (!dumps_) return;
  for (std::size_t i = 0; i < crash_signals.size(); ++i)
    ::sigaction(crash_signals[i], &crash.before[i], nullptr);
}

void FlightRecorder::record(const FlightEntry& entry) {
  if (written_ > 0) {
    // Slot after slot in one turn: one record.
    FlightEntry& last = ring_[(written_ - 1) & (capacity_ - 1)];
    if (last.kind == entry.kind && last.ns == entry.ns && last.ballot == entry.ballot &&
        last.peer == entry.peer && last.detail == entry.detail && entry.slot != 0 && entry.count != 0 &&
        last.count != 0 && entry.slot == last.slot + last.count && entry.count <= UINT32_MAX - last.count) {
      last.count += entry.count;
      return;
    }
  }
  ring_[written_ & (capacity_ - 1)] = entry;
  // A crash of this thread finds whole records only.
  std::atomic_signal_fence(std::memory_order_release);
  ++written_;
}

void FlightRecorder::note(paxos::Time now, FlightKind kind, paxos::Slot slot, std::uint64_t count,
                          paxos::Ballot ballot, std::uint8_t peer, std::uint16_t detail) {
  record({.ns = now.time_since_epoch().count(),
          .slot = slot.n,
          .ballot = FlightEntry::pack(ballot),
          .count = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, UINT32_MAX)),
          .kind = kind,
          .peer = peer,
          .detail = detail});
}

void FlightRecorder::told(paxos::Time now, paxos::ReplicaId from, paxos::Ballot ballot, paxos::Slot prefix,
                          std::uint16_t how) {
  if (prefix <= told_) return;
  note(now, FlightKind::told_chosen, told_ + 1, prefix - told_, ballot, from.n, how);
  told_ = prefix;
}

void FlightRecorder::received(paxos::Time now, paxos::ReplicaId from, const paxos::PeerMessage& message) {
  std::visit(
      [&](const auto& m) {
        using M = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<M, paxos::Accept>) {
          note(now, FlightKind::accept_received, m.slot, 1, m.ballot, from.n, what(m.decree));
          told(now, from, m.ballot, m.chosen_prefix, 2);
        } else if constexpr (std::is_same_v<M, paxos::Accepted>) {
          for (const paxos::SlotRange& range : m.slots)
            note(now, FlightKind::accepted_received, range.first, range.last - range.first + 1, m.ballot,
                 from.n);
        } else if constexpr (std::is_same_v<M, paxos::Commit>) {
          told(now, from, m.ballot, m.chosen_prefix, 1);
        } else if constexpr (std::is_same_v<M, paxos::HeartbeatReply>) {
          told(now, from, m.leader, m.chosen_prefix, 3);
        } else if constexpr (std::is_same_v<M, paxos::Prepare>) {
          note(now, FlightKind::prepare_received, m.from, 0, m.ballot, from.n);
        } else if constexpr (std::is_same_v<M, paxos::Promise>) {
          const std::uint64_t count = m.next.none() || m.next <= m.from ? 0 : m.next - m.from;
          note(now, FlightKind::promise_received, m.from, count, m.ballot, from.n,
               static_cast<std::uint16_t>(std::min<std::size_t>(m.entries.size(), UINT16_MAX)));
          for (const paxos::PromiseEntry& e : m.entries)
            note(now, FlightKind::promise_named, e.slot, 1, e.ballot, from.n, e.chosen ? 1 : 0);
        } else if constexpr (std::is_same_v<M, paxos::Nack>) {
          note(now, FlightKind::nack_received, {}, 1, m.promised, from.n);
        } else if constexpr (std::is_same_v<M, paxos::LearnReply>) {
          if (!m.decrees.empty())
            note(now, FlightKind::learn_received, m.decrees.front().slot,
                 m.decrees.back().slot - m.decrees.front().slot + 1, m.decrees.front().ballot, from.n);
        }
      },
      message);
}

void FlightRecorder::commands_came(paxos::Time now, std::size_t count) {
  if (written_ > 0) {
    FlightEntry& last = ring_[(written_ - 1) & (capacity_ - 1)];
    if (last.kind == FlightKind::commands_came && last.ns == now.time_since_epoch().count()) {
      last.count += static_cast<std::uint32_t>(count);
      return;
    }
  }
  note(now, FlightKind::commands_came, {}, count, {});
}

void FlightRecorder::skipped(paxos::Time now, paxos::Ballot ballot, const std::vector<paxos::Slot>& slots) {
  for (const paxos::Slot slot : slots) note(now, FlightKind::skipped, slot, 1, ballot);
}

void FlightRecorder::sent_after_sync(paxos::Time now, const paxos::Envelope& envelope, bool at_once) {
  const std::uint8_t peer = envelope.to ? envelope.to->n : FlightEntry::nobody;
  if (const auto* prepare = std::get_if<paxos::Prepare>(&envelope.message)) {
    note(now, FlightKind::prepare_sent, prepare->from, 0, prepare->ballot, peer);
  } else if (const auto* promise = std::get_if<paxos::Promise>(&envelope.message)) {
    note(now, FlightKind::promise_sent, promise->from, 0, promise->ballot, peer);
  } else if (const auto* nack = std::get_if<paxos::Nack>(&envelope.message)) {
    note(now, FlightKind::nack_sent, {}, 1, nack->promised, peer);
  } else if (const auto* accepted = std::get_if<paxos::Accepted>(&envelope.message);
             accepted != nullptr && at_once) {
    // The first one is told by its vote.
    for (const paxos::SlotRange& range : accepted->slots)
      note(now, FlightKind::accepted_repeated, range.first, range.last - range.first + 1, accepted->ballot,
           peer);
  }
}

void FlightRecorder::effects(paxos::Time now, const chat::NodeOutput& out, std::uint64_t synced) {
  for (const paxos::Event& event : out.events) {
    std::optional<FlightKind> kind;
    if (event.name == "candidate")
      kind = FlightKind::candidate;
    else if (event.name == "leader")
      kind = FlightKind::leader;
    else if (event.name == "deposed")
      kind = FlightKind::deposed;
    else if (event.name == "candidacy_ended")
      kind = FlightKind::candidacy_ended;
    else if (event.name == "take_over")
      kind = FlightKind::taking_over;
    else if (event.name == "hand_over")
      kind = FlightKind::handing_over;
    else if (event.name == "diverged")
      kind = FlightKind::diverged;
    else if (event.name == "noop")
      kind = FlightKind::noop_filled;
    if (kind) note(now, *kind, event.slot, *kind == FlightKind::leader ? 0 : 1, event.ballot);
  }
  for (const paxos::Envelope& envelope : out.send_now) {
    const std::uint8_t peer = envelope.to ? envelope.to->n : FlightEntry::nobody;
    if (const auto* accept = std::get_if<paxos::Accept>(&envelope.message)) {
      note(now, envelope.to ? FlightKind::accept_repeated : FlightKind::proposed, accept->slot, 1,
           accept->ballot, peer, what(accept->decree));
    } else if (const auto* prepare = std::get_if<paxos::Prepare>(&envelope.message)) {
      note(now, FlightKind::prepare_sent, prepare->from, 0, prepare->ballot, peer);
    } else if (const auto* asked = std::get_if<paxos::LearnRequest>(&envelope.message)) {
      note(now, FlightKind::learn_asked, asked->from, asked->to - asked->from + 1, {}, peer);
    } else if (const auto* reply = std::get_if<paxos::LearnReply>(&envelope.message)) {
      if (!reply->decrees.empty())
        note(now, FlightKind::learn_sent, reply->decrees.front().slot,
             reply->decrees.back().slot - reply->decrees.front().slot + 1, {}, peer);
    }
  }
  for (const chat::GroupWrite& group : out.groups) {
    for (const paxos::Record& record : group.records) {
      if (const auto* vote = std::get_if<paxos::VoteRecord>(&record))
        note(now, FlightKind::voted, vote->slot, 1, vote->ballot, FlightEntry::nobody,
             static_cast<std::uint16_t>(group.group & 0xffff));
      else if (const auto* chosen = std::get_if<paxos::ChosenRecord>(&record))
        note(now, FlightKind::learned, chosen->slot, 1, chosen->ballot);
    }
    for (const paxos::Envelope& envelope : group.send_after_sync)
      sent_after_sync(now, envelope, group.group <= synced);
  }
}

void FlightRecorder::standing(paxos::Time now, paxos::Slot chosen, paxos::Slot chosen_max) {
  if (chosen > chosen_) {
    note(now, FlightKind::chosen, chosen_ + 1, chosen - chosen_, {});
    chosen_ = chosen;
  }
  if (chosen_max > chosen_max_) {
    // Out of order: what lies between may be chosen or not.
    if (chosen_max > chosen) note(now, FlightKind::chosen, chosen_max, 1, {});
    chosen_max_ = chosen_max;
  }
}

void FlightRecorder::applied(paxos::Time now, paxos::Slot slot) {
  note(now, FlightKind::applied, slot, 1, {});
}

void FlightRecorder::started(paxos::Time now, paxos::Ballot promised, paxos::Slot chosen,
                             paxos::Slot applied) {
  note(now, FlightKind::boot, applied, 1, promised);
  chosen_ = chosen_max_ = told_ = chosen;
}

void FlightRecorder::synced_from_log_thread(std::uint64_t group) {
  const std::uint64_t at = syncs_written_.load(std::memory_order_relaxed);
  SyncMark& mark = syncs_[at % sync_marks];
  mark.group.store(group, std::memory_order_release);
  mark.ns.store(clock_ns(CLOCK_MONOTONIC), std::memory_order_release);
  syncs_written_.store(at + 1, std::memory_order_release);
}

void FlightRecorder::take_syncs() {
  const std::uint64_t until = syncs_written_.load(std::memory_order_acquire);
  while (syncs_taken_ < until) {
    const SyncMark& mark = syncs_[syncs_taken_ % sync_marks];
    const std::int64_t ns = mark.ns.load(std::memory_order_acquire);
    const std::uint64_t group = mark.group.load(std::memory_order_acquire);
    // A word of a later mark brings the count of the marks before it along. The one that is being written
    // takes the place of the oldest: all but one of a ring are there to be read.
    const std::uint64_t written = syncs_written_.load(std::memory_order_relaxed);
    if (written - syncs_taken_ >= sync_marks) {
      syncs_taken_ = written - (sync_marks - 1);
      continue;
    }
    ++syncs_taken_;
    record({.ns = ns,
            .slot = group,
            .ballot = 0,
            .count = 1,
            .kind = FlightKind::synced,
            .peer = FlightEntry::nobody,
            .detail = 0});
  }
}

std::vector<FlightEntry> FlightRecorder::all() const {
  std::vector<FlightEntry> out;
  const std::uint64_t kept = std::min<std::uint64_t>(written_, capacity_);
  out.reserve(kept);
  for (std::uint64_t i = written_ - kept; i < written_; ++i) out.push_back(ring_[i & (capacity_ - 1)]);
  return out;
}

std::vector<std::filesystem::path> FlightRecorder::dumps(const std::filesystem::path& folder) {
  std::vector<std::pair<std::uint64_t, std::filesystem::path>> found;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (const auto boot = boot_of(at->path())) found.emplace_back(*boot, at->path());
  std::sort(found.begin(), found.end());
  std::vector<std::filesystem::path> out;
  for (auto& [boot, path] : found) out.push_back(std::move(path));
  return out;
}

void FlightRecorder::keep_newest(const std::filesystem::path& folder, std::size_t kept) {
  const auto found = dumps(folder);
  std::error_code error;  // what can't be removed is tried again next time
  for (std::size_t i = 0; i + kept < found.size(); ++i) std::filesystem::remove(found[i], error);
}

std::optional<std::string> FlightRecorder::dump_on_crash(const std::filesystem::path& folder,
                                                         paxos::ReplicaId self, std::uint64_t boot) {
  std::error_code error;
  std::filesystem::create_directory(folder, error);
  if (error) return "no crash dumps: " + folder.string() + ": " + error.message();
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  // Named by the boot: a pid may come again.
  const std::string path =
      std::filesystem::absolute(folder / ("flight-" + std::to_string(boot) + ".bin")).string();
  if (path.size() >= sizeof crash.path) return "no crash dumps: the path is too long: " + path;
  std::memcpy(crash.path, path.c_str(), path.size() + 1);
  crash.head = {};
  crash.head.capacity = static_cast<std::uint32_t>(capacity_);
  crash.head.boot = boot;
  crash.head.pid = static_cast<std::uint32_t>(::getpid());
  crash.head.replica = self.n;
  crash.ring = ring_.get();
  crash.written = &written_;
  // A stack of its own: an overflow of the loop's is a crash like others. Other threads crash on theirs.
  stack_t stack{.ss_sp = crash.stack.data(), .ss_flags = 0, .ss_size = crash.stack.size()};
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < crash_signals.size(); ++i)
    if (::sigaction(crash_signals[i], &action, &crash.before[i]) != 0)
      return "no crash dumps: signals can't be caught";
  dumps_ = true;
  return std::nullopt;
}

}  // namespace paxosd
