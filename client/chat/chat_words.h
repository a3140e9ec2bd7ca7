#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chat/machine.h"

/// How messages look to people. Pure.
namespace client {

/// What a message that begins with "/me " says of its sender: "waves"; nothing inside: it is an ordinary one.
[[nodiscard]] std::string_view action_in(std::string_view text);
/// Whether `text` names `name`: the whole word, in whatever case; "@ann" and "ann:" do, "annabel" does not.
[[nodiscard]] bool mentions(std::string_view text, std::string_view name);

struct Look {
  bool colour = false;
  std::string_view me = {};          ///< whose mentions stand out; empty: nobody's
  std::size_t lines_max = SIZE_MAX;  ///< of the text: message_text.h
};
/// "ann" in a colour of its own, the same everywhere; without colour as it is. Printable.
[[nodiscard]] std::string shown_name(std::string_view name, bool colour);
/// What stands behind the time: "ann: hello", "* ann waves".
[[nodiscard]] std::string said(const chat::Message& message, const Look& look);

}  // namespace client
