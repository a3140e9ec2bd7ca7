#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chat/command.h"
#include "paxos/coding.h"

/// Keys of the state store. One family byte first; numbers that sort are big-endian. docs/DISK.md has the
/// values.
namespace chat::rows {

inline constexpr char family_meta = 'a';     ///< one row: applied slot, hash, session clock, rules version
inline constexpr char family_hash = 'h';     ///< 'h' slot -> hash and the verdicts that were not `done`
inline constexpr char family_message = 'm';  ///< 'm' room length, room, first room seq -> run of messages
inline constexpr char family_room = 'r';     ///< 'r' room -> head
inline constexpr char family_session = 's';  ///< 's' session slot, index -> session

inline std::string number_key(char family, std::uint64_t n) {
  std::string key(1, family);
  paxos::ByteWriter(key).key64(n);
  return key;
}
inline std::string meta() { return std::string(1, family_meta); }
inline std::string hash(paxos::Slot slot) { return number_key(family_hash, slot.n); }
inline std::string room(std::string_view name) { return std::string(1, family_room) + std::string(name); }
inline std::string session(const SessionId& id) {
  std::string key = number_key(family_session, id.slot.n);
  paxos::ByteWriter(key).key64(id.index);
  return key;
}
/// The room's length comes first, so that no room's keys lie between another's.
inline std::string message(std::string_view room, std::uint64_t seq) {
  std::string key(1, family_message);
  key.push_back(static_cast<char>(room.size()));
  key.append(room);
  paxos::ByteWriter(key).key64(seq);
  return key;
}

}  // namespace chat::rows
