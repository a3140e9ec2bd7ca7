#include <algorithm>

#include "client/terminal/line_editor.h"
#include "client/terminal/printable.h"
#include "client/terminal/screen.h"
#include "client/terminal/words.h"

/// The keys of the line editor beyond the plain ones: words, completion, the search through what was written
/// before.
namespace client {

bool LineEditor::forget_escape() {
  if (pending_ != "\x1b") return false;
  pending_.clear();
  return true;
}

void LineEditor::complete(std::size_t from, std::string_view text) {
  if (from > cursor_ || text_.size() - (cursor_ - from) + text.size() > bytes_max_) return;
  text_.replace(from, cursor_ - from, text);
  cursor_ = from + text.size();
}

std::size_t LineEditor::word_before(std::size_t at) const {
  while (at > 0 && text_[at - 1] == ' ') --at;
  while (at > 0 && text_[at - 1] != ' ') --at;
  return at;
}

std::size_t LineEditor::word_after(std::size_t at) const {
  while (at < text_.size() && text_[at] == ' ') ++at;
  while (at < text_.size() && text_[at] != ' ') ++at;
  return at;
}

/// The newest line below `below` that has the pattern in it; where there is none, all stays as it is.
void LineEditor::search_on(std::size_t below) {
  const std::string wanted = lower(pattern_);
  for (std::size_t at = below; at-- > 0;) {
    if (lower(remembered_[at]).find(wanted) == std::string::npos) continue;
    found_ = at;
    text_ = remembered_[at];
    cursor_ = text_.size();
    return;
  }
}

void LineEditor::end_search(bool keep) {
  searching_ = false;
  if (keep) return;
  text_ = unsearched_;
  cursor_ = text_.size();
}

/// True when the key meant the search. Enter takes what was found to the line, where it can still be changed.
bool LineEditor::search_key(unsigned char key) {
  switch (key) {
    case 0x12:  // Ctrl-R
      search_on(found_);
      return true;
    case 0x07:  // Ctrl-G
    case 0x03:  // Ctrl-C
      end_search(false);
      return true;
    case '\r':
    case '\n':
      end_search(true);
      return true;
    case 0x08:
    case 0x7f:
      if (pattern_.empty()) {
        end_search(false);
        return true;
      }
      while ((static_cast<unsigned char>(pattern_.back()) & 0xc0) == 0x80 && pattern_.size() > 1)
        pattern_.pop_back();
      pattern_.pop_back();
      search_on(remembered_.size());
      return true;
    default:
      if (key >= 0x20 || key == 0x1b) return false;  // text for the pattern; ESC ends it with its key
      end_search(true);
      return false;
  }
}

LineEditor::View LineEditor::search_view(std::size_t columns) const {
  const std::string found = found_ == remembered_.size() ? "" : printable(remembered_[found_]);
  View view;
  view.text = cut("search \"" + printable(pattern_) + "\": " + found, columns);
  for (std::size_t n = columns; n > 0 && columns_of(view.text) > columns; --n)
    view.text = cut(view.text, n - 1);  // wide ones
  view.cursor = std::min(columns_of(view.text), columns_of("search \"" + printable(pattern_)));
  return view;
}

}  // namespace client
