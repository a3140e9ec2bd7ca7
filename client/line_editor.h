#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// One line of input on a terminal in raw mode, pure: keys in, what to show out.
namespace client {

class LineEditor {
 public:
  explicit LineEditor(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  enum class Key { line, end, interrupt, redraw };
  struct Event {
    Key key = Key::redraw;
    std::string line;  ///< of Key::line
  };
  /// Bytes as they came from the terminal; sequences may be cut anywhere.
  [[nodiscard]] std::vector<Event> feed(std::string_view bytes);

  struct View {
    std::string text;        ///< printable, at most `columns` wide
    std::size_t cursor = 0;  ///< column of the cursor in it
  };
  /// The part of the line around the cursor that fits.
  [[nodiscard]] View view(std::size_t columns) const;
  [[nodiscard]] const std::string& text() const { return text_; }
  /// Puts text in at the cursor, line breaks too; false: it is too long, and nothing is changed.
  bool put(std::string_view text);
  /// What is in the line with `text` put in at the cursor; the line is empty then.
  [[nodiscard]] std::string take_with(std::string_view text);

  static constexpr std::size_t remembered_max = 100;

 private:
  void insert(std::string_view character);
  void key(std::string_view sequence);
  void recall(std::size_t at);
  [[nodiscard]] std::size_t before(std::size_t at) const;
  [[nodiscard]] std::size_t after(std::size_t at) const;

  std::size_t bytes_max_;
  std::string text_;
  std::size_t cursor_ = 0;  ///< a byte, at a character's start
  std::string pending_;     ///< a sequence that is not complete yet
  std::vector<std::string> remembered_;
  std::size_t recalled_ = 0;  ///< remembered_.size(): the line that is being written
  std::string draft_;
};

/// Columns that printable text takes, as wcwidth sees it; requires a UTF-8 locale.
[[nodiscard]] std::size_t columns_of(std::string_view text);

}  // namespace client
