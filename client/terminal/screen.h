#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace client {

/// One row of a full-screen view.
struct ScreenLine {
  std::string text;  ///< printable; cut to the screen's width
  enum class Look { plain, bold, alarm } look = Look::plain;
  friend bool operator==(const ScreenLine&, const ScreenLine&) = default;
};

/// The bytes that show `lines` on a screen of that size, nothing of the old left. Pure.
[[nodiscard]] std::string drawing(const std::vector<ScreenLine>& lines, std::size_t columns,
                                  std::size_t rows);
/// Standard output is a terminal, and $NO_COLOR is not set to anything (no-color.org).
[[nodiscard]] bool wants_colour();
/// Something that the program says by itself, less loud than people.
[[nodiscard]] std::string dimmed(std::string_view text, bool colour);
/// As many whole characters of `text` as take at most `columns`; UTF-8, no character of it wider than one
/// column.
[[nodiscard]] std::string_view cut(std::string_view text, std::size_t columns);

/// The whole terminal while it lives: the alternate screen, keys without Enter, no cursor. It gives the
/// terminal back as it was at its end, and when the process dies of a signal.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Both standard input and standard output are terminals.
  [[nodiscard]] static bool possible();
  void draw(const std::vector<ScreenLine>& lines);
  struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };
  [[nodiscard]] static Size size();

 private:
  termios before_{};
};

}  // namespace client
