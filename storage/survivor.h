#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/machine.h"
#include "paxos/records.h"
#include "storage/inspect.h"
#include "storage/read_lock.h"
#include "storage/rescue_plan.h"

namespace storage {

class ReadOnlyDatabase;

/// One stopped replica's directory, as a rescue reads it: without writing a byte. Order: lock(), examine(),
/// load(), then all else.
class Survivor {
 public:
  explicit Survivor(std::filesystem::path directory);
  ~Survivor();
  Survivor(const Survivor&) = delete;
  Survivor& operator=(const Survivor&) = delete;

  /// No replica starts on it as long as this lives. What is wrong, or nothing.
  [[nodiscard]] std::string lock();
  /// How many replicas its cluster was born with, where that reads. At once, before anything is examined.
  [[nodiscard]] std::optional<std::size_t> members() const;
  /// The configuration that its state has come to, where that is a later one than the first. After load().
  [[nodiscard]] std::optional<paxos::Configuration> configuration() const;
  /// Reads all of it with every checksum. What is wrong (it is no replica's directory), or nothing: damage is
  /// in inspection().
  [[nodiscard]] std::string examine(std::uint16_t rules_known);
  [[nodiscard]] const Inspection& inspection() const { return inspection_; }
  /// Of what examine() found, what makes the state useless; nullptr: it can be used. Everything else is a
  /// loss of single slots, or of a word that only a vote would need.
  [[nodiscard]] const Finding* state_damage() const;
  /// Opens what is to be read. What is wrong, or nothing. A log that doesn't open counts as an empty one.
  [[nodiscard]] std::string load();

  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  [[nodiscard]] const Standing& standing() const { return standing_; }
  [[nodiscard]] const paxos::Hash& hash() const { return hash_; }  ///< at the applied slot
  [[nodiscard]] std::uint16_t rules() const { return rules_; }     ///< there; 0: it has no state
  /// nullptr: it has no state. Reading throws StateDamage.
  [[nodiscard]] const chat::RowReader* rows() const;
  /// Records from `from` on, ascending, until they take about `bytes_max`, but at least one where there is
  /// one; those that don't read are left out. A record is marked as chosen where the directory knows so.
  [[nodiscard]] std::vector<paxos::LogEntry> page(paxos::Slot from, std::size_t bytes_max) const;
  /// When the last batch of commands up to `slot` was proposed (ms since 1970), by its record; looks at no
  /// more than some thousand.
  [[nodiscard]] std::optional<std::int64_t> last_said(paxos::Slot slot) const;

 private:
  std::filesystem::path directory_;
  ReadLock lock_;
  Inspection inspection_;
  Standing standing_;
  paxos::Hash hash_;
  std::uint16_t rules_ = 0;
  std::unique_ptr<ReadOnlyDatabase> log_;
  std::unique_ptr<ReadOnlyDatabase> state_;
};

}  // namespace storage
