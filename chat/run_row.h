#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "chat/bounds.h"
#include "chat/rows.h"
#include "paxos/coding.h"
#include "paxos/types.h"

namespace chat {

/// What stands before the messages in the row of a run (docs/ROWS.md, "Messages").
struct RunHead {
  /// Of a message that came under a key.
  struct Poster {
    std::uint64_t place = 0;  ///< in the run
    std::uint32_t key = 0;
    bool proven = false;  ///< the name that it stands under is that key's own
  };
  paxos::Slot slot;
  std::int64_t time_ms = 0;
  std::uint64_t count = 0;                                     ///< of messages
  std::vector<std::pair<std::uint64_t, std::int64_t>> stamps;  ///< place, when it was written
  std::vector<Poster> posters;                                 ///< ascending by place, as the above
};

/// `r` then stands at the first message. It has failed where they are none of a run's.
inline RunHead read_run_head(paxos::ByteReader& r) {
  RunHead head;
  const auto version = r.fixed<std::uint8_t>();
  if (version < rows::row_version || version > rows::keyed_run_version) r.fail();
  head.slot.n = r.fixed<std::uint64_t>();
  head.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  head.count = r.varint();
  if (version >= rows::stamped_run_version)
    for (std::uint64_t left = r.varint_max(limits::commands_per_decree_max); left > 0 && r.ok(); --left) {
      const std::uint64_t place = r.varint();
      head.stamps.emplace_back(place, static_cast<std::int64_t>(r.varint()));
    }
  if (version >= rows::keyed_run_version)
    for (std::uint64_t left = r.varint_max(limits::commands_per_decree_max); left > 0 && r.ok(); --left) {
      RunHead::Poster poster;
      poster.place = r.varint();
      poster.key = r.fixed<std::uint32_t>();
      const auto proven = r.fixed<std::uint8_t>();
      if (poster.key == 0 || proven > 1) r.fail();
      poster.proven = proven == 1;
      head.posters.push_back(poster);
    }
  return head;
}

}  // namespace chat
