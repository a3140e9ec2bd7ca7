#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "chat/snapshot.h"
#include "paxos/types.h"

namespace storage {

class StateFolder;

/// The directories of all replicas of a new cluster that begins with a state: as if it had been born, had
/// applied that, and had trimmed its log behind it. They know each other's incarnations, so a replica of it
/// that is started without its directory is a stranger, and does not vote. The configuration of the cluster
/// that the state is of does not come over: its members are other directories.
class NewCluster {
 public:
  struct Member {
    std::filesystem::path directory;
    paxos::Incarnation incarnation;  ///< random
  };
  struct Options {
    std::string cluster_id;
    std::vector<Member> members;  ///< by replica id
    std::uint16_t rules_known = 1;
    std::uint64_t life = 0;  ///< random; each start that this needs takes another one from there on
  };
  explicit NewCluster(Options options);
  /// What is not finished goes.
  ~NewCluster();
  NewCluster(const NewCluster&) = delete;
  NewCluster& operator=(const NewCluster&) = delete;

  /// All of these: what is wrong, or nothing. A directory that is there has to be empty, and no link: each is
  /// made beside it, and takes its place at the end.
  [[nodiscard]] std::string begin();
  /// A row that was written before is written over, or deleted.
  [[nodiscard]] std::string write(const std::vector<chat::Row>& rows);
  /// What the rows that were written come to, as they read from the disk; an error where they are not those
  /// of the slot of `id`.
  [[nodiscard]] tl::expected<chat::SnapshotSum, std::string> count(const chat::SnapshotId& id);
  /// Whether the rows that were written are the snapshot `id`, and come to `sum`.
  [[nodiscard]] std::string check(const chat::SnapshotId& id, const chat::SnapshotSum& sum);
  /// After check() of the same, or count(). With the last rename all of it is on the disk; where one fails,
  /// those before are undone.
  [[nodiscard]] std::string finish(const chat::SnapshotId& id, const chat::SnapshotSum& sum);

 private:
  [[nodiscard]] static std::filesystem::path unfinished(const Member& member);
  [[nodiscard]] std::string take_folder(const Member& member);
  [[nodiscard]] std::string bear(paxos::ReplicaId id);
  [[nodiscard]] std::string take_state(paxos::ReplicaId id, paxos::Slot slot);

  Options options_;
  std::unique_ptr<StateFolder> rows_;
  std::vector<int> held_;  ///< the unfinished folders that are ours, each locked
  std::size_t unflushed_ = 0;
};

}  // namespace storage
