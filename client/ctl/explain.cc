#include "client/ctl/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <set>

#include "client/terminal/words.h"

namespace client {

using chat::FlightEntry;
using chat::FlightKind;

namespace {

struct Told {
  paxos::ReplicaId by;
  FlightEntry entry;
};

double ms(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }
std::string ms_text(std::int64_t ns) { return fmt::format("{:.3f} ms", ms(ns)); }

std::string names(const std::set<std::uint8_t>& ids) {
  std::string out;
  std::size_t left = ids.size();
  for (const std::uint8_t id : ids) {
    --left;
    out += std::to_string(id);
    if (left > 0) out += left == 1 ? " and " : ", ";
  }
  return (ids.size() == 1 ? "replica " : "replicas ") + out;
}

const char* state_name(SlotState state) {
  switch (state) {
    case SlotState::unknown:
      return "unknown";
    case SlotState::unproposed:
      return "unproposed";
    case SlotState::hole:
      return "hole";
    case SlotState::skipped:
      return "skipped";
    case SlotState::proposed:
      return "proposed";
    case SlotState::chosen:
      return "chosen";
    case SlotState::applied:
      return "applied";
    case SlotState::trimmed:
      return "trimmed";
  }
  return "unknown";
}

/// All that was said about one slot, and what follows from it.
class Detective {
 public:
  Detective(paxos::Slot slot, std::size_t quorum, const std::vector<Witness>& witnesses)
      : slot_(slot), quorum_(quorum), witnesses_(witnesses) {
    for (const Witness& w : witnesses_)
      if (w.reply)
        for (const FlightEntry& e : w.reply->records) told_.push_back({w.id, e});
    // Each replica's own order is kept.
    std::vector<std::pair<std::int64_t, std::size_t>> order;
    for (std::size_t i = 0; i < told_.size(); ++i) order.emplace_back(told_[i].entry.ns, i);
    std::sort(order.begin(), order.end());
    std::vector<Told> sorted;
    for (const auto& [ns, at] : order) sorted.push_back(told_[at]);
    told_ = std::move(sorted);
  }

  Story story();

 private:
  [[nodiscard]] const Told* first(FlightKind kind, std::optional<paxos::ReplicaId> by = {},
                                  std::optional<std::uint64_t> ballot = {}) const {
    for (const Told& t : told_)
      if (t.entry.kind == kind && (!by || t.by == *by) && (!ballot || t.entry.ballot == *ballot)) return &t;
    return nullptr;
  }
  [[nodiscard]] std::int64_t began(paxos::ReplicaId id) const {
    // Phase 1 comes long before the slots that it is for: it counts backwards.
    const Told* any = nullptr;
    for (const Told& t : told_) {
      if (t.by != id) continue;
      if (any == nullptr) any = &t;
      if (t.entry.kind >= FlightKind::proposed && t.entry.kind < FlightKind::commands_came) return t.entry.ns;
    }
    return any == nullptr ? 0 : any->entry.ns;
  }
  void find_ballots();
  void find_state();
  [[nodiscard]] std::string how_proposed() const;
  [[nodiscard]] std::string who_voted(Json& out) const;
  [[nodiscard]] std::string when_chosen(Json& out) const;
  [[nodiscard]] std::string where_applied(Json& out) const;
  [[nodiscard]] std::string why_noop(std::string& cause) const;
  [[nodiscard]] std::vector<std::string> forgotten() const;

  const paxos::Slot slot_;
  const std::size_t quorum_;
  const std::vector<Witness>& witnesses_;
  std::vector<Told> told_;  ///< by wall time

  std::map<std::uint64_t, std::set<std::uint8_t>> voters_;  ///< by packed ballot; durable votes only
  std::optional<std::uint64_t> ballot_;                     ///< under which it was chosen, or last proposed
  std::optional<std::uint64_t> earlier_;  ///< the lowest that it was proposed under, where that is another
  bool by_votes_ = false;                 ///< a quorum's votes at ballot_ are on record
  std::size_t answers_ = 0;
  paxos::Slot accepted_, chosen_, applied_;
  std::optional<paxos::DecreeKind> kind_;
  std::uint32_t commands_ = 0;
  std::uint32_t bytes_ = 0;
  SlotState state_ = SlotState::unknown;
};

void Detective::find_ballots() {
  std::optional<std::uint64_t> last_proposed;
  for (const Told& t : told_) {
    const FlightEntry& e = t.entry;
    if (e.kind == FlightKind::vote_durable) voters_[e.ballot].insert(t.by.n);
    if (e.kind == FlightKind::accepted_received) voters_[e.ballot].insert(e.peer);
    if (e.kind != FlightKind::proposed && e.kind != FlightKind::voted &&
        e.kind != FlightKind::accept_received)
      continue;
    if (!last_proposed || *last_proposed < e.ballot) last_proposed = e.ballot;
    if (!earlier_ || e.ballot < *earlier_) earlier_ = e.ballot;
    if (e.kind != FlightKind::voted && !kind_)
      kind_ = e.detail == 1   ? paxos::DecreeKind::noop
              : e.detail == 2 ? paxos::DecreeKind::rules
              : e.detail == 3 ? paxos::DecreeKind::configuration
                              : paxos::DecreeKind::commands;
  }
  for (const auto& [ballot, voters] : voters_)
    if (voters.size() >= quorum_) {
      ballot_ = ballot;  // the lowest: chosen once, chosen for ever
      by_votes_ = true;
      break;
    }
  // A decree on disk outlives the records.
  const chat::ExplainReply::Held* held = nullptr;
  for (const Witness& w : witnesses_)
    if (w.reply && w.reply->held && (held == nullptr || (w.reply->held->chosen && !held->chosen)))
      held = &*w.reply->held;
  if (held != nullptr) {
    kind_ = held->kind;
    commands_ = held->commands;
    bytes_ = held->bytes;
  }
  if (!ballot_) ballot_ = last_proposed;
  if (!ballot_ && held != nullptr) ballot_ = FlightEntry::pack(held->ballot);
  if (earlier_ && ballot_ && *earlier_ >= *ballot_) earlier_.reset();
}

void Detective::find_state() {
  bool held = false;
  bool trimmed = false;
  bool known_chosen = false;
  for (const Witness& w : witnesses_) {
    if (!w.reply) continue;
    ++answers_;
    accepted_ = std::max(accepted_, w.reply->accepted);
    chosen_ = std::max(chosen_, w.reply->chosen);
    applied_ = std::max(applied_, w.reply->applied);
    held = held || w.reply->held.has_value();
    known_chosen = known_chosen || (w.reply->held && w.reply->held->chosen);
    trimmed = trimmed || slot_ < w.reply->first_slot;
  }
  if (answers_ == 0) return;
  const bool proposed = held || ballot_.has_value();
  if (slot_ <= applied_)
    state_ = proposed || !trimmed ? SlotState::applied : SlotState::trimmed;
  else if (slot_ <= chosen_ || known_chosen || by_votes_ || first(FlightKind::chosen) != nullptr)
    state_ = SlotState::chosen;
  else if (proposed)
    state_ = SlotState::proposed;
  else if (first(FlightKind::skipped) != nullptr)
    state_ = SlotState::skipped;
  else
    state_ = slot_ < accepted_ ? SlotState::hole : SlotState::unproposed;
}

std::string Detective::how_proposed() const {
  FlightEntry at;
  at.ballot = *ballot_;
  const paxos::Ballot ballot = at.unpacked();
  const std::string what = !kind_                                       ? "its decree"
                           : *kind_ == paxos::DecreeKind::noop          ? "a no-op"
                           : *kind_ == paxos::DecreeKind::rules         ? "newer rules"
                           : *kind_ == paxos::DecreeKind::configuration ? "the next configuration"
                           : commands_ == 1                             ? "a decree of 1 command"
                           : commands_ == 0                             ? "a decree"
                                            : fmt::format("a decree of {} commands", commands_);
  std::string out = fmt::format("Replica {} proposed {} in slot {} under ballot {}", ballot.replica.n, what,
                                slot_.n, paxos::to_string(ballot));
  if (const Told* proposed = first(FlightKind::proposed, ballot.replica, *ballot_)) {
    out += fmt::format(" at {}", clock_text(proposed->entry.ns));
    const Told* came = first(FlightKind::commands_came, ballot.replica);
    if (came != nullptr && proposed->entry.detail == 0 && !earlier_ && commands_ > 0 &&
        came->entry.ns < proposed->entry.ns)
      out +=
          fmt::format(", {} after the last commands came in", ms_text(proposed->entry.ns - came->entry.ns));
  }
  if (earlier_) {
    FlightEntry e;
    e.ballot = *earlier_;
    out += fmt::format("; it was first proposed by replica {} under ballot {}", e.unpacked().replica.n,
                       paxos::to_string(e.unpacked()));
    if (kind_ && *kind_ != paxos::DecreeKind::noop) out += ", and adopted from the votes that phase 1 found";
  }
  return out + ".";
}

std::string Detective::who_voted(Json& out) const {
  FlightEntry at;
  at.ballot = *ballot_;
  const paxos::ReplicaId leader = at.unpacked().replica;
  const Told* proposed = first(FlightKind::proposed, leader, *ballot_);
  std::vector<std::string> parts;
  out = Json::array();
  const auto found = voters_.find(*ballot_);
  if (found == voters_.end()) return "No votes are on record any more.";
  for (const std::uint8_t id : found->second) {
    Json one{{"replica", id}, {"ballot", ballot_json(at.unpacked())}};
    std::string part = fmt::format("{}", id);
    const Told* durable = first(FlightKind::vote_durable, paxos::ReplicaId{id}, *ballot_);
    if (durable != nullptr) {
      // From the replica's own first word of it: clocks of two machines are not compared.
      const Told* heard =
          id == leader.n ? proposed : first(FlightKind::accept_received, paxos::ReplicaId{id}, *ballot_);
      if (heard != nullptr) {
        one["durable_ms"] = ms(durable->entry.ns - heard->entry.ns);
        part += fmt::format(" (on disk {} after {})", ms_text(durable->entry.ns - heard->entry.ns),
                            id == leader.n ? "proposing" : "the Accept came");
      }
    }
    if (id != leader.n && proposed != nullptr)
      for (const Told& t : told_)
        if (t.by == leader && t.entry.kind == FlightKind::accepted_received && t.entry.peer == id &&
            t.entry.ballot == *ballot_) {
          one["received_ms"] = ms(t.entry.ns - proposed->entry.ns);
          break;
        }
    out.push_back(std::move(one));
    parts.push_back(std::move(part));
  }
  return fmt::format("Votes: {}.", fmt::join(parts, ", "));
}

std::string Detective::when_chosen(Json& out) const {
  FlightEntry at;
  at.ballot = *ballot_;
  const paxos::ReplicaId leader = at.unpacked().replica;
  const Told* proposed = first(FlightKind::proposed, leader, *ballot_);
  const Told* chosen = first(FlightKind::chosen, leader);
  if (proposed != nullptr && chosen != nullptr && chosen->entry.ns >= proposed->entry.ns) {
    out = ms(chosen->entry.ns - proposed->entry.ns);
    return fmt::format("Chosen {} after it was proposed.", ms_text(chosen->entry.ns - proposed->entry.ns));
  }
  if (const Told* anyone = first(FlightKind::chosen))
    return fmt::format("Known chosen at replica {} since {}; when exactly, its leader's records would tell.",
                       anyone->by.n, clock_text(anyone->entry.ns));
  if (slot_ <= chosen_) return "It is chosen; when, nobody has on record any more.";
  return "It is not known to be chosen.";
}

std::string Detective::where_applied(Json& out) const {
  std::vector<std::string> parts;
  out = Json::array();
  for (const Witness& w : witnesses_) {
    if (!w.reply || w.reply->applied < slot_) continue;
    Json one{{"replica", w.id.n}};
    std::string part = std::to_string(w.id.n);
    if (const Told* applied = first(FlightKind::applied, w.id)) {
      one["time_ns"] = applied->entry.ns;
      one["offset_ms"] = ms(applied->entry.ns - began(w.id));
      part += fmt::format(" (+{})", ms_text(applied->entry.ns - began(w.id)));
    }
    out.push_back(std::move(one));
    parts.push_back(std::move(part));
  }
  if (parts.empty()) return "Applied nowhere yet.";
  return fmt::format("Applied on {}, each counted from its own first record of the slot.",
                     fmt::join(parts, ", "));
}

std::string Detective::why_noop(std::string& cause) const {
  std::string out;
  const Told* filled = first(FlightKind::noop_filled);
  const Told* skipped = first(FlightKind::skipped);
  if (skipped != nullptr) {
    cause = "skipped";
    const paxos::Ballot b = skipped->entry.unpacked();
    out =
        fmt::format("It is a no-op because the operator had replica {} leave it empty (skip) under ballot {}",
                    skipped->by.n, paxos::to_string(b));
  }
  if (filled != nullptr) {
    const paxos::Ballot b = filled->entry.unpacked();
    std::set<std::uint8_t> empty;
    for (const Told& t : told_)
      if (t.by == filled->by && t.entry.kind == FlightKind::promise_received &&
          t.entry.ballot == filled->entry.ballot)
        empty.insert(t.entry.peer);
    for (const Told& t : told_)
      if (t.by == filled->by && t.entry.kind == FlightKind::promise_named) empty.erase(t.entry.peer);
    if (out.empty()) {
      cause = "hole";
      out = fmt::format(
          "It is a no-op because replica {}, the new leader with ballot {}, found it empty below a slot that "
          "has a "
          "decree, and filled the hole",
          filled->by.n, paxos::to_string(b));
    } else {
      out += fmt::format("; replica {}, the new leader with ballot {}, found the hole and filled it",
                         filled->by.n, paxos::to_string(b));
    }
    if (!empty.empty()) out += fmt::format(" ({} promised and knew of no vote in it)", names(empty));
    if (skipped == nullptr)
      out +=
          ". Whether the leader before was told to skip it, or crashed before its Accept got through, only "
          "that replica's "
          "records of then could tell; a crash dump of it may (`--dump`)";
    return out + ".";
  }
  if (!out.empty()) return out + ".";
  const Told* proposed = first(FlightKind::proposed);
  if (proposed != nullptr && proposed->entry.detail == 1) {
    cause = earlier_ ? "adopted" : "above_skipped";
    return earlier_ ? "It was a no-op when it was first proposed, and stayed one."
                    : "It is a no-op that the leader itself proposed: `skip` puts one above the slots that "
                      "it leaves empty, so that "
                      "each has a chosen slot above it.";
  }
  cause = "unknown";
  return "It is a no-op; why, nobody who answers has on record any more: an empty slot that a new leader "
         "filled, or the one "
         "above a skipped slot.";
}

std::vector<std::string> Detective::forgotten() const {
  std::vector<std::string> out;
  for (const Witness& w : witnesses_) {
    if (!w.reply) {
      out.push_back(fmt::format("Replica {} {}.", w.id.n, w.silence.empty() ? "does not answer" : w.silence));
      continue;
    }
    const chat::ExplainReply& r = *w.reply;
    if (!r.damage.empty()) out.push_back(fmt::format("Replica {} can't read its log: {}.", w.id.n, r.damage));
    if (r.left_out > 0)
      out.push_back(fmt::format("Replica {} left {} out.", w.id.n, counted(r.left_out, "record")));
    if (slot_ < r.first_slot)
      out.push_back(fmt::format("Replica {} has trimmed its log up to slot {}.", w.id.n, r.first_slot.n - 1));
    const bool voted = std::any_of(r.records.begin(), r.records.end(), [](const FlightEntry& e) {
      return e.kind == FlightKind::voted || e.kind == FlightKind::learned ||
             e.kind == FlightKind::learn_received;
    });
    if (voted || (!r.held && r.applied < slot_)) continue;
    const std::string records = r.records.empty() ? "has no records of it" : "has no record of its vote";
    if (r.oldest_ns > r.started_ns)
      out.push_back(fmt::format("Replica {} {}: its recorder reaches back to {} only.", w.id.n, records,
                                clock_text(r.oldest_ns)));
    else
      out.push_back(fmt::format("Replica {} {}: it was started again at {} (boot {}).", w.id.n, records,
                                clock_text(r.started_ns), r.boot));
  }
  return out;
}

Story Detective::story() {
  find_ballots();
  find_state();
  Story out;
  out.state = state_;
  out.notes = forgotten();
  Json& j = out.json;
  j = {{"slot", slot_.n},
       {"state", state_name(state_)},
       {"kind", nullptr},
       {"ballot", nullptr},
       {"proposer", nullptr}};
  if (kind_) j["kind"] = paxos::to_string(*kind_);
  if (kind_ && *kind_ == paxos::DecreeKind::commands) {
    j["commands"] = commands_;
    j["bytes"] = bytes_;
  }
  std::vector<std::string> sentences;
  switch (state_) {
    case SlotState::unknown:
      sentences.push_back("No replica answers.");
      break;
    case SlotState::unproposed:
      sentences.push_back(
          fmt::format("Slot {} was never proposed, as far as {} of {} replicas know{}. The highest slot with "
                      "a vote is {}.",
                      slot_.n, answers_, witnesses_.size(),
                      answers_ < quorum_ ? " (fewer than a quorum: others may know more)" : "", accepted_.n));
      break;
    case SlotState::hole:
      sentences.push_back(
          fmt::format("Slot {} is empty so far, below slot {} that is voted on: a hole. Its Accept is still "
                      "under way, or "
                      "its leader left it empty; the next ballot fills it with a no-op.",
                      slot_.n, accepted_.n));
      break;
    case SlotState::skipped: {
      const Told* skip = first(FlightKind::skipped);
      sentences.push_back(fmt::format(
          "Slot {} is empty: the operator had replica {} skip it under ballot {} at {}. Nothing above it is "
          "applied until another ballot fills it with a no-op.",
          slot_.n, skip->by.n, paxos::to_string(skip->entry.unpacked()), clock_text(skip->entry.ns)));
      j["noop_cause"] = "skipped";
      break;
    }
    case SlotState::trimmed:
      sentences.push_back(fmt::format("Slot {} is applied and was trimmed from the logs.", slot_.n));
      break;
    case SlotState::proposed:
    case SlotState::chosen:
    case SlotState::applied: {
      if (!ballot_) {
        sentences.push_back(
            fmt::format("Slot {} is chosen, and nobody who answers has a record of it.", slot_.n));
        break;
      }
      FlightEntry at;
      at.ballot = *ballot_;
      j["ballot"] = ballot_json(at.unpacked());
      j["proposer"] = at.unpacked().replica.n;
      j["ballot_by"] = by_votes_ ? "votes" : first(FlightKind::proposed) != nullptr ? "proposal" : "log";
      if (const Told* proposed = first(FlightKind::proposed, at.unpacked().replica, *ballot_))
        j["proposed_ns"] = proposed->entry.ns;
      sentences.push_back(how_proposed());
      if (kind_ && *kind_ == paxos::DecreeKind::noop) {
        std::string cause;
        sentences.push_back(why_noop(cause));
        j["noop_cause"] = cause;
      }
      sentences.push_back(who_voted(j["votes"]));
      sentences.push_back(when_chosen(j["chosen_ms"]));
      sentences.push_back(where_applied(j["applied"]));
    }
  }
  out.summary = fmt::format("{}", fmt::join(sentences, " "));
  j["summary"] = out.summary;
  j["notes"] = out.notes;
  Json& replicas = j["replicas"] = Json::array();
  for (const Witness& w : witnesses_) {
    Json one{{"id", w.id.n}, {"reachable", w.reply.has_value()}};
    if (!w.reply) {
      one["error"] = w.silence.empty() ? "does not answer" : w.silence;
    } else {
      const chat::ExplainReply& r = *w.reply;
      one.update({{"boot", r.boot},
                  {"started_ns", r.started_ns},
                  {"recorded_since_ns", r.oldest_ns},
                  {"chosen", slot_ <= r.chosen || (r.held && r.held->chosen)},
                  {"applied", slot_ <= r.applied},
                  {"records", r.records.size()},
                  {"left_out", r.left_out}});
      one["log"] = nullptr;
      if (r.held)
        one["log"] = {{"kind", paxos::to_string(r.held->kind)},
                      {"ballot", ballot_json(r.held->ballot)},
                      {"chosen", r.held->chosen},
                      {"commands", r.held->commands},
                      {"bytes", r.held->bytes}};
      if (!r.damage.empty()) one["damage"] = r.damage;
    }
    replicas.push_back(std::move(one));
  }
  Json& events = j["events"] = Json::array();
  for (const Told& t : told_) {
    Json one{{"replica", t.by.n}, {"time_ns", t.entry.ns}, {"offset_ms", ms(t.entry.ns - began(t.by))}};
    one.update(entry_json(t.entry));
    one["text"] = describe(t.entry, t.by, false);
    events.push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::string clock_text(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / 1'000'000'000;
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}:{:02}.{:06}", local.tm_hour, local.tm_min, local.tm_sec,
                     unix_ns % 1'000'000'000 / 1000);
}

Json entry_json(const FlightEntry& e) {
  Json out{{"event", chat::to_string(e.kind)}};
  if (e.kind == FlightKind::commands_came) {
    out["commands"] = e.count;
    return out;
  }
  if (e.kind == FlightKind::synced) {
    out["group"] = e.slot;
    return out;
  }
  if (e.slot != 0) {
    out["first_slot"] = e.slot;
    if (e.count != 0) out["last_slot"] = e.slot + e.count - 1;
  }
  if (e.ballot != 0) out["ballot"] = ballot_json(e.unpacked());
  if (e.peer != FlightEntry::nobody) out["peer"] = e.peer;
  if ((e.kind == FlightKind::proposed || e.kind == FlightKind::accept_received ||
       e.kind == FlightKind::accept_repeated))
    out["noop"] = e.detail == 1;
  return out;
}

std::string describe(const FlightEntry& e, paxos::ReplicaId self, bool ranges) {
  const std::string ballot = paxos::to_string(e.unpacked());
  const std::string noop = e.detail == 1   ? " of a no-op"
                           : e.detail == 2 ? " of newer rules"
                           : e.detail == 3 ? " of the next configuration"
                                           : "";
  const std::string slots = e.slot == 0    ? ""
                            : e.count == 0 ? fmt::format("from slot {} on", e.slot)
                            : e.count == 1 ? fmt::format("slot {}", e.slot)
                                           : fmt::format("slots {} to {}", e.slot, e.slot + e.count - 1);
  const std::string it = ranges ? slots : "it";
  const char* is = ranges && e.count > 1 ? "are" : "is";
  const auto peer = e.peer;
  switch (e.kind) {
    case FlightKind::boot:
      return fmt::format("starts: applied up to slot {}, promised ballot {}", e.slot, ballot);
    case FlightKind::candidate:
      return fmt::format("becomes candidate with ballot {}", ballot);
    case FlightKind::leader:
      return fmt::format("leads with ballot {}, from slot {} on", ballot, e.slot);
    case FlightKind::deposed:
      return fmt::format("leads no longer with ballot {}", ballot);
    case FlightKind::candidacy_ended:
      return fmt::format("gives up its candidacy with ballot {}", ballot);
    case FlightKind::taking_over:
      return "takes over";
    case FlightKind::handing_over:
      return "hands the leadership over";
    case FlightKind::diverged:
      return "diverged: stops serving";
    case FlightKind::prepare_sent:
      return fmt::format("sends Prepare {} to replica {}, from slot {} on", ballot, peer, e.slot);
    case FlightKind::prepare_received:
      return fmt::format("receives Prepare {} of replica {}, from slot {} on", ballot, peer, e.slot);
    case FlightKind::promise_sent:
      return fmt::format("promises ballot {} to replica {}, once that is on disk", ballot, peer);
    case FlightKind::promise_received:
      return fmt::format("receives the promise of replica {} for ballot {} with {} decrees, from slot {} on",
                         peer, ballot, e.detail, e.slot);
    case FlightKind::promise_named:
      return e.detail == 1
                 ? fmt::format("hears from replica {} that {} {} chosen (ballot {})", peer, it, is, ballot)
                 : fmt::format("hears from replica {} of its vote for {} under ballot {}", peer, it, ballot);
    case FlightKind::nack_sent:
      return fmt::format("refuses replica {}: promised ballot {}", peer, ballot);
    case FlightKind::nack_received:
      return fmt::format("is refused by replica {}, which promised ballot {}", peer, ballot);
    case FlightKind::proposed:
      return fmt::format("proposes {}{} under ballot {}: Accept to all", it,
                         e.detail == 1   ? " as a no-op"
                         : e.detail == 2 ? " as newer rules"
                         : e.detail == 3 ? " as the next configuration"
                                         : "",
                         ballot);
    case FlightKind::accept_repeated:
      return fmt::format("repeats the Accept{} for {} to replica {}, ballot {}", noop, it, peer, ballot);
    case FlightKind::accept_received:
      return fmt::format("receives the Accept{} for {} from replica {}, ballot {}", noop, it, peer, ballot);
    case FlightKind::voted:
      return fmt::format("votes for {} under ballot {}; on its way to the disk", it, ballot);
    case FlightKind::vote_durable:
      return self == e.unpacked().replica
                 ? fmt::format("its own vote under ballot {} is on disk", ballot)
                 : fmt::format("its vote is on disk: Accepted goes to replica {}, ballot {}",
                               e.unpacked().replica.n, ballot);
    case FlightKind::accepted_repeated:
      return fmt::format("says Accepted for {} again to replica {}, ballot {}", it, peer, ballot);
    case FlightKind::accepted_received:
      return fmt::format("receives the Accepted for {} of replica {}, ballot {}", it, peer, ballot);
    case FlightKind::synced:
      return fmt::format("the log is on disk up to group {}", e.slot);
    case FlightKind::chosen:
      return fmt::format("knows that {} {} chosen", it, is);
    case FlightKind::told_chosen:
      return fmt::format("is told by replica {} that {} {} chosen ({})", peer, it, is,
                         e.detail == 1   ? "Commit"
                         : e.detail == 2 ? "with a later Accept"
                                         : "heartbeat");
    case FlightKind::learned:
      return fmt::format("learns the decree of {} without a vote of its own, ballot {}", it, ballot);
    case FlightKind::learn_asked:
      return fmt::format("asks replica {} for {}", peer, slots);
    case FlightKind::learn_received:
      return fmt::format("receives the decrees of {} from replica {}", slots, peer);
    case FlightKind::learn_sent:
      return fmt::format("sends the decrees of {} to replica {}", slots, peer);
    case FlightKind::applied:
      return fmt::format("applies {}", it);
    case FlightKind::skipped:
      return fmt::format("leaves {} empty on the operator's word, ballot {}", it, ballot);
    case FlightKind::noop_filled:
      return fmt::format("finds {} empty after phase 1 of ballot {}: a no-op", it, ballot);
    case FlightKind::commands_came:
      return e.count == 1 ? "1 command comes in" : fmt::format("{} commands come in", e.count);
  }
  return fmt::format("{}{}{}", chat::to_string(e.kind), slots.empty() ? "" : " ", slots);
}

Story tell_story(paxos::Slot slot, std::size_t quorum, const std::vector<Witness>& witnesses) {
  return Detective(slot, quorum, witnesses).story();
}

}  // namespace client
