#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "paxos/records.h"
#include "storage/log_format.h"

/// What storage/ decides, without RocksDB: which rows a write consists of, what a start makes of the rows,
/// the mark and the write-ahead log that it finds, and when it must refuse. LogStore and the simulator's
/// modelled disk both use it.
namespace storage {

inline constexpr std::string_view damage_hint =
    "It may have promised or voted for what is lost, and an older copy of the directory has forgotten more: "
    "keep this replica "
    "down, see 'A disk is lost' in OPERATIONS.md";

struct LogRow {
  std::string key;
  std::string value;  ///< with its checksum
};

/// One group that waits for the disk.
struct LogGroup {
  std::uint64_t number = 0;
  std::vector<paxos::Record> records;
};

/// The rows of one write, each given to put(key, sealed value). `groups`: at least one, dense and ascending.
/// `promised`: as stored so far; gives the one that is stored with this write.
template <class Groups, class Put>
paxos::Ballot each_row(const Groups& groups, paxos::Ballot promised, Put&& put) {
  const auto sealed = [&](std::string_view key, std::string value) {
    put(key, seal_value(key, std::move(value)));
  };
  const paxos::Ballot before = promised;
  for (const auto& group : groups) {
    for (const paxos::Record& record : group.records) {
      if (const auto* vote = std::get_if<paxos::VoteRecord>(&record)) {
        sealed(log_key::slot(vote->slot), encode_slot(false, vote->ballot, vote->decree));
        promised = std::max(promised, vote->ballot);
      } else if (const auto* chosen = std::get_if<paxos::ChosenRecord>(&record)) {
        sealed(log_key::slot(chosen->slot), encode_slot(true, chosen->ballot, chosen->decree));
      } else if (const auto* promise = std::get_if<paxos::PromiseRecord>(&record)) {
        promised = std::max(promised, promise->ballot);
      } else if (const auto* prefix = std::get_if<paxos::ChosenPrefixRecord>(&record)) {
        sealed(log_key::chosen_prefix, encode_number(prefix->slot.n));
      } else if (const auto* trim = std::get_if<paxos::TrimRecord>(&record)) {
        sealed(log_key::first_slot, encode_number(trim->first.n));
      } else if (const auto* peer = std::get_if<paxos::PeerRecord>(&record)) {
        sealed(log_key::peer(peer->peer), encode_peer(*peer));
      } else if (const auto* outdated = std::get_if<paxos::OutdatedRecord>(&record)) {
        sealed(log_key::outdated, encode_outdated(*outdated));
      } else {
        sealed(log_key::birth, encode_birth(std::get<paxos::BirthRecord>(record)));
      }
    }
  }
  // A vote implies its promise; kept in one row, so that no restart has to scan the log for the highest.
  if (promised > before) sealed(log_key::promised, encode_ballot(promised));
  sealed(log_key::group, encode_group({.last = groups.back().number, .before = groups.front().number - 1}));
  return promised;
}

/// Where the log begins after these groups, where one of them says so.
template <class Groups>
std::optional<paxos::Slot> trimmed_to(const Groups& groups) {
  std::optional<paxos::Slot> first;
  for (const auto& group : groups)
    for (const paxos::Record& record : group.records)
      if (const auto* trim = std::get_if<paxos::TrimRecord>(&record)) first = trim->first;
  return first;
}

/// Whether a program that knows only older formats of the log reads this wrongly, or not at all: it knows of
/// no trimmed log and of no configuration but the first one.
[[nodiscard]] bool of_trimming_format(const paxos::Record& record);

/// And the row of the format that these groups need, where the log still has an older one: the same write
/// raises it.
template <class Groups, class Put>
void each_row_of_format(const Groups& groups, std::uint32_t format, Put&& put) {
  if (format >= trimming_format) return;
  const bool needed = std::any_of(groups.begin(), groups.end(), [](const auto& group) {
    return std::any_of(group.records.begin(), group.records.end(), of_trimming_format);
  });
  if (!needed) return;
  put(log_key::format, seal_value(log_key::format, encode_number(trimming_format)));
}

/// How far boots and groups are known to have been synced: see GroupMark.
struct LogMark {
  std::uint64_t boot = 0;
  std::uint64_t group = 0;
  friend auto operator<=>(const LogMark&, const LogMark&) = default;
};
inline constexpr std::size_t mark_cell_bytes = 24;  ///< boot, group, checksum
[[nodiscard]] std::string encode_mark(const LogMark& mark);
[[nodiscard]] std::optional<LogMark> decode_mark(std::string_view cell);

/// The write-ahead log's batches in the order in which they are found: each names the group before it, and
/// each start's own write says the last one again.
class GroupChain {
 public:
  /// Says what is missing before this batch; empty: nothing.
  [[nodiscard]] std::string follow(const GroupValue& found);

 private:
  std::optional<std::uint64_t> last_;  ///< group
};

struct LogOwner {
  std::string cluster_id;
  paxos::ReplicaId replica;
  paxos::Incarnation fresh_incarnation;         ///< for an empty directory
  std::uint64_t life = 0;                       ///< of this start; 0: it has none
  std::uint32_t format_known = format_version;  ///< the last one that this program reads
};

/// A row's value without its checksum; nothing where there is none; an error where it does not read.
using LogGet = std::function<tl::expected<std::optional<std::string>, std::string>(std::string_view key)>;
/// The same for a stored row.
[[nodiscard]] tl::expected<std::string, std::string> open_row(std::string_view key, std::string_view stored);

/// What a start makes of what it finds: everything but the entries, or why it must not start. Gives the rows
/// (the new boot, and in an empty directory the owner) that have to be synced, after all that was found,
/// before anything of it is used.
[[nodiscard]] tl::expected<std::vector<LogRow>, std::string> recover_log(const LogGet& get,
                                                                         const LogMark& mark,
                                                                         const LogOwner& owner,
                                                                         paxos::Recovered& out);

/// The row that gives the log the format of the rules in force (chat/versions.h), where it still has an older
/// one; to be synced before anything is written in it. Asked at a start, once the state says which rules
/// these are: a newer program leaves the log as older ones read it until then.
[[nodiscard]] tl::expected<std::optional<LogRow>, std::string> raised_format(const LogGet& get,
                                                                             std::uint32_t format);

/// What a start does about the state that it found, at `applied`: settles the chosen prefix, and what has to
/// be redone. Entries are to be read above `redo_to` only.
void settle(paxos::Recovered& recovered, paxos::Slot applied, const paxos::Hash& hash);
/// Slots that the log must have besides the entries, ascending: the last applied one, and the ends of what
/// has to be redone. What is between those shows when it is redone: nothing of it is voted on any more.
[[nodiscard]] std::vector<paxos::Slot> landmarks(const paxos::Recovered& recovered);
/// Why the replica must not start, where its log lacks this landmark.
[[nodiscard]] std::string landmark_missing(const paxos::Recovered& recovered, paxos::Slot slot);

}  // namespace storage
