#include "client/chat/message_text.h"

#include <algorithm>

#include "client/terminal/printable.h"
#include "client/terminal/screen.h"

namespace client {

std::string indented(std::string_view text, std::size_t lines_max) {
  std::string out;
  for (std::size_t line = 1;; ++line) {
    const std::size_t end = text.find('\n');
    out += printable(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    out += "\n" + std::string(indent, ' ');
    text.remove_prefix(end + 1);
    if (line < lines_max) continue;
    const auto more = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    return out + "(" + std::to_string(more) + (more == 1 ? " line more)" : " lines more)");
  }
}

std::string on_one_row(std::string_view text, std::size_t columns) {
  const std::string whole = printable(text.substr(0, 4 * columns + 4));
  const std::string_view part = cut(whole, columns);
  return part.size() == whole.size() && text.size() <= 4 * columns + 4
             ? whole
             : std::string(cut(whole, columns - 1)) + "…";
}

}  // namespace client
