#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// What a terminal in bracketed-paste mode sends, and the question that more than one pasted line asks. Pure.
namespace client {

/// Tells typed bytes from pasted ones. Sequences may be cut anywhere.
class PasteSplitter {
 public:
  explicit PasteSplitter(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  struct Piece {
    bool pasted = false;    ///< a whole paste
    std::string bytes;      ///< at most bytes_max of a paste
    std::size_t total = 0;  ///< bytes that the paste had
  };
  [[nodiscard]] std::vector<Piece> feed(std::string_view bytes);
  /// Within a paste whose end has not come.
  [[nodiscard]] bool inside() const { return inside_; }
  /// What came last was an ESC with nothing behind it: a key, for whoever waits for that one. Taken by this
  /// call.
  [[nodiscard]] bool lone_escape();
  /// Its end does not come any more: what is there of it.
  [[nodiscard]] Piece give_up();

  static constexpr std::string_view begin = "\x1b[200~";
  static constexpr std::string_view end = "\x1b[201~";

 private:
  void keep(std::string_view bytes);

  std::size_t bytes_max_;
  bool inside_ = false;
  std::string held_;  ///< may be the beginning of the mark that is looked for
  std::string paste_;
  std::size_t total_ = 0;
};

/// A paste as text: terminals send line breaks as CR; what would move a terminal is no text; line breaks at
/// the end were copied along, and are not sent.
[[nodiscard]] std::string pasted_text(std::string_view bytes);
/// The lines of a text that have something in them.
[[nodiscard]] std::vector<std::string> filled_lines(std::string_view text);

/// "What shall become of these lines?" Asked once a paste; nothing is sent before it is answered.
class PasteQuestion {
 public:
  explicit PasteQuestion(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  enum class Answer : unsigned char { none, message, lines, edit, drop };
  /// Asks about `text`, or about what is asked already with `text` behind it.
  void ask(std::string text);
  [[nodiscard]] bool asking() const { return !text_.empty(); }
  [[nodiscard]] const std::string& text() const { return text_; }
  /// For the place of the prompt: "3 lines: [o]ne message, [l]ines, [e]dit, Esc drops them "
  [[nodiscard]] std::string prompt() const;
  /// What typed bytes say; everything but an answer is ignored.
  [[nodiscard]] Answer answer(std::string_view typed) const;
  /// Ends the question.
  [[nodiscard]] std::string take();

 private:
  [[nodiscard]] bool fits() const { return text_.size() <= message_bytes_max_; }
  std::size_t message_bytes_max_;
  std::string text_;
};

}  // namespace client
