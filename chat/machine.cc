#include "chat/machine.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "chat/machine_state.h"
#include "chat/redaction.h"
#include "chat/rooms.h"
#include "chat/rows.h"
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
    case Verdict::key_conflict:
      return "another text was posted under this key: use another key for another message";
    case Verdict::keys_full:
      return "too many messages with a key in the last two days: send it without one, or later";
    case Verdict::no_message:
      return "there is no such message";
    case Verdict::no_room:
      return "there is no such room";
    case Verdict::kept_too_short:
      return "messages are kept for as long as an idle session lives, or longer: a day at least";
    case Verdict::forgotten:
      return "the room keeps that message no more";
    case Verdict::key_unknown:
      return "this key was revoked, or was never issued";
    case Verdict::key_may_not:
      return "this key may not do that";
    case Verdict::name_owned:
      return "the name, or one that looks like it, belongs to somebody who has a key for it: use that key, "
             "or "
             "another name";
    case Verdict::name_bound:
      return "this key posts under its own name alone";
    case Verdict::names_closed:
      return "only who has a key with a name posts here";
    case Verdict::key_exists:
      return "there is such a key already, or the name, or one that looks like it, belongs to one";
    case Verdict::access_full:
      return "no more keys can be issued";
    case Verdict::no_such_key:
      return "there is no such key";
    case Verdict::rotation_open:
      return "the cluster's secret is changing already, or was changed meanwhile: retire the one before "
             "first";
    case Verdict::no_rotation:
      return "that is not the secret before: there is nothing to retire";
  }
  return "unknown verdict";
}

Machine::Machine(std::uint16_t rules_known, const MachineBounds& bounds) : state_(std::make_unique<State>()) {
  bounds.check();
  state_->rules_known = rules_known;
  state_->bounds = bounds;
}
Machine::~Machine() = default;
Machine::Machine(Machine&&) noexcept = default;
Machine& Machine::operator=(Machine&&) noexcept = default;

std::uint16_t Machine::rules() const { return state_->rules; }
const std::optional<paxos::Configuration>& Machine::configuration() const { return state_->configuration; }
paxos::Slot Machine::applied() const { return state_->applied; }
paxos::Hash Machine::hash() const { return state_->hash; }
std::size_t Machine::sessions() const { return state_->sessions.size(); }
std::size_t Machine::answer_bytes() const { return state_->sessions.answer_bytes(); }
std::size_t Machine::rooms() const { return state_->rooms.size(); }
std::int64_t Machine::clock_ms() const { return state_->clock_ms; }
const BoundsReached& Machine::bounds_reached() const { return state_->reached; }

std::uint64_t Machine::room_head(std::string_view room) const {
  const auto at = state_->rooms.find(room);
  return at == state_->rooms.end() ? 0 : at->second.seq;
}

std::uint64_t Machine::room_first(std::string_view room) const {
  const auto at = state_->rooms.find(room);
  return at == state_->rooms.end() ? 1 : at->second.first;
}

std::vector<MessageName> Machine::kept_from() const {
  std::vector<MessageName> out;
  for (const auto& [phase, room] : state_->by_phase)
    if (room->first > 1) out.push_back({std::string(room->name), room->first});
  return out;
}

const KeyedMessage* Machine::keyed(std::string_view room, std::string_view key) const {
  return state_->keys.find(room, key);
}
std::size_t Machine::keys() const { return state_->keys.size(); }
const AccessTable& Machine::access() const { return state_->access; }

Verdict Machine::access_verdict(const Credential& whose, const CommandView& command) const {
  return state_->allowed(whose, command);
}

std::vector<Row> Machine::take_erasures() { return std::exchange(state_->erasures, {}); }

std::optional<Machine::SessionView> Machine::session(const SessionId& id) const {
  const Session* s = std::as_const(state_->sessions).find(id);
  if (s == nullptr) return std::nullopt;
  return SessionView{.last_seq = s->last_seq, .whose = s->whose};
}

std::optional<std::uint64_t> Machine::answered_content(const SessionId& id, std::uint64_t seq) const {
  const Session* s = std::as_const(state_->sessions).find(id);
  if (s == nullptr || seq < s->answered_below || seq > s->last_seq) return std::nullopt;
  return s->answers.view()[static_cast<std::size_t>(seq - s->answered_below)].content;
}

/// The clock goes on by what passed between one batch's stamp and the next, but never by more than 60 s a
/// slot and never back. So a proposer whose clock is a year ahead moves it by 60 s once, not by 60 s with
/// every slot until it is a year on, which would expire everybody within 1,440 slots.
void Machine::State::advance_clock(std::int64_t stamp) {
  stamp = std::clamp<std::int64_t>(stamp, 0, INT64_MAX / 4);
  if (clock_ms == 0)
    clock_ms = std::max<std::int64_t>(stamp, 1);
  else
    clock_ms += std::clamp<std::int64_t>(stamp - stamp_ms, 0, limits::clock_step_max_ms);
  stamp_ms = stamp;
  while (const Session* idle = sessions.longest_idle()) {
    if (clock_ms - idle->active_ms <= bounds.session_idle_ms) break;
    reached(Bound::session_idle);
    erase(*idle);
  }
  while (auto name = keys.expire(clock_ms)) gone_keys.push_back(std::move(*name));
}

void Machine::State::touch(Session& session, paxos::Slot slot, std::uint32_t index) {
  if (session.active_slot != slot) {
    touched.push_back(session.id);
    if (!has_changes(session)) changed.emplace(row_phase(session.id, bounds.journal_slots), session.id);
    session.seq_before = session.last_seq;
  }
  if (rules < rules_journal_changes) session.journalled_whole = true;
  sessions.touch(session, clock_ms, slot, index);
}

void Machine::State::erase(const Session& session) {
  gone.push_back(session.id);
  if (!session.row_slot.none()) gone_rows.push_back(session.id);
  if (has_changes(session)) changed.erase({row_phase(session.id, bounds.journal_slots), session.id});
  sessions.erase(session.id);
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
    touch(*known, slot, index);
    return outcome;
  }
  if (!access.live(open.whose) || !open.whose.may_post()) {
    outcome.verdict = access.live(open.whose) ? Verdict::key_may_not : Verdict::key_unknown;
    outcome.session = {};
    return outcome;
  }
  if (sessions.size() >= bounds.sessions) {
    reached(Bound::sessions);
    erase(*sessions.longest_idle());
  }
  Session session;
  session.id = outcome.session;
  session.nonce = open.nonce;
  session.whose = open.whose;
  touch(sessions.insert(std::move(session)), slot, index);
  return outcome;
}

Verdict Machine::State::names_itself(const Credential& whose, const CommandView& command) const {
  if (const auto* wanted = std::get_if<PostView>(&command.operation))
    return access.may_post_as(whose, wanted->name);
  std::string_view by;
  if (const auto* wanted = std::get_if<RedactView>(&command.operation)) by = wanted->by;
  if (const auto* wanted = std::get_if<RetainView>(&command.operation)) by = wanted->by;
  if (const auto* wanted = std::get_if<SetAccessView>(&command.operation)) by = wanted->by;
  return by.empty() ? Verdict::done : access.may_call_itself(whose, by);
}

Verdict Machine::State::allowed(const Credential& whose, const CommandView& command) const {
  if (std::holds_alternative<Close>(command.operation)) return Verdict::done;
  if (!access.live(whose)) return Verdict::key_unknown;
  if (!std::holds_alternative<PostView>(command.operation) && !whose.operates()) return Verdict::key_may_not;
  if (const auto* set = std::get_if<SetAccessView>(&command.operation);
      set != nullptr && set->kind >= SetAccess::Kind::rotate && !whose.is_secret())
    return Verdict::key_may_not;
  return names_itself(whose, command);
}

/// Source: DESIGN.md section 4, Sessions.
Outcome Machine::State::run(const CommandView& command, paxos::Slot slot, std::uint32_t index,
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
  touch(*session, slot, index);
  sessions.answered(*session, command.answered_below);

  const std::uint64_t content = content_of(command);
  if (command.seq <= session->last_seq) {
    if (command.seq < session->answered_below) {
      outcome.verdict = Verdict::receipt_gone;
      return outcome;
    }
    const StoredAnswer& stored =
        session->answers.view()[static_cast<std::size_t>(command.seq - session->answered_below)];
    if (stored.content != content) {
      outcome.verdict = Verdict::conflict;
      return outcome;
    }
    // A refusal is answered with that refusal again; only what ran is a repeat.
    outcome.verdict = stored.verdict == Verdict::done ? Verdict::repeat : stored.verdict;
    outcome.slot = stored.slot;
    outcome.index = stored.index;
    outcome.room_seq = stored.room_seq;
    outcome.time_ms = stored.time_ms;
    return outcome;
  }
  const bool full = session->answers.size() >= bounds.outstanding;
  if (command.seq != session->last_seq + 1 || full) {
    if (full) reached(Bound::outstanding);
    outcome.verdict = Verdict::early;
    return outcome;
  }
  if (std::holds_alternative<Close>(command.operation)) {
    erase(*session);
    return outcome;
  }
  if (!validate(command, rules).empty())
    outcome.verdict = Verdict::invalid;
  else if (const Verdict verdict = allowed(session->whose, command); verdict != Verdict::done)
    outcome.verdict = verdict;
  else if (const auto* wanted = std::get_if<RedactView>(&command.operation))
    redact(*wanted, outcome);
  else if (const auto* rule = std::get_if<RetainView>(&command.operation))
    retain(*rule, outcome);
  else if (const auto* set = std::get_if<SetAccessView>(&command.operation))
    set_access(*set, outcome);
  else
    post(command, std::get<PostView>(command.operation), session->whose, outcome);
  sessions.answer(*session, {.content = content,
                             .slot = outcome.slot,
                             .room_seq = outcome.room_seq,
                             .time_ms = outcome.time_ms,
                             .index = outcome.index,
                             .verdict = outcome.verdict});
  // Never this session: it is the last one touched, and has far fewer answers than are allowed in all.
  while (sessions.answers() > bounds.answers) {
    reached(Bound::answers);
    erase(*sessions.longest_idle());
  }
  return outcome;
}

bool Machine::State::keyed(const PostView& post, Outcome& outcome) const {
  if (const KeyedMessage* first = keys.find(post.room, post.key)) {
    if (first->content != text_hash_of(post)) {
      outcome.verdict = Verdict::key_conflict;
      return true;
    }
    outcome.verdict = Verdict::repeat;
    outcome.slot = first->slot;
    outcome.index = first->index;
    outcome.room_seq = first->room_seq;
    outcome.time_ms = first->time_ms;
    return true;
  }
  if (keys.takes(post.room, post.key, post.name.size())) return false;
  outcome.verdict = Verdict::keys_full;
  return true;
}

void Machine::State::post(const CommandView& command, const PostView& post, const Credential& whose,
                          Outcome& outcome) {
  if (!post.key.empty() && keyed(post, outcome)) return;
  auto at = rooms.find(post.room);
  if (at == rooms.end()) {
    if (rules >= 2 && !validate_new_room(post.room).empty()) {
      outcome.verdict = Verdict::invalid;
      return;
    }
    if (rooms.size() >= bounds.rooms) {
      reached(Bound::rooms);
      outcome.verdict = Verdict::rooms_full;
      return;
    }
    at = rooms.try_emplace(std::string(post.room)).first;
    at->second.name = at->first;
    room_order.add(at->second);
    by_phase.emplace(std::pair(phase_of(at->first), std::string_view(at->first)), &at->second);
  }
  RoomHead& room = at->second;
  outcome.room_seq = ++room.seq;
  if (room.active_slot != outcome.slot) {
    // The order of first messages, the one in which the journal names them: a reload finds it again.
    room.active_slot = outcome.slot;
    room.run = runs_used;
    room_order.touch(room);
    if (runs_used == runs.size()) runs.emplace_back();
    Run& fresh = runs[runs_used++];
    fresh.room = &room;
    fresh.first_seq = outcome.room_seq;
    fresh.count = 0;
    fresh.bytes.clear();
    fresh.stamps.clear();
    fresh.stamped = 0;
    fresh.posters.clear();
    fresh.keyed = 0;
  }
  Run& run = runs[room.run];
  ++run.count;
  paxos::FewBytes<48> head;
  head.varint(outcome.index).varint(command.session.slot.n).varint(command.session.index).varint(command.seq);
  head.append_to(run.bytes);
  paxos::ByteWriter w(run.bytes);
  w.sized(post.name);
  w.sized(post.text);
  if (post.topic) new_topics.push_back(topic_row(post, outcome));
  if (post.written_ms != 0) {
    ++run.stamped;
    paxos::FewBytes<20> stamp;
    stamp.varint(run.count - 1).varint(static_cast<std::uint64_t>(post.written_ms)).append_to(run.stamps);
  }
  if (!whose.is_secret()) {
    const bool proven = access.proves_name(whose);
    ++run.keyed;
    paxos::FewBytes<20> poster;
    poster.varint(run.count - 1).fixed(whose.id).fixed(static_cast<std::uint8_t>(proven ? 1 : 0));
    poster.append_to(run.posters);
    posters.resize(std::max<std::size_t>(posters.size(), outcome.index + 1));
    posters[outcome.index] = {whose.id, proven};
  }
  if (post.key.empty()) return;
  keys.insert(post.room, post.key,
              {.content = text_hash_of(post),
               .name = std::string(post.name),
               .session = command.session,
               .client_seq = command.seq,
               .slot = outcome.slot,
               .index = outcome.index,
               .room_seq = outcome.room_seq,
               .time_ms = outcome.time_ms,
               .clock_ms = clock_ms});
  new_keys.push_back(KeyTable::name_of(post.room, post.key));
}

void Machine::State::redact(const RedactView& redact, Outcome& outcome) {
  const auto room = rooms.find(redact.room);
  if (room == rooms.end() || redact.seq > room->second.seq) {
    outcome.verdict = Verdict::no_message;
    return;
  }
  if (redact.seq < room->second.first) {
    outcome.verdict = Verdict::forgotten;
    return;
  }
  outcome.room_seq = redact.seq;
  std::string value;
  paxos::ByteWriter w(value);
  w.fixed(rows::row_version);
  w.fixed(outcome.slot.n);
  w.fixed(static_cast<std::uint64_t>(outcome.time_ms));
  w.sized(redact.by);
  w.sized(redact.reason);
  new_redactions.push_back({rows::redaction(redact.room, redact.seq), std::move(value)});
  new_redactions.push_back({rows::erasure(redact.room, redact.seq), encode_erasure({})});
  redactions.push_back({std::string(redact.room), redact.seq});
}

void Machine::State::retain(const RetainView& retain, Outcome& outcome) {
  if (retain.age_ms != 0 && retain.age_ms < bounds.session_idle_ms) {
    outcome.verdict = Verdict::kept_too_short;
    return;
  }
  RetentionRule rule{.count = retain.count,
                     .age_ms = retain.age_ms,
                     .time_ms = outcome.time_ms,
                     .by = std::string(retain.by)};
  if (retain.room.empty()) {
    for_all = std::move(rule);
    for_all_changed = true;
    return;
  }
  const auto room = rooms.find(retain.room);
  if (room == rooms.end()) {
    outcome.verdict = Verdict::no_room;
    return;
  }
  room->second.rule.reset();
  if (!retain.inherit) room->second.rule = std::move(rule);
  room->second.kept_changed = true;
  keep(room->second);
  outcome.room_seq = room->second.first;
}

void Machine::State::set_access(const SetAccessView& wanted, Outcome& outcome) {
  using Kind = SetAccess::Kind;
  if (wanted.kind == Kind::rotate || wanted.kind == Kind::retire) {
    outcome.verdict = wanted.kind == Kind::rotate ? access.rotate(wanted.secret, wanted.before)
                                                  : access.retire(wanted.before);
    if (outcome.verdict == Verdict::done)
      new_access.push_back({rows::secrets(), encode_secrets(access.secrets())});
    return;
  }
  if (wanted.kind == Kind::issue) {
    outcome.verdict = access.issue({.whose = wanted.whose,
                                    .name = std::string(wanted.name),
                                    .issued_ms = outcome.time_ms,
                                    .issued_by = std::string(wanted.by),
                                    .revoked_by = {},
                                    .claim = {wanted.secret, wanted.before}});
  } else if (wanted.kind == Kind::revoke) {
    outcome.verdict = access.revoke(wanted.whose.id, outcome.time_ms, wanted.by);
  } else {
    access.set_open_names({.allowed = wanted.kind == Kind::open_names,
                           .time_ms = outcome.time_ms,
                           .by = std::string(wanted.by)});
    new_access.push_back({rows::access(0), encode_open_names(access.open_names())});
    return;
  }
  if (outcome.verdict == Verdict::done)
    new_access.push_back({rows::access(wanted.whose.id), encode_access_key(*access.find(wanted.whose.id))});
}

std::uint32_t Machine::State::phase_of(std::string_view room) {
  return static_cast<std::uint32_t>(XXH3_64bits(room.data(), room.size()));
}

/// What a room keeps is decided by nothing but its own numbers and the session clock: both are the log's.
void Machine::State::keep(RoomHead& room) {
  if (room.marks.note(clock_ms, room.seq + 1, bounds.mark_gap_ms)) room.kept_changed = true;
  const RetentionRule& rule = room.rule ? *room.rule : for_all;
  std::uint64_t first = room.first;
  if (rule.count != 0 && room.seq + 1 - room.first >= rule.count + retention_slack(rule.count))
    first = room.seq + 1 - rule.count;
  if (rule.age_ms != 0) first = std::max(first, room.marks.older_than(clock_ms, rule.age_ms));
  if (first > room.first) {
    room.first = first;
    room.marks.forget_below(first);
    room.kept_changed = true;
    kept_from.push_back({std::string(room.name), first});
  }
  if (room.kept_changed && room.kept_slot != applied + 1) {
    room.kept_slot = applied + 1;
    kept.push_back(&room);
  }
}

/// The rooms that got messages in this slot, and in turn some of the others: all of them have theirs within
/// as many slots as there are rooms for each.
void Machine::State::keep_some(paxos::Slot slot) {
  for (std::size_t i = 0; i < runs_used; ++i) keep(*runs[i].room);
  const std::uint64_t turns = std::bit_ceil(rooms.size() / bounds.rooms_looked_at + 1);
  const std::uint64_t width = (std::uint64_t{1} << 32) / turns;
  const std::uint64_t begin = slot.n % turns * width;
  for (auto at = by_phase.lower_bound({static_cast<std::uint32_t>(begin), std::string_view()});
       at != by_phase.end() && at->first.first < begin + width; ++at)
    keep(*at->second);
}

void encode_outcome(std::string& out, const Outcome& o) {
  paxos::FewBytes<80> few;
  few.fixed(static_cast<std::uint8_t>(o.verdict)).varint(o.session.slot.n).varint(o.session.index);
  few.varint(o.client_seq).varint(o.slot.n).varint(o.index).varint(o.room_seq);
  few.fixed(static_cast<std::uint64_t>(o.time_ms)).append_to(out);
}

/// XXH3-128 over the previous value, the slot, the decree (as it was before anything in it was redacted) and
/// every outcome, and what rooms forget in it: replicas that apply differently show it at that very slot.
void Machine::State::chain(paxos::Slot slot, const paxos::Decree& decree, const Applied& applied_now) {
  const std::vector<Outcome>& outcomes = applied_now.outcomes;
  scratch.clear();
  const ValueHash value = value_hash(decree);
  paxos::FewBytes<64> head;
  head.raw(hash.bytes).fixed(slot.n).fixed(static_cast<std::uint8_t>(decree.kind));
  head.fixed(static_cast<std::uint64_t>(clock_ms)).fixed(value.low);
  head.fixed(value.high).varint(outcomes.size()).append_to(scratch);
  for (const Outcome& o : outcomes) encode_outcome(scratch, o);
  paxos::ByteWriter rest(scratch);
  if (rules >= rules_in_hash) rest.fixed(rules);
  for (const MessageName& kept_now : applied_now.kept_from) {
    rest.sized(kept_now.room);
    rest.varint(kept_now.seq);
  }
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(scratch.data(), scratch.size()));
  std::copy(std::begin(canonical.digest), std::end(canonical.digest), hash.bytes.begin());
}

Applied Machine::apply(paxos::Slot slot, const paxos::Decree& decree) {
  State& s = *state_;
  PAXOS_ASSERT(slot == s.applied + 1);
  s.touched.clear();
  s.gone.clear();
  s.gone_rows.clear();
  s.gone_keys.clear();
  s.new_keys.clear();
  s.new_topics.clear();
  s.new_access.clear();
  s.posters.clear();
  s.new_redactions.clear();
  s.redactions.clear();
  s.kept.clear();
  s.kept_from.clear();
  s.for_all_changed = false;
  s.runs_used = 0;
  Applied out;
  out.slot = slot;
  const std::uint16_t raise_to = rules_in(decree).value_or(0);
  if (raise_to == s.rules + 1 && raise_to > s.rules_known) {
    out.refused = "slot " + std::to_string(slot.n) + " raises the rules to " + std::to_string(raise_to) +
                  ", this program knows them up to " + std::to_string(s.rules_known);
    return out;
  }
  out.noop = decree.kind == paxos::DecreeKind::noop;
  // What does not decode is the same bytes everywhere, and does nothing everywhere.
  auto batch = view_batch(decree, s.rules);
  const std::int64_t time_ms = batch ? batch->time_ms : 0;
  if (batch && decree.kind == paxos::DecreeKind::commands) {
    s.advance_clock(time_ms);
    out.outcomes.reserve(batch->commands.size());
    std::uint32_t index = 0;
    for (const CommandView& command : batch->commands)
      out.outcomes.push_back(s.run(command, slot, index++, time_ms));
    out.redactions = std::move(s.redactions);
    if (!s.posters.empty()) s.posters.resize(out.outcomes.size());
    out.posters = std::move(s.posters);
    out.commands = std::move(batch->commands);
    out.value = decree.value;
  }
  if (s.rules >= rules_retention) s.keep_some(slot);
  out.kept_from = std::move(s.kept_from);
  if (auto next = paxos::configuration_after(s.configuration ? s.configuration->number : 1, slot, decree)) {
    s.configuration = std::move(next);
    out.configured = true;
  }
  s.chain(slot, decree, out);
  if (raise_to == s.rules + 1) s.rules = raise_to;  // from the next slot on
  s.applied = slot;
  out.hash = s.hash;
  s.write_rows(out, time_ms);
  return out;
}

}  // namespace chat
