#include "tests/explore/model.h"

#include <xxhash.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

namespace explore {

using namespace paxos;

namespace {
constexpr std::uint64_t letter_print = 100;
constexpr std::uint64_t list_print = 101;
constexpr std::uint32_t more_bit = std::uint32_t{1} << 31;

/// What the letter says is chosen, and which decree it proposes.
Claims claims_of(const PeerMessage& message, Facts& facts) {
  Claims out;
  const auto claim = [&](Slot slot, const Decree& decree) {
    out.decrees |= DecreeSet{1} << facts.decree(slot, decree);
  };
  if (const auto* accept = std::get_if<Accept>(&message)) {
    out.prefix = accept->chosen_prefix.n;
    out.proposal = facts.vote(accept->slot, accept->ballot, accept->decree);
  } else if (const auto* commit = std::get_if<Commit>(&message)) {
    out.prefix = commit->chosen_prefix.n;
  } else if (const auto* promise = std::get_if<Promise>(&message)) {
    out.prefix = promise->chosen_prefix.n;
    for (const PromiseEntry& entry : promise->entries)
      if (entry.chosen) claim(entry.slot, entry.decree);
  } else if (const auto* reply = std::get_if<LearnReply>(&message)) {
    out.prefix = reply->chosen_prefix.n;
    for (const ChosenDecree& chosen : reply->decrees) claim(chosen.slot, chosen.decree);
  }
  return out;
}
}  // namespace

Print print_of(std::string_view bytes, std::uint64_t kind) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), kind);
  return {hash.low64, hash.high64};
}

Model::Model(const Config& config) : members_(config), facts_(members_), memo_(1U << 16), shift_(48) {
  static_cast<void>(intern(std::vector<LetterId>{}));
  const std::size_t count = members_.directories();
  for (std::uint8_t d = 0; d < count; ++d) {
    Host host(members_, d);
    static_cast<void>(intern(host, d));
  }
  for (std::uint8_t d = 0; d < count; ++d) {
    if (members_.votes(d, members_.first.number)) continue;
    const LearnRequest asks{.from = members_.base() + 1, .to = members_.base() + 2 * config.slots + 9};
    for (std::uint8_t to = 0; to < count; ++to)
      if (members_.id(to) != members_.id(d) && members_.runs(to))
        first_letters_.push_back(intern(Letter{d, to, asks}));
  }
}

LocalId Model::intern(Host& host, std::uint8_t replica) {
  std::string saved = host.save();
  const Print print = print_of(saved, std::uint64_t{1} + replica);
  const auto [at, fresh] = local_ids_.try_emplace(print, static_cast<LocalId>(locals_.size()));
  if (fresh) {
    bytes_ += sizeof(Local) + saved.capacity() + 96;
    locals_.push_back({.print = print,
                       .votes = host.votes(facts_),
                       .claims = host.claims(facts_),
                       .replica = replica,
                       .configuration = host.configuration(),
                       .options = host.options(),
                       .saved = std::move(saved),
                       .known = {},
                       .deaf = {},
                       .answered = {},
                       .outlived = {}});
    bytes_ += (locals_.back().options.others.size() + locals_.back().options.crashes.size()) * sizeof(Event);
  }
  return at->second;
}

LetterId Model::intern(Letter letter) {
  const Print print = print_of(canonical(letter), letter_print);
  const auto [at, fresh] = letter_ids_.try_emplace(print, static_cast<LetterId>(letters_.size()));
  if (fresh) {
    if (letters_.size() == UINT16_MAX)
      throw std::length_error("more than 65,534 different letters: a smaller configuration, please");
    addressees_.push_back(letter.to);
    const Claims claims = claims_of(letter.message, facts_);
    const bool to_proposer = std::holds_alternative<Promise>(letter.message) ||
                             std::holds_alternative<Accepted>(letter.message) ||
                             std::holds_alternative<Nack>(letter.message);
    const bool news =
        std::holds_alternative<Commit>(letter.message) || std::holds_alternative<LearnReply>(letter.message);
    letters_.push_back({std::move(letter), print, claims, to_proposer, news});
  }
  return at->second;
}

std::uint32_t Model::intern(std::vector<LetterId> list) {
  const std::string_view bytes(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(LetterId));
  const auto [at, fresh] =
      list_ids_.try_emplace(print_of(bytes, list_print), static_cast<std::uint32_t>(lists_.size()));
  if (fresh) lists_.push_back(std::move(list));
  return at->second;
}

Model::Outcome Model::outcome(LocalId local, const Event& event) {
  const std::uint64_t wanted = key(local, event);
  for (std::size_t at = slot_of(wanted);; at = (at + 1) & (memo_.size() - 1)) {
    const Entry& entry = memo_[at];
    if (entry.key == wanted) return {entry.next, entry.letters & ~more_bit, (entry.letters & more_bit) != 0};
    if (entry.key == empty) return compute(local, event);
  }
}

Model::Outcome Model::compute(LocalId local, const Event& event) {
  const std::uint8_t replica = locals_[local].replica;
  Host host(members_, replica, locals_[local].saved);
  const std::vector<Letter> sent =
      host.run(event, event.kind == EventKind::deliver ? &letters_[event.a].letter : nullptr);
  std::vector<LetterId> ids;
  for (const Letter& letter : sent) ids.push_back(intern(letter));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const Outcome out{
      .next = intern(host, replica), .letters = intern(std::move(ids)), .more = host.random_was_used()};
  insert({.key = key(local, event), .next = out.next, .letters = out.letters | (out.more ? more_bit : 0)});
  if (event.kind == EventKind::deliver && event.choice == 0) {
    set(locals_[local].known, event.a);
    if (out.next == local && !out.more)
      set(out.letters == 0 ? locals_[local].deaf : locals_[local].answered, event.a);
  }
  return out;
}

Model::Effect Model::effect(LocalId id, LetterId letter) {
  if (!has(locals_[id].known, letter))
    static_cast<void>(compute(id, {.kind = EventKind::deliver, .replica = addressees_[letter], .a = letter}));
  if (has(locals_[id].deaf, letter)) return Effect::none;
  return has(locals_[id].answered, letter) ? Effect::answer : Effect::change;
}

std::uint32_t Model::chatter(LocalId id) {
  if (locals_[id].chatter == unknown_list) {
    std::vector<LetterId> out;
    const std::vector<Event> events = locals_[id].options.others;
    for (const Event& event : events) {
      const Outcome outcome = this->outcome(id, event);
      if (outcome.next != id || outcome.more) continue;
      const std::vector<LetterId>& said = lists_[outcome.letters];
      out.insert(out.end(), said.begin(), said.end());
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    const std::uint32_t number = intern(std::move(out));
    locals_[id].chatter = number;
  }
  return locals_[id].chatter;
}

std::uint64_t Model::verify_outlived() {
  // Where a letter was forgotten, it is forgotten in every later state too. What a proposer is told, also
  // after a restart; all else was forgotten only when no crash could come any more.
  Bits to_proposers;
  for (std::size_t i = 0; i < letters_.size(); ++i)
    if (letters_[i].to_proposer) set(to_proposers, static_cast<LetterId>(i));
  for (bool more = true; more;) {
    more = false;
    for (const Entry& entry : memo_) {
      if (entry.key == empty) continue;
      const auto from = static_cast<LocalId>(entry.key >> 32U);
      if (entry.next == from) continue;
      const bool crash = Event::unpack(static_cast<std::uint32_t>(entry.key)).kind == EventKind::crash;
      const Bits& source = locals_[from].outlived;
      Bits& target = locals_[entry.next].outlived;
      if (target.size() < source.size()) target.resize(source.size());
      for (std::size_t i = 0; i < source.size(); ++i) {
        const std::uint64_t mask = !crash ? ~std::uint64_t{0} : i < to_proposers.size() ? to_proposers[i] : 0;
        if ((source[i] & mask & ~target[i]) == 0) continue;
        target[i] |= source[i] & mask;
        more = true;
      }
    }
  }
  std::uint64_t tried = 0;
  for (const Local& local : locals_) {
    // All of them one after the other: the state stays what it is, or one of them did something.
    Host host(members_, local.replica, local.saved);
    const std::uint64_t before = tried;
    for (std::size_t i = 0; i < letters_.size(); ++i) {
      const auto letter = static_cast<LetterId>(i);
      if (!has(local.outlived, letter)) continue;
      ++tried;
      const Event event{.kind = EventKind::deliver, .replica = local.replica, .a = letter};
      if (!host.run(event, &letters_[i].letter).empty())
        throw Violation("reduction: a letter that was forgotten is answered later: " + describe(event));
    }
    if (tried != before && host.save() != local.saved) {
      for (std::size_t i = 0; i < letters_.size(); ++i) {
        const Event event{
            .kind = EventKind::deliver, .replica = local.replica, .a = static_cast<std::uint16_t>(i)};
        if (!has(local.outlived, event.a)) continue;
        Host alone(members_, local.replica, local.saved);
        static_cast<void>(alone.run(event, &letters_[i].letter));
        if (alone.save() != local.saved)
          throw Violation(
              "reduction: a letter that was forgotten changes its addressee later: " + describe(event) +
              "; before: " + Host(members_, local.replica, local.saved).describe() +
              "; after: " + alone.describe());
      }
    }
  }
  return tried;
}

void Model::insert(Entry entry) {
  const auto put = [&](const Entry& e) {
    std::size_t at = slot_of(e.key);
    while (memo_[at].key != empty) at = (at + 1) & (memo_.size() - 1);
    memo_[at] = e;
  };
  if (filled_ * 2 >= memo_.size()) {
    std::vector<Entry> old(memo_.size() * 2);
    old.swap(memo_);
    --shift_;
    for (const Entry& e : old)
      if (e.key != empty) put(e);
  }
  put(entry);
  ++filled_;
}

std::string Model::describe(const Event& event) const {
  const std::string who = members_.name(event.replica);
  switch (event.kind) {
    case EventKind::deliver: {
      const Letter& letter = letters_[event.a].letter;
      return who + " <- " + members_.name(letter.from) + "  " + to_text(letter.message);
    }
    case EventKind::campaign:
      return who + " campaigns";
    case EventKind::propose:
      return who + " proposes";
    case EventKind::skip:
      return who + " skips a slot";
    case EventKind::sync:
      return who + " syncs " + std::to_string(event.a) + (event.a == 1 ? " group" : " groups");
    case EventKind::told:
      return who + " hears of its syncs";
    case EventKind::crash:
      return who + " crashes and restarts: " + std::to_string(event.a) +
             " unsynced groups survive, the state machine stands at slot " + std::to_string(event.b);
    case EventKind::commit:
      return who + "'s commit timer";
    case EventKind::pull:
      return who + "'s pull timer";
    case EventKind::repeat:
      return who + " repeats its Accept of slot " + std::to_string(event.a);
    case EventKind::give_up:
      return who + " gives up learning";
    case EventKind::lost_quorum:
      return who + " loses its connection to a quorum";
    case EventKind::change:
      return who + " proposes the change of the configuration";
  }
  return {};
}

}  // namespace explore
