#pragma once

#include <termios.h>

#include <string>
#include <string_view>

#include "client/line_editor.h"

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
  /// One line above the input line. `line`: printable text, colours allowed.
  void print(std::string_view line);
  void redraw();
  /// The terminal has another size now: what was drawn is taken away however it was wrapped anew, and drawn again.
  void resized();

 private:
  void write(std::string_view bytes);
  [[nodiscard]] static std::size_t columns();

  LineEditor& editor_;
  bool interactive_;
  termios before_{};
  std::string prompt_;
  std::size_t cursor_ = 0;  ///< its column, as drawn last
};

}  // namespace client
