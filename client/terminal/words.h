#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace client {

/// Lower case, letter by letter: the same for everybody, whatever the person's own locale.
[[nodiscard]] std::string lower(std::string_view text);
/// The rows of a text that takes at most `columns` of a terminal, broken between words where that is
/// possible; all but the first begin with `indent`. Requires printable text.
[[nodiscard]] std::vector<std::string> folded(std::string_view text, std::size_t columns,
                                              std::string_view indent);
/// "1 message", "2 messages"
[[nodiscard]] std::string counted(std::uint64_t n, const std::string& noun);

}  // namespace client
