#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/explore/config.h"
#include "tests/explore/event.h"
#include "tests/explore/facts.h"
#include "tests/explore/host.h"
#include "tests/explore/letter.h"
#include "tests/explore/members.h"

namespace explore {

/// 128 bits that name a state. They add up: a global state's is the sum of those of its parts.
struct Print {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Print&, const Print&) = default;
  friend Print operator+(Print a, Print b) { return {a.low + b.low, a.high + b.high}; }
  friend Print operator-(Print a, Print b) { return {a.low - b.low, a.high - b.high}; }
};
struct PrintHash {
  std::size_t operator()(const Print& p) const { return p.low; }
};
[[nodiscard]] Print print_of(std::string_view bytes, std::uint64_t kind);

using LocalId = std::uint32_t;
using LetterId = std::uint16_t;

/// What the real code does, computed once for each (local state, event) and looked up ever after. A replica
/// with its disk depends on nothing but its own state and the event, so that this is all there is to know.
class Model {
 public:
  explicit Model(const Config& config);

  static constexpr std::uint32_t unknown_list = ~std::uint32_t{0};
  struct Local {
    Print print;
    VoteSet votes = 0;
    Claims claims;
    std::uint8_t replica = 0;
    std::uint32_t configuration = 0;  ///< in which it stands; 0: it does not know
    Host::Options options;
    std::string saved;
    // Bits, by letter. See Effect.
    std::vector<std::uint64_t> known, deaf, answered;
    std::vector<std::uint64_t> outlived;  ///< the search forgot them here: verify_outlived()
    std::uint32_t chatter = unknown_list;
  };
  /// What a delivery does here.
  enum class Effect : std::uint8_t {
    none,    ///< it changes nothing and says nothing
    answer,  ///< it changes nothing, but something is said
    change,
  };
  struct Known {
    Letter letter;
    Print print;
    Claims claims;
    // Guesses of what need not be kept where nobody listens to it; verify_outlived() proves them.
    bool to_proposer =
        false;          ///< Promise, Accepted, Nack: nothing to a proposer that has gone on, or restarted
    bool news = false;  ///< Commit, LearnReply: nothing to who knows it, unless it restarts, or the sender is
                        ///< no member yet as far as it knows
  };
  struct Outcome {
    LocalId next = 0;
    std::uint32_t letters = 0;  ///< number of a list of letters that leave
    bool more = false;          ///< the generator was asked: other choices have other outcomes
  };

  [[nodiscard]] LocalId initial(std::uint8_t replica) const { return replica; }
  /// Throws Violation.
  Outcome outcome(LocalId local, const Event& event);
  void prefetch(LocalId local, const Event& event) const {
    __builtin_prefetch(&memo_[slot_of(key(local, event))]);
  }

  [[nodiscard]] const Local& local(LocalId id) const { return locals_[id]; }
  [[nodiscard]] const Known& letter(LetterId id) const { return letters_[id]; }
  [[nodiscard]] std::uint8_t addressee(LetterId id) const { return addressees_[id]; }
  [[nodiscard]] const std::vector<LetterId>& list(std::uint32_t number) const { return lists_[number]; }
  [[nodiscard]] bool deaf(LocalId id, LetterId letter) const { return has(locals_[id].deaf, letter); }
  [[nodiscard]] Effect effect(LocalId id, LetterId letter);
  /// Is the sender a member of the configuration in which this replica stands?
  [[nodiscard]] bool of_member(LocalId id, LetterId letter) const {
    return members_.member(letters_[letter].letter.from, locals_[id].configuration);
  }
  /// Letters that this replica can send at any time without changing (timers that repeat something).
  [[nodiscard]] std::uint32_t chatter(LocalId id);

  void outlived(LocalId id, LetterId letter) { set(locals_[id].outlived, letter); }
  /// Proves by the real code that forgetting was right: from where a letter was forgotten on, along every
  /// known step, its delivery changes nothing and says nothing. Throws Violation. Returns the deliveries
  /// tried.
  std::uint64_t verify_outlived();

  LetterId intern(Letter letter);
  [[nodiscard]] std::string describe(const Event& event) const;

  /// On their way when the search begins: each directory that votes only after the change asks for what was
  /// chosen. (In a cluster heartbeats make it ask, which are not searched.)
  [[nodiscard]] const std::vector<LetterId>& first_letters() const { return first_letters_; }

  [[nodiscard]] const Config& config() const { return members_.config; }
  [[nodiscard]] const Members& members() const { return members_; }
  [[nodiscard]] const Facts& facts() const { return facts_; }
  [[nodiscard]] std::size_t locals() const { return locals_.size(); }
  [[nodiscard]] std::size_t letters() const { return letters_.size(); }
  [[nodiscard]] std::size_t transitions() const { return filled_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_ + memo_.size() * sizeof(Entry); }

 private:
  using Bits = std::vector<std::uint64_t>;
  static constexpr std::uint64_t empty = ~std::uint64_t{0};
  static bool has(const Bits& bits, LetterId letter) {
    return letter / 64U < bits.size() && (bits[letter / 64U] >> (letter % 64U) & 1) != 0;
  }
  void set(Bits& bits, LetterId letter) {
    if (bits.size() <= letter / 64U) {
      bytes_ += (letter / 64U + 1 - bits.size()) * 8;
      bits.resize(letter / 64U + 1);
    }
    bits[letter / 64U] |= std::uint64_t{1} << (letter % 64U);
  }
  struct Entry {
    std::uint64_t key = empty;
    LocalId next = 0;
    std::uint32_t letters = 0;  ///< the top bit: more
  };
  static std::uint64_t key(LocalId local, const Event& event) {
    return std::uint64_t{local} << 32 | event.packed();
  }
  [[nodiscard]] std::size_t slot_of(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15ULL) >> shift_);
  }
  Outcome compute(LocalId local, const Event& event);
  LocalId intern(Host& host, std::uint8_t replica);
  std::uint32_t intern(std::vector<LetterId> list);
  void insert(Entry entry);

  Members members_;
  Facts facts_;
  std::vector<Local> locals_;
  std::unordered_map<Print, LocalId, PrintHash> local_ids_;
  std::vector<Known> letters_;
  std::vector<std::uint8_t> addressees_;
  std::vector<LetterId> first_letters_;
  std::unordered_map<Print, LetterId, PrintHash> letter_ids_;
  std::vector<std::vector<LetterId>> lists_;
  std::unordered_map<Print, std::uint32_t, PrintHash> list_ids_;
  std::vector<Entry> memo_;
  std::size_t filled_ = 0;
  unsigned shift_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace explore
