#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "chat/machine.h"
#include "chat/machine_state.h"
#include "chat/rows.h"
#include "chat/ticket.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

/// The machine as rows, and back: docs/ROWS.md.
namespace chat {

namespace {

tl::unexpected<std::string> damaged(const std::string& what) {
  return tl::make_unexpected("the state store is damaged: " + what);
}

enum class SessionMark : std::uint8_t { live = 1, gone = 2 };

}  // namespace

std::string Machine::State::journal_row(paxos::Slot slot) {
  std::string out;
  out.reserve(64 + touched.size() * 80 + runs_used * 32);
  paxos::ByteWriter w(out);
  w.fixed(rows::row_version);
  w.fixed(slot.n);
  const auto head = [&](const SessionId& id, SessionMark mark) {
    paxos::FewBytes<32> few;
    few.varint(id.slot.n).varint(id.index).fixed(static_cast<std::uint8_t>(mark)).append_to(out);
  };
  std::erase_if(touched, [&](const SessionId& id) { return sessions.find(id) == nullptr; });  // in `gone`
  w.varint(touched.size() + gone.size());
  for (const SessionId& id : touched) {
    head(id, SessionMark::live);
    scratch.clear();
    encode_session(scratch, *sessions.find(id));
    w.sized(scratch);
  }
  for (const SessionId& id : gone) head(id, SessionMark::gone);
  w.varint(runs_used);
  for (std::size_t i = 0; i < runs_used; ++i) {
    w.sized(runs[i].room->name);
    w.varint(runs[i].room->seq);
  }
  return out;
}

void Machine::State::write_rows(Applied& out, std::int64_t time_ms) {
  const auto put = [&](std::string key, std::string value) {
    out.rows.push_back({std::move(key), std::move(value)});
  };
  out.rows.reserve(3 + runs_used + gone_rows.size() + gone_keys.size() + new_keys.size() + new_topics.size());
  for (std::size_t i = 0; i < runs_used; ++i) {
    const Run& run = runs[i];
    std::string value;
    value.reserve(32 + run.bytes.size() + run.stamps.size());
    paxos::ByteWriter w(value);
    w.fixed(run.stamped == 0 ? rows::row_version : rows::stamped_run_version);
    w.fixed(out.slot.n);
    w.fixed(static_cast<std::uint64_t>(time_ms));
    w.varint(run.count);
    if (run.stamped > 0) {
      w.varint(run.stamped);
      w.raw(run.stamps);
    }
    w.raw(run.bytes);
    put(rows::message(run.room->name, run.first_seq), std::move(value));
  }
  for (const SessionId& id : gone_rows) out.rows.push_back({rows::session(id), std::nullopt});
  // A key may go and come again in one slot: in this order.
  for (const std::string& name : gone_keys) out.rows.push_back({rows::key(name), std::nullopt});
  for (const std::string& name : new_keys) {
    std::string value(1, static_cast<char>(rows::row_version));
    encode_keyed(value, *keys.find(name));
    put(rows::key(name), std::move(value));
  }
  for (Row& row : new_topics) out.rows.push_back(std::move(row));

  // What was last touched in the slot whose journal row is overwritten now gets a row of its own.
  if (out.slot.n > rows::journal_slots) {
    const paxos::Slot leaving{out.slot.n - rows::journal_slots};
    while (Session* session = sessions.order().pop_young(leaving)) {
      session->has_row = true;
      std::string value(1, static_cast<char>(rows::row_version));
      encode_session(value, *session);
      put(rows::session(session->id), std::move(value));
    }
    while (const RoomHead* room = room_order.pop_young(leaving)) {
      std::string value(1, static_cast<char>(rows::row_version));
      paxos::ByteWriter w(value);
      w.varint(room->seq);
      w.varint(room->active_slot.n);
      put(rows::room(room->name), std::move(value));
    }
  }
  put(rows::journal(out.slot), journal_row(out.slot));

  std::string mark;
  mark.reserve(1 + hash.bytes.size());
  mark.push_back(static_cast<char>(rows::row_version));
  paxos::ByteWriter(mark).raw(hash.bytes);
  for (std::size_t i = 0; i < out.outcomes.size(); ++i) {
    if (out.outcomes[i].verdict == Verdict::done) continue;
    paxos::ByteWriter(mark).varint(i);
    encode_outcome(mark, out.outcomes[i]);
  }
  put(rows::hash(out.slot), std::move(mark));

  std::string meta;
  meta.reserve(48);
  paxos::FewBytes<48> few;
  few.fixed(rows::row_version).fixed(static_cast<std::uint8_t>(rules)).fixed(out.slot.n).raw(hash.bytes);
  few.fixed(static_cast<std::uint64_t>(clock_ms)).fixed(static_cast<std::uint64_t>(stamp_ms)).append_to(meta);
  put(rows::meta(), std::move(meta));
}

namespace {

/// Everything that load() gathers before it can put it in order.
struct Loaded {
  std::vector<std::pair<std::string, KeyedMessage>> keys;
  std::map<SessionId, Session> sessions;
  std::map<std::string, RoomHead, std::less<>> rooms;
  std::vector<std::string> room_order;                    ///< of rooms in the journal: the last touched first
  std::unordered_set<SessionId, SessionHash> journalled;  ///< sessions whose newest row was seen
  std::string damage;
};

bool load_session_row(std::string_view key, std::string_view value, Loaded& into) {
  paxos::ByteReader k(key.substr(1));
  SessionId id;
  id.slot.n = k.key64();
  const std::uint64_t index = k.key64();
  id.index = static_cast<std::uint32_t>(index);
  std::optional<Session> session;
  if (!value.empty() && static_cast<std::uint8_t>(value[0]) == rows::row_version)
    session = decode_session(id, value.substr(1));
  if (!k.done() || index > UINT32_MAX || !session) {
    into.damage = "the row of session " + to_string(id);
    return false;
  }
  session->has_row = true;
  into.sessions.emplace(id, std::move(*session));
  return true;
}

bool load_room_row(std::string_view key, std::string_view value, Loaded& into) {
  const std::string_view name = key.substr(1);
  paxos::ByteReader r(value);
  const auto version = r.fixed<std::uint8_t>();
  RoomHead head;
  head.seq = r.varint();
  head.active_slot.n = r.varint();
  if (!r.done() || version != rows::row_version) {
    into.damage = "the head of room '" + std::string(name) + "'";
    return false;
  }
  into.rooms.emplace(name, head);
  return true;
}

bool load_key_row(std::string_view key, std::string_view value, Loaded& into) {
  const std::string_view name = key.substr(1);
  const std::size_t room = name.empty() ? 0 : static_cast<unsigned char>(name[0]);
  std::optional<KeyedMessage> message;
  if (!value.empty() && static_cast<std::uint8_t>(value[0]) == rows::row_version)
    message = decode_keyed(value.substr(1));
  if (!message || room == 0 || name.size() <= 1 + room) {
    into.damage = "the row of a message's key";
    return false;
  }
  into.keys.emplace_back(name, std::move(*message));
  return true;
}

/// Rows come from the newest to the oldest: of each session and room the first one counts.
bool load_journal_row(paxos::Slot slot, std::string_view value, Loaded& into) {
  paxos::ByteReader r(value);
  r.fixed<std::uint8_t>();
  r.fixed<std::uint64_t>();
  const std::uint64_t sessions = r.varint();
  for (std::uint64_t i = 0; i < sessions; ++i) {
    SessionId id;
    id.slot.n = r.varint();
    id.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    const auto mark = static_cast<SessionMark>(r.fixed<std::uint8_t>());
    if (mark != SessionMark::gone && mark != SessionMark::live) {
      r.fail();
      break;
    }
    const std::string_view bytes =
        mark == SessionMark::live ? r.sized_view(r.remaining()) : std::string_view();
    if (!into.journalled.insert(id).second) continue;
    if (mark == SessionMark::gone) {
      into.sessions.erase(id);
      continue;
    }
    auto session = decode_session(id, bytes);
    if (!session) {
      r.fail();
      break;
    }
    session->has_row = into.sessions.contains(id);  // by its row: no other journal row named it before
    into.sessions.insert_or_assign(id, std::move(*session));
  }
  const std::uint64_t rooms = r.varint();
  const std::size_t newer = into.room_order.size();
  for (std::uint64_t i = 0; i < rooms; ++i) {
    const std::string_view name = r.sized_view(limits::room_bytes_max);
    RoomHead head;
    head.seq = r.varint();
    head.active_slot = slot;
    if (!r.ok()) break;
    const auto known = into.rooms.find(name);
    // A row of its own is older than any in the journal. The first word about a room counts, so that none is
    // named twice.
    if (known != into.rooms.end() && known->second.active_slot >= slot) continue;
    if (known == into.rooms.end())
      into.rooms.emplace(name, head);
    else
      known->second = head;
    into.room_order.emplace_back(name);
  }
  std::reverse(into.room_order.begin() + static_cast<std::ptrdiff_t>(newer), into.room_order.end());
  if (!r.done()) into.damage = "the journal row of slot " + std::to_string(slot.n);
  return r.done();
}

}  // namespace

tl::expected<Machine, std::string> Machine::load(const RowReader& rows, std::uint16_t rules_known,
                                                 const MachineBounds& bounds) {
  Machine machine(rules_known, bounds);
  State& s = *machine.state_;
  const auto meta = rows.get(rows::meta());
  if (!meta) {
    bool empty = true;
    rows.scan(rows::family_begin(rows::family_hash), rows::family_end(rows::family_session),
              [&](std::string_view, std::string_view) {
                empty = false;
                return false;
              });
    if (!empty) return damaged("it has rows, but none that says which slot they stand at");
    return machine;
  }
  paxos::ByteReader r{std::string_view(*meta)};
  const auto version = r.fixed<std::uint8_t>();
  const auto rules = r.fixed<std::uint8_t>();
  if (r.ok() && version != rows::row_version)
    return tl::make_unexpected("the state store has rows of version " + std::to_string(version) +
                               "; this program knows version " + std::to_string(rows::row_version));
  if (r.ok() && rules > rules_known)
    return tl::make_unexpected("the cluster has raised its rules to version " + std::to_string(rules) +
                               ", this program knows them up to version " + std::to_string(rules_known) +
                               ": install the paxosd that ran here before, or a newer one");
  if (r.ok() && rules == 0) return damaged("the meta row");
  s.rules = rules;
  s.applied.n = r.fixed<std::uint64_t>();
  s.hash.bytes = r.array<16>();
  s.clock_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  s.stamp_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  if (!r.done() || s.applied.none()) return damaged("the meta row");

  Loaded loaded;
  rows.scan(
      rows::family_begin(rows::family_session), rows::family_end(rows::family_session),
      [&](std::string_view key, std::string_view value) { return load_session_row(key, value, loaded); });
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  rows.scan(rows::family_begin(rows::family_room), rows::family_end(rows::family_room),
            [&](std::string_view key, std::string_view value) { return load_room_row(key, value, loaded); });
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  rows.scan(rows::family_begin(rows::family_key), rows::family_end(rows::family_key),
            [&](std::string_view key, std::string_view value) { return load_key_row(key, value, loaded); });
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  // They go in the order in which they came.
  std::sort(loaded.keys.begin(), loaded.keys.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second.slot, a.second.index) < std::pair(b.second.slot, b.second.index);
  });
  for (auto& [name, message] : loaded.keys) s.keys.insert(std::move(name), std::move(message));

  // Of the rooms that have only a row of their own, no order is remembered, and none is needed.
  const std::uint64_t first = s.applied.n > rows::journal_slots ? s.applied.n - rows::journal_slots + 1 : 1;
  // The ring against the order of the slots: from the last one's place to its begin, then from its end.
  std::uint64_t next = s.applied.n;
  const auto take = [&](std::string_view, std::string_view value) {
    paxos::ByteReader j(value);
    const auto row = j.fixed<std::uint8_t>();
    const auto slot = j.fixed<std::uint64_t>();
    if (!j.ok() || row != rows::row_version) {
      loaded.damage = "a journal row";
      return false;
    }
    if (slot != next || slot < first) return true;
    --next;
    return load_journal_row({slot}, value, loaded);
  };
  const std::string turning = rows::journal({s.applied.n}) + '\0';
  rows.scan_back(rows::family_begin(rows::family_journal), turning, take);
  if (loaded.damage.empty()) rows.scan_back(turning, rows::family_end(rows::family_journal), take);
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  if (next + 1 != first) return damaged("the journal row of slot " + std::to_string(next) + " is missing");
  std::reverse(loaded.room_order.begin(), loaded.room_order.end());

  // The idle order is the order of application, which these marks are.
  std::vector<Session*> idle;
  for (auto& [id, session] : loaded.sessions) idle.push_back(&session);
  std::sort(idle.begin(), idle.end(), [](const Session* a, const Session* b) {
    return std::pair(a->active_slot, a->active_index) < std::pair(b->active_slot, b->active_index);
  });
  for (Session* session : idle) s.sessions.insert(std::move(*session));

  const auto add_room = [&](const std::string& name, const RoomHead& head) {
    const auto [at, fresh] = s.rooms.try_emplace(name, head);
    PAXOS_ASSERT(fresh);
    at->second.name = at->first;
    s.room_order.add(at->second);
  };
  for (const auto& [name, head] : loaded.rooms)
    if (head.active_slot.n < first) add_room(name, head);
  for (const std::string& name : loaded.room_order) add_room(name, loaded.rooms.at(name));
  // A room gets its row when its slot leaves the journal: one of a younger slot is in neither of the two.
  if (s.rooms.size() != loaded.rooms.size()) return damaged("the row of a room that was active since");
  // What has left the journal stands in rows of its own.
  while (s.sessions.order().pop_young({first - 1}) != nullptr) continue;
  while (s.room_order.pop_young({first - 1}) != nullptr) continue;
  return machine;
}

}  // namespace chat
