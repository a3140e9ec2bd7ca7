#include <algorithm>
#include <utility>
#include <vector>

#include "chat/desk.h"
#include "chat/machine.h"
#include "chat/redaction.h"
#include "chat/retention.h"
#include "chat/rows.h"
#include "chat/run_row.h"
#include "paxos/coding.h"

/// Reading rows back: history, hashes, outcomes.
namespace chat {

namespace {

/// A message that was redacted shows who did it and why from then on, whether or not the text is off the disk
/// yet; one without a text was redacted in a slot above those that the rows stand at. False: a row does not
/// read.
bool show_redacted(const RowReader& rows, HistoryPage& page) {
  if (page.messages.empty()) return true;
  for (Message& m : page.messages)
    if (m.text.empty()) m.redacted.emplace();
  bool whole = true;
  auto at = page.messages.begin();
  const std::string& room = at->room;
  rows.scan(rows::redaction(room, at->seq), rows::redaction(room, page.messages.back().seq + 1),
            [&](std::string_view key, std::string_view value) {
              const std::uint64_t seq = paxos::ByteReader(key.substr(key.size() - 8)).key64();
              while (at != page.messages.end() && at->seq < seq) ++at;
              auto redaction = decode_redaction(value);
              whole = redaction && at != page.messages.end();
              if (!whole) return false;
              at->text.clear();
              at->redacted = std::move(*redaction);
              return true;
            });
  return whole;
}

/// Where a room's run of messages begins, by its key.
std::uint64_t run_begins_at(std::string_view key) {
  return paxos::ByteReader(key.substr(key.size() - 8)).key64();
}

}  // namespace

tl::expected<AppliedMark, std::string> read_applied(const RowReader& rows) {
  const auto meta = rows.get(rows::meta());
  if (!meta) return AppliedMark{};
  paxos::ByteReader r{std::string_view(*meta)};
  r.raw(1);  // the row's version
  AppliedMark mark;
  mark.rules = r.fixed<std::uint8_t>();
  mark.slot.n = r.fixed<std::uint64_t>();
  mark.hash.bytes = r.array<16>();
  if (!r.ok()) return tl::make_unexpected(std::string("the state store's meta row is damaged"));
  return mark;
}

std::optional<paxos::Hash> read_hash(const RowReader& rows, paxos::Slot slot) {
  const auto row = rows.get(rows::hash(slot));
  if (!row) return std::nullopt;
  paxos::ByteReader r{std::string_view(*row)};
  const auto version = r.fixed<std::uint8_t>();
  const paxos::Hash hash{r.array<16>()};
  if (!r.ok() || version != rows::row_version) return std::nullopt;
  return hash;
}

std::vector<Outcome> read_outcomes(const RowReader& rows, paxos::Slot slot) {
  std::vector<Outcome> out;
  const auto row = rows.get(rows::hash(slot));
  if (!row) return out;
  paxos::ByteReader r{std::string_view(*row)};
  if (r.fixed<std::uint8_t>() != rows::row_version) return out;
  r.raw(16);
  while (r.ok() && r.remaining() > 0) {
    Outcome o;
    o.slot = slot;
    o.index = static_cast<std::uint32_t>(r.varint_max(limits::commands_per_decree_max));
    o.verdict = static_cast<Verdict>(r.fixed<std::uint8_t>());
    o.session.slot.n = r.varint();
    o.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    o.client_seq = r.varint();
    r.varint();  // where a repeat first ran: here (slot, index) says which command of this slot it is
    r.varint();
    o.room_seq = r.varint();
    o.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
    if (r.ok()) out.push_back(o);
  }
  return out;
}

tl::expected<HistoryPage, std::string> read_history(const RowReader& rows, std::string_view room,
                                                    std::uint64_t from, std::size_t limit) {
  HistoryPage page;
  from = std::max<std::uint64_t>(from, 1);
  limit = limit == 0 ? limits::page_messages_max : std::min(limit, limits::page_messages_max);
  if (room.empty() || room.size() > limits::room_bytes_max) return page;
  const std::string begin = rows::message(room, 0);
  const std::string end = rows::message(room, UINT64_MAX);

  const auto kept = read_kept(rows, room);
  if (!kept) return tl::make_unexpected(kept.error());
  page.first = kept->first;
  // The last run tells the head; a room's own row may be older than that. Where all is forgotten, it ends
  // where what it keeps begins.
  page.head = kept->first - 1;
  std::string damage;
  rows.scan_back(begin, end, [&](std::string_view key, std::string_view value) {
    paxos::ByteReader r(value);
    r.raw(1 + 8 + 8);
    const std::uint64_t count = r.varint();
    if (!r.ok() || count == 0)
      damage = "the messages of room '" + std::string(room) + "' from " + std::to_string(run_begins_at(key)) +
               " on are damaged";
    page.head = run_begins_at(key) + count - 1;
    return false;
  });
  if (!damage.empty()) return tl::make_unexpected(damage);
  // Not every replica has taken what is forgotten off its disk.
  from = std::max(from, page.first);
  if (from > page.head) return page;

  // A run may begin below `from`: start at the last one that begins at or before it.
  std::string start = begin;
  rows.scan_back(begin, rows::message(room, from + 1), [&](std::string_view key, std::string_view) {
    start = key;
    return false;
  });
  std::size_t bytes = 0;
  std::uint64_t expected = 0;  ///< where the next run has to begin: a gap is damage
  rows.scan(start, end, [&](std::string_view key, std::string_view value) {
    paxos::ByteReader r(value);
    std::uint64_t seq = run_begins_at(key);
    const RunHead head = read_run_head(r);
    const bool in_order = expected == 0 ? seq <= from : seq == expected;
    expected = seq + head.count;
    if (!in_order) r.fail();
    auto stamp = head.stamps.begin();
    auto poster = head.posters.begin();
    for (std::uint64_t i = 0; i < head.count && r.ok(); ++i, ++seq) {
      Message m;
      m.index = static_cast<std::uint32_t>(r.varint_max(limits::commands_per_decree_max));
      m.session.slot.n = r.varint();
      m.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
      m.client_seq = r.varint();
      const std::string_view name = r.sized_view(limits::name_bytes_max);
      const std::string_view text = r.sized_view(limits::text_bytes_max);
      if (!r.ok()) break;
      if (stamp != head.stamps.end() && stamp->first == i) m.written_ms = (stamp++)->second;
      if (poster != head.posters.end() && poster->place == i) {
        m.key = poster->key;
        m.proven = (poster++)->proven;
      }
      if (seq < from) continue;
      const std::size_t size = text.size() + name.size() + room.size() + 64;
      if (page.messages.size() >= limit ||
          (!page.messages.empty() && bytes + size > limits::page_bytes_max)) {
        page.next = seq;
        return false;
      }
      bytes += size;
      m.room = room;
      m.seq = seq;
      m.slot = head.slot;
      m.name = name;
      m.time_ms = head.time_ms;
      m.text = text;
      page.messages.push_back(std::move(m));
    }
    if (!r.done() || stamp != head.stamps.end() || poster != head.posters.end()) {
      damage = "the messages of room '" + std::string(room) + "' from " + std::to_string(run_begins_at(key)) +
               " on are damaged";
      return false;
    }
    return true;
  });
  if (!damage.empty()) return tl::make_unexpected(damage);
  if (!show_redacted(rows, page))
    return tl::make_unexpected("the redactions of room '" + std::string(room) + "' are damaged");
  return page;
}

tl::expected<RunWithout, std::string> run_without_text(const RowReader& rows, const MessageName& message) {
  const auto damaged = [&] {
    return tl::make_unexpected("message " + std::to_string(message.seq) + " of room '" + message.room +
                               "' does not read");
  };
  RunWithout out;
  std::string found;
  rows.scan_back(rows::message(message.room, 0), rows::message(message.room, message.seq + 1),
                 [&](std::string_view key, std::string_view value) {
                   out.row.key = key;
                   found = value;
                   return false;
                 });
  if (out.row.key.empty()) return damaged();
  const std::uint64_t wanted = message.seq - run_begins_at(out.row.key);
  paxos::ByteReader r{std::string_view(found)};
  const auto at = [&] { return found.size() - r.remaining(); };
  const RunHead head = read_run_head(r);
  out.place.slot = head.slot;
  if (wanted >= head.count) return damaged();
  for (std::uint64_t i = 0; i <= wanted && r.ok(); ++i) {
    out.place.index = static_cast<std::uint32_t>(r.varint_max(limits::commands_per_decree_max));
    out.place.session.slot.n = r.varint();
    out.place.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    out.place.client_seq = r.varint();
    out.name = r.sized_view(limits::name_bytes_max);
    const std::size_t before = at();
    out.text = r.sized_view(limits::text_bytes_max);
    if (i == wanted && r.ok()) out.row.value = found.substr(0, before) + '\0' + found.substr(at());
  }
  if (!r.ok()) return damaged();
  return out;
}

tl::expected<Page, std::string> read_page(const RowReader& rows, const HistoryWish& wish) {
  if (wish.rooms) return read_rooms(rows, wish.room, wish.limit);
  return read_history(rows, wish.room, wish.from, wish.limit);
}

}  // namespace chat
