#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chat/bounds.h"
#include "chat/command.h"
#include "paxos/coding.h"

/// Keys of the state store. One family byte first; numbers that sort are big-endian. docs/ROWS.md has the
/// values. Persisted: a family byte is never reused.
namespace chat::rows {

inline constexpr char family_meta = 'a';     ///< one row: applied slot, hash, session clock, rules version
inline constexpr char family_hash = 'h';     ///< 'h' slot -> hash and the verdicts that were not `done`
inline constexpr char family_access = 'i';   ///< 'i' id -> the key that was issued under it; of id 0: whether
                                             ///< others may post; of id 2^32: which secrets are good
inline constexpr char family_journal = 'j';  ///< 'j' slot mod journal_slots -> sessions and rooms it changed
inline constexpr char family_key =
    'k';  ///< 'k' room length, room, key -> the message that stands under the key
inline constexpr char family_message = 'm';  ///< 'm' room length, room, first room seq -> run of messages
inline constexpr char family_kept =
    'n';  ///< 'n' room length, room -> what it keeps, and from where on; of no room: the rule for all
inline constexpr char family_room = 'r';     ///< 'r' room -> head, as of when it fell out of the journal
inline constexpr char family_session = 's';  ///< 's' session slot, index -> session, likewise

inline constexpr char family_configuration =
    'c';  ///< one row: the configuration of the slot after the applied one, where it is not the first one

inline constexpr char family_topic = 't';  ///< 't' room -> its topic, where it has one
inline constexpr char family_redaction =
    'x';  ///< 'x' room length, room, room seq -> who took that message's text out, and why
/// 'y' room length, room, room seq -> whether that text is off this replica's disk. The only rows that are
/// each replica's own.
inline constexpr char family_erasure = 'y';
/// 'p' -> how far this state came as a snapshot from another replica (chat/snapshot.h); likewise its own.
inline constexpr char family_progress = 'p';

/// Every row's value begins with it.
inline constexpr std::uint8_t row_version = 1;
/// Of a run of messages with one that says when it was written: from rules 2 on.
inline constexpr std::uint8_t stamped_run_version = 2;
/// Of one with a message that came under a key: likewise.
inline constexpr std::uint8_t keyed_run_version = 3;
/// Of a journal row that says what its slot changed, not what each session is: from rules 2 on.
inline constexpr std::uint8_t change_row_version = 2;
/// A ring: the row of slot n takes the place of that of slot n - journal_slots. What tests make smaller is
/// MachineBounds::journal_slots.
inline constexpr std::uint64_t journal_slots = limits::journal_slots;

inline std::string number_key(char family, std::uint64_t n) {
  std::string key(1, family);
  paxos::ByteWriter(key).key64(n);
  return key;
}
/// First key after a family's.
inline std::string family_end(char family) { return std::string(1, static_cast<char>(family + 1)); }
inline std::string family_begin(char family) { return std::string(1, family); }

inline std::string progress() { return std::string(1, family_progress); }
inline std::string meta() { return std::string(1, family_meta); }
inline std::string configuration() { return std::string(1, family_configuration); }
inline std::string hash(paxos::Slot slot) { return number_key(family_hash, slot.n); }
/// Hashes of trimmed slots go, but those of the slots that this divides: two replicas that part for long have
/// one in common that they can be compared by.
inline constexpr std::uint64_t hash_stride = 4096;
inline std::string journal(paxos::Slot slot, std::uint64_t ring = journal_slots) {
  return number_key(family_journal, slot.n % ring);
}
/// `name`: room and key as KeyTable::name_of() joins them.
inline std::string key(std::string_view name) { return std::string(1, family_key) + std::string(name); }
inline std::string room(std::string_view name) { return std::string(1, family_room) + std::string(name); }
inline std::string kept(std::string_view room) {
  std::string key{family_kept, static_cast<char>(room.size())};
  return key.append(room);
}
inline std::string access(std::uint32_t id) { return number_key(family_access, id); }
inline std::string secrets() { return number_key(family_access, std::uint64_t{1} << 32); }
inline std::string topic(std::string_view room) { return std::string(1, family_topic) + std::string(room); }
inline std::string session(const SessionId& id) {
  std::string key = number_key(family_session, id.slot.n);
  paxos::ByteWriter(key).key64(id.index);
  return key;
}
/// The room's length comes first, so that no room's keys lie between another's.
inline std::string in_room(char family, std::string_view room, std::uint64_t seq) {
  std::string key;
  key.reserve(10 + room.size());
  key.push_back(family);
  key.push_back(static_cast<char>(room.size()));
  key.append(room);
  paxos::ByteWriter(key).key64(seq);
  return key;
}
inline std::string message(std::string_view room, std::uint64_t seq) {
  return in_room(family_message, room, seq);
}
inline std::string redaction(std::string_view room, std::uint64_t seq) {
  return in_room(family_redaction, room, seq);
}
inline std::string erasure(std::string_view room, std::uint64_t seq) {
  return in_room(family_erasure, room, seq);
}

}  // namespace chat::rows
