#include "chat/machine.h"

#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <utility>

#include "chat/rows.h"
#include "chat/sessions.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace chat {

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::done:
      return "done";
    case Verdict::repeat:
      return "repeat";
    case Verdict::conflict:
      return "session in use elsewhere: the same sequence number with another content";
    case Verdict::receipt_gone:
      return "delivered earlier; its receipt is gone";
    case Verdict::early:
      return "its predecessors are missing";
    case Verdict::session_unknown:
      return "the session has expired or was closed";
    case Verdict::rooms_full:
      return "no more rooms can be made";
    case Verdict::invalid:
      return "its content is out of range";
  }
  return "unknown verdict";
}

namespace {

constexpr std::uint8_t rules_version = 1;
constexpr std::uint8_t row_version = 1;

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

/// Of what the command asks for; its session and seq are not part of it.
std::uint64_t content_hash(const Operation& operation) {
  if (const auto* post = std::get_if<Post>(&operation)) {
    std::uint64_t h = XXH3_64bits_withSeed(post->room.data(), post->room.size(), post->room.size());
    h = XXH3_64bits_withSeed(post->name.data(), post->name.size(), h ^ post->name.size());
    return XXH3_64bits_withSeed(post->text.data(), post->text.size(), h);
  }
  return std::holds_alternative<Close>(operation) ? 2 : 1;
}

void encode_outcome(paxos::ByteWriter& w, const Outcome& o) {
  w.fixed(static_cast<std::uint8_t>(o.verdict));
  w.varint(o.session.slot.n);
  w.varint(o.session.index);
  w.varint(o.client_seq);
  w.varint(o.slot.n);
  w.varint(o.index);
  w.varint(o.room_seq);
}

/// The messages that one slot put into one room, as they are written.
struct Run {
  std::string_view room;
  std::uint64_t first_seq = 0;
  std::uint64_t count = 0;
  std::string bytes;
};

}  // namespace

struct Machine::State {
  paxos::Slot applied;
  paxos::Hash hash;
  std::int64_t clock_ms = 0;
  std::int64_t stamp_max_ms = 0;  ///< highest stamp seen; the clock walks towards it
  SessionTable sessions;
  std::unordered_map<std::string, std::uint64_t, TextHash, std::equal_to<>> rooms;

  // Of the slot that is being applied.
  std::vector<SessionId> touched;
  std::vector<Run> runs;
  std::unordered_map<std::string_view, std::size_t> run_of;

  void advance_clock(std::int64_t stamp_ms);
  Outcome run(const Command& command, paxos::Slot slot, std::uint32_t index, std::int64_t time_ms);
  Outcome open(const Open& open, paxos::Slot slot, std::uint32_t index, std::int64_t time_ms);
  void post(const Command& command, const Post& post, Outcome& outcome);
  void erase(const SessionId& id);
  void chain(paxos::Slot slot, const paxos::Decree& decree, const std::vector<Outcome>& outcomes);
  void rows(Applied& out, std::int64_t time_ms);
};

Machine::Machine() : state_(std::make_unique<State>()) {}
Machine::~Machine() = default;
Machine::Machine(Machine&&) noexcept = default;
Machine& Machine::operator=(Machine&&) noexcept = default;

paxos::Slot Machine::applied() const { return state_->applied; }
paxos::Hash Machine::hash() const { return state_->hash; }
std::size_t Machine::sessions() const { return state_->sessions.size(); }
std::size_t Machine::rooms() const { return state_->rooms.size(); }
std::int64_t Machine::clock_ms() const { return state_->clock_ms; }

std::uint64_t Machine::room_head(std::string_view room) const {
  const auto at = state_->rooms.find(room);
  return at == state_->rooms.end() ? 0 : at->second;
}

std::optional<Machine::SessionView> Machine::session(const SessionId& id) const {
  const Session* s = std::as_const(state_->sessions).find(id);
  if (s == nullptr) return std::nullopt;
  return SessionView{.last_seq = s->last_seq};
}

void Machine::State::erase(const SessionId& id) {
  touched.push_back(id);
  sessions.erase(id);
}

/// At most 60 s a slot towards the highest stamp, never back: one wrong clock expires nobody at once.
void Machine::State::advance_clock(std::int64_t stamp_ms) {
  stamp_max_ms = std::max(stamp_max_ms, stamp_ms);
  if (clock_ms == 0)
    clock_ms = stamp_max_ms;
  else
    clock_ms = std::min(stamp_max_ms, clock_ms + limits::clock_step_max_ms);
  while (const Session* idle = sessions.longest_idle()) {
    if (clock_ms - idle->active_ms <= limits::session_idle_max_ms) break;
    erase(idle->id);
  }
}

Outcome Machine::State::open(const Open& open, paxos::Slot slot, std::uint32_t index, std::int64_t time_ms) {
  Outcome outcome{.verdict = Verdict::done,
                  .session = {slot, index},
                  .client_seq = 0,
                  .slot = slot,
                  .index = index,
                  .room_seq = 0,
                  .time_ms = time_ms};
  if (Session* known = sessions.find(open.nonce)) {
    outcome.verdict = Verdict::repeat;
    outcome.session = known->id;
    outcome.slot = known->id.slot;
    outcome.index = known->id.index;
    sessions.touch(*known, clock_ms, slot, index);
    touched.push_back(known->id);
    return outcome;
  }
  if (sessions.size() >= limits::sessions_max) erase(sessions.longest_idle()->id);
  Session session;
  session.id = outcome.session;
  session.nonce = open.nonce;
  Session& stored = sessions.insert(std::move(session));
  sessions.touch(stored, clock_ms, slot, index);
  touched.push_back(stored.id);
  return outcome;
}

Outcome Machine::State::run(const Command& command, paxos::Slot slot, std::uint32_t index,
                            std::int64_t time_ms) {
  if (const auto* o = std::get_if<Open>(&command.operation)) return open(*o, slot, index, time_ms);
  Outcome outcome{.verdict = Verdict::done,
                  .session = command.session,
                  .client_seq = command.seq,
                  .slot = slot,
                  .index = index,
                  .room_seq = 0,
                  .time_ms = time_ms};
  Session* session = sessions.find(command.session);
  if (session == nullptr) {
    outcome.verdict = Verdict::session_unknown;
    return outcome;
  }
  sessions.touch(*session, clock_ms, slot, index);
  touched.push_back(session->id);
  // The client has these answers; a mark beyond what ran would be a lie, and is cut.
  const std::uint64_t answered = std::min(command.answered_below, session->last_seq + 1);
  session->answered_below = std::max(session->answered_below, answered);
  while (!session->answers.empty() && session->answers.front().seq < session->answered_below)
    session->answers.pop_front();

  if (command.seq <= session->last_seq) {
    if (command.seq < session->answered_below) {
      outcome.verdict = Verdict::receipt_gone;
      return outcome;
    }
    const auto at = std::lower_bound(session->answers.begin(), session->answers.end(), command.seq,
                                     [](const StoredAnswer& a, std::uint64_t seq) { return a.seq < seq; });
    PAXOS_ASSERT(at != session->answers.end() && at->seq == command.seq);
    if (at->content != content_hash(command.operation)) {
      outcome.verdict = Verdict::conflict;
      return outcome;
    }
    outcome.verdict = at->verdict == Verdict::done ? Verdict::repeat : at->verdict;
    outcome.slot = at->slot;
    outcome.index = at->index;
    outcome.room_seq = at->room_seq;
    outcome.time_ms = at->time_ms;
    return outcome;
  }
  if (command.seq != session->last_seq + 1 || session->answers.size() >= limits::outstanding_max) {
    outcome.verdict = Verdict::early;
    return outcome;
  }
  if (std::holds_alternative<Close>(command.operation)) {
    erase(session->id);
    return outcome;
  }
  if (!validate(command).empty())
    outcome.verdict = Verdict::invalid;
  else
    post(command, std::get<Post>(command.operation), outcome);
  session->last_seq = command.seq;
  session->answers.push_back({.seq = command.seq,
                              .content = content_hash(command.operation),
                              .verdict = outcome.verdict,
                              .slot = slot,
                              .index = index,
                              .room_seq = outcome.room_seq,
                              .time_ms = time_ms});
  return outcome;
}

void Machine::State::post(const Command& command, const Post& post, Outcome& outcome) {
  auto room = rooms.find(post.room);
  if (room == rooms.end()) {
    if (rooms.size() >= limits::rooms_max) {
      outcome.verdict = Verdict::rooms_full;
      return;
    }
    room = rooms.emplace(post.room, 0).first;
  }
  outcome.room_seq = ++room->second;
  const auto [at, fresh] = run_of.try_emplace(room->first, runs.size());
  if (fresh) runs.push_back({.room = room->first, .first_seq = outcome.room_seq, .count = 0, .bytes = {}});
  Run& run = runs[at->second];
  ++run.count;
  paxos::ByteWriter w(run.bytes);
  w.varint(outcome.index);
  w.varint(command.session.slot.n);
  w.varint(command.session.index);
  w.varint(command.seq);
  w.sized(post.name);
  w.sized(post.text);
}

void Machine::State::chain(paxos::Slot slot, const paxos::Decree& decree,
                           const std::vector<Outcome>& outcomes) {
  std::string tail;
  paxos::ByteWriter w(tail);
  w.raw(hash.bytes);
  w.fixed(slot.n);
  w.fixed(static_cast<std::uint8_t>(decree.kind));
  w.fixed(static_cast<std::uint64_t>(clock_ms));
  w.varint(outcomes.size());
  for (const Outcome& o : outcomes) encode_outcome(w, o);
  const XXH128_hash_t value = XXH3_128bits(decree.value.data(), decree.value.size());
  w.fixed(static_cast<std::uint64_t>(value.low64));
  w.fixed(static_cast<std::uint64_t>(value.high64));
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(tail.data(), tail.size()));
  std::copy(std::begin(canonical.digest), std::end(canonical.digest), hash.bytes.begin());
}

void Machine::State::rows(Applied& out, std::int64_t time_ms) {
  const auto put = [&](std::string key, std::string value) {
    out.rows.push_back({std::move(key), std::move(value)});
  };
  for (Run& run : runs) {
    std::string value;
    paxos::ByteWriter w(value);
    w.fixed(row_version);
    w.fixed(out.slot.n);
    w.fixed(static_cast<std::uint64_t>(time_ms));
    w.varint(run.count);
    w.raw(run.bytes);
    put(rows::message(run.room, run.first_seq), std::move(value));
    std::string head;
    paxos::ByteWriter(head).varint(run.first_seq + run.count - 1);
    put(rows::room(run.room), std::move(head));
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (const SessionId& id : touched) {
    const Session* session = std::as_const(sessions).find(id);
    if (session != nullptr)
      put(rows::session(id), encode_session(*session));
    else
      out.rows.push_back({rows::session(id), std::nullopt});
  }
  std::string mark;
  {
    paxos::ByteWriter w(mark);
    w.raw(hash.bytes);
    for (const Outcome& o : out.outcomes) {
      if (o.verdict == Verdict::done) continue;
      const auto index = static_cast<std::uint32_t>(&o - out.outcomes.data());
      w.varint(index);
      encode_outcome(w, o);
    }
  }
  put(rows::hash(out.slot), std::move(mark));
  std::string meta;
  paxos::ByteWriter w(meta);
  w.fixed(row_version);
  w.fixed(rules_version);
  w.fixed(out.slot.n);
  w.raw(hash.bytes);
  w.fixed(static_cast<std::uint64_t>(clock_ms));
  w.fixed(static_cast<std::uint64_t>(stamp_max_ms));
  put(rows::meta(), std::move(meta));
}

Applied Machine::apply(paxos::Slot slot, const paxos::Decree& decree) {
  State& s = *state_;
  PAXOS_ASSERT(slot == s.applied + 1);
  Applied out;
  out.slot = slot;
  s.touched.clear();
  s.runs.clear();
  s.run_of.clear();
  auto batch = decode_batch(decree);
  // What does not decode is the same bytes everywhere, and is a no-op everywhere.
  if (!batch) batch = Batch{};
  out.noop = decree.kind == paxos::DecreeKind::noop;
  s.advance_clock(batch->time_ms);
  out.commands = std::move(batch->commands);
  out.outcomes.reserve(out.commands.size());
  std::uint32_t index = 0;
  for (const Command& command : out.commands)
    out.outcomes.push_back(s.run(command, slot, index++, batch->time_ms));
  s.chain(slot, decree, out.outcomes);
  s.applied = slot;
  out.hash = s.hash;

  s.rows(out, batch->time_ms);
  return out;
}

// --- rows back ---

tl::expected<Machine, std::string> Machine::load(const RowReader& rows) {
  Machine machine;
  State& s = *machine.state_;
  const auto meta = rows.get(rows::meta());
  if (!meta) return machine;
  paxos::ByteReader r{std::string_view(*meta)};
  const auto version = r.fixed<std::uint8_t>();
  const auto rules = r.fixed<std::uint8_t>();
  s.applied.n = r.fixed<std::uint64_t>();
  s.hash.bytes = r.array<16>();
  s.clock_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  s.stamp_max_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  if (!r.done() || version != row_version)
    return tl::make_unexpected("the state's meta row is damaged or of another version");
  if (rules != rules_version)
    return tl::make_unexpected("the state was written under rules version " + std::to_string(rules) +
                               "; this program knows version " + std::to_string(rules_version));
  std::string damage;
  rows.scan(std::string(1, rows::family_room), std::string(1, rows::family_room + 1),
            [&](std::string_view key, std::string_view value) {
              paxos::ByteReader head(value);
              const std::uint64_t seq = head.varint();
              if (!head.done())
                damage = "the head row of room '" + std::string(key.substr(1)) + "' is damaged";
              s.rooms.emplace(std::string(key.substr(1)), seq);
              return damage.empty();
            });
  std::vector<Session> sessions;
  rows.scan(std::string(1, rows::family_session), std::string(1, rows::family_session + 1),
            [&](std::string_view key, std::string_view value) {
              paxos::ByteReader k(key.substr(1));
              SessionId id;
              id.slot.n = k.key64();
              id.index = static_cast<std::uint32_t>(k.key64());
              auto session = decode_session(id, value);
              if (!k.done() || !session) {
                damage = "the row of session " + to_string(id) + " is damaged";
                return false;
              }
              sessions.push_back(std::move(*session));
              return true;
            });
  if (!damage.empty()) return tl::make_unexpected(damage);
  // The idle order is the order of application, which these marks are.
  std::sort(sessions.begin(), sessions.end(), [](const Session& a, const Session& b) {
    return std::pair(a.active_slot, a.active_index) < std::pair(b.active_slot, b.active_index);
  });
  for (Session& session : sessions) s.sessions.insert(std::move(session));
  return machine;
}

tl::expected<AppliedMark, std::string> read_applied(const RowReader& rows) {
  const auto meta = rows.get(rows::meta());
  if (!meta) return AppliedMark{};
  paxos::ByteReader r{std::string_view(*meta)};
  r.fixed<std::uint16_t>();
  AppliedMark mark;
  mark.slot.n = r.fixed<std::uint64_t>();
  mark.hash.bytes = r.array<16>();
  if (!r.ok()) return tl::make_unexpected(std::string("the state's meta row is damaged"));
  return mark;
}

std::optional<paxos::Hash> read_hash(const RowReader& rows, paxos::Slot slot) {
  const auto row = rows.get(rows::hash(slot));
  if (!row) return std::nullopt;
  paxos::ByteReader r{std::string_view(*row)};
  const paxos::Hash hash{r.array<16>()};
  if (!r.ok()) return std::nullopt;
  return hash;
}

std::vector<Outcome> read_outcomes(const RowReader& rows, paxos::Slot slot) {
  std::vector<Outcome> out;
  const auto row = rows.get(rows::hash(slot));
  if (!row) return out;
  paxos::ByteReader r{std::string_view(*row)};
  r.raw(16);
  while (r.ok() && r.remaining() > 0) {
    const auto index = static_cast<std::uint32_t>(r.varint_max(limits::commands_per_decree_max));
    Outcome o;
    o.verdict = static_cast<Verdict>(r.fixed<std::uint8_t>());
    o.session.slot.n = r.varint();
    o.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    o.client_seq = r.varint();
    r.varint();  // where it first ran; here the caller wants to know which command of this slot it is
    r.varint();
    o.room_seq = r.varint();
    o.slot = slot;
    o.index = index;
    if (r.ok()) out.push_back(o);
  }
  return out;
}

tl::expected<HistoryPage, std::string> read_history(const RowReader& rows, std::string_view room,
                                                    std::uint64_t from, std::size_t limit) {
  HistoryPage page;
  const auto head = rows.get(rows::room(room));
  if (!head) return page;
  paxos::ByteReader h{std::string_view(*head)};
  page.head = h.varint();
  from = std::max<std::uint64_t>(from, 1);
  if (from > page.head) return page;
  limit = limit == 0 ? limits::page_messages_max : std::min(limit, limits::page_messages_max);

  // A run may begin below `from`: start at the last one that begins at or before it.
  std::string start = rows::message(room, from);
  rows.scan_back(rows::message(room, 0), rows::message(room, from + 1),
                 [&](std::string_view key, std::string_view) {
                   start = key;
                   return false;
                 });
  std::string damage;
  std::size_t bytes = 0;
  rows.scan(start, rows::message(room, UINT64_MAX), [&](std::string_view key, std::string_view value) {
    paxos::ByteReader r(value);
    std::uint64_t seq = paxos::ByteReader(key.substr(key.size() - 8)).key64();
    const auto version = r.fixed<std::uint8_t>();
    const paxos::Slot slot{r.fixed<std::uint64_t>()};
    const auto time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
    const std::uint64_t count = r.varint();
    for (std::uint64_t i = 0; i < count && r.ok(); ++i, ++seq) {
      Message m;
      m.index = static_cast<std::uint32_t>(r.varint());
      m.session.slot.n = r.varint();
      m.session.index = static_cast<std::uint32_t>(r.varint());
      m.client_seq = r.varint();
      m.name = r.sized_view(limits::name_bytes_max);
      m.text = r.sized_view(limits::text_bytes_max);
      if (!r.ok() || version != row_version) break;
      if (seq < from) continue;
      const std::size_t size = m.text.size() + m.name.size() + room.size() + 64;
      if (page.messages.size() >= limit ||
          (!page.messages.empty() && bytes + size > limits::page_bytes_max)) {
        page.next = seq;
        return false;
      }
      bytes += size;
      m.room = room;
      m.seq = seq;
      m.slot = slot;
      m.time_ms = time_ms;
      page.messages.push_back(std::move(m));
    }
    if (!r.ok() || version != row_version) {
      damage = "the messages of slot " + std::to_string(slot.n) + " in room '" + std::string(room) +
               "' are damaged";
      return false;
    }
    return true;
  });
  if (!damage.empty()) return tl::make_unexpected(damage);
  return page;
}

}  // namespace chat
