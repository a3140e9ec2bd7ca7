#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "chat/node.h"
#include "paxos/records.h"
#include "storage/recovery.h"
#include "tests/sim/random.h"

namespace sim {

/// One replica's modelled data directory: what is durable, and the groups that are written but not synced.
/// A write is atomic and writes are ordered, so what a crash leaves of the unsynced groups is a prefix; one
/// that was torn is dropped whole, as its checksum demands.
///
/// The fields tell what is durable, in plain values: the truth. With real rows, a start does not take it from
/// there, but from the bytes that storage/ would have written (rows in tables, a write-ahead log of batches,
/// two mark cells), through storage/'s own decisions; the result must be the truth or a refusal.
class Disk {
 public:
  struct Entry {
    bool present = false;
    bool learned = false;  ///< by a ChosenRecord
    paxos::Ballot ballot;
    paxos::Decree decree;
  };

  paxos::Incarnation incarnation;
  std::uint64_t boot = 0;
  std::uint32_t format = storage::format_version;  ///< of its log
  std::optional<paxos::BirthRecord> birth;
  std::vector<paxos::Life> lives;
  std::map<std::uint8_t, paxos::PeerRecord> peers;
  std::optional<paxos::OutdatedRecord> outdated;
  paxos::Ballot promised;
  paxos::Slot prefix;            ///< of the last ChosenPrefixRecord
  paxos::Slot begins{1};         ///< the log begins with it
  paxos::Slot hashes_below;      ///< hashes of slots below are gone, but for some
  std::vector<Entry> log;        ///< [i] is slot i + 1
  std::uint64_t last_group = 0;  ///< the last durable one
  paxos::Slot state_written;     ///< rows handed over up to here
  paxos::Slot state_durable;     ///< rows that a crash leaves
  std::deque<chat::GroupWrite> pending;
  /// Rows of the state that are not those that all replicas have (VersionedRows): what was taken out here,
  /// and how far that is.
  struct OwnRow {
    paxos::Slot written_at;  ///< state_written then: a crash that goes back behind it loses the row
    std::string value;
  };
  std::map<std::string, OwnRow, std::less<>> own;
  /// By room: its runs that begin below are gone, and what is said about messages below.
  struct Swept {
    paxos::Slot written_at;  ///< likewise
    std::uint64_t below = 0;
  };
  std::map<std::string, std::vector<Swept>, std::less<>> swept;  ///< the last one counts

  void apply(const chat::GroupWrite& group);
  [[nodiscard]] const Entry* find(paxos::Slot slot) const {
    if (slot.none() || slot.n > log.size() || !log[slot.n - 1].present) return nullptr;
    return &log[slot.n - 1];
  }
  /// As storage/ gives it to a starting replica whose state stands at `applied`.
  [[nodiscard]] paxos::Recovered recovered(paxos::Slot applied, const paxos::Hash& hash) const;

  // --- real rows ---

  /// One write of whole groups, which are applied already; `mark`: the mark was written after it. Takes the
  /// records.
  void write(std::vector<chat::GroupWrite>& groups, bool mark);
  /// The write that was under way when the power went: its bytes are cut.
  void tear(const chat::GroupWrite& group, Random& random);
  /// The mark is never synced by itself: a power cut may take it back, or tear a cell.
  void lose_mark(Random& random);
  /// Bit rot in what the mark covers, or in a table. Says what; empty: there is nothing to spoil.
  [[nodiscard]] std::string rot(Random& random);
  void repair();
  /// In place of what it has up to `slot`, it takes a peer's state at that slot; votes above it stay.
  void install(paxos::Slot slot, const std::map<std::string, OwnRow, std::less<>>& rows);
  [[nodiscard]] bool damaged() const { return spoilt_frame_.has_value() || !spoilt_rows_.empty(); }
  /// Whether the row of a slot in first..last is spoilt: such a read fails as a whole.
  [[nodiscard]] bool spoilt(paxos::Slot first, paxos::Slot last) const;
  /// Formats of the log: the last one that the starting program reads, and that of the rules in force.
  struct Formats {
    std::uint32_t known = storage::format_version;
    std::uint32_t in_force = storage::format_version;
    std::uint64_t life = 0;  ///< of this start
  };
  /// Boot + 1, and its life, as a start syncs them.
  void begin_life(std::uint64_t life) {
    ++boot;
    if (lives.size() == paxos::limits::lives_max) lives.erase(lives.begin());
    if (life != 0) lives.push_back({boot, life});
  }
  /// A start, as storage::Storage::open does it: what it gives to the replica, or why it refuses. Raises
  /// `boot` and `format`.
  [[nodiscard]] tl::expected<paxos::Recovered, std::string> open(paxos::ReplicaId self, paxos::Slot applied,
                                                                 const paxos::Hash& hash,
                                                                 const Formats& formats);
  [[nodiscard]] tl::expected<paxos::Recovered, std::string> open(paxos::ReplicaId self, paxos::Slot applied,
                                                                 const paxos::Hash& hash) {
    return open(self, applied, hash, Formats{});
  }

 private:
  struct Batch {
    struct Group {
      std::uint64_t number = 0;
      std::vector<paxos::Record> records;
    };
    std::vector<Group> groups;
  };
  /// Rows of the write-ahead log, above those of the tables; they point into its frames.
  struct Overlay {
    std::map<std::uint64_t, std::string_view> slots;
    std::map<std::string_view, std::string_view> others;
  };
  struct SpoiltFrame {
    std::size_t frame = 0;
    std::uint64_t at = 0;  ///< which bit, modulo its size
    bool zeros = false;    ///< the whole frame
  };
  struct SpoiltRow {
    std::uint64_t slot = 0;
    std::string value;  ///< as it was
  };

  Entry& at(paxos::Slot slot) {
    if (log.size() < slot.n) log.resize(slot.n);
    return log[slot.n - 1];
  }
  [[nodiscard]] std::vector<std::string> frames() const;
  [[nodiscard]] std::string read_frames(const std::vector<std::string>& frames, Overlay& into) const;

  std::vector<std::string> table_slots_;  ///< [i]: the sealed row of slot i + 1; empty: none
  std::map<std::string, std::string, std::less<>> table_others_;
  std::vector<storage::LogRow> start_rows_;  ///< the write of this start: the first of the write-ahead log
  std::uint32_t start_format_ = storage::format_version;  ///< as stored when it was written
  paxos::Ballot start_promised_;                          ///< as stored when it was written
  std::vector<Batch> batches_;                            ///< since then
  std::string torn_;                                      ///< a frame that was cut
  std::array<std::string, 2> cells_;
  unsigned cell_ = 0;  ///< the next one to be written
  std::array<std::string, 2> start_cells_;
  std::optional<SpoiltFrame> spoilt_frame_;
  std::vector<SpoiltRow> spoilt_rows_;
};

}  // namespace sim
