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

  enum class Key {
    line,
    end,
    interrupt,
    redraw,
    complete,  ///< Tab; one with more behind it in the same read was pasted, and is a blank
    room,      ///< Alt-1 to Alt-9: `line` is the digit
    clear,     ///< Ctrl-L
    suspend,   ///< Ctrl-Z
  };
  struct Event {
    Key key = Key::redraw;
    std::string line;  ///< of Key::line and Key::room
  };
  /// Bytes as they came from the terminal; sequences may be cut anywhere.
  [[nodiscard]] std::vector<Event> feed(std::string_view bytes);

  /// An ESC came, and nothing behind it for so long that it was a key by itself: what comes next is not part
  /// of it.
  /// True: there was one.
  bool forget_escape();

  struct View {
    std::string text;        ///< printable, at most `columns` wide
    std::size_t cursor = 0;  ///< column of the cursor in it
  };
  /// The part of the line around the cursor that fits.
  [[nodiscard]] View view(std::size_t columns) const;
  [[nodiscard]] const std::string& text() const { return text_; }
  /// The line as far as the cursor.
  [[nodiscard]] std::string_view before_cursor() const { return std::string_view(text_).substr(0, cursor_); }
  /// Puts `text` in the place of what stands from byte `from` to the cursor.
  void complete(std::size_t from, std::string_view text);
  /// Puts text in at the cursor, line breaks too; false: it is too long, and nothing is changed.
  bool put(std::string_view text);
  /// What is in the line with `text` put in at the cursor; the line is empty then.
  [[nodiscard]] std::string take_with(std::string_view text);

  static constexpr std::size_t remembered_max = 100;

 private:
  void insert(std::string_view character);
  void key(std::string_view sequence, std::vector<Event>& out);
  void recall(std::size_t at);
  // Ctrl-R: looks through what was written before, the newest first (line_keys.cc).
  [[nodiscard]] bool search_key(unsigned char key);
  void search_on(std::size_t below);
  [[nodiscard]] View search_view(std::size_t columns) const;
  void end_search(bool keep);
  [[nodiscard]] std::size_t word_before(std::size_t at) const;
  [[nodiscard]] std::size_t word_after(std::size_t at) const;
  [[nodiscard]] std::size_t before(std::size_t at) const;
  [[nodiscard]] std::size_t after(std::size_t at) const;

  std::size_t bytes_max_;
  std::string text_;
  std::size_t cursor_ = 0;  ///< a byte, at a character's start
  std::string pending_;     ///< a sequence that is not complete yet
  std::vector<std::string> remembered_;
  std::size_t recalled_ = 0;  ///< remembered_.size(): the line that is being written
  std::string draft_;
  bool searching_ = false;
  std::string pattern_;
  std::size_t found_ = 0;   ///< in remembered_, where searching_; its size: nothing yet
  std::string unsearched_;  ///< the line before
};

/// Columns that printable text takes, as wcwidth sees it; requires a UTF-8 locale.
[[nodiscard]] std::size_t columns_of(std::string_view text);

}  // namespace client
