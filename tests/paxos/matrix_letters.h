#pragma once

#include <set>
#include <string>

#include "tests/paxos/matrix_stands.h"

/// What replica 1 says to the replica in a stand, in three ages, and what must come of it: one struct a
/// message type. A type without one does not compile, so that whoever adds it decides all its cells.
namespace paxos_test {

/// By ballot, held against the one that the replica promised. Messages without a ballot say beside it what
/// takes its place.
enum class Age : std::uint8_t { older, equal, newer };
inline constexpr std::size_t ages = 3;

/// What a letter caused. Messages that leave at once by their name; those that wait for the sync with a ~.
using Effects = std::set<std::string>;

template <class M>
struct Cell;  // { static M say(const Scene&, Age); static Effects due(const Scene&, Age); }

/// A ballot of the speaker's. `equal` is the promise itself, whoever owns it: only its owner may use it.
[[nodiscard]] inline Ballot speakers(const Scene& s, Age age) {
  const Ballot promised = s.promised();
  if (promised.none()) return ballot(4 + static_cast<std::uint64_t>(age), 1);
  if (age == Age::equal) return promised;
  return ballot(age == Age::older ? promised.round - 1 : promised.round + 1, 1);
}
/// A ballot that the replica itself is said to have used.
[[nodiscard]] inline Ballot its_own(const Scene& s, Age age) {
  return ballot(std::max<std::uint64_t>(s.promised().round, 4) + static_cast<std::uint64_t>(age) - 1, 0);
}
[[nodiscard]] inline bool speaker_owns(const Scene& s, Age age) {
  return age != Age::equal || s.promised_to(1);
}

/// What else happens to a replica that promises, or hears of, a newer ballot.
[[nodiscard]] inline Effects and_stops(const Scene& s, Effects effects) {
  if (s.active()) effects.insert("stops");
  if (s.stand == Stand::leader_reading) effects.insert("read fails");
  return effects;
}

// --- election ---

/// Without a ballot: every nonce is echoed, each time.
template <>
struct Cell<HeartbeatRequest> {
  static HeartbeatRequest say(const Scene&, Age age) { return {static_cast<std::uint64_t>(age)}; }
  static Effects due(const Scene&, Age) { return {"HeartbeatReply"}; }
};

/// The leader that 1 is happy with. A newer one is followed. And the leader's own word is a Commit.
template <>
struct Cell<HeartbeatReply> {
  static HeartbeatReply say(const Scene& s, Age age) {
    const Ballot leader = speakers(s, age);
    return {.nonce = s.nonce,
            .ballot = leader.replica == ReplicaId{1} ? leader : ballot(leader.round, 1),
            .leader = leader,
            .happy = true,
            .chosen_prefix = s.top()};
  }
  static Effects due(const Scene& s, Age age) {
    if (age == Age::newer) return and_stops(s, {"follows"});
    if (age == Age::equal && s.stand == Stand::follower) return {"chosen", "applies"};
    if (age == Age::equal && s.stand == Stand::follower_syncing) return {"chosen"};  // not on the disk yet
    return {};
  }
};

/// Only the leader that it follows can hand over.
template <>
struct Cell<HandOver> {
  static HandOver say(const Scene& s, Age age) { return {speakers(s, age)}; }
  static Effects due(const Scene& s, Age age) {
    if (age != Age::equal || !s.promised_to(1)) return {};
    return {"promises", "follows", "takes over", "writes", "Prepare~"};
  }
};

// --- phase 1 ---

/// Paxos Made Simple 2.2, phase 1 (b): a promise from its ballot on, a Nack below it, both after the sync.
template <>
struct Cell<Prepare> {
  static Prepare say(const Scene& s, Age age) { return {speakers(s, age), s.prefix() + 1}; }
  static Effects due(const Scene& s, Age age) {
    if (!speaker_owns(s, age)) return {};
    if (age == Age::older) return {"Nack~"};
    if (age == Age::equal) return {"Promise~"};
    return and_stops(s, {"Promise~", "promises", "follows", "writes"});
  }
};

/// Counts for exactly the candidacy under way, once its own promise is on the disk, and only the page asked
/// for.
template <>
struct Cell<Promise> {
  static Promise say(const Scene& s, Age age) {
    const Slot from = s.stand == Stand::candidate_paging ? Slot{4} : s.prefix() + 1;
    return {.ballot = its_own(s, age), .from = from, .chosen_prefix = s.prefix(), .entries = {}, .next = {}};
  }
  static Effects due(const Scene& s, Age age) {
    if (age != Age::equal) return {};
    if (s.stand == Stand::candidate_preparing) return {"leads", "Commit"};
    if (s.stand == Stand::candidate_paging) return {"leads", "Accept", "writes"};  // what the first page told
    return {};
  }
};

// --- phase 2 ---

/// Phase 2 (b), P1a: a vote from its promise on, which rises with it; a Nack below.
template <>
struct Cell<Accept> {
  static Accept say(const Scene& s, Age age) {
    return {speakers(s, age), s.top() + 1, s.prefix(), command("theirs")};
  }
  static Effects due(const Scene& s, Age age) {
    if (!speaker_owns(s, age)) return {};
    if (age == Age::older) return {"Nack~"};
    Effects vote{"Accepted~", "writes"};
    if (age == Age::newer) {
      vote.insert({"promises", "follows"});
      return and_stops(s, vote);
    }
    if (s.stand == Stand::follower_catching_up) vote.insert({"chosen", "applies"});  // the Commit came before
    return vote;
  }
};

/// A vote counts at exactly the ballot that leads, for a slot proposed and not chosen, with its own vote
/// synced.
template <>
struct Cell<Accepted> {
  static Accepted say(const Scene& s, Age age) {
    return {its_own(s, age), {{s.prefix() + 1, s.prefix() + 1}}};
  }
  static Effects due(const Scene& s, Age age) {
    const bool counts = s.stand == Stand::leader_proposing || s.stand == Stand::leader_adopting;
    return age == Age::equal && counts ? Effects{"chosen", "applies"} : Effects{};
  }
};

/// Stops the ballot that it refuses, and raises none.
template <>
struct Cell<Nack> {
  static Nack say(const Scene& s, Age age) {
    const Ballot refused = its_own(s, age);
    return {refused, ballot(refused.round + 5, 1)};
  }
  static Effects due(const Scene& s, Age age) {
    return age == Age::equal && s.active() ? and_stops(s, {}) : Effects{};
  }
};

/// Takes votes for chosen where they were cast at exactly its ballot.
template <>
struct Cell<Commit> {
  static Commit say(const Scene& s, Age age) { return {speakers(s, age), s.top()}; }
  static Effects due(const Scene& s, Age age) {
    return Cell<HeartbeatReply>::due(s, age).contains("chosen") ? Cell<HeartbeatReply>::due(s, age)
                                                                : Effects{};
  }
};

// --- catch-up ---

/// Without a ballot: slots that are chosen here, the next one, and far ones. Only chosen ones are told.
template <>
struct Cell<LearnRequest> {
  static LearnRequest say(const Scene& s, Age age) {
    if (age == Age::older) return {Slot{1}, Slot{9}};
    if (age == Age::equal) return {s.prefix() + 1, s.prefix() + 1};
    return {s.prefix() + 100, s.prefix() + 200};
  }
  static Effects due(const Scene&, Age) { return {"LearnReply"}; }
};

/// By the ballot under which the next slot was chosen, which means nothing: what is chosen is chosen. A
/// leader that proposed something else there, or nothing, has been deposed without knowing it.
template <>
struct Cell<LearnReply> {
  static LearnReply say(const Scene& s, Age age) {
    const Ballot under = ballot(speakers(s, age).round, 2);
    const Slot next = s.prefix() + 1;
    return {.decrees = {{next, under, command("theirs")}}, .first_slot = Slot{1}, .chosen_prefix = next};
  }
  static Effects due(const Scene& s, Age) {
    Effects learned{"chosen", "writes"};
    const bool unsynced = s.stand == Stand::follower_syncing || s.stand == Stand::candidate_syncing ||
                          s.stand == Stand::leader_syncing;
    if (!unsynced && s.stand != Stand::follower_held) learned.insert("applies");
    if (s.stand == Stand::follower_catching_up) learned.insert("LearnRequest");  // the next page, at once
    // The hole is nobody's proposal: a decree there is news, and contradicts nothing that this leader said.
    if (s.leads() && s.stand != Stand::leader_with_hole) return and_stops(s, learned);
    return learned;
  }
};

// --- reads ---

/// Confirmed while the promise equals the ballot, not when it is only lower (DESIGN.md section 4, reads).
template <>
struct Cell<ReadConfirm> {
  static ReadConfirm say(const Scene& s, Age age) { return {speakers(s, age), 77}; }
  static Effects due(const Scene& s, Age age) {
    if (age == Age::newer || !speaker_owns(s, age)) return {};
    return age == Age::older ? Effects{"Nack~"} : Effects{"ReadConfirmed"};
  }
};

template <>
struct Cell<ReadConfirmed> {
  static ReadConfirmed say(const Scene& s, Age age) { return {its_own(s, age), s.read_nonce}; }
  static Effects due(const Scene& s, Age age) {
    return age == Age::equal && s.stand == Stand::leader_reading ? Effects{"read"} : Effects{};
  }
};

/// Without a ballot: three ids. A leader starts a round, or lets it wait for the next where one is under way.
template <>
struct Cell<ReadRequest> {
  static ReadRequest say(const Scene&, Age age) { return {static_cast<std::uint64_t>(age)}; }
  static Effects due(const Scene& s, Age) {
    return s.leads() && s.stand != Stand::leader_reading ? Effects{"ReadConfirm"} : Effects{};
  }
};

/// Without a ballot: the answer to what was asked, and to what was not.
template <>
struct Cell<ReadReply> {
  static ReadReply say(const Scene& s, Age age) {
    return {s.read_id + static_cast<std::uint64_t>(age) - 1, s.prefix()};
  }
  static Effects due(const Scene& s, Age age) {
    return age == Age::equal && s.stand == Stand::follower_reading ? Effects{"read"} : Effects{};
  }
};

// --- birth, and commands ---

/// Without a ballot, by how far 1 is: collecting, announced, born. The only message that those who don't vote
/// take.
template <>
struct Cell<Birth> {
  static Birth say(const Scene& s, Age age) {
    Cluster& c = *s.cluster;
    Birth birth{.members = {}, .synced = age != Age::older, .born = age == Age::newer};
    for (std::size_t id = 0; id < c.size(); ++id) birth.members.push_back(c.node(id).disk.incarnation);
    if (s.stand == Stand::dormant) birth.members = c.node(1).disk.birth->members;
    if (age == Age::older) birth.members[2] = {};
    return birth;
  }
  static Effects due(const Scene& s, Age age) {
    if (s.stand == Stand::dormant) return {};
    if (s.inside().birth == BirthProtocol::State::born)
      return age == Age::newer ? Effects{} : Effects{"Birth"};  // they are told
    if (age == Age::newer || (age == Age::equal && s.stand == Stand::unborn_announced))
      return {"born", "Birth", "writes"};
    // The last incarnation that was missing: the vector is complete, and is written down.
    return s.stand == Stand::unborn_collecting ? Effects{"announces", "writes"} : Effects{};
  }
};

/// Without a ballot: one command, two, and the first again. Only a leader takes them; order and repeats are
/// the front desk's.
template <>
struct Cell<Forward> {
  static Forward say(const Scene&, Age age) {
    Forward forward{.commands = {Bytes::copy_of("a")}};
    if (age == Age::equal) forward.commands.push_back(Bytes::copy_of("b"));
    return forward;
  }
  static Effects due(const Scene& s, Age) { return s.leads() ? Effects{"takes"} : Effects{}; }
};

// --- lives ---

/// Without a ballot: three boots. Whose life has no number, as here, is meant by none (lives_test.cc).
template <>
struct Cell<Outdated> {
  static Outdated say(const Scene&, Age age) {
    return {.meant = {static_cast<std::uint64_t>(age) + 1, 7}, .known_boot = 9, .known_groups = 9};
  }
  static Effects due(const Scene&, Age) { return {}; }
};

/// Without a ballot. Whose life has no number comes from nowhere.
template <>
struct Cell<Introduce> {
  static Introduce say(const Scene&, Age) { return {}; }
  static Effects due(const Scene&, Age) { return {}; }
};

/// Without a ballot: three boots. Nobody was asked.
template <>
struct Cell<Introduction> {
  static Introduction say(const Scene&, Age age) {
    return {.groups_at_start = 1, .lives = {{static_cast<std::uint64_t>(age) + 1, 7}}};
  }
  static Effects due(const Scene&, Age) { return {}; }
};

}  // namespace paxos_test
