#pragma once

#include <string>

#include "paxos/messages.h"
#include "paxos/records.h"

/// One line of text for each message, for transcripts that people read.
namespace interaction {

[[nodiscard]] std::string describe(const paxos::PeerMessage& message);

}  // namespace interaction
