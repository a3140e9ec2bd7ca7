#pragma once

#include <string>
#include <string_view>

namespace client {

/// Text as it may reach a terminal: control characters (C0, C1, DEL), line and paragraph separators,
/// direction overrides, and bytes that are no UTF-8 become escapes: \n, \t, \x1b, \u202e.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace client
