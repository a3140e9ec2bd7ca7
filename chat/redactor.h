#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chat/machine.h"
#include "chat/redaction.h"
#include "paxos/types.h"

namespace chat {

/// Carries out on this replica's disk what redactions ask for, some at a time: looks for the texts, has their
/// records replaced, waits until that is synced, has the files rid of what was there. A crash at any point
/// only repeats it: a row 'y' says what is left to do. Pure. Loop thread only.
class Redactor {
 public:
  /// `rows`: Machine::take_erasures().
  explicit Redactor(const std::vector<Row>& rows);

  /// A slot was applied: what it asks for is queued; where it brought a text again that was taken out before,
  /// that is done once more, and `applied` gets the row that says so.
  void on_applied(Applied& applied);
  /// The plan to advance off this thread, if it is time for one.
  [[nodiscard]] std::optional<ErasePlan> next_plan(paxos::Time now);
  /// It came back. Gives it back where it has to go on: up to `applied`, since slots before that were applied
  /// without this replica knowing what to look for. Else its decrees are to be put in place, and placed() is
  /// called.
  [[nodiscard]] std::optional<ErasePlan> planned(paxos::Time now, ErasePlan plan, paxos::Slot applied);
  /// The plan whose decrees wait to be put in place, if any.
  [[nodiscard]] const ErasePlan* to_place() const { return stage_ == Stage::placing ? &plan_ : nullptr; }
  /// They will be on the disk when `group` is synced.
  void placed(std::uint64_t group);
  void synced(std::uint64_t group);
  /// What is to go from the files now, if anything.
  [[nodiscard]] std::optional<Erasure> next_erasure();
  struct Erased {
    std::vector<Row> rows;              ///< that say so
    std::vector<MessageName> messages;  ///< whose texts are off this disk
  };
  /// It did, or why it did not.
  [[nodiscard]] Erased erased(paxos::Time now, std::uint64_t token, const std::string& fault);

  [[nodiscard]] paxos::Time deadline() const;
  struct Figures {
    std::size_t pending = 0;
    std::uint64_t done = 0;  ///< in this life
    std::string fault;       ///< why the last try failed; empty: it did not
  };
  [[nodiscard]] Figures figures() const;
  /// The first message of that room that waits to be carried out: it has to stay on this disk until then.
  /// UINT64_MAX: none does.
  [[nodiscard]] std::uint64_t first_waiting(const std::string& room) const;

 private:
  enum class Stage : std::uint8_t { idle, planning, placing, syncing, erasing_due, erasing };
  using Ticket = std::pair<SessionId, std::uint64_t>;
  using Place = std::pair<paxos::Slot, std::uint32_t>;
  void queue(const MessageName& message, paxos::Slot scan_from);
  void know(const MessageName& message, const MessagePlace& place, std::uint64_t content);
  void failed(paxos::Time now, std::string fault);

  Stage stage_ = Stage::idle;
  ErasePlan plan_;  ///< under way, unless idle or planning
  std::uint64_t last_token_ = 0;
  std::uint64_t group_ = 0;                     ///< that has the plan's records
  std::map<MessageName, paxos::Slot> waiting_;  ///< and from where on their copies are to be looked for
  std::deque<MessageName> order_;               ///< of those
  std::map<Ticket, MessageName> by_ticket_;
  std::map<Place, MessageName> by_place_;
  std::map<std::uint64_t, MessageName> by_content_;
  std::map<MessageName, std::pair<MessagePlace, std::uint64_t>> by_message_;  ///< and its content
  struct Known {
    MessageName message;
    Ticket ticket;
    Place place;
    std::uint64_t content = 0;
  };
  std::deque<Known> known_;  ///< oldest first
  std::size_t at_once_ = limits::erasures_at_once;
  paxos::Time not_before_{};
  std::uint64_t done_ = 0;
  std::string fault_;
};

}  // namespace chat
