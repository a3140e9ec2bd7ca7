#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/session/cluster_view.h"

/// What the verbs of `paxosctl member` read out of the replicas' answers. Those are foreign objects: nothing
/// is taken to be there, or of its type.
namespace client {

constexpr std::chrono::milliseconds one_look{1000};  ///< how long one look at the cluster waits for answers
constexpr std::chrono::milliseconds between_looks{200};
/// What is refused for a moment only (an election, another change, a replica that starts, or was heard a
/// moment ago) is asked again for so long.
constexpr std::chrono::milliseconds asked_for{10'000};

/// A number that can be a slot, or such; 0: it is none.
[[nodiscard]] std::uint64_t whole(const Json& object, const char* field);
/// The incarnation that stands for `id` where this replica has applied what it has; empty: it does not tell.
[[nodiscard]] std::string member_in(const Json& status, std::size_t id);

/// The members by replica id, as the one says that is in the latest configuration; empty: nobody says it.
struct Members {
  std::uint64_t number = 0;
  std::uint64_t begins = 0;
  std::map<std::size_t, Json> by_id;
  /// "voter", "learner", "removed"; empty: no such member was ever there.
  [[nodiscard]] std::string role(std::size_t id) const;
  [[nodiscard]] bool holds(std::size_t id) const;
};
[[nodiscard]] Members latest(const std::vector<ReplicaStatus>& replicas);

/// For whom a directory announces itself that is in no configuration.
[[nodiscard]] std::set<std::size_t> announced_in(const std::vector<ReplicaStatus>& replicas);

/// One word when it changes, so that nobody sits before a silent program. With `json` to standard error.
class Progress {
 public:
  explicit Progress(bool json) : json_(json) {}
  void operator()(const std::string& line);

 private:
  bool json_;
  std::string told_;
};

/// `member add`, `promote`, `remove` and `set-address`; nothing: it is none of them.
std::optional<int> ctl_member_change(const std::string& verb, const std::vector<std::string>& words);

}  // namespace client
