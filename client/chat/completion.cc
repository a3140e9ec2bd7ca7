#include "client/chat/completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "client/session/room_names.h"
#include "client/terminal/printable.h"
#include "client/terminal/words.h"
#include "config/flags.h"

namespace client {

const std::vector<ChatCommand>& chat_commands() {
  static const std::vector<ChatCommand> all{
      {"/join", "ROOM", "go to a room; the ones before stay joined"},
      {"/leave", "[ROOM]", "be in a room no longer"},
      {"/rooms", "", "which rooms there are"},
      {"/next", "", "the next room with something new"},
      {"/msg", "NAME [TEXT]", "a room of two; not a secret: who has the cluster's key can read it"},
      {"/who", "", "who is here, and who was"},
      {"/nick", "[NAME]", "call yourself something else"},
      {"/name", "[NAME]", ""},
      {"/me", "TEXT", "say what you do: * ann waves"},
      {"/topic", "[TEXT | -]", "what this room is about; - takes it away"},
      {"/search", "TEXT", "messages of this room that have it in them"},
      {"/history", "[N]", "show its last N messages (default 20)"},
      {"/help", "", "this"},
      {"/quit", "", "leave (Ctrl-D and Ctrl-C do it, too)"},
      {"/exit", "", ""},
  };
  return all;
}

std::vector<std::string> chat_help() {
  std::vector<std::string> out;
  for (const ChatCommand& command : chat_commands())
    if (!command.about.empty())
      out.push_back(fmt::format(
          "{:<20} {}",
          fmt::format("{}{}{}", command.name, command.arguments.empty() ? "" : " ", command.arguments),
          command.about));
  for (const char* line : {
           "//text               a message that begins with a slash",
           "Alt-Enter            a line break in a message; a paste of several lines asks first",
           "Tab                  completes commands, rooms and names",
           "Alt-1 ... Alt-9      the room of that number",
           "Up, Down, Ctrl-R     what you wrote before; Ctrl-R searches it, Ctrl-G lets it be",
           "Alt-B, Alt-F         a word back, forward; Ctrl-A, Ctrl-E: to the begin, the end",
           "Ctrl-W, -U, -K       take a word away, all before the cursor, all behind it",
           "Ctrl-L, Ctrl-Z       clear the screen; stop until `fg`",
       })
    out.emplace_back(line);
  return out;
}

std::string no_such_command(const std::string& word) {
  std::vector<std::string> names;
  for (const ChatCommand& command : chat_commands()) names.emplace_back(command.name);
  std::string near = config::nearest(word, names);
  if (near.empty() && word.size() > 1)
    for (const std::string& name : names)
      if (near.empty() && name.starts_with(word)) near = name;
  return fmt::format("there is no command {}{}; /help lists them, //… sends a text that begins with a slash",
                     word, near.empty() ? "" : "; did you mean " + near + "?");
}

namespace {

/// The longest beginning that all have, cut between characters.
std::string common(const std::vector<std::string>& words) {
  std::string out = words.front();
  for (const std::string& word : words) {
    std::size_t n = 0;
    while (n < std::min(out.size(), word.size()) && out[n] == word[n]) ++n;
    out.resize(n);
  }
  const auto cuts_one = [&] {
    return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
      return word.size() > out.size() && (static_cast<unsigned char>(word[out.size()]) & 0xc0) == 0x80;
    });
  };
  while (!out.empty() && cuts_one()) out.pop_back();
  return out;
}

}  // namespace

Completion complete(std::string_view line, const std::vector<std::string>& rooms,
                    const std::vector<std::string>& names) {
  const std::size_t space = line.rfind(' ');
  Completion out{.from = space == std::string_view::npos ? 0 : space + 1, .text = {}, .candidates = {}};
  const std::string_view word = line.substr(out.from);
  const std::string_view command = line.substr(0, line.find(' '));
  std::string behind = " ";
  const auto take = [&](const std::vector<std::string>& all, std::string_view begin) {
    const std::string folded = lower(begin);
    for (const std::string& one : all)
      // What nobody can see is not typed for anybody.
      if (lower(one).starts_with(folded) && printable_name(one) == one) out.candidates.push_back(one);
  };
  if (out.from == 0 && word.starts_with('/')) {
    std::vector<std::string> commands;
    for (const ChatCommand& known : chat_commands()) commands.emplace_back(known.name);
    take(commands, word);
  } else if ((command == "/join" || command == "/leave") && line.find(' ') + 1 == out.from) {
    take(rooms, word.starts_with('#') ? word.substr(1) : word);
  } else if (!word.empty()) {
    const bool at = word.starts_with('@');
    take(names, at ? word.substr(1) : word);
    if (at) ++out.from;
    if (out.from == 0) behind = ": ";
  }
  std::sort(out.candidates.begin(), out.candidates.end());
  out.candidates.erase(std::unique(out.candidates.begin(), out.candidates.end()), out.candidates.end());
  out.text = line.substr(out.from);
  if (out.candidates.size() == 1)
    out.text = out.candidates.front() + behind;
  else if (!out.candidates.empty())
    if (std::string all = common(out.candidates); all.size() > out.text.size()) out.text = std::move(all);
  return out;
}

}  // namespace client
