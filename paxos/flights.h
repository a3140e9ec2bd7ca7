#pragma once

#include <cstdint>
#include <deque>

#include "paxos/invariant.h"
#include "paxos/rtt.h"
#include "paxos/types.h"

namespace paxos {

/// A slot of phase 2, as its leader sees it.
struct Flight {
  enum class State : std::uint8_t {
    proposed,       ///< at the leader's ballot; its Accept is repeated until it is chosen
    chosen,         ///< was proposed, and is known chosen
    chosen_before,  ///< was known chosen when its turn came: nothing is proposed in it
    left_empty,     ///< by a skip: nothing is proposed in it, by this leader
  };
  State state = State::left_empty;
  Decree decree;  ///< of a proposed one
  ReplicaSet votes;
  Time first_sent{};
  Backoff repeat;
};

/// The slots that a leader has come to in its phase 2, without those at or below the chosen prefix: what it
/// proposes next, how much is under way, and what becomes of it.
///
/// Invariant: consecutive slots from first() on; under_way() and bytes_under_way() count those in state
/// proposed.
class Flights {
 public:
  /// Of a new leadership: nothing is under way, and `first` is proposed in next.
  void begin(Slot first) {
    flights_.clear();
    first_ = first;
    under_way_ = 0;
    bytes_under_way_ = 0;
  }
  /// Of a leadership that is over.
  void end() { begin(next()); }

  [[nodiscard]] Slot first() const { return first_; }
  [[nodiscard]] Slot next() const { return first_ + flights_.size(); }
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  [[nodiscard]] std::size_t bytes_under_way() const { return bytes_under_way_; }

  /// None for a slot that is below first(): chosen, and forgotten. Requires slot < next().
  [[nodiscard]] Flight* find(Slot slot) {
    PAXOS_ASSERT(slot < next());
    return slot < first_ ? nullptr : &flights_[slot - first_];
  }
  [[nodiscard]] const Flight* find(Slot slot) const { return const_cast<Flights*>(this)->find(slot); }

  /// In next(), which moves on.
  Flight& propose(const Decree& decree, Time now, Duration repeat_after) {
    flights_.push_back(
        {.state = Flight::State::proposed, .decree = decree, .votes = {}, .first_sent = now, .repeat = {}});
    flights_.back().repeat.start(now, repeat_after);
    ++under_way_;
    bytes_under_way_ += decree.value.size();
    return flights_.back();
  }
  /// Nothing is proposed in next(), which moves on.
  void pass(Flight::State why) {
    flights_.push_back({});
    flights_.back().state = why;
  }
  /// Requires a proposed one.
  void chosen(Flight& flight) {
    flight.state = Flight::State::chosen;
    flight.repeat.stop();
    --under_way_;
    bytes_under_way_ -= flight.decree.value.size();
    flight.decree = {};
  }
  /// What stands at or below the chosen prefix is done. Requires that none of it is in state proposed.
  void forget(Slot prefix) {
    for (; !flights_.empty() && first_ <= prefix; ++first_) flights_.pop_front();
  }

  void check_invariants() const {
    std::size_t count = 0;
    std::size_t bytes = 0;
    for (const Flight& flight : flights_) {
      if (flight.state != Flight::State::proposed) continue;
      ++count;
      bytes += flight.decree.value.size();
    }
    PAXOS_ASSERT(count == under_way_ && bytes == bytes_under_way_);
  }

 private:
  friend struct StateAccess;    // tests/explore: saves and loads whole states
  std::deque<Flight> flights_;  ///< flights_[i] is slot first_ + i
  Slot first_;
  std::size_t under_way_ = 0;
  std::size_t bytes_under_way_ = 0;
};

}  // namespace paxos
