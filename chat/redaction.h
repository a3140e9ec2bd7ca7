#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"
#include "paxos/records.h"

/// Taking a text off one replica's disk, once it has applied that the text is to go: what has to be replaced
/// in the state and in the log. Pure: storage/ and the simulator read and write.
namespace chat {

/// Of a row 'x'; nothing where it does not read.
[[nodiscard]] std::optional<Redaction> decode_redaction(std::string_view value);

/// A row 'y': how far this replica is with one redaction.
struct ErasureMark {
  bool done = false;
  std::optional<MessagePlace> place;  ///< once it was looked for
  std::uint64_t content = 0;          ///< content_of() its command, likewise
  friend bool operator==(const ErasureMark&, const ErasureMark&) = default;
};
[[nodiscard]] std::string encode_erasure(const ErasureMark& mark);
[[nodiscard]] std::optional<ErasureMark> decode_erasure(std::string_view value);
/// The message that a row 'x' or 'y' is about; nothing where the key is none.
[[nodiscard]] std::optional<MessageName> message_in(std::string_view key);

/// As storage::Storage::Reader has it: entries from..to of the log that exist, or why they do not read.
struct LogReader {
  std::function<tl::expected<std::vector<paxos::LogEntry>, std::string>(paxos::Slot from, paxos::Slot to,
                                                                        std::size_t bytes_max)>
      entries;
  std::function<paxos::Slot()> first = [] { return paxos::Slot{1}; };  ///< below it the log was trimmed
};

/// Whether a command with this verdict may have brought, in vain, what ran elsewhere under another session:
/// then only its content tells. What ran before, or a repeat of it, has its session and seq.
[[nodiscard]] bool came_in_vain(Verdict verdict);

/// What has to be replaced so that some messages' texts are nowhere any more. A text stands in the run of its
/// room, in the decree that posted it, in every decree that brought the same command again: early, as a
/// repeat, or when its session was gone, and in those that brought it in vain, in an earlier session of its
/// sender's, before it moved to the one in which it ran. A decree that was trimmed off the log is in no
/// record any more, and only has to leave the files.
struct ErasePlan {
  struct Target {
    MessageName message;
    paxos::Slot scan_from;      ///< copies in the log are looked for from here on; none: in all of it
    MessagePlace place;         ///< found by the first step, or known from before; none: it is forgotten
    std::uint64_t content = 0;  ///< likewise: content_of() its command; 0: its record was trimmed
    std::string name;           ///< with the text, where it was trimmed: to know its copies by
    std::string text;
  };
  std::uint64_t token = 0;
  std::vector<Target> targets;
  bool located = false;
  paxos::Slot scanned;  ///< the log was searched up to here
  std::map<paxos::Slot, std::set<std::uint32_t>> copies;
  std::vector<paxos::ChosenDecree>
      decrees;                     ///< to stand in their slots' place; each as its record's ballot has it
  std::vector<paxos::Slot> slots;  ///< of the records: what was in their place is to go from every file
  std::vector<Row> rows;           ///< of the state, likewise
  bool complete = false;
  std::string fault;  ///< not empty: why it can't be completed now
};
/// Another bounded step; the plan is complete, has a fault, or needs one more.
void advance(ErasePlan& plan, const RowReader& rows, const LogReader& log);

/// For storage: these rows are written, the records of these slots are. Nothing that stood in their place may
/// be in any file when it is done.
struct Erasure {
  std::uint64_t token = 0;
  std::vector<Row> rows;
  std::vector<paxos::Slot> slots;
};

}  // namespace chat
