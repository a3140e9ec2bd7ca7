#pragma once

#include <string>
#include <string_view>

namespace client {

/// Text as it may reach a terminal: control characters (C0, C1, DEL), line and paragraph separators,
/// direction overrides, and bytes that are no UTF-8 become escapes: \n, \t, \x1b, \u202e.
[[nodiscard]] std::string printable(std::string_view text);
/// The same for what tells people apart, rooms and names: what nobody can see (chat/invisible.h) becomes an
/// escape, too.
[[nodiscard]] std::string printable_name(std::string_view text);
/// The same for what a program says in sentences of its own with foreign words in them: its line breaks stay.
[[nodiscard]] std::string printable_lines(std::string_view text);

}  // namespace client
