#include "client/terminal/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <clocale>
#include <cstdint>
#include <cwctype>

#include "chat/invisible.h"
#include "client/terminal/line_editor.h"
#include "client/terminal/screen.h"

namespace client {

namespace {

/// The same for everybody, whatever the person's own locale.
locale_t unicode() {
  static const locale_t found = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return found;
}

std::uint32_t lower_point(std::uint32_t point) {
  if (point < 0x80) return point >= 'A' && point <= 'Z' ? point + 32 : point;
  return unicode() == nullptr
             ? point
             : static_cast<std::uint32_t>(::towlower_l(static_cast<wint_t>(point), unicode()));
}

void append(std::string& out, std::uint32_t point) {
  const auto byte = [&](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
  if (point < 0x80) return byte(point);
  if (point < 0x800) {
    byte(0xc0 | point >> 6);
    byte(0x80 | (point & 0x3f));
    return;
  }
  if (point < 0x10000) {
    byte(0xe0 | point >> 12);
  } else {
    byte(0xf0 | point >> 18);
    byte(0x80 | (point >> 12 & 0x3f));
  }
  byte(0x80 | (point >> 6 & 0x3f));
  byte(0x80 | (point & 0x3f));
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const chat::Character c = chat::first_character(text);
    if (c.bytes == 0)
      out.push_back(text[0]);
    else
      append(out, lower_point(c.point));
    text.remove_prefix(c.bytes == 0 ? 1 : c.bytes);
  }
  return out;
}

std::vector<std::string> folded(std::string_view text, std::size_t columns, std::string_view indent) {
  // The last column stays free: a cursor behind it wraps on some terminals.
  const std::size_t width = std::max(columns, indent.size() + 9) - 1;
  std::vector<std::string> rows;
  std::string before;
  while (columns_of(text) > width - before.size()) {
    std::string_view part = cut(text, width - before.size());
    for (std::size_t n = part.size(); n > 1 && columns_of(part) > width - before.size(); --n)
      part = cut(text, n - 1);  // wide characters
    const std::size_t space =
        part.size() < text.size() && text[part.size()] == ' ' ? part.size() : part.rfind(' ');
    const bool between = space != std::string_view::npos && text.find_first_not_of(" -") < space;
    const std::size_t end = between ? space : part.size();
    rows.push_back(before + std::string(text.substr(0, end)));
    text.remove_prefix(std::min(text.find_first_not_of(' ', end), text.size()));
    before = indent;
  }
  if (!text.empty() || rows.empty()) rows.push_back(before + std::string(text));
  return rows;
}

std::string counted(std::uint64_t n, const std::string& noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

}  // namespace client
