#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "chat/client_messages.h"
#include "net/address.h"
#include "net/seal.h"
#include "paxos/types.h"

/// What operators asked for and what they were told.
namespace paxosd {

/// Who waits for the answer to which request.
struct Asker {
  net::Address at;
  net::Identity who;  ///< the program there, and its key: another one that gets the address later is not told
  std::uint64_t id = 0;
};

/// Answers to what acts, by request id, so that a kill or skip that comes again acts once (DESIGN.md section
/// 6) and gets its first answer. Bounded: the oldest is forgotten. Loop thread only.
class Answers {
 public:
  static constexpr std::size_t kept_max = 512;

  /// It came before, and is under way or answered.
  [[nodiscard]] bool knows(std::uint64_t id) const { return kept_.contains(id); }
  /// Nothing while it is under way.
  [[nodiscard]] const chat::OperatorReply* given(std::uint64_t id) const {
    const auto at = kept_.find(id);
    return at == kept_.end() || !at->second ? nullptr : &*at->second;
  }
  /// It is under way from now on.
  void begin(std::uint64_t id) {
    if (!kept_.emplace(id, std::nullopt).second) return;
    order_.push_back(id);
    if (order_.size() <= kept_max) return;
    kept_.erase(order_.front());
    order_.pop_front();
  }
  /// Keeps the answer to what was begun; what only asks may be asked again, and is not kept.
  void give(const chat::OperatorReply& reply) {
    if (const auto at = kept_.find(reply.id); at != kept_.end()) at->second = reply;
  }

 private:
  std::map<std::uint64_t, std::optional<chat::OperatorReply>> kept_;  ///< none: under way
  std::deque<std::uint64_t> order_;                                   ///< of kept_, oldest first
};

/// Skips whose slots have no chosen slot above them yet. Loop thread only.
class SkipsUnderWay {
 public:
  static constexpr std::size_t skips_max = 64;

  struct Skip {
    Asker asker;
    chat::DoneReply reply;  ///< once it is done
    paxos::Slot last;       ///< the highest slot that it left empty
  };
  [[nodiscard]] bool none() const { return all_.empty(); }
  [[nodiscard]] bool full() const { return all_.size() >= skips_max; }
  void begin(Skip skip) { all_.push_back(std::move(skip)); }
  /// Those that are done now that `chosen_max` is the highest chosen slot.
  [[nodiscard]] std::vector<Skip> take_done(paxos::Slot chosen_max) {
    std::vector<Skip> done;
    std::erase_if(all_, [&](Skip& skip) {
      if (chosen_max <= skip.last) return false;
      done.push_back(std::move(skip));
      return true;
    });
    return done;
  }

 private:
  std::vector<Skip> all_;
};

}  // namespace paxosd
