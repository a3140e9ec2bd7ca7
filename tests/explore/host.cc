#include "tests/explore/host.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "tests/explore/access.h"

namespace explore {

using namespace paxos;

namespace {

constexpr Time epoch = StateAccess::epoch;
using Due = StateAccess::Due;

std::string bytes_of(const Decree& decree) {
  return std::string(1, static_cast<char>(decree.kind)) + std::string(decree.value.view());
}
Decree decree_of(const std::string& bytes) {
  return {static_cast<DecreeKind>(bytes[0]), Bytes::copy_of(std::string_view(bytes).substr(1))};
}

template <class A>
void field(A& archive, BirthRecord& birth) {
  auto& [members, born, configuration] = birth;
  sequence(archive, members, [&](Incarnation& member) { field(archive, member); });
  field(archive, born);
  field(archive, configuration);
}

template <class A>
void field(A& archive, Record& record) {
  std::uint64_t type = record.index();
  archive.number(type);
  if constexpr (A::loading) {
    if (type == 0) record = PromiseRecord{};
    if (type == 1) record = VoteRecord{};
    if (type == 2) record = ChosenRecord{};
    if (type == 3) record = ChosenPrefixRecord{};
    if (type == 4) record = BirthRecord{};
  }
  std::visit(
      [&](auto& r) {
        using R = std::decay_t<decltype(r)>;
        if constexpr (std::is_same_v<R, PromiseRecord>) {
          field(archive, r.ballot);
        } else if constexpr (std::is_same_v<R, ChosenPrefixRecord>) {
          field(archive, r.slot);
        } else if constexpr (std::is_same_v<R, BirthRecord>) {
          field(archive, r);
        } else if constexpr (std::is_same_v<R, TrimRecord>) {
          PAXOS_ASSERT(type != 5);  // nobody trims
        } else if constexpr (std::is_same_v<R, PeerRecord> || std::is_same_v<R, OutdatedRecord>) {
          PAXOS_ASSERT(type != 6 && type != 7);  // nor has a life with a number
        } else {
          field(archive, r.slot);
          field(archive, r.ballot);
          field(archive, r.decree);
        }
      },
      record);
}

}  // namespace

Host::Host(const Members& members, std::uint8_t directory)
    : members_(members),
      config_(members.config),
      directory_(directory),
      id_(members.id(directory)),
      birth_(members.birth(directory)) {
  if (members.given)
    log_.push_back({.present = true, .learned = true, .ballot = {1, {0}}, .decree = *members.given});
  start(members.base());
}

Host::Host(const Members& members, std::uint8_t directory, std::string_view saved)
    : Host(members, directory) {
  Loader loader(saved);
  visit(loader);
  PAXOS_ASSERT(loader.done());
}

std::string Host::save() {
  std::string out;
  Saver saver(out);
  visit(saver);
  return out;
}

template <class A>
void Host::visit(A& a) {
  field(a, life_);
  field(a, birth_);
  field(a, applied_);
  field(a, promised_);
  field(a, prefix_);
  sequence(a, log_, [&](Entry& entry) {
    field(a, entry.present);
    if (!entry.present) return;
    field(a, entry.learned);
    field(a, entry.ballot);
    field(a, entry.decree);
  });
  sequence(a, unsynced_, [&](Group& group) {
    sequence(a, group.records, [&](Record& record) { field(a, record); });
    if constexpr (!A::loading) {
      // The network is a set, so what leaves at one time has no order and no number.
      std::sort(group.after.begin(), group.after.end(),
                [](const Letter& x, const Letter& y) { return canonical(x) < canonical(y); });
      group.after.erase(
          std::unique(group.after.begin(), group.after.end(),
                      [](const Letter& x, const Letter& y) { return canonical(x) == canonical(y); }),
          group.after.end());
    }
    sequence(a, group.after, [&](Letter& letter) { field(a, letter); });
  });
  field(a, untold_);
  std::vector<Vote> votes(votes_.begin(), votes_.end());
  sequence(a, votes, [&](Vote& vote) {
    auto& [slot, ballot, decree_bytes] = vote;
    field(a, slot);
    field(a, ballot);
    Bytes bytes = Bytes::copy_of(decree_bytes);
    a.bytes(bytes);
    if constexpr (A::loading) decree_bytes = std::string(bytes.view());
  });
  if constexpr (A::loading) votes_ = {votes.begin(), votes.end()};
  StateAccess::visit(a, *replica_);
}

std::optional<Configuration> Host::configuration_at(Slot applied) {
  std::optional<Configuration> out;
  for (Slot slot{1}; slot <= applied; ++slot)
    if (auto next = configuration_after(out ? out->number : 1, slot, find(slot)->decree))
      out = std::move(next);
  return out;
}

void Host::start(Slot applied) {
  Recovered recovered{.incarnation = Members::incarnation(directory_),
                      .boot = std::uint64_t{1} + life_,
                      .birth = birth_,
                      .promised = promised_,
                      .chosen_prefix = std::max(prefix_, applied),
                      .applied = applied,
                      .hash = {},
                      .configuration = configuration_at(applied),
                      .first_slot = {1},
                      .last_group = 0,
                      .entries = {}};
  for (Slot slot = applied + 1; slot.n <= log_.size(); ++slot)
    if (const Entry* entry = find(slot); entry != nullptr)
      recovered.entries.push_back(
          {slot, entry->ballot, entry->learned || slot <= recovered.chosen_prefix, entry->decree});
  applied_ = applied;
  paxos::Options options{.self = id_, .replicas = config_.replicas};
  if (config_.page != 0) options.bounds.promise_entries = config_.page;
  if (config_.window != 0) options.bounds.window_slots = config_.window;
  replica_ = std::make_unique<Replica>(options, std::move(recovered), epoch);
}

std::vector<Letter> Host::run(const Event& event, const Letter* letter) {
  sent_.clear();
  Due due = Due::none;
  if (event.kind == EventKind::commit) due = Due::commit;
  if (event.kind == EventKind::pull) due = Due::pull;
  if (event.kind == EventKind::repeat) due = Due::repeat;
  if (event.kind == EventKind::give_up) due = Due::give_up;
  if (event.kind == EventKind::lost_quorum) due = Due::lost_quorum;
  StateAccess::set_timers(*replica_, due, {event.a}, event.choice);
  const Ballot promised_before = StateAccess::promised(*replica_);
  bool restarted = false;
  switch (event.kind) {
    case EventKind::deliver:
      replica_->step(epoch, members_.id(letter->from), Members::incarnation(letter->from), letter->message);
      if (config_.outsiders) answer_without_a_vote(*letter);
      break;
    case EventKind::campaign:
      replica_->campaign(epoch);
      break;
    case EventKind::propose:
      replica_->propose(epoch, fresh_decree());
      break;
    case EventKind::skip:
      if (const SkipResult result = replica_->skip_next(epoch, 1); !result.refused.empty())
        throw Violation("a skip that should be possible is refused: " + result.refused);
      break;
    case EventKind::change:
      StateAccess::set_surroundings(*replica_, members_.wish, Members::incarnation(config_.replicas));
      if (const ChangeResult result = replica_->change(epoch, members_.wish); !result.refused.empty())
        throw Violation("a change that should be possible is refused: " + result.refused);
      break;
    case EventKind::sync:
      sync(event.a);
      break;
    case EventKind::told:
      tell();
      break;
    case EventKind::crash:
      crash(event.a, {event.b});
      restarted = true;
      break;
    case EventKind::commit:
    case EventKind::pull:
    case EventKind::repeat:
    case EventKind::give_up:
    case EventKind::lost_quorum:
      replica_->tick(epoch);
      break;
  }
  turn();
  while (!config_.syncs && !unsynced_.empty()) {
    sync(unsynced_.size());
    turn();
  }
  random_was_used_ = !restarted && StateAccess::random_was_used(*replica_, event.choice);
  replica_->check_invariants();
  const Ballot promised = StateAccess::promised(*replica_);
  if (promised < promised_)
    throw Violation("I6: the promise " + to_string(promised) + " is below the durable one " +
                    to_string(promised_));
  if (!restarted && promised < promised_before)
    throw Violation("I6: the promise goes back from " + to_string(promised_before) + " to " +
                    to_string(promised));
  return std::move(sent_);
}

/// As chat::Node does: effects out, chosen slots applied, until nothing new comes of it.
void Host::turn() {
  for (bool more = true; more;) {
    Ready ready = replica_->take_ready();
    more = !ready.to_apply.empty() || !ready.log_reads.empty();
    if (!ready.records.empty()) unsynced_.push_back({std::move(ready.records), {}});
    for (const Envelope& envelope : ready.send_now) {
      std::vector<Letter> out;
      letters(envelope, out);
      for (const Letter& letter : out) leave(letter);
    }
    for (const Envelope& envelope : ready.send_after_sync) {
      std::vector<Letter> out;
      letters(envelope, out);
      for (Letter& letter : out) {
        if (unsynced_.empty())
          leave(letter);
        else
          unsynced_.back().after.push_back(std::move(letter));
      }
    }
    for (const ChosenDecree& chosen : ready.to_apply) apply(chosen);
    for (const LogReadWish& wish : ready.log_reads) {
      std::vector<ChosenDecree> decrees;
      for (Slot slot = wish.from; slot <= wish.last; ++slot) {
        const Entry* entry = find(slot);
        if (entry == nullptr) break;
        decrees.push_back({slot, entry->ballot, entry->decree});
      }
      replica_->log_read(epoch, wish, std::move(decrees));
    }
  }
}

void Host::apply(const ChosenDecree& chosen) {
  if (chosen.slot != applied_ + 1)
    throw Violation("I5: slot " + std::to_string(chosen.slot.n) + " is applied after slot " +
                    std::to_string(applied_.n));
  const Entry* entry = find(chosen.slot);
  if (entry == nullptr || entry->decree != chosen.decree)
    throw Violation("I5: slot " + std::to_string(chosen.slot.n) +
                    " is applied, and the disk does not hold it");
  applied_ = chosen.slot;
  replica_->applied(epoch, chosen.slot, Hash{});
}

void Host::sync(std::size_t groups) {
  std::vector<Letter> free_now;
  for (std::size_t i = 0; i < groups; ++i) {
    Group group = std::move(unsynced_.front());
    unsynced_.pop_front();
    for (const Record& record : group.records) write(record);
    std::move(group.after.begin(), group.after.end(), std::back_inserter(free_now));
  }
  for (const Letter& letter : free_now) leave(letter);
  untold_ += groups;
  if (!config_.late) tell();
}

void Host::tell() {
  untold_ = 0;
  replica_->synced(epoch, StateAccess::last_group(*replica_) - unsynced_.size());
}

void Host::write(const Record& record) {
  const auto put = [&](const auto& r, bool learned) {
    if (log_.size() < r.slot.n) log_.resize(r.slot.n);
    log_[r.slot.n - 1] = {.present = true, .learned = learned, .ballot = r.ballot, .decree = r.decree};
  };
  const auto promise = [&](Ballot ballot) {
    if (ballot < promised_)
      throw Violation("I6: the disk's promise " + to_string(promised_) + " is followed by " +
                      to_string(ballot));
    check_voter(ballot, "promises or votes");
    promised_ = ballot;
  };
  if (const auto* p = std::get_if<PromiseRecord>(&record)) {
    promise(p->ballot);
  } else if (const auto* v = std::get_if<VoteRecord>(&record)) {
    promise(v->ballot);
    put(*v, false);
    votes_.insert({v->slot, v->ballot, bytes_of(v->decree)});
  } else if (const auto* c = std::get_if<ChosenRecord>(&record)) {
    put(*c, true);
  } else if (const auto* b = std::get_if<BirthRecord>(&record)) {
    birth_ = *b;
  } else {
    prefix_ = std::max(prefix_, std::get<ChosenPrefixRecord>(record).slot);
  }
}

void Host::crash(std::size_t survive, Slot applied) {
  for (std::size_t i = 0; i < survive; ++i)
    for (const Record& record : unsynced_[i].records) write(record);
  unsynced_.clear();
  untold_ = 0;
  ++life_;
  start(applied);
}

void Host::letters(const Envelope& envelope, std::vector<Letter>& out) const {
  if (std::holds_alternative<HeartbeatRequest>(envelope.message)) return;
  // Two directories of one id stand at one address as far as the others know, and either may be the one
  // there.
  for (std::uint8_t to = 0; to < members_.directories(); ++to)
    if (const ReplicaId id = members_.id(to);
        id != id_ && members_.runs(to) && (!envelope.to || *envelope.to == id))
      out.push_back({directory_, to, envelope.message});
}

void Host::answer_without_a_vote(const Letter& letter) {
  const auto* prepare = std::get_if<Prepare>(&letter.message);
  const auto* accept = std::get_if<Accept>(&letter.message);
  if (prepare == nullptr && accept == nullptr) return;
  const Ballot ballot = prepare != nullptr ? prepare->ballot : accept->ballot;
  if (members_.votes(directory_, ballot.configuration)) return;
  PeerMessage answer = Promise{.ballot = ballot, .from = {}, .chosen_prefix = {}, .entries = {}, .next = {}};
  if (prepare != nullptr) std::get<Promise>(answer).from = prepare->from;
  if (accept != nullptr) answer = Accepted{.ballot = ballot, .slots = {{accept->slot, accept->slot}}};
  sent_.push_back({directory_, letter.from, std::move(answer)});
}

void Host::leave(const Letter& letter) {
  check_leaving(letter.message);
  sent_.push_back(letter);
}

bool Host::voted(Slot slot, Ballot ballot) const {
  return std::any_of(votes_.begin(), votes_.end(), [&](const Vote& vote) {
    return std::get<Slot>(vote) == slot && std::get<Ballot>(vote) == ballot;
  });
}

void Host::check_voter(Ballot ballot, const char* does) const {
  if (!members_.votes(directory_, ballot.configuration))
    throw Violation("C11: replica " + members_.name(directory_) + " " + does + " at " + to_string(ballot) +
                    ", but is no voter of that configuration");
}

/// I9: what leaves is on the disk already, and a promise leaves nothing out.
void Host::check_leaving(const PeerMessage& message) const {
  const auto durable = [&](Ballot ballot) {
    if (ballot > promised_)
      throw Violation("I9: " + to_text(message) + " leaves, but only " + to_string(promised_) +
                      " is promised on the disk");
  };
  const auto own = [&](Ballot ballot) {
    if (ballot.replica != id_)
      throw Violation("I9: " + to_text(message) + " leaves a stranger to its ballot");
    check_voter(ballot, "leads");
    durable(ballot);
  };
  if (const auto* prepare = std::get_if<Prepare>(&message)) own(prepare->ballot);
  if (const auto* accept = std::get_if<Accept>(&message)) own(accept->ballot);
  if (const auto* commit = std::get_if<Commit>(&message)) own(commit->ballot);
  if (const auto* nack = std::get_if<Nack>(&message)) {
    // Of a closed configuration it says that the next one is in force, which this state machine has come to.
    const std::uint32_t promised = nack->promised.configuration;
    const bool closed = nack->refused.configuration < promised && promised_.configuration < promised &&
                        replica_->configuration().number == promised;
    if (!closed) durable(nack->promised);
  }
  if (const auto* accepted = std::get_if<Accepted>(&message))
    for (const SlotRange& range : accepted->slots)
      for (Slot slot = range.first; slot <= range.last; ++slot)
        if (!voted(slot, accepted->ballot))
          throw Violation("I9: " + to_text(message) + " leaves before the vote is on the disk");
  if (const auto* promise = std::get_if<Promise>(&message)) {
    durable(promise->ballot);
    for (const PromiseEntry& entry : promise->entries)
      if (!entry.chosen && !voted(entry.slot, entry.ballot))
        throw Violation("I9: " + to_text(message) + " tells of a vote that is not on the disk");
    for (const auto& [slot, ballot, decree] : votes_) {
      if (slot <= promise->chosen_prefix || slot < promise->from || ballot >= promise->ballot) continue;
      // Of an earlier configuration, above its last slot: it is for nothing.
      if (ballot.configuration != promise->ballot.configuration) continue;
      if (!promise->next.none() && slot >= promise->next) continue;
      const auto told = std::find_if(promise->entries.begin(), promise->entries.end(),
                                     [&](const PromiseEntry& entry) { return entry.slot == slot; });
      if (told == promise->entries.end() || (!told->chosen && told->ballot < ballot))
        throw Violation("I6: " + to_text(message) + " keeps quiet about its vote in slot " +
                        std::to_string(slot.n) + " at " + to_string(ballot));
    }
  }
}

/// Each proposal another one: by whom, at which ballot, in which life and slot.
Decree Host::fresh_decree() const {
  return {DecreeKind::commands,
          Bytes::from("s" + std::to_string(StateAccess::next_slot(*replica_).n) + "@" +
                      to_string(StateAccess::promised(*replica_)) + std::string(life_, '\''))};
}

Host::Options Host::options() const {
  Options out;
  if (!members_.runs(directory_)) return out;
  out.campaign = id_.n < config_.proposers && StateAccess::may_campaign(*replica_);
  const auto add = [&](EventKind kind, std::size_t a = 0) {
    out.others.push_back({.kind = kind, .replica = directory_, .a = static_cast<std::uint16_t>(a)});
  };
  for (std::size_t k = 1; k <= unsynced_.size(); ++k) add(EventKind::sync, k);
  if (untold_ != 0) add(EventKind::told);
  if (replica_->can_propose()) {
    const Slot next = StateAccess::next_slot(*replica_);
    const std::uint64_t last = members_.base().n + config_.slots;
    if (next.n <= last) add(EventKind::propose);
    out.skip = next.n < last;
    // A leader does not take itself out, and nobody makes the same change twice.
    out.change = config_.change != Change::none && next.n <= last && id_ != members_.wish.id &&
                 replica_->configuration().number == members_.first.number &&
                 !StateAccess::has_holes(*replica_);
  }
  if (StateAccess::commit_waits(*replica_)) add(EventKind::commit);
  if (config_.pulls && StateAccess::pull_waits(*replica_)) add(EventKind::pull);
  if (config_.repeats)
    StateAccess::each_flight(*replica_, [&](Slot slot) { add(EventKind::repeat, slot.n); });
  if (config_.stops && StateAccess::learning(*replica_)) add(EventKind::give_up);
  if (config_.stops && StateAccess::proposing(*replica_)) add(EventKind::lost_quorum);
  for (std::size_t survive = 0; survive <= unsynced_.size(); ++survive)
    for (std::uint64_t applied = members_.base().n; applied <= applied_.n; ++applied)
      out.crashes.push_back({.kind = EventKind::crash,
                             .replica = directory_,
                             .b = static_cast<std::uint8_t>(applied),
                             .a = static_cast<std::uint16_t>(survive)});
  return out;
}

VoteSet Host::votes(Facts& facts) const {
  VoteSet out = 0;
  for (const auto& [slot, ballot, decree] : votes_)
    out |= Facts::bit(facts.vote(slot, ballot, decree_of(decree)));
  return out;
}

Claims Host::claims(Facts& facts) const {
  Claims out;
  const auto claim = [&](Slot slot, const Decree& decree) {
    out.decrees |= DecreeSet{1} << facts.decree(slot, decree);
  };
  StateAccess::each_chosen(*replica_, claim);
  out.prefix = StateAccess::chosen_prefix(*replica_).n;
  for (std::uint64_t n = 1; n <= log_.size(); ++n)
    if (log_[n - 1].present && (log_[n - 1].learned || n <= prefix_.n || n <= applied_.n))
      claim({n}, log_[n - 1].decree);
  return out;
}

std::uint32_t Host::configuration() const {
  const Configuration& now = replica_->configuration();
  return now.members.empty() ? 0 : now.number;
}

std::string Host::describe() const {
  std::string out = "promised " + to_string(StateAccess::promised(*replica_)) + " (on disk " +
                    to_string(promised_) + "), " + paxos::to_string(replica_->status().role) +
                    (config_.change == Change::none
                         ? ""
                         : " in configuration " + std::to_string(replica_->configuration().number)) +
                    ", chosen prefix " + std::to_string(StateAccess::chosen_prefix(*replica_).n) +
                    ", applied " + std::to_string(applied_.n) + ", " + std::to_string(unsynced_.size()) +
                    " unsynced groups, disk";
  for (std::size_t i = 0; i < log_.size(); ++i)
    if (log_[i].present)
      out += " [slot " + std::to_string(i + 1) + " " + to_string(log_[i].ballot) + " " +
             to_text(log_[i].decree) + (log_[i].learned ? " learned]" : "]");
  return out;
}

}  // namespace explore
