#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "paxos/messages.h"

/// Bytes of the protocol's messages (docs/WIRE.md): the type's number, then its fields. One value has one
/// encoding; the decoder takes exactly all of its input.
namespace net {

/// Persistent: numbers are never reused; 0 stays reserved.
enum class PeerType : std::uint8_t {
  heartbeat_request = 1,
  heartbeat_reply = 2,
  hand_over = 3,
  prepare = 4,
  promise = 5,
  accept = 6,
  accepted = 7,
  nack = 8,
  commit = 9,
  learn_request = 10,
  learn_reply = 11,
  read_confirm = 12,
  read_confirmed = 13,
  read_request = 14,
  read_reply = 15,
  birth = 16,
  forward = 17,
  outdated = 18,  ///< from format 2 on, as those below
  introduce = 19,
  introduction = 20,
  configured_heartbeat_request = 21,  ///< from a sender in a later configuration than the first
};

/// No encoded message is larger.
inline constexpr std::size_t peer_message_bytes_max = paxos::limits::message_bytes_max;

/// Widest range in an Accepted. A follower votes in at most this many slots beyond its chosen prefix.
inline constexpr std::uint64_t accepted_range_max = paxos::limits::unapplied_slots_max;

/// Appends the message. Requires: counts and sizes within paxos/bounds.h and chat/bounds.h.
void encode(std::string& out, const paxos::PeerMessage& message);

/// The same; returns how many of its bytes identify it: what follows them (the sender's chosen prefix in
/// Accept and LearnReply) may be newer each time that the same thing is said again.
std::size_t encode_stable(std::string& out, const paxos::PeerMessage& message);

/// Decodes exactly all of `bytes`, with every field in range: replica ids below replicas_max, slots and
/// ballots not none where one is required, lists ascending and bounded. Otherwise a reason. Decree values and
/// commands are slices of `bytes`.
[[nodiscard]] tl::expected<paxos::PeerMessage, const char*> decode_peer(const paxos::Bytes& bytes);

/// Whether values decoded from a message hold slices of its bytes.
[[nodiscard]] bool keeps_slices(std::span<const std::byte> peer_message);

}  // namespace net
