#pragma once

#include <string>
#include <string_view>
#include <vector>

/// What people type for a room, and what they mean by it. Pure, but for the C library's table of lower-case
/// letters.
namespace client {

/// One leading '#' less, and every letter that has a lower case in it: "#Ops" is "ops". A lone '#' stays.
[[nodiscard]] std::string fold_room(std::string_view typed);
/// Whether it is a room's usual name: folded already, nothing blank at its ends. Nobody has to be asked what
/// it means.
[[nodiscard]] bool is_plain_room(std::string_view name);
/// Why no new room may be called so; empty: it may.
[[nodiscard]] std::string room_fault(std::string_view name);
/// The room that was probably meant: one or two typing errors away, fewer than it has letters; empty: none.
[[nodiscard]] std::string near_room(std::string_view name, const std::vector<std::string>& rooms);
/// "; did you mean ops?", or nothing.
[[nodiscard]] std::string did_you_mean(const std::string& near);

/// The room that two people have for themselves: "@ann,bob", the same whoever of the two asks. Folded.
[[nodiscard]] std::string room_of_two(std::string_view one, std::string_view other);
/// Who else it belongs to; empty: it is no room of two, or not this one's.
[[nodiscard]] std::string other_of_two(std::string_view room, std::string_view me);

}  // namespace client
