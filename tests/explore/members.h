#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "paxos/configuration.h"
#include "paxos/records.h"
#include "tests/explore/config.h"

namespace explore {

/// Who belongs to the explored cluster, before and after its one change (Config::change).
///
/// The search tells directories apart, not replica ids: the one that is replaced and the one that takes its
/// place have one id, and both may run. Directories 0 to replicas - 1 have the id of the same number.
class Members {
 public:
  explicit Members(const Config& config);

  Config config;
  paxos::Configuration first;  ///< in force at the start
  paxos::Configuration next;   ///< after the change; without it: the same as `first`
  paxos::MemberChange wish;    ///< how the leader is asked for it
  paxos::Decree change;        ///< the decree that must come of it
  /// What was decided and applied everywhere before the search begins, in slot 1: a learner is in no first
  /// configuration. Nothing: the search begins with an empty log.
  std::optional<paxos::Decree> given;

  [[nodiscard]] std::size_t directories() const { return config.directories(); }
  [[nodiscard]] paxos::ReplicaId id(std::uint8_t directory) const {
    return {directory < config.replicas ? directory : config.changed()};
  }
  [[nodiscard]] static paxos::Incarnation incarnation(std::uint8_t directory);
  /// The last slot that is decided at the start.
  [[nodiscard]] paxos::Slot base() const { return {given ? std::uint64_t{1} : 0}; }
  /// What the disk of a directory says at the start of how it came into the cluster.
  [[nodiscard]] paxos::BirthRecord birth(std::uint8_t directory) const;
  /// Does it run at all?
  [[nodiscard]] bool runs(std::uint8_t directory) const {
    return config.change != Change::replace || config.beside || directory != config.changed();
  }
  [[nodiscard]] bool member(std::uint8_t directory, std::uint32_t configuration) const;
  /// May it vote with ballots of this configuration?
  [[nodiscard]] bool votes(std::uint8_t directory, std::uint32_t configuration) const;
  /// For people: 2' is the directory that takes the place of 2.
  [[nodiscard]] std::string name(std::uint8_t directory) const;
};

}  // namespace explore
