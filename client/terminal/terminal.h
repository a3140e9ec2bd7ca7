#pragma once

#include <termios.h>

#include <string>
#include <string_view>
#include <vector>

#include "client/terminal/line_editor.h"

namespace client {

/// Standard input and output as a terminal: raw mode while it lives, one input line at the bottom, everything
/// else above it. Without a terminal it prints plain lines and edits nothing.
class Terminal {
 public:
  explicit Terminal(LineEditor& editor);
  ~Terminal();  ///< gives the terminal back as it was
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Both standard input and standard output are terminals.
  [[nodiscard]] bool interactive() const { return interactive_; }
  void set_prompt(std::string prompt);
  /// Lines between what was printed and the input line, until they are set anew; each is cut to a row.
  /// Printable, no colours.
  void set_standing(std::vector<std::string> lines);
  /// One line above the input line. `line`: printable text, colours allowed.
  void print(std::string_view line);
  void redraw();
  void ring();
  /// Everything off the screen but the input line.
  void clear();
  /// Ctrl-Z: gives the terminal back and stops the process, with all others of its job; goes on where it was.
  void suspend();
  /// The terminal has another size now: what was drawn is taken away however it was wrapped anew, and drawn
  /// again.
  void resized();
  /// That it has now.
  [[nodiscard]] static std::size_t columns();

 private:
  void write(std::string_view bytes);
  /// To the first of the standing lines, and nothing from there on.
  [[nodiscard]] std::string cleared() const;
  [[nodiscard]] std::string standing_rows(std::size_t width);

  LineEditor& editor_;
  bool interactive_;
  termios before_{};
  termios raw_{};
  bool colour_;
  std::string prompt_;
  std::size_t cursor_ = 0;  ///< its column, as drawn last
  std::vector<std::string> standing_;
  std::vector<std::size_t> drawn_;  ///< columns of the standing lines as they are on the screen
};

}  // namespace client
