#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "paxos/records.h"

/// Keys and values of log/: docs/DISK.md has every byte. Every value ends with an XXH3-64 of its key and
/// itself.
namespace storage {

/// The first one that this program reads and writes; later ones: chat/versions.h.
inline constexpr std::uint32_t format_version = 2;
/// The first one in which a log need not begin with slot 1.
inline constexpr std::uint32_t trimming_format = 3;

namespace log_key {
inline constexpr std::string_view format = "m/format";
inline constexpr std::string_view cluster = "m/cluster";
inline constexpr std::string_view replica = "m/replica";
inline constexpr std::string_view incarnation = "m/incarnation";
inline constexpr std::string_view boot = "m/boot";
inline constexpr std::string_view birth = "m/birth";
inline constexpr std::string_view promised = "m/promised";
inline constexpr std::string_view chosen_prefix = "m/chosen_prefix";
inline constexpr std::string_view first_slot = "m/first_slot";  ///< from format 3 on, once it was trimmed
inline constexpr std::string_view group = "m/group";            ///< of this write: see GroupValue
inline constexpr std::string_view lives = "m/lives";
inline constexpr std::string_view outdated = "m/outdated";
[[nodiscard]] std::string peer(paxos::ReplicaId id);  ///< "m/peer/" and a digit
inline constexpr char slot_family = 's';
[[nodiscard]] std::string slot(paxos::Slot slot);
[[nodiscard]] std::optional<paxos::Slot> parse_slot(std::string_view key);
}  // namespace log_key

/// Appends the checksum; the value as it is stored.
[[nodiscard]] std::string seal_value(std::string_view key, std::string value);
/// The value without its checksum, or nothing when it does not fit.
[[nodiscard]] std::optional<std::string_view> open_value(std::string_view key, std::string_view stored);

[[nodiscard]] std::string encode_number(std::uint64_t n);
[[nodiscard]] std::optional<std::uint64_t> decode_number(std::string_view value);
/// What one write holds: groups `before` + 1 to `last`. Both 0: there is no group yet.
struct GroupValue {
  std::uint64_t last = 0;
  std::uint64_t before = 0;
};
[[nodiscard]] std::string encode_group(const GroupValue& group);
[[nodiscard]] std::optional<GroupValue> decode_group(std::string_view value);
[[nodiscard]] std::string encode_ballot(paxos::Ballot ballot);
[[nodiscard]] std::optional<paxos::Ballot> decode_ballot(std::string_view value);
[[nodiscard]] std::string encode_peer(const paxos::PeerRecord& peer);
[[nodiscard]] std::optional<paxos::PeerRecord> decode_peer(paxos::ReplicaId id, std::string_view value);
[[nodiscard]] std::string encode_lives(const std::vector<paxos::Life>& lives);
[[nodiscard]] std::optional<std::vector<paxos::Life>> decode_lives(std::string_view value);
[[nodiscard]] std::string encode_outdated(const paxos::OutdatedRecord& outdated);
[[nodiscard]] std::optional<paxos::OutdatedRecord> decode_outdated(std::string_view value);
[[nodiscard]] std::string encode_birth(const paxos::BirthRecord& birth);
[[nodiscard]] std::optional<paxos::BirthRecord> decode_birth(std::string_view value);
[[nodiscard]] std::string encode_slot(bool chosen, paxos::Ballot ballot, const paxos::Decree& decree);
[[nodiscard]] std::optional<paxos::LogEntry> decode_slot(paxos::Slot slot, std::string_view value);

}  // namespace storage
