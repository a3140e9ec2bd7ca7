#pragma once

#include "paxos/bounds.h"
#include "paxos/coding.h"
#include "paxos/types.h"

namespace paxos {

/// In the byte of a ballot's replica, in datagrams and on disk: its configuration follows, since it is not
/// the first one. So a ballot of the first has the bytes that it always had.
inline constexpr std::uint8_t later_configuration = 0x80;

[[nodiscard]] inline std::uint8_t replica_byte(const Ballot& ballot) {
  return static_cast<std::uint8_t>(ballot.configuration == 1 ? ballot.replica.n
                                                             : ballot.replica.n | later_configuration);
}

/// As datagrams have it: round varint, replica u8, configuration varint where it is not 1.
inline void put_ballot(ByteWriter& w, const Ballot& ballot) {
  w.varint(ballot.round);
  w.fixed(replica_byte(ballot));
  if (ballot.configuration != 1) w.varint(ballot.configuration);
}

/// The number of a configuration that is not the first one, varint.
[[nodiscard]] inline std::uint32_t get_later_configuration(ByteReader& r) {
  const auto number = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  if (number < 2) r.fail();
  return number;
}

[[nodiscard]] inline Ballot get_ballot(ByteReader& r) {
  Ballot ballot;
  ballot.round = r.varint();
  const auto byte = r.fixed<std::uint8_t>();
  ballot.replica.n = byte & static_cast<std::uint8_t>(~later_configuration);
  if (ballot.replica.n >= limits::replicas_max) r.fail();
  if ((byte & later_configuration) != 0) ballot.configuration = get_later_configuration(r);
  return ballot;
}

}  // namespace paxos
