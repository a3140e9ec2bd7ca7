#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/flight.h"
#include "chat/node.h"
#include "paxos/messages.h"

namespace paxosd {

/// What happened to the last slots, in a ring of fixed size: `paxosctl explain SLOT` asks for it, and a crash
/// leaves it behind. Loop thread only, but for synced_from_log_thread(). Ranges of slots take one record, so
/// that a batch costs as much as a slot.
class FlightRecorder {
 public:
  /// 131,072 records of 32 bytes, 4 MiB, touched as they are written.
  static constexpr std::size_t entries = std::size_t{1} << 17;

  explicit FlightRecorder(std::size_t capacity = entries);  ///< a power of two
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  void record(const chat::FlightEntry& entry);

  // Hooks of the host.
  void received(paxos::Time now, paxos::ReplicaId from, const paxos::PeerMessage& message);
  void commands_came(paxos::Time now, std::size_t count);
  void skipped(paxos::Time now, paxos::Ballot ballot, const std::vector<paxos::Slot>& slots);
  /// The effects of a turn, before they are carried out. `synced`: groups up to here are on disk.
  void effects(paxos::Time now, const chat::NodeOutput& out, std::uint64_t synced);
  /// After a turn: how far the chosen slots are known.
  void standing(paxos::Time now, paxos::Slot chosen, paxos::Slot chosen_max);
  void applied(paxos::Time now, paxos::Slot slot);
  /// Where the log begins at this boot, so that only what is new is recorded.
  void started(paxos::Time now, paxos::Ballot promised, paxos::Slot chosen, paxos::Slot applied);

  /// Log thread: everything up to `group` is on disk, since now.
  void synced_from_log_thread(std::uint64_t group);
  /// Loop thread: takes over what the log thread noted.
  void take_syncs();

  [[nodiscard]] std::uint64_t written() const { return written_; }
  /// Everything that is kept, oldest first.
  [[nodiscard]] std::vector<chat::FlightEntry> all() const;

  // Crash dumps.
  /// Has SIGABRT (std::terminate ends in it), SIGSEGV, SIGBUS and SIGFPE write the ring into `folder`, which
  /// is made, and then do what they did before. Errors: a sentence; then there will be no dump. One recorder
  /// a process.
  [[nodiscard]] std::optional<std::string> dump_on_crash(const std::filesystem::path& folder,
                                                         paxos::ReplicaId self, std::uint64_t boot);
  /// The dumps in the folder, oldest first.
  [[nodiscard]] static std::vector<std::filesystem::path> dumps(const std::filesystem::path& folder);
  /// Removes all but the newest `kept` of them. Any thread; it blocks.
  static void keep_newest(const std::filesystem::path& folder, std::size_t kept);

 private:
  void note(paxos::Time now, chat::FlightKind kind, paxos::Slot slot, std::uint64_t count,
            paxos::Ballot ballot, std::uint8_t peer = chat::FlightEntry::nobody, std::uint16_t detail = 0);
  void told(paxos::Time now, paxos::ReplicaId from, paxos::Ballot ballot, paxos::Slot prefix,
            std::uint16_t how);
  void sent_after_sync(paxos::Time now, const paxos::Envelope& envelope, bool at_once);

  /// A sync, as the log thread saw it. Both words are written before `syncs_written_` says so. A reader that
  /// is overtaken by a whole ring sees it by the count and leaves those marks out: each word is stored after
  /// the count of the marks before it (release), so who reads a new word reads a new count.
  struct SyncMark {
    std::atomic<std::uint64_t> group{0};
    std::atomic<std::int64_t> ns{0};
  };
  static constexpr std::size_t sync_marks = 1024;

  const std::size_t capacity_;
  std::unique_ptr<chat::FlightEntry[]> ring_;
  std::uint64_t written_ = 0;
  paxos::Slot chosen_, chosen_max_, told_;
  std::array<SyncMark, sync_marks> syncs_;
  std::atomic<std::uint64_t> syncs_written_{0};
  std::uint64_t syncs_taken_ = 0;
  bool dumps_ = false;
};

}  // namespace paxosd
