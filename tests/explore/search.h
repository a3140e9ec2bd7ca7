#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/explore/model.h"

namespace explore {

/// Grows in pieces that never move, and gives them back from the front.
template <class T>
class Pieces {
 public:
  void push_back(const T& value) { *extend(1) = value; }
  /// Room for `count` elements side by side.
  T* extend(std::size_t count) {
    if (pieces_.empty() || pieces_.back().used + count > piece_size)
      pieces_.push_back({std::make_unique_for_overwrite<T[]>(piece_size), 0});
    Piece& piece = pieces_.back();
    T* out = piece.data.get() + piece.used;
    piece.used += count;
    return out;
  }
  [[nodiscard]] std::size_t pieces() const { return pieces_.size(); }
  [[nodiscard]] T* piece(std::size_t i) const { return pieces_[i].data.get(); }
  [[nodiscard]] std::size_t used(std::size_t i) const { return pieces_[i].used; }
  void release(std::size_t i) { pieces_[i].data.reset(); }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Piece& piece : pieces_) sum += piece.data ? piece_size * sizeof(T) : 0;
    return sum;
  }
  /// Elements pushed one by one only.
  [[nodiscard]] const T& at(std::size_t i) const { return pieces_[i / piece_size].data[i % piece_size]; }

 private:
  static constexpr std::size_t piece_size = std::size_t{1} << 18;
  struct Piece {
    std::unique_ptr<T[]> data;
    std::size_t used = 0;
  };
  std::vector<Piece> pieces_;
};

/// A set of fingerprints, 16 bytes each. Two states with one fingerprint would hide one of them: among 10^9
/// states that happens with a chance of about 10^-21.
class Visited {
 public:
  Visited() : table_(std::size_t{1} << 16), shift_(48) {}
  void prefetch(Print print) const { __builtin_prefetch(&table_[slot_of(print)]); }
  /// True when it was not there.
  bool insert(Print print);
  [[nodiscard]] std::size_t size() const { return filled_; }
  [[nodiscard]] std::size_t bytes() const { return table_.size() * sizeof(Print); }
  /// What it takes while it grows.
  [[nodiscard]] std::size_t bytes_to_grow() const { return nearly_full() ? 2 * bytes() : 0; }
  /// It will grow within the next few thousand states.
  [[nodiscard]] bool nearly_full() const { return filled_ + filled_ / 4 + 8192 >= table_.size(); }

 private:
  [[nodiscard]] std::size_t slot_of(Print print) const {
    return static_cast<std::size_t>(print.high >> shift_);
  }
  [[nodiscard]] bool full() const { return filled_ + filled_ / 4 >= table_.size(); }
  void grow();
  std::vector<Print> table_;
  std::size_t filled_ = 0;
  unsigned shift_;
};

struct Result {
  bool fixpoint = false;
  std::string bound;      ///< which was hit; empty at a fixpoint
  std::string violation;  ///< empty: none
  std::vector<std::string> transcript;
  std::uint64_t states = 0;
  std::uint64_t edges = 0;              ///< steps that were looked at and do something
  std::uint64_t forgotten_checked = 0;  ///< deliveries that proved the reduction
  std::size_t decided_next = 0;  ///< decrees that the configuration after the change decided in some state
  std::size_t depth = 0;
  std::size_t widest = 0;
  std::size_t bytes = 0;
  double seconds = 0;
};

/// Breadth first, so that the first violation found is one of the shortest.
///
/// With Config::reduce, two things keep states together that differ in nothing that matters:
///  - *Answers are sent at once.* A delivery (or a timer) that changes no replica and only adds letters to
///  the network is
///    carried out as soon as it can. More letters never forbid anything, since each may be lost: whatever can
///    happen without the answer can happen with it.
///  - *What nobody will listen to is forgotten.* A letter to which its addressee is deaf (its delivery
///  changes
///    nothing and says nothing), and will be from now on, is taken out of the network. "From now on" is
///    guessed (Model::Known says for which letters) and proved afterwards, by the real code:
///    Model::verify_outlived().
class Search {
 public:
  Search(Model& model, std::uint64_t states_max, std::size_t bytes_max, bool progress);
  Result run();
  /// The way to the state that is being looked at, and the event tried there: for a violation, and for an
  /// invariant inside the core that aborts.
  [[nodiscard]] std::vector<std::string> transcript() const;

 private:
  struct Budgets {
    std::uint8_t campaigns = 0;
    std::uint8_t crashes = 0;
    std::uint8_t skips = 0;
    std::uint8_t changes = 0;
  };
  /// A state in the frontier is a run of words: this, the local ids, then the letters, two a word.
  struct Head {
    Print print;
    Budgets budgets;
    std::uint32_t letters = 0;
  };
  struct Step {
    std::uint32_t parent = 0;  ///< in the level before
    std::uint32_t event = 0;
  };
  struct Candidate {
    const std::uint32_t* state = nullptr;
    std::uint32_t index = 0;  ///< of that state in its level
    Event event;
    LocalId next = 0;
    // In letters_scratch_, one after the other:
    std::uint32_t first_letter = 0;
    std::uint32_t letters = 0;    ///< new ones that stay
    std::uint32_t forgotten = 0;  ///< new ones that nobody will listen to
    std::uint32_t removed = 0;    ///< old ones that nobody listens to any more
    Budgets budgets;
    Print print;
  };
  struct Try {
    const std::uint32_t* state = nullptr;
    std::uint32_t index = 0;
    LocalId local = 0;
    Event event;
  };
  [[nodiscard]] std::size_t words(std::size_t letters) const {
    return head_words + model_.config().directories() + (letters + 1) / 2;
  }
  static constexpr std::size_t head_words = sizeof(Head) / 4;
  static Head head(const std::uint32_t* state);
  [[nodiscard]] bool in_bag(LetterId letter) {
    if (letter >= stamp_.size()) stamp_.resize(letter + std::size_t{1024});
    return stamp_[letter] == stamp_now_;
  }
  [[nodiscard]] const std::uint32_t* locals(const std::uint32_t* state) const { return state + head_words; }
  [[nodiscard]] const LetterId* letters(const std::uint32_t* state) const {
    return reinterpret_cast<const LetterId*>(state + head_words + model_.config().directories());
  }
  void tries(const std::uint32_t* state, std::uint32_t index);
  void candidates();
  void look_up(const Try& attempt, const Head& h);
  void reduce(const Try& attempt, const Model::Outcome& outcome, bool crashed, Candidate& candidate);
  void settle();
  void keep(const Candidate& candidate);
  void judge(const Candidate& candidate);
  [[nodiscard]] std::vector<std::string> replay(const std::vector<Event>& events) const;
  [[nodiscard]] Print budgets_print(Budgets budgets) const;
  [[nodiscard]] std::size_t bytes() const;

  Model& model_;
  std::uint64_t states_max_;
  std::size_t bytes_max_;
  bool progress_;
  Visited visited_;
  Pieces<std::uint32_t> level_;
  Pieces<std::uint32_t> next_level_;
  std::vector<Pieces<Step>> steps_;  ///< by level
  std::size_t next_count_ = 0;
  std::vector<Try> tries_;
  std::vector<Candidate> candidates_;
  std::vector<LetterId> letters_scratch_;
  std::vector<LetterId> added_, forgotten_, removed_;
  std::vector<std::uint32_t> seen_;  ///< by letter: of the candidate that was looked at last and adds it
  std::uint32_t seen_now_ = 0;
  std::vector<std::uint32_t> stamp_;  ///< by letter: of the state that was looked at last and has it
  std::uint32_t stamp_now_ = 0;
  std::uint32_t at_index_ = 0;  ///< what is being looked at
  Event at_event_;
  std::uint64_t edges_ = 0;
  DecreeSet by_next_ = 0;  ///< see Facts::Chosen, of all states
};

}  // namespace explore
