#include "tests/sim/rules_watch.h"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/sim/observer.h"

namespace sim {

namespace {

constexpr Nanos long_ago = -1'000'000 * second;

[[noreturn]] void broken(const char* what, std::uint8_t replica, const std::string& how) {
  throw Violation(std::string(what) + ": replica " + std::to_string(replica) + " " + how);
}

std::string rules_text(unsigned rules) { return "rules " + std::to_string(rules); }

/// What a decree raises the rules to; nothing for any other.
std::optional<std::uint16_t> raise_in(const paxos::Decree& decree) {
  if (decree.kind != paxos::DecreeKind::rules || decree.value.size() != 2) return std::nullopt;
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(decree.value.data()[0]) |
                                    std::to_integer<unsigned>(decree.value.data()[1]) << 8);
}

void add_number(std::string& out, std::uint64_t number, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out.push_back(static_cast<char>(number >> (8 * i)));
}

// Offsets in the meta row, and its size.
constexpr std::size_t meta_rules = 1;
constexpr std::size_t meta_hash = 10;
constexpr std::size_t meta_clock_at = 26;
constexpr std::size_t meta_bytes = 42;

}  // namespace

RulesWatch::RulesWatch(std::size_t replicas, Nanos election_timeout, std::uint16_t oldest)
    : fresh_(election_timeout + election_timeout / 32 + 2 * millisecond), said_(replicas), oldest_(oldest) {
  for (auto& said : said_) said.fill(long_ago);
}

std::uint16_t RulesWatch::rules_after(paxos::Slot slot) const {
  const auto above = raised_.upper_bound(slot.n);
  return above == raised_.begin() ? std::uint16_t{1} : std::prev(above)->second;
}

void RulesWatch::says(std::uint8_t replica, std::uint16_t program, std::uint16_t said, Nanos now) {
  if (said != program)
    broken("U1", replica,
           "says that it knows " + rules_text(said) + ", but its program knows " + rules_text(program));
  for (std::size_t rules = 1; rules <= said && rules < rules_max; ++rules) said_[replica][rules] = now;
}

void RulesWatch::proposes(std::uint8_t replica, std::uint16_t program, Nanos now, const chat::NodeOutput& out,
                          bool clock_ok) {
  for (const chat::GroupWrite& group : out.groups)
    for (const paxos::Record& record : group.records) {
      const auto* vote = std::get_if<paxos::VoteRecord>(&record);
      if (vote == nullptr || vote->ballot.replica.n != replica) continue;
      const auto rules = raise_in(vote->decree);
      // What phase 1 adopts may have been chosen, and must be proposed again, by whatever program.
      if (!rules || !proposed_.insert(vote->slot.n).second) continue;
      proposed_max_ = std::max(proposed_max_, *rules);
      const std::string what = "proposes " + rules_text(*rules) + " in slot " + std::to_string(vote->slot.n);
      if (program < *rules) broken("U1", replica, what + ", which its own program does not know");
      for (std::size_t other = 0; other < said_.size(); ++other)
        if (other != replica && clock_ok && now - said_[other].at(*rules) > fresh_)
          broken("U1", replica,
                 what + ", but replica " + std::to_string(other) +
                     " has not said within an election timeout that it knows them");
    }
}

void RulesWatch::applies(std::uint8_t replica, std::uint16_t program, const chat::StateWrite& write,
                         const Disk::Entry* entry) {
  // Applied out of order, or without a record: the observer has the words for it.
  if (entry == nullptr || write.slot.n > applied_.n + 1) return;
  const std::uint16_t before = rules_after({write.slot.n - 1});
  if (write.slot.n == applied_.n + 1) {
    const bool raises = raise_in(entry->decree) == before + 1;
    if (raises) raised_.emplace(write.slot.n, before + 1);
    rows_fit(write, entry->decree, before, raises ? static_cast<std::uint16_t>(before + 1) : before);
    applied_ = write.slot;
  }
  if (const std::uint16_t rules = rules_after(write.slot); rules > program)
    broken("U2", replica,
           "applies slot " + std::to_string(write.slot.n) + ", after which " + rules_text(rules) +
               " are in force, but its program knows " + rules_text(program));
}

void RulesWatch::rows_fit(const chat::StateWrite& write, const paxos::Decree& decree, std::uint16_t before,
                          std::uint16_t after) {
  const std::string slot = "slot " + std::to_string(write.slot.n);
  const auto meta =
      std::find_if(write.rows.begin(), write.rows.end(), [](const chat::Row& row) { return row.key == "a"; });
  if (meta == write.rows.end() || !meta->value || meta->value->size() != meta_bytes)
    throw Violation("U3: the rows of " + slot + " do not say which rules are in force");
  const std::string& row = *meta->value;
  if (static_cast<std::uint8_t>(row[meta_rules]) != after)
    throw Violation("U3: the rows of " + slot + " say that " +
                    rules_text(static_cast<std::uint8_t>(row[meta_rules])) +
                    " are in force after it, and not " + rules_text(after));
  const std::string hash = row.substr(meta_hash, 16);
  const std::string previous = std::exchange(hash_, hash);
  // A slot without commands has no outcomes: its place in the chain needs no state machine.
  if (decree.kind == paxos::DecreeKind::commands) return;
  // Unless rooms forget in it, which is an outcome of every slot (world_retention.cc has an observer of
  // that).
  const auto forgets = [](const chat::Row& one) { return one.key.size() > 1 && one.key.front() == 'n'; };
  if (std::any_of(write.rows.begin(), write.rows.end(), forgets)) return;
  std::string chained = previous;
  add_number(chained, write.slot.n, 8);
  add_number(chained, static_cast<std::uint64_t>(decree.kind), 1);
  chained.append(row, meta_clock_at, 8);
  const XXH128_hash_t value = XXH3_128bits(decree.value.data(), decree.value.size());
  add_number(chained, value.low64, 8);
  add_number(chained, value.high64, 8);
  add_number(chained, 0, 1);
  if (before >= chat::rules_in_hash) add_number(chained, before, 2);
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(chained.data(), chained.size()));
  if (!std::equal(hash.begin(), hash.end(), std::begin(canonical.digest), std::end(canonical.digest),
                  [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; }))
    throw Violation("U3: the hash of " + slot + " is not that of " + rules_text(before));
}

void RulesWatch::ends_turn(std::uint8_t replica, std::uint16_t program, const chat::Node& node,
                           const Disk& disk, bool settled, const std::string& stop) const {
  const paxos::Slot next = node.machine().applied() + 1;
  if (!stop.empty()) {
    const Disk::Entry* entry = disk.find(next);
    const int wanted = rules_after({next.n - 1}) + 1;
    if (entry == nullptr || raise_in(entry->decree) != wanted || wanted <= program ||
        stop.find("slot " + std::to_string(next.n) + " raises the rules to " + std::to_string(wanted)) ==
            std::string::npos)
      broken("U2", replica, "stops at slot " + std::to_string(next.n) + ": " + stop);
    return;
  }
  if (settled && node.chosen() >= next && rules_after(next) > program)
    broken("U2", replica,
           "knows that slot " + std::to_string(next.n) +
               " is chosen, which raises the rules above those "
               "that its program knows, and goes on");
}

void RulesWatch::starts(std::uint8_t replica, std::uint16_t program, paxos::Slot state) const {
  if (unknown(program, state))
    broken("U2", replica,
           "starts with a program that knows " + rules_text(program) + " on a state under " +
               rules_text(rules_after(state)));
}

void RulesWatch::cannot_read(std::uint8_t replica, std::uint16_t rules) const {
  if (said_[replica].at(rules) == long_ago)
    broken("U4", replica,
           "gets a datagram in the format of " + rules_text(rules) + ", which it never said that it knows");
}

void RulesWatch::refuses(std::uint8_t replica, const std::string& why) {
  if (!proposed(oldest_ + 1)) broken("U2", replica, "refuses to run, and no raise was ever proposed: " + why);
  if (why.find("format version") != std::string::npos)
    ++refusals_.format;
  else if (why.find("raised its rules to version") != std::string::npos)
    ++refusals_.state;
  else if (why.find("raises the rules to") != std::string::npos)
    ++refusals_.raise;
  else
    broken("U2", replica, "does not say that its program is too old: " + why);
}

bool RulesWatch::counted_on(std::uint8_t replica, std::uint16_t rules, Nanos now) const {
  return std::any_of(said_[replica].begin() + rules, said_[replica].end(),
                     [&](Nanos at) { return now - at <= 2 * fresh_; });
}

}  // namespace sim
