#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace client {

/// A message's text as people see it behind "12:34:56 ann: ": each of its lines printable, those after the
/// first on rows of their own, indented by the width of a time. So no line of a text looks like another
/// message. Of more than `lines_max` lines the rest is counted.
[[nodiscard]] std::string indented(std::string_view text, std::size_t lines_max = SIZE_MAX);
/// Its beginning on one row, at most `columns` characters, line breaks as escapes.
[[nodiscard]] std::string on_one_row(std::string_view text, std::size_t columns);

inline constexpr std::size_t indent = 9;

}  // namespace client
