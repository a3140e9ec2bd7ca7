#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "tests/paxos/matrix_letters.h"
#include "tests/paxos/matrix_stands.h"

/// Every message type in every state that a replica can stand in, in three ages: what must come of it, and
/// what must never happen. PAXOS_MATRIX=1 prints all cells in words, not only the table.
namespace paxos_test {
namespace {

constexpr std::size_t types = std::variant_size_v<PeerMessage>;

constexpr std::array<const char*, types> type_names{
    "HeartbeatRequest", "HeartbeatReply", "HandOver",  "Prepare",      "Promise",    "Accept",
    "Accepted",         "Nack",           "Commit",    "LearnRequest", "LearnReply", "ReadConfirm",
    "ReadConfirmed",    "ReadRequest",    "ReadReply", "Birth",        "Forward",    "Outdated",
    "Introduce",        "Introduction"};
static_assert(type_names.back() != nullptr, "a message type has no name");

std::string name_of(const PeerMessage& message) { return type_names[message.index()]; }

/// What can be seen of a replica from outside, before and after a letter.
struct Look {
  Ballot promised;
  Ballot on_disk;
  Ballot follows;
  Slot chosen;
  Slot applied;
  std::uint64_t groups = 0;
  std::size_t reads = 0;
  std::size_t failed = 0;
  std::size_t taken = 0;
  Inside inside;
};

Look look(Cluster& c) {
  const Status status = c.status(0);
  const Node& node = c.node(0);
  return {.promised = status.ballot,
          .on_disk = node.disk.promised,
          .follows = status.leader_ballot,
          .chosen = status.chosen,
          .applied = status.applied,
          .groups = node.groups_written,
          .reads = node.reads.size(),
          .failed = node.reads_failed.size(),
          .taken = node.forwarded.size(),
          .inside = look_inside(c[0])};
}

void compare(const Look& before, const Look& after, Effects& effects) {
  const auto note = [&](bool happened, const char* what) {
    if (happened) effects.insert(what);
  };
  const auto active = [](const Look& l) { return l.inside.phase != Proposer::Phase::idle; };
  const auto leads = [](const Look& l) { return l.inside.phase == Proposer::Phase::leading; };
  note(after.promised > before.promised, "promises");
  note(after.follows > before.follows, "follows");
  note(after.chosen > before.chosen, "chosen");
  note(after.applied > before.applied, "applies");
  note(after.groups > before.groups, "writes");
  note(after.reads > before.reads, "read");
  note(after.failed > before.failed, "read fails");
  note(after.taken > before.taken, "takes");
  note(active(before) && !active(after), "stops");
  note(!active(before) && active(after), "takes over");
  note(!leads(before) && leads(after), "leads");
  if (before.inside.birth == after.inside.birth) return;
  note(after.inside.birth == BirthProtocol::State::announced, "announces");
  note(after.inside.birth == BirthProtocol::State::born, "born");
  note(after.inside.birth == BirthProtocol::State::dormant, "dormant");
}

/// What holds after whatever message. The cluster's own checker has seen to I1, I5, I6 and I9 by now, and
/// Cluster::step to check_invariants().
void expect_sound(Cluster& c, const Look& before, const Look& after) {
  EXPECT_GE(after.promised, before.promised) << "the promise went back";
  EXPECT_GE(after.on_disk, before.on_disk) << "the promise on the disk went back";
  EXPECT_GE(after.follows, before.follows);
  EXPECT_GE(after.chosen, before.chosen);
  EXPECT_GE(after.applied, before.applied);
  EXPECT_TRUE(c.violations().empty());
}

/// DESIGN.md section 5: a promise, a vote and a refusal leave after their sync, and so does a new ballot's
/// Prepare.
void expect_nothing_early(const Cluster& c, const Node& node, const Ready& ready) {
  for (const Envelope& envelope : ready.send_now) {
    const PeerMessage& m = envelope.message;
    EXPECT_FALSE(std::holds_alternative<Promise>(m) || std::holds_alternative<Accepted>(m) ||
                 std::holds_alternative<Nack>(m))
        << name_of(m) << " did not wait for its sync";
    if (const auto* prepare = std::get_if<Prepare>(&m)) EXPECT_LE(prepare->ballot, node.disk.promised);
    if (const auto* accept = std::get_if<Accept>(&m)) EXPECT_LE(accept->ballot, node.disk.promised);
    if (const auto* reply = std::get_if<LearnReply>(&m)) {
      for (const ChosenDecree& decree : reply->decrees) {
        EXPECT_TRUE(c.truth().contains(decree.slot) && c.truth().at(decree.slot) == decree.decree)
            << "slot " << decree.slot.n << " is told as chosen";
      }
    }
  }
}

/// Delivers the letter and says what came of it.
Effects deliver(Cluster& c, const PeerMessage& message) {
  Effects effects;
  c.on_ready = [&](std::size_t id, const Ready& ready) {
    if (id != 0) return;
    for (const Envelope& e : ready.send_now) effects.insert(name_of(e.message));
    for (const Envelope& e : ready.send_after_sync) effects.insert(name_of(e.message) + "~");
    expect_nothing_early(c, c.node(0), ready);
  };
  const Look before = look(c);
  c.step(0, 1, message);
  c.on_ready = nullptr;
  const Look after = look(c);
  compare(before, after, effects);
  expect_sound(c, before, after);
  return effects;
}

/// A power cut right after: nothing that others were told is forgotten (I6).
void expect_kept_over_a_power_cut(Cluster& c) {
  Ballot told;
  for (const Letter& letter : c.bag()) {
    if (letter.from != ReplicaId{0}) continue;
    if (const auto* promise = std::get_if<Promise>(&letter.message)) told = std::max(told, promise->ballot);
    if (const auto* accepted = std::get_if<Accepted>(&letter.message))
      told = std::max(told, accepted->ballot);
    if (const auto* nack = std::get_if<Nack>(&letter.message)) told = std::max(told, nack->promised);
    if (const auto* prepare = std::get_if<Prepare>(&letter.message)) told = std::max(told, prepare->ballot);
  }
  c.crash(0);
  c.restart(0);
  EXPECT_GE(c.status(0).ballot, told) << "a restart forgets what it said";
  EXPECT_TRUE(c.violations().empty());
}

std::string in_words(const Effects& effects) {
  std::string out;
  for (const std::string& effect : effects) out += (out.empty() ? "" : ", ") + effect;
  return out.empty() ? "nothing" : out;
}

/// One letter a cell: the first of these that holds.
char in_short(const Effects& effects) {
  static constexpr std::array<std::pair<const char*, char>, 13> letters{{{"stops", 'S'},
                                                                         {"leads", 'L'},
                                                                         {"takes over", 'T'},
                                                                         {"born", 'B'},
                                                                         {"announces", 'b'},
                                                                         {"Nack~", 'n'},
                                                                         {"Promise~", 'p'},
                                                                         {"Accepted~", 'v'},
                                                                         {"chosen", 'c'},
                                                                         {"follows", 'f'},
                                                                         {"read", 'r'},
                                                                         {"takes", 't'},
                                                                         {"ReadConfirm", 'q'}}};
  for (const auto& [effect, letter] : letters)
    if (effects.contains(effect)) return letter;
  return effects.empty() ? '.' : 'a';
}

/// What was exercised, and what came of it.
class Matrix {
 public:
  void put(Stand stand, std::size_t type, Age age, const Effects& effects) {
    Entry& entry = at(stand, type, age);
    ++entry.times;
    entry.letter = in_short(effects);
    if (std::getenv("PAXOS_MATRIX") != nullptr)
      std::printf("%-22s %-16s %-5s %s\n", paxos_test::name_of(stand), type_names[type],
                  std::array{"older", "equal", "newer"}[static_cast<std::size_t>(age)],
                  in_words(effects).c_str());
  }
  [[nodiscard]] std::size_t cells() const { return entries_.size(); }
  [[nodiscard]] std::size_t exercised() const {
    std::size_t count = 0;
    for (const Entry& entry : entries_) count += entry.times == 1 ? 1 : 0;
    return count;
  }
  void print() {
    std::printf(
        "Each cell: an older, an equal, a newer ballot. . nothing  a answers  p promises  v votes  n Nack\n"
        "S stops  L leads  T takes over  c learns that a slot is chosen  f follows  r a read is served\n"
        "q asks for confirmations  t takes commands  b vector complete  B born\n%-22s",
        "");
    static constexpr std::array<const char*, types> heads{
        "HbRq", "HbRp", "Hand", "Prep", "Prom", "Acpt", "Acpd", "Nack", "Comm", "LnRq",
        "LnRp", "RdCf", "RdCd", "RdRq", "RdRp", "Brth", "Forw", "Outd", "Intr", "Intn"};
    for (const char* head : heads) std::printf(" %s", head);
    for (std::size_t s = 0; s < stands; ++s) {
      std::printf("\n%-22s", paxos_test::name_of(static_cast<Stand>(s)));
      for (std::size_t type = 0; type < types; ++type) {
        std::printf("  ");
        for (std::size_t age = 0; age < ages; ++age)
          std::putchar(at(static_cast<Stand>(s), type, static_cast<Age>(age)).letter);
      }
    }
    std::printf("\n%zu of %zu cells exercised\n", exercised(), cells());
  }

 private:
  struct Entry {
    unsigned times = 0;
    char letter = '?';
  };
  Entry& at(Stand stand, std::size_t type, Age age) {
    return entries_[(static_cast<std::size_t>(stand) * types + type) * ages + static_cast<std::size_t>(age)];
  }
  std::array<Entry, stands * types * ages> entries_;
};

template <std::size_t Type>
void exercise(Matrix& matrix, Stand stand, Age age) {
  using M = std::variant_alternative_t<Type, PeerMessage>;
  SCOPED_TRACE(std::string(paxos_test::name_of(stand)) + " hears " + type_names[Type] + " of age " +
               std::to_string(static_cast<int>(age)));
  const Scene s = scene(stand);
  ASSERT_EQ(s.inside(), inside_of(stand)) << "the stand is not what it says";
  const M message = Cell<M>::say(s, age);
  // Who is not born, or diverged, says and does nothing, but for Birth; and who still collects asks whoever
  // speaks to it: there may be a cluster already.
  const bool deaf = !s.voting() && !std::is_same_v<M, Birth>;
  Effects due = deaf ? Effects{} : Cell<M>::due(s, age);
  if (stand == Stand::unborn_collecting && std::is_same_v<M, HeartbeatRequest>) due = Effects{"Birth"};

  const Effects effects = deliver(*s.cluster, message);
  EXPECT_EQ(in_words(effects), in_words(due));
  matrix.put(stand, Type, age, effects);

  // Every message may come again (DESIGN.md section 4, retransmission).
  const Effects again = deliver(*s.cluster, message);
  for (const char* once : {"promises", "chosen", "applies", "stops", "takes over", "leads", "read", "born"})
    EXPECT_FALSE(effects.contains(once) && again.contains(once)) << once << " twice by one message";
  expect_kept_over_a_power_cut(*s.cluster);
}

template <std::size_t... Types>
void exercise_all(Matrix& matrix, std::index_sequence<Types...>) {
  for (std::size_t stand = 0; stand < stands; ++stand)
    for (std::size_t age = 0; age < ages; ++age)
      (exercise<Types>(matrix, static_cast<Stand>(stand), static_cast<Age>(age)), ...);
}

TEST(Matrix, EveryMessageInEveryStandAtEveryAge) {
  Matrix matrix;
  exercise_all(matrix, std::make_index_sequence<types>{});
  matrix.print();
  EXPECT_EQ(matrix.exercised(), matrix.cells());
}

// What a decree is for is the state machine's: the protocol keeps it, and asks for it nowhere. So the cells
// of the messages that bring a decree hold for each kind of it, rules included.

void set_decree(Accept& m, const Decree& decree) { m.decree = decree; }
void set_decree(LearnReply& m, const Decree& decree) { m.decrees.front().decree = decree; }
Slot slot_of(const Accept& m) { return m.slot; }
Slot slot_of(const LearnReply& m) { return m.decrees.front().slot; }

/// The decree that was written last in the slot, synced or not.
std::optional<Decree> written(const Node& node, Slot slot) {
  std::optional<Decree> out;
  if (node.disk.entries.contains(slot)) out = node.disk.entries.at(slot).decree;
  for (const Group& group : node.unsynced)
    for (const Record& record : group.records) {
      if (const auto* vote = std::get_if<VoteRecord>(&record); vote != nullptr && vote->slot == slot)
        out = vote->decree;
      if (const auto* told = std::get_if<ChosenRecord>(&record); told != nullptr && told->slot == slot)
        out = told->decree;
    }
  return out;
}

template <class M>
void exercise_kind(Stand stand, Age age, const Decree& decree) {
  SCOPED_TRACE(std::string(paxos_test::name_of(stand)) + " hears " + name_of(M{}) + " of age " +
               std::to_string(static_cast<int>(age)) + " with a decree of kind " +
               std::to_string(static_cast<int>(decree.kind)));
  const Scene s = scene(stand);
  M message = Cell<M>::say(s, age);
  set_decree(message, decree);
  const Effects due = s.voting() ? Cell<M>::due(s, age) : Effects{};
  EXPECT_EQ(in_words(deliver(*s.cluster, message)), in_words(due));
  if (due.contains("writes")) EXPECT_EQ(written(s.cluster->node(0), slot_of(message)), decree);
  expect_kept_over_a_power_cut(*s.cluster);
}

TEST(Matrix, EveryKindOfDecreeGoesTheSameWay) {
  for (const DecreeKind kind : {DecreeKind::noop, DecreeKind::commands, DecreeKind::rules})
    for (std::size_t stand = 0; stand < stands; ++stand)
      for (std::size_t age = 0; age < ages; ++age) {
        const Decree decree{kind, kind == DecreeKind::noop ? Bytes{} : Bytes::copy_of("x")};
        exercise_kind<Accept>(static_cast<Stand>(stand), static_cast<Age>(age), decree);
        exercise_kind<LearnReply>(static_cast<Stand>(stand), static_cast<Age>(age), decree);
      }
}

// A leader that finds a decree in a promise proposes it as it is, whatever its kind.
TEST(Matrix, ALeaderAdoptsADecreeOfEveryKindAsItIs) {
  for (const DecreeKind kind : {DecreeKind::noop, DecreeKind::commands, DecreeKind::rules}) {
    const Decree decree{kind, kind == DecreeKind::noop ? Bytes{} : Bytes::copy_of("x")};
    for (const bool chosen : {false, true}) {
      SCOPED_TRACE(std::string(chosen ? "chosen" : "voted for") + ", kind " +
                   std::to_string(static_cast<int>(kind)));
      const Scene s = scene(Stand::candidate_preparing);
      const Slot next = s.prefix() + 1;
      Promise promise = Cell<Promise>::say(s, Age::equal);
      promise.entries.push_back({next, ballot(1, 2), chosen, decree});
      std::vector<Decree> proposed;
      s.cluster->on_ready = [&](std::size_t id, const Ready& ready) {
        if (id != 0) return;
        for (const Envelope& e : ready.send_now)
          if (const auto* accept = std::get_if<Accept>(&e.message)) proposed.push_back(accept->decree);
      };
      s.cluster->step(0, 1, promise);
      s.cluster->on_ready = nullptr;
      EXPECT_EQ(s.inside().phase, Proposer::Phase::leading);
      if (chosen) {
        EXPECT_TRUE(proposed.empty()) << "it is chosen: nothing is left to propose";
        EXPECT_EQ(s.cluster->status(0).chosen, next);
        EXPECT_EQ(written(s.cluster->node(0), next), decree);
      } else {
        EXPECT_EQ(proposed, std::vector<Decree>{decree});
      }
    }
  }
}

// A new enumerator does not compile here (-Wswitch) until someone counts it, and then needs a stand.
constexpr std::size_t number(Role role) {
  switch (role) {
    case Role::follower:
      return 0;
    case Role::candidate:
      return 1;
    case Role::leader:
      return 2;
    case Role::unborn:
      return 3;
    case Role::dormant:
      return 4;
    case Role::learner:
    case Role::removed:
      break;  // no configuration changes here
  }
  return 0;
}
constexpr std::size_t number(Proposer::Phase phase) {
  switch (phase) {
    case Proposer::Phase::idle:
      return 0;
    case Proposer::Phase::preparing:
      return 1;
    case Proposer::Phase::learning:
      return 2;
    case Proposer::Phase::leading:
      return 3;
  }
  return 0;
}
constexpr std::size_t number(BirthProtocol::State state) {
  switch (state) {
    case BirthProtocol::State::collecting:
      return 0;
    case BirthProtocol::State::announced:
      return 1;
    case BirthProtocol::State::born:
      return 2;
    case BirthProtocol::State::dormant:
      return 3;
  }
  return 0;
}

TEST(Matrix, HasAStandForEveryRolePhaseAndStepOfBirth) {
  std::array<bool, 5> roles{};
  std::array<bool, 4> phases{};
  std::array<bool, 4> births{};
  for (std::size_t stand = 0; stand < stands; ++stand) {
    const Inside inside = inside_of(static_cast<Stand>(stand));
    EXPECT_STRNE(paxos_test::name_of(static_cast<Stand>(stand)), "");
    roles[number(inside.role)] = true;
    phases[number(inside.phase)] = true;
    births[number(inside.birth)] = true;
  }
  EXPECT_STREQ(paxos_test::name_of(static_cast<Stand>(stands)), "") << "a stand more than the table has rows";
  for (bool seen : roles) EXPECT_TRUE(seen);
  for (bool seen : phases) EXPECT_TRUE(seen);
  for (bool seen : births) EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace paxos_test
