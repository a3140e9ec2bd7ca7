#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"

/// Which messages a room keeps. Decided in the log, by the session clock and the room's own numbers: the same
/// everywhere, at the same slot. What a room has forgotten is shown by nobody from that slot on; each replica
/// takes it off its disk by itself (chat/forgetter.h). docs/ROWS.md, "Retention".
namespace chat {

/// How many messages a room by this rule may have beyond `count` before the oldest go: so its row is not
/// written with every message of a busy one.
[[nodiscard]] std::uint64_t retention_slack(std::uint64_t count);

/// By session clock `clock_ms`, all messages below `seq` stood in the room.
struct RoomMark {
  std::int64_t clock_ms = 0;
  std::uint64_t seq = 0;
  friend bool operator==(const RoomMark&, const RoomMark&) = default;
};

/// When a room's messages came, about: what a rule by age goes by. Marks are at least `gap` apart, and those
/// of long ago an eighth of their own age, so that there are few whatever the room's age. Ascending by both.
class RoomMarks {
 public:
  static constexpr std::uint64_t thinning = 8;
  /// No clock can be so old that there are more.
  static constexpr std::size_t marks_max = 512;

  /// The room's next message gets number `next`. True: there is a new mark.
  bool note(std::int64_t clock_ms, std::uint64_t next, std::int64_t gap_ms);
  /// All messages below it are at least so old; 0: of none is that known.
  [[nodiscard]] std::uint64_t older_than(std::int64_t clock_ms, std::int64_t age_ms) const;
  /// The room keeps its messages from here on: marks that say nothing of them go.
  void forget_below(std::uint64_t first);
  [[nodiscard]] const std::vector<RoomMark>& all() const { return marks_; }
  /// False: they don't ascend, or are too many.
  [[nodiscard]] bool restore(std::vector<RoomMark> marks);

 private:
  std::vector<RoomMark> marks_;
};

/// A room's row 'n'.
struct KeptRow {
  std::uint64_t first = 1;            ///< it keeps its messages from this number on
  std::optional<RetentionRule> rule;  ///< nothing: it goes by the rule for all
  std::vector<RoomMark> marks;
  friend bool operator==(const KeptRow&, const KeptRow&) = default;
};
[[nodiscard]] std::string encode_kept(const KeptRow& kept);
[[nodiscard]] std::optional<KeptRow> decode_kept(std::string_view value);
/// The row 'n' of no room: the rule for all that have none.
[[nodiscard]] std::string encode_rule_for_all(const RetentionRule& rule);
[[nodiscard]] std::optional<RetentionRule> decode_rule_for_all(std::string_view value);

/// What the rows say of a room, or that they don't read.
[[nodiscard]] tl::expected<KeptRow, std::string> read_kept(const RowReader& rows, std::string_view room);
[[nodiscard]] tl::expected<RetentionRule, std::string> read_rule_for_all(const RowReader& rows);

/// Which rows of a room that keeps its messages from `first` on are of no use any more: all of its runs
/// before the one that holds that message.
struct ForgottenRows {
  std::string runs_from;  ///< keys of runs [runs_from, runs_to); both empty: there are none
  std::string runs_to;
  std::uint64_t below = 0;  ///< and with them, the rows about messages below this number
};
[[nodiscard]] ForgottenRows forgotten_rows(const RowReader& rows, const std::string& room,
                                           std::uint64_t first);

}  // namespace chat
