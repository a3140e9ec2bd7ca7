#pragma once

#include <string>
#include <utility>

#include "chat/client_messages.h"

namespace paxosd {

/// The answer to an operator whose request is not carried out.
[[nodiscard]] inline chat::OperatorAnswer refused(std::string why) {
  return chat::DoneReply{.refused = std::move(why), .slots = {}, .next_free = {}};
}

}  // namespace paxosd
