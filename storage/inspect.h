#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "paxos/records.h"
#include "storage/recovery.h"

/// `paxosd inspect`: a stopped replica's directory, read with every checksum and without writing a byte.
namespace storage {

/// One thing in it that does not read as it was written.
struct Finding {
  std::string where;                       ///< file or record, below the directory
  std::optional<paxos::Slot> first, last;  ///< slots that it is about; last none: all from `first` on
  std::string what;                        ///< what is wrong with it
  std::string means;                       ///< for the replica
  std::string next;                        ///< what to do
};

struct Inspection {
  std::string cluster;  ///< empty: does not read
  std::optional<std::uint64_t> replica;
  std::optional<paxos::Incarnation> incarnation;
  std::optional<std::uint64_t> format;
  std::optional<std::uint64_t> boot;   ///< of the last start
  std::optional<std::uint64_t> group;  ///< last one in the log
  std::optional<LogMark> mark;
  std::optional<bool> born;
  std::optional<paxos::Ballot> promised;
  paxos::Slot chosen_prefix;
  paxos::Slot first_slot, last_slot;  ///< none: the log has no slot
  std::uint64_t slots = 0;            ///< records of slots that read
  paxos::Slot applied;
  paxos::Hash hash;
  std::uint16_t rules = 0;  ///< 0: not known
  std::uint64_t rooms = 0, messages = 0;

  std::uint64_t tables = 0, table_bytes = 0;  ///< files read through
  std::uint64_t wal_files = 0, wal_records = 0;
  std::uint64_t rows = 0;  ///< of the state

  std::vector<Finding> findings;
  std::vector<std::string> notes;        ///< worth a word, and no damage
  std::optional<paxos::LogEntry> entry;  ///< of the slot that was asked for, where it reads
};

/// Reads all of it. `slot`: also give its record. The error is a sentence: it is no replica's directory, or
/// in use by a running one.
[[nodiscard]] tl::expected<Inspection, std::string> inspect(const std::filesystem::path& directory,
                                                            std::uint16_t rules_known,
                                                            std::optional<paxos::Slot> slot = {});

}  // namespace storage
