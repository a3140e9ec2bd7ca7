#include "chat/retention.h"

#include <algorithm>
#include <utility>

#include "chat/rows.h"
#include "paxos/coding.h"

namespace chat {

namespace {

constexpr std::uint64_t slack_part = 64;
constexpr std::uint64_t slack_max = 1024;
constexpr std::uint8_t kept_has_rule = 1;

void put_rule(paxos::ByteWriter& w, const RetentionRule& rule) {
  w.varint(rule.count);
  w.varint(static_cast<std::uint64_t>(rule.age_ms));
  w.fixed(static_cast<std::uint64_t>(rule.time_ms));
  w.sized(rule.by);
}

RetentionRule get_rule(paxos::ByteReader& r) {
  RetentionRule rule;
  rule.count = r.varint();
  rule.age_ms =
      static_cast<std::int64_t>(r.varint_max(static_cast<std::uint64_t>(limits::retention_age_ms_max)));
  rule.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  rule.by = r.sized_view(limits::name_bytes_max);
  return rule;
}

/// Where a room's run of messages begins, by its key.
std::uint64_t run_begin(std::string_view key) {
  return paxos::ByteReader(key.substr(key.size() - 8)).key64();
}

}  // namespace

std::uint64_t retention_slack(std::uint64_t count) {
  return std::clamp<std::uint64_t>(count / slack_part, 1, slack_max);
}

bool RoomMarks::note(std::int64_t clock_ms, std::uint64_t next, std::int64_t gap_ms) {
  if (!marks_.empty() && (next <= marks_.back().seq || clock_ms - marks_.back().clock_ms < gap_ms))
    return false;
  marks_.push_back({clock_ms, next});
  for (std::size_t i = marks_.size() - 1; i-- > 1;) {
    const std::int64_t without = marks_[i + 1].clock_ms - marks_[i - 1].clock_ms;
    if (without <= (clock_ms - marks_[i + 1].clock_ms) / static_cast<std::int64_t>(thinning))
      marks_.erase(marks_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return true;
}

std::uint64_t RoomMarks::older_than(std::int64_t clock_ms, std::int64_t age_ms) const {
  const auto young =
      std::upper_bound(marks_.begin(), marks_.end(), clock_ms - age_ms,
                       [](std::int64_t oldest, const RoomMark& mark) { return oldest < mark.clock_ms; });
  return young == marks_.begin() ? 0 : std::prev(young)->seq;
}

void RoomMarks::forget_below(std::uint64_t first) {
  // The last one stays: from it on the next one's distance is measured.
  const auto keeps =
      std::find_if(marks_.begin(), marks_.end(), [&](const RoomMark& m) { return m.seq > first; });
  marks_.erase(marks_.begin(), keeps == marks_.end() && !marks_.empty() ? std::prev(keeps) : keeps);
}

bool RoomMarks::restore(std::vector<RoomMark> marks) {
  const auto ascend = [](const RoomMark& a, const RoomMark& b) {
    return a.clock_ms <= b.clock_ms && a.seq < b.seq;
  };
  for (std::size_t i = 1; i < marks.size(); ++i)
    if (!ascend(marks[i - 1], marks[i])) return false;
  marks_ = std::move(marks);
  return marks_.size() <= marks_max;
}

std::string encode_kept(const KeptRow& kept) {
  std::string out(1, static_cast<char>(rows::row_version));
  paxos::ByteWriter w(out);
  w.varint(kept.first);
  w.fixed(static_cast<std::uint8_t>(kept.rule ? kept_has_rule : 0));
  if (kept.rule) put_rule(w, *kept.rule);
  w.varint(kept.marks.size());
  RoomMark before;
  for (const RoomMark& mark : kept.marks) {
    w.varint(static_cast<std::uint64_t>(mark.clock_ms - before.clock_ms));
    w.varint(mark.seq - before.seq);
    before = mark;
  }
  return out;
}

std::optional<KeptRow> decode_kept(std::string_view value) {
  paxos::ByteReader r(value);
  KeptRow out;
  const auto version = r.fixed<std::uint8_t>();
  out.first = r.varint();
  const auto has = r.fixed<std::uint8_t>();
  if ((has & kept_has_rule) != 0) out.rule = get_rule(r);
  RoomMark mark;
  for (std::uint64_t left = r.varint_max(RoomMarks::marks_max); left > 0 && r.ok(); --left) {
    mark.clock_ms += static_cast<std::int64_t>(r.varint_max(INT64_MAX / 4));
    mark.seq += r.varint();
    if (mark.clock_ms > INT64_MAX / 2) r.fail();
    out.marks.push_back(mark);
  }
  if (!r.done() || version != rows::row_version || has > kept_has_rule || out.first == 0) return std::nullopt;
  return out;
}

std::string encode_rule_for_all(const RetentionRule& rule) {
  std::string out(1, static_cast<char>(rows::row_version));
  paxos::ByteWriter w(out);
  put_rule(w, rule);
  return out;
}

std::optional<RetentionRule> decode_rule_for_all(std::string_view value) {
  paxos::ByteReader r(value);
  const auto version = r.fixed<std::uint8_t>();
  RetentionRule rule = get_rule(r);
  return r.done() && version == rows::row_version ? std::optional(std::move(rule)) : std::nullopt;
}

tl::expected<KeptRow, std::string> read_kept(const RowReader& rows, std::string_view room) {
  const auto row = rows.get(rows::kept(room));
  if (!row) return KeptRow{};
  auto kept = decode_kept(*row);
  if (!kept) return tl::make_unexpected("what room '" + std::string(room) + "' keeps does not read");
  return std::move(*kept);
}

tl::expected<RetentionRule, std::string> read_rule_for_all(const RowReader& rows) {
  const auto row = rows.get(rows::kept({}));
  if (!row) return RetentionRule{};
  auto rule = decode_rule_for_all(*row);
  if (!rule) return tl::make_unexpected(std::string("the rule about what all rooms keep does not read"));
  return std::move(*rule);
}

ForgottenRows forgotten_rows(const RowReader& rows, const std::string& room, std::uint64_t first) {
  const std::string begin = rows::message(room, 0);
  ForgottenRows out;
  std::uint64_t oldest = 0;
  rows.scan(begin, rows::message(room, first), [&](std::string_view key, std::string_view) {
    oldest = run_begin(key);
    return false;
  });
  if (oldest == 0) return out;
  // The last run that begins at or before it; where none begins just there, it may hold the message.
  rows.scan_back(begin, rows::message(room, first + 1), [&](std::string_view key, std::string_view value) {
    paxos::ByteReader r(value);
    r.raw(1 + 8 + 8);
    const std::uint64_t count = r.varint();
    out.below = run_begin(key);
    if (r.ok() && out.below + count <= first) out.below = first;  // it ends below: there is no later one
    return false;
  });
  if (out.below <= oldest) return {};
  out.runs_from = rows::message(room, oldest);
  out.runs_to = rows::message(room, out.below);
  return out;
}

}  // namespace chat
