#include "client/terminal/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "chat/invisible.h"

namespace client {

namespace {

bool moves_the_terminal(std::uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0x200e || point == 0x200f || point == 0x061c;
}

enum class Kind : std::uint8_t { text, name, lines };

std::string cleaned(std::string_view text, Kind kind) {
  std::string out;
  out.reserve(text.size());
  for (chat::InvisibleScan scan(text); !scan.done();) {
    const auto step = scan.next();
    const chat::Character c = step.character;
    const std::string_view bytes = text.substr(0, std::max<std::size_t>(c.bytes, 1));
    text.remove_prefix(bytes.size());
    if (c.bytes == 0)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
    else if (c.point == '\n' && kind == Kind::lines)
      out += '\n';
    else if (c.point == '\n')
      out += "\\n";
    else if (c.point == '\t')
      out += "\\t";
    else if (moves_the_terminal(c.point) || (kind == Kind::name && step.invisible))
      out += c.point < 0x100 ? fmt::format("\\x{:02x}", c.point) : fmt::format("\\u{:04x}", c.point);
    else
      out += bytes;
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return cleaned(text, Kind::text); }
std::string printable_name(std::string_view text) { return cleaned(text, Kind::name); }
std::string printable_lines(std::string_view text) { return cleaned(text, Kind::lines); }

}  // namespace client
