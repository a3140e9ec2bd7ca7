#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace client {

/// Lower case, letter by letter: the same for everybody, whatever the person's own locale.
[[nodiscard]] std::string lower(std::string_view text);
/// "1 message", "2 messages"
[[nodiscard]] std::string counted(std::uint64_t n, const std::string& noun);

}  // namespace client
