#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

#include "client/terminal/printable.h"

namespace client {

/// Text of this program's own making: colours, moves of the cursor, what is cleaned already. Everything else
/// is foreign.
struct Own {
  std::string_view text;
};
/// Foreign text whose line breaks stay.
struct Lines {
  std::string_view text;
};

namespace detail {
template <class T>
auto shown(const T& value) {
  if constexpr (std::is_same_v<T, Own>)
    return value.text;
  else if constexpr (std::is_same_v<T, Lines>)
    return printable_lines(value.text);
  else if constexpr (std::is_convertible_v<const T&, const char*>)  // a literal, mostly: may break the line
    return printable_lines(static_cast<const char*>(value));
  else if constexpr (std::is_convertible_v<const T&, std::string_view>)
    return printable(static_cast<std::string_view>(value));
  else {
    static_assert(std::is_arithmetic_v<T>,
                  "a number or a string; others would bring their text past printable()");
    return value;
  }
}
template <class T>
using Shown = decltype(shown(std::declval<const T&>()));
/// Errors of the stream stay in it (std::ferror).
void put(std::FILE* to, std::string_view text);
}  // namespace detail

/// How the programs speak: every string among the arguments counts as foreign (a replica's, a file's, another
/// person's) and can't move the terminal; `text`, a literal, may. tests/layering.py sees that nothing is
/// printed past it.
template <class... Args>
void say(std::FILE* to, fmt::format_string<detail::Shown<Args>...> text, const Args&... args) {
  detail::put(to, fmt::vformat(fmt::string_view(text), fmt::make_format_args(detail::shown(args)...)));
}

}  // namespace client
