#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// The commands of the chat, and what Tab makes of the beginning of one, of a room's or of a person's name.
/// Pure.
namespace client {

struct ChatCommand {
  std::string_view name;       ///< "/join"
  std::string_view arguments;  ///< "ROOM"
  std::string_view about;      ///< empty: another name of the one before
};
[[nodiscard]] const std::vector<ChatCommand>& chat_commands();
/// The whole /help, a line each, keys included.
[[nodiscard]] std::vector<std::string> chat_help();
/// "there is no command /jion; did you mean /join? /help lists them, //… …"
[[nodiscard]] std::string no_such_command(const std::string& word);

struct Completion {
  std::size_t from = 0;  ///< where in the line the word begins that is completed
  std::string text;      ///< what takes its place, up to the cursor; as long as the candidates agree
  std::vector<std::string> candidates;  ///< more than one: to be shown
};
/// `line`: as far as the cursor. `rooms`, `names`: what there is.
[[nodiscard]] Completion complete(std::string_view line, const std::vector<std::string>& rooms,
                                  const std::vector<std::string>& names);

}  // namespace client
