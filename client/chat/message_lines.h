#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chat/machine.h"
#include "client/session/json.h"

namespace client {

/// A message as `history`, `follow` and receipts show it (CLI.md).
[[nodiscard]] Json to_json(const chat::Message& message);

/// "12:34:56 ann: hello", "12:34:56 * ann waves"; the second line of a text and those after it follow
/// indented (message_text.h). At most `lines_max` lines of it, and how many more there are. With colour, who
/// calls `me` stands out.
[[nodiscard]] std::string to_line(const chat::Message& message, bool colour, std::size_t lines_max = SIZE_MAX,
                                  std::string_view me = {});

}  // namespace client
