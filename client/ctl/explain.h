#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chat/client_messages.h"
#include "client/session/json.h"
#include "paxos/types.h"

/// `paxosctl explain`: makes one story of what the replicas remember of a slot. Pure.
namespace client {

/// What one replica said, or why it said nothing.
struct Witness {
  paxos::ReplicaId id;
  std::optional<chat::ExplainReply> reply;
  std::string silence;  ///< "does not answer", …
};

enum class SlotState { unknown, unproposed, hole, skipped, proposed, chosen, applied, trimmed };

struct Story {
  SlotState state = SlotState::unknown;
  std::string summary;             ///< a few sentences
  std::vector<std::string> notes;  ///< who does not remember, and why
  Json json;                       ///< as `explain --json` prints it
};

[[nodiscard]] Story tell_story(paxos::Slot slot, std::size_t quorum, const std::vector<Witness>& witnesses);

/// "votes under ballot 1.0": what `entry` says, by replica `self`; with the slots it covers when `ranges`.
[[nodiscard]] std::string describe(const chat::FlightEntry& entry, paxos::ReplicaId self, bool ranges);
[[nodiscard]] Json entry_json(const chat::FlightEntry& entry);

/// "14:03:05.123456", local time.
[[nodiscard]] std::string clock_text(std::int64_t unix_ns);

}  // namespace client
