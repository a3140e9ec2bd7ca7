#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "chat/machine.h"
#include "chat/machine_state.h"
#include "chat/retention.h"
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

/// Persisted, in the journal.
enum class SessionMark : std::uint8_t {
  live = 1,     ///< all of it
  gone = 2,     ///< expired, closed or evicted
  changed = 3,  ///< what the slot did to it (from version 2 on)
};

}  // namespace

std::string Machine::State::journal_row(paxos::Slot slot) {
  const bool changes = rules >= rules_journal_changes;
  std::string out;
  out.reserve(64 + touched.size() * 80 + runs_used * 32);
  paxos::ByteWriter w(out);
  w.fixed(changes ? rows::change_row_version : rows::row_version);
  w.fixed(slot.n);
  if (changes) w.fixed(static_cast<std::uint64_t>(clock_ms));
  const auto head = [&](const SessionId& id, SessionMark mark) {
    paxos::FewBytes<32> few;
    few.varint(id.slot.n).varint(id.index).fixed(static_cast<std::uint8_t>(mark)).append_to(out);
  };
  std::erase_if(touched, [&](const SessionId& id) { return sessions.find(id) == nullptr; });  // in `gone`
  w.varint(touched.size() + gone.size());
  for (const SessionId& id : touched) {
    Session& session = *sessions.find(id);
    scratch.clear();
    // One that rows of version 1 told about has nothing but the last of these to be told by: begun anew here,
    // it does not need it any more.
    if (!changes || id.slot == slot || session.journalled_whole) {
      head(id, SessionMark::live);
      encode_session(scratch, session);
      if (changes) session.journalled_whole = false;
    } else {
      head(id, SessionMark::changed);
      encode_change(scratch, session);
    }
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

void Machine::State::write_session(Applied& out, Session& session) {
  std::string value(1, static_cast<char>(rows::row_version));
  encode_session(value, session);
  out.rows.push_back({rows::session(session.id), std::move(value)});
  changed.erase({row_phase(session.id, bounds.journal_slots), session.id});
  session.row_slot = session.active_slot;
  session.journalled_whole = false;
}

void Machine::State::write_rows_of_their_own(Applied& out) {
  const std::uint64_t ring = bounds.journal_slots;
  // Once in a ring's length each session with changes has its turn: so its row comes before the first of them
  // leaves, however often it is touched, and no slot has the rows of all.
  if (rules >= rules_journal_changes) {
    const std::uint64_t phase = out.slot.n % ring;
    for (auto at = changed.lower_bound({phase, SessionId{}}); at != changed.end() && at->first == phase;) {
      Session& session = *sessions.find(at->second);
      ++at;
      write_session(out, session);
    }
  }
  if (out.slot.n <= ring) return;
  // What was last touched in the slot whose journal row is overwritten now gets a row of its own: sessions
  // that rows of version 1 told about, and rooms.
  const paxos::Slot leaving{out.slot.n - ring};
  while (Session* session = sessions.order().pop_young(leaving))
    if (has_changes(*session)) write_session(out, *session);
  while (const RoomHead* room = room_order.pop_young(leaving)) {
    std::string value(1, static_cast<char>(rows::row_version));
    paxos::ByteWriter w(value);
    w.varint(room->seq);
    w.varint(room->active_slot.n);
    out.rows.push_back({rows::room(room->name), std::move(value)});
  }
}

void Machine::State::write_rows(Applied& out, std::int64_t time_ms) {
  const auto put = [&](std::string key, std::string value) {
    out.rows.push_back({std::move(key), std::move(value)});
  };
  out.rows.reserve(3 + runs_used + gone_rows.size() + gone_keys.size() + new_keys.size() + new_topics.size() +
                   new_redactions.size() + new_access.size() + kept.size());
  for (std::size_t i = 0; i < runs_used; ++i) {
    const Run& run = runs[i];
    std::string value;
    value.reserve(48 + run.bytes.size() + run.stamps.size() + run.posters.size());
    paxos::ByteWriter w(value);
    w.fixed(run.keyed != 0     ? rows::keyed_run_version
            : run.stamped == 0 ? rows::row_version
                               : rows::stamped_run_version);
    w.fixed(out.slot.n);
    w.fixed(static_cast<std::uint64_t>(time_ms));
    w.varint(run.count);
    if (run.stamped > 0 || run.keyed > 0) {
      w.varint(run.stamped);
      w.raw(run.stamps);
    }
    if (run.keyed > 0) {
      w.varint(run.keyed);
      w.raw(run.posters);
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
  for (Row& row : new_redactions) out.rows.push_back(std::move(row));
  for (Row& row : new_access) out.rows.push_back(std::move(row));
  if (for_all_changed) put(rows::kept({}), encode_rule_for_all(for_all));
  for (RoomHead* room : kept) {
    put(rows::kept(room->name),
        encode_kept({.first = room->first, .rule = room->rule, .marks = room->marks.all()}));
    room->kept_changed = false;
  }

  if (out.configured) {
    std::string value(1, static_cast<char>(rows::row_version));
    put(rows::configuration(), value + paxos::encode_configuration(*configuration));
  }
  write_rows_of_their_own(out);
  put(rows::journal(out.slot, bounds.journal_slots), journal_row(out.slot));

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
  struct Room {
    RoomHead head;
    std::size_t place = 0;  ///< among the rooms of that slot
    bool journalled = false;
  };
  std::vector<std::pair<std::string, KeyedMessage>> keys;
  RetentionRule for_all;
  std::map<std::string, KeptRow, std::less<>> kept;
  std::map<SessionId, Session> sessions;
  std::map<std::string, Room, std::less<>> rooms;
  std::set<SessionId> unknown;  ///< the journal says what changed, of what is nowhere: it must be gone later
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
  session->row_slot = session->active_slot;
  into.sessions.emplace(id, std::move(*session));
  return true;
}

bool load_room_row(std::string_view key, std::string_view value, Loaded& into) {
  const std::string_view name = key.substr(1);
  paxos::ByteReader r(value);
  const auto version = r.fixed<std::uint8_t>();
  Loaded::Room room;
  room.head.seq = r.varint();
  room.head.active_slot.n = r.varint();
  if (!r.done() || version != rows::row_version) {
    into.damage = "the head of room '" + std::string(name) + "'";
    return false;
  }
  into.rooms.emplace(name, room);
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

bool load_kept_row(std::string_view key, std::string_view value, Loaded& into) {
  if (key == rows::kept({})) {
    auto rule = decode_rule_for_all(value);
    if (!rule) into.damage = "the rule about what all rooms keep";
    if (rule) into.for_all = std::move(*rule);
    return rule.has_value();
  }
  const std::size_t length = key.size() < 2 ? 0 : static_cast<unsigned char>(key[1]);
  auto kept = decode_kept(value);
  RoomMarks marks;
  if (!kept || length == 0 || key.size() != 2 + length || !marks.restore(kept->marks)) {
    into.damage = "the row of what a room keeps";
    return false;
  }
  into.kept.emplace(key.substr(2), std::move(*kept));
  return true;
}

/// False: `damage` says what does not read.
bool load_access(const RowReader& rows, AccessTable& access, std::string& damage) {
  rows.scan(rows::family_begin(rows::family_access), rows::family_end(rows::family_access),
            [&](std::string_view key, std::string_view value) {
              paxos::ByteReader k(key.substr(1));
              const std::uint64_t id = k.key64();
              if (key == rows::secrets()) {
                auto secrets = decode_secrets(value);
                if (!secrets) damage = "the row of the secrets' names";
                if (secrets) access.restore(std::move(*secrets));
                return secrets.has_value();
              }
              bool whole = k.done() && id <= UINT32_MAX;
              if (whole && id == 0) {
                auto open = decode_open_names(value);
                whole = open.has_value();
                if (open) access.set_open_names(std::move(*open));
              } else if (whole) {
                auto issued = decode_access_key(static_cast<std::uint32_t>(id), value);
                whole = issued && access.restore(std::move(*issued));
              }
              if (!whole) damage = "the row of a key that was issued";
              return whole;
            });
  return damage.empty();
}

/// What one row says about one session; false when it does not fit what was known before it.
bool load_journalled(const SessionId& id, SessionMark mark, std::string_view bytes, paxos::Slot slot,
                     std::int64_t clock_ms, Loaded& into) {
  if (mark == SessionMark::gone) {
    into.sessions.erase(id);
    into.unknown.erase(id);
    return true;
  }
  const auto known = into.sessions.find(id);
  if (known != into.sessions.end() && known->second.row_slot >= slot) return true;  // its row has it already
  if (mark == SessionMark::live) {
    auto session = decode_session(id, bytes);
    if (!session) return false;
    if (known != into.sessions.end()) session->row_slot = known->second.row_slot;
    into.unknown.erase(id);
    into.sessions.insert_or_assign(id, std::move(*session));
    return true;
  }
  if (mark != SessionMark::changed) return false;
  if (known == into.sessions.end())
    into.unknown.insert(id);  // its row went with it, in a slot above this one
  else
    return apply_change(known->second, slot, clock_ms, bytes);
  return true;
}

/// Rows come from the oldest to the newest.
bool load_journal_row(paxos::Slot slot, std::string_view value, Loaded& into) {
  paxos::ByteReader r(value);
  const auto version = r.fixed<std::uint8_t>();
  r.fixed<std::uint64_t>();
  const bool changes = version == rows::change_row_version;
  const auto clock_ms = changes ? static_cast<std::int64_t>(r.fixed<std::uint64_t>()) : 0;
  const std::uint64_t sessions = r.varint();
  for (std::uint64_t i = 0; i < sessions && r.ok(); ++i) {
    SessionId id;
    id.slot.n = r.varint();
    id.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    const auto mark = static_cast<SessionMark>(r.fixed<std::uint8_t>());
    const std::string_view bytes =
        mark == SessionMark::gone ? std::string_view() : r.sized_view(r.remaining());
    if (!r.ok() || (mark == SessionMark::changed && !changes) ||
        !load_journalled(id, mark, bytes, slot, clock_ms, into)) {
      r.fail();
      break;
    }
    const auto at = into.sessions.find(id);
    if (!changes && at != into.sessions.end() && has_changes(at->second)) at->second.journalled_whole = true;
  }
  const std::uint64_t rooms = r.varint();
  for (std::uint64_t i = 0; i < rooms; ++i) {
    const std::string_view name = r.sized_view(limits::room_bytes_max);
    const std::uint64_t seq = r.varint();
    if (!r.ok()) break;
    const auto known = into.rooms.try_emplace(std::string(name)).first;
    // A row of its own is older than any in the journal. The first word of a slot about a room counts, so
    // that none is named twice.
    if (known->second.head.active_slot >= slot) continue;
    known->second.head.seq = seq;
    known->second.head.active_slot = slot;
    known->second.place = static_cast<std::size_t>(i);
    known->second.journalled = true;
  }
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

  if (const auto row = rows.get(rows::configuration())) {
    if (!row->empty() && static_cast<std::uint8_t>(row->front()) == rows::row_version)
      s.configuration = paxos::decode_configuration(std::string_view(*row).substr(1));
    if (!s.configuration || s.configuration->begins > s.applied + 1)
      return damaged("the configuration's row");
  }

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
  rows.scan(rows::family_begin(rows::family_kept), rows::family_end(rows::family_kept),
            [&](std::string_view key, std::string_view value) { return load_kept_row(key, value, loaded); });
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  if (!load_access(rows, s.access, loaded.damage)) return damaged(loaded.damage);
  s.for_all = std::move(loaded.for_all);
  rows.scan(rows::family_begin(rows::family_erasure), rows::family_end(rows::family_erasure),
            [&](std::string_view key, std::string_view value) {
              s.erasures.push_back({std::string(key), std::string(value)});
              return true;
            });
  // They go in the order in which they came.
  std::sort(loaded.keys.begin(), loaded.keys.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second.slot, a.second.index) < std::pair(b.second.slot, b.second.index);
  });
  for (auto& [name, message] : loaded.keys) s.keys.insert(std::move(name), std::move(message));

  const std::uint64_t ring = bounds.journal_slots;
  const std::uint64_t first = s.applied.n > ring ? s.applied.n - ring + 1 : 1;
  // From the place of the oldest slot to the ring's end, then from its begin.
  std::uint64_t next = first;
  const auto take = [&](std::string_view, std::string_view value) {
    paxos::ByteReader j(value);
    const auto row = j.fixed<std::uint8_t>();
    const auto slot = j.fixed<std::uint64_t>();
    if (!j.ok() || (row != rows::row_version && row != rows::change_row_version)) {
      loaded.damage = "a journal row";
      return false;
    }
    if (slot != next || slot > s.applied.n) return true;
    ++next;
    return load_journal_row({slot}, value, loaded);
  };
  const std::string turning = rows::journal({first}, ring);
  rows.scan(turning, rows::family_end(rows::family_journal), take);
  if (loaded.damage.empty()) rows.scan(rows::family_begin(rows::family_journal), turning, take);
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  if (next != s.applied.n + 1)
    return damaged("the journal row of slot " + std::to_string(next) + " is missing");
  if (!loaded.unknown.empty()) return damaged("the row of session " + to_string(*loaded.unknown.begin()));

  // The idle order is the order of application, which these marks are.
  std::vector<Session*> idle;
  for (auto& [id, session] : loaded.sessions) idle.push_back(&session);
  std::sort(idle.begin(), idle.end(), [](const Session* a, const Session* b) {
    return std::pair(a->active_slot, a->active_index) < std::pair(b->active_slot, b->active_index);
  });
  for (Session* session : idle) {
    if (has_changes(*session)) s.changed.emplace(row_phase(session->id, ring), session->id);
    s.sessions.insert(std::move(*session));
  }

  const auto add_room = [&](const std::string& name, const RoomHead& head) {
    const auto [at, fresh] = s.rooms.try_emplace(name, head);
    PAXOS_ASSERT(fresh);
    RoomHead& room = at->second;
    room.name = at->first;
    s.room_order.add(room);
    s.by_phase.emplace(std::pair(State::phase_of(room.name), room.name), &room);
    const auto kept = loaded.kept.find(name);
    if (kept == loaded.kept.end()) return;
    room.first = kept->second.first;
    room.rule = std::move(kept->second.rule);
    static_cast<void>(room.marks.restore(std::move(kept->second.marks)));
    if (room.first > room.seq + 1) loaded.damage = "the row of what room '" + name + "' keeps";
    loaded.kept.erase(kept);
  };
  // Of the rooms that have only a row of their own, no order is remembered, and none is needed.
  std::vector<std::pair<const std::string, Loaded::Room>*> journalled;
  for (auto& room : loaded.rooms) {
    if (room.second.journalled)
      journalled.push_back(&room);
    else if (room.second.head.active_slot.n < first)
      add_room(room.first, room.second.head);
    else  // it gets its row when its slot leaves the journal: one of a younger slot is in neither of the two
      return damaged("the row of a room that was active since");
  }
  std::sort(journalled.begin(), journalled.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.head.active_slot, a->second.place) <
           std::pair(b->second.head.active_slot, b->second.place);
  });
  for (const auto* room : journalled) add_room(room->first, room->second.head);
  if (!loaded.damage.empty()) return damaged(loaded.damage);
  if (!loaded.kept.empty()) return damaged("the row of what a room keeps that is not there");
  // What has left the journal stands in rows of its own.
  while (s.sessions.order().pop_young({first - 1}) != nullptr) continue;
  while (s.room_order.pop_young({first - 1}) != nullptr) continue;
  return machine;
}

}  // namespace chat
