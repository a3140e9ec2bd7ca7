#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/client_messages.h"
#include "paxos/types.h"

namespace chat {

/// Who says that they are in which room. Nothing of it is agreed upon or kept: a replica tells what it was
/// told lately, and who asks asks all of them. Loop thread only; bounded, and the one that was silent for
/// longest goes first.
class Presence {
 public:
  explicit Presence(std::size_t max = limits::presences_max) : max_(max) {}

  void here(paxos::Time now, const ClientAddress& from, std::string_view room, std::string_view name);
  void gone(const ClientAddress& from, std::string_view room);
  /// Who said so within presence_kept_ms, each name once, in the order of names.
  [[nodiscard]] std::vector<Present> in(paxos::Time now, std::string_view room);
  [[nodiscard]] std::size_t size() const { return order_.size(); }

 private:
  using Key = std::pair<std::string, ClientAddress>;
  struct Entry {
    Key key;
    std::string name;
    paxos::Time heard{};
  };
  void forget(paxos::Time now);

  std::size_t max_;
  std::list<Entry> order_;  ///< the one heard longest ago first
  std::map<Key, std::list<Entry>::iterator> entries_;
};

}  // namespace chat
