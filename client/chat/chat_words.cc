#include "client/chat/chat_words.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

#include "client/chat/days.h"
#include "client/chat/message_text.h"
#include "client/terminal/printable.h"
#include "client/terminal/screen.h"
#include "client/terminal/words.h"

namespace client {

namespace {

constexpr std::string_view action = "/me ";
/// Told apart on dark and on light screens: no black, no white, and no yellow on white.
constexpr std::array<const char*, 10> colours{"31", "32", "34", "35", "36", "91", "92", "94", "95", "96"};

bool of_a_word(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u >= 0x80 || (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u == '_';
}

}  // namespace

std::string_view action_in(std::string_view text) {
  return text.starts_with(action) ? text.substr(action.size()) : std::string_view();
}

bool mentions(std::string_view text, std::string_view name) {
  if (name.empty()) return false;
  const std::string in = lower(text);
  const std::string word = lower(name);
  for (std::size_t at = in.find(word); at != std::string::npos; at = in.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !of_a_word(in[at - 1])) && (end == in.size() || !of_a_word(in[end]))) return true;
  }
  return false;
}

std::string shown_name(std::string_view name, bool colour) {
  const std::string text = name.empty() ? std::string("someone") : printable_name(name);
  if (!colour) return text;
  std::uint32_t sum = 2166136261U;  // FNV-1a: the same on every machine, today and tomorrow
  for (const char c : lower(name)) sum = (sum ^ static_cast<unsigned char>(c)) * 16777619U;
  return fmt::format("\x1b[1;{}m{}\x1b[0m", colours[(sum ^ sum >> 16) % colours.size()], text);
}

namespace {
/// In place of a text that was taken out.
std::string redaction_note(const chat::Redaction& redaction) {
  return "(redacted" + (redaction.by.empty() ? "" : " by " + printable_name(redaction.by)) +
         (redaction.reason.empty() ? "" : ": " + printable(redaction.reason)) + ")";
}
}  // namespace

std::string said(const chat::Message& m, const Look& look) {
  // From rules 2 on no name may hold that mark (chat/validate.cc): none can be made to look proven.
  const std::string poster = shown_name(m.name, look.colour) + (m.proven ? "\u2713" : "");
  if (m.redacted)
    return poster + written_note(m.written_ms, m.time_ms) + ": " +
           dimmed(redaction_note(*m.redacted), look.colour);
  const std::string_view deed = action_in(m.text);
  const std::string text = indented(deed.empty() ? std::string_view(m.text) : deed, look.lines_max);
  const bool called = look.colour && m.name != look.me && mentions(m.text, look.me);
  const std::string shown = called ? "\x1b[1;7m" + text + "\x1b[0m" : text;
  const std::string who = poster + written_note(m.written_ms, m.time_ms);
  return deed.empty() ? who + ": " + shown : "* " + who + " " + shown;
}

}  // namespace client
