#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "paxos/replica.h"
#include "tests/explore/config.h"
#include "tests/explore/event.h"
#include "tests/explore/facts.h"
#include "tests/explore/letter.h"
#include "tests/explore/members.h"

namespace explore {

/// One real replica and its model disk: what an event here does is decided by this alone.
///
/// The disk keeps groups in order. A sync makes the oldest unsynced ones durable, and only then what waited
/// for them leaves (the core hears of it in the same event, or in a later one: Config::late); a crash leaves
/// a prefix of them, and the state machine's rows up to any applied slot, as storage/ does. One event is one
/// input and one turn.
class Host {
 public:
  /// Born, with what was decided before the search.
  Host(const Members& members, std::uint8_t directory);
  Host(const Members& members, std::uint8_t directory, std::string_view saved);

  /// Everything that influences later behaviour, and what the observer remembers of this replica.
  [[nodiscard]] std::string save();

  /// Does it, and gives the letters that leave. Throws Violation. `letter` is for deliveries.
  std::vector<Letter> run(const Event& event, const Letter* letter);
  /// The generator was asked: run it again from the state before with another Event::choice.
  [[nodiscard]] bool random_was_used() const { return random_was_used_; }

  struct Options {
    bool campaign = false;  ///< where budgets allow it
    bool skip = false;
    bool change = false;
    std::vector<Event> others;   ///< at any time
    std::vector<Event> crashes;  ///< where the budget allows it
  };
  /// What may happen here besides deliveries.
  [[nodiscard]] Options options() const;

  /// For the observer: votes that were ever durable here, and what this replica holds as chosen.
  [[nodiscard]] VoteSet votes(Facts& facts) const;
  [[nodiscard]] Claims claims(Facts& facts) const;
  [[nodiscard]] std::string describe() const;
  /// The number of the one in which the replica stands; 0: it does not know.
  [[nodiscard]] std::uint32_t configuration() const;

 private:
  struct Entry {
    bool present = false;
    bool learned = false;
    paxos::Ballot ballot;
    paxos::Decree decree;
  };
  struct Group {
    std::vector<paxos::Record> records;
    std::vector<Letter> after;
  };
  using Vote = std::tuple<paxos::Slot, paxos::Ballot, std::string>;  ///< the string: kind and value

  template <class Archive>
  void visit(Archive& archive);
  void start(paxos::Slot applied);
  void turn();
  void write(const paxos::Record& record);
  void sync(std::size_t groups);
  void tell();
  void crash(std::size_t survive, paxos::Slot applied);
  void apply(const paxos::ChosenDecree& chosen);
  void leave(const Letter& letter);
  /// What a directory without a vote would say to this, were it to forget that; it knows of nothing.
  void answer_without_a_vote(const Letter& letter);
  void letters(const paxos::Envelope& envelope, std::vector<Letter>& out) const;
  void check_leaving(const paxos::PeerMessage& message) const;
  /// C11: throws where `ballot` is of a configuration in which this directory is no voter.
  void check_voter(paxos::Ballot ballot, const char* does) const;
  /// In which the state machine stands when it has applied so much, as storage/ keeps it; none: that of
  /// birth.
  [[nodiscard]] std::optional<paxos::Configuration> configuration_at(paxos::Slot applied);
  [[nodiscard]] paxos::Decree fresh_decree() const;
  [[nodiscard]] bool voted(paxos::Slot slot, paxos::Ballot ballot) const;
  [[nodiscard]] Entry* find(paxos::Slot slot) {
    return slot.none() || slot.n > log_.size() || !log_[slot.n - 1].present ? nullptr : &log_[slot.n - 1];
  }

  const Members& members_;
  const Config& config_;
  std::uint8_t directory_;
  paxos::ReplicaId id_;
  std::unique_ptr<paxos::Replica> replica_;
  std::uint8_t life_ = 0;
  paxos::Slot applied_;  ///< by the state machine

  // The disk.
  paxos::BirthRecord birth_;
  paxos::Ballot promised_;
  paxos::Slot prefix_;
  std::vector<Entry> log_;  ///< [i] is slot i + 1
  std::deque<Group> unsynced_;
  std::size_t untold_ = 0;  ///< groups that are synced, and the core has not heard of it

  std::set<Vote> votes_;  ///< ever durable here
  std::vector<Letter> sent_;
  bool random_was_used_ = false;
};

}  // namespace explore
