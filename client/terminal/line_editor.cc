#include "client/terminal/line_editor.h"

#include <algorithm>
#include <cwchar>

#include "client/terminal/printable.h"

namespace client {

namespace {

std::size_t length_by_lead(unsigned char lead) {
  return lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
}
bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  std::mbstate_t state{};
  while (!text.empty()) {
    wchar_t wide = 0;
    const std::size_t n = std::mbrtowc(&wide, text.data(), text.size(), &state);
    if (n == 0 || n > text.size()) {  // a NUL, or no character: each byte counts
      ++columns;
      text.remove_prefix(1);
      state = {};
      continue;
    }
    const int width = ::wcwidth(wide);
    columns += width < 0 ? 1 : static_cast<std::size_t>(width);
    text.remove_prefix(n);
  }
  return columns;
}

std::size_t LineEditor::before(std::size_t at) const {
  if (at == 0) return 0;
  --at;
  while (at > 0 && continues(text_[at])) --at;
  return at;
}

std::size_t LineEditor::after(std::size_t at) const {
  if (at >= text_.size()) return text_.size();
  ++at;
  while (at < text_.size() && continues(text_[at])) ++at;
  return at;
}

void LineEditor::insert(std::string_view character) {
  if (searching_) {
    if (pattern_.size() + character.size() > bytes_max_) return;
    pattern_ += character;
    return search_on(std::min(found_ + 1, remembered_.size()));
  }
  if (text_.size() + character.size() > bytes_max_) return;
  text_.insert(cursor_, character);
  cursor_ += character.size();
}

bool LineEditor::put(std::string_view text) {
  if (searching_) end_search(false);
  if (text_.size() + text.size() > bytes_max_) return false;
  insert(text);
  return true;
}

std::string LineEditor::take_with(std::string_view text) {
  if (searching_) end_search(false);
  std::string out = text_.substr(0, cursor_);
  out.append(text).append(text_, cursor_);
  text_.clear();
  cursor_ = 0;
  recalled_ = remembered_.size();
  draft_.clear();
  return out;
}

void LineEditor::recall(std::size_t at) {
  if (at > remembered_.size()) return;
  if (recalled_ == remembered_.size()) draft_ = text_;
  recalled_ = at;
  text_ = at == remembered_.size() ? draft_ : remembered_[at];
  cursor_ = text_.size();
}

/// What follows ESC.
void LineEditor::key(std::string_view sequence, std::vector<Event>& out) {
  if (searching_) end_search(true);
  if (sequence == "b") cursor_ = word_before(cursor_);
  if (sequence == "f") cursor_ = word_after(cursor_);
  if (sequence.size() == 1 && sequence[0] >= '1' && sequence[0] <= '9')
    out.push_back({Key::room, std::string(sequence)});
  if (sequence == "[D") cursor_ = before(cursor_);
  if (sequence == "[C") cursor_ = after(cursor_);
  if (sequence == "[H" || sequence == "OH" || sequence == "[1~") cursor_ = 0;
  if (sequence == "[F" || sequence == "OF" || sequence == "[4~") cursor_ = text_.size();
  if (sequence == "[3~") text_.erase(cursor_, after(cursor_) - cursor_);
  if (sequence == "[A" && recalled_ > 0) recall(recalled_ - 1);
  if (sequence == "[B") recall(recalled_ + 1);
  if (sequence == "\r") insert("\n");  // Alt-Enter: a line break in the message
}

std::vector<LineEditor::Event> LineEditor::feed(std::string_view bytes) {
  std::vector<Event> out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    const auto u = static_cast<unsigned char>(c);
    if (!pending_.empty() && pending_[0] == '\x1b') {
      pending_ += c;
      const bool opener = pending_.size() == 2 && (c == '[' || c == 'O');
      const bool final = u >= 0x40 && u <= 0x7e;
      if (opener) continue;
      if (pending_.size() > 2 && !final && pending_.size() < 16) continue;
      key(std::string_view(pending_).substr(1), out);
      pending_.clear();
      continue;
    }
    if (!pending_.empty()) {
      if (continues(c)) {
        pending_ += c;
        if (pending_.size() == length_by_lead(static_cast<unsigned char>(pending_[0]))) {
          insert(pending_);
          pending_.clear();
        }
        continue;
      }
      pending_.clear();  // no character: dropped
    }
    if (searching_ && search_key(u)) continue;
    switch (u) {
      case '\r':
      case '\n':
        if (!text_.empty()) {
          remembered_.push_back(text_);
          if (remembered_.size() > remembered_max) remembered_.erase(remembered_.begin());
        }
        recalled_ = remembered_.size();
        draft_.clear();
        out.push_back({Key::line, std::move(text_)});
        text_.clear();
        cursor_ = 0;
        break;
      case 0x01:  // Ctrl-A
        cursor_ = 0;
        break;
      case 0x03:  // Ctrl-C
        out.push_back({Key::interrupt, {}});
        break;
      case 0x04:  // Ctrl-D
        if (text_.empty())
          out.push_back({Key::end, {}});
        else
          text_.erase(cursor_, after(cursor_) - cursor_);
        break;
      case 0x05:  // Ctrl-E
        cursor_ = text_.size();
        break;
      case 0x08:
      case 0x7f: {
        const std::size_t from = before(cursor_);
        text_.erase(from, cursor_ - from);
        cursor_ = from;
        break;
      }
      case 0x0b:  // Ctrl-K
        text_.erase(cursor_);
        break;
      case 0x0c:  // Ctrl-L
        out.push_back({Key::clear, {}});
        break;
      case 0x12:  // Ctrl-R
        searching_ = true;
        pattern_.clear();
        found_ = remembered_.size();
        unsearched_ = text_;
        break;
      case 0x1a:  // Ctrl-Z
        out.push_back({Key::suspend, {}});
        break;
      case 0x15:  // Ctrl-U
        text_.erase(0, cursor_);
        cursor_ = 0;
        break;
      case 0x17: {  // Ctrl-W
        std::size_t from = cursor_;
        while (from > 0 && text_[from - 1] == ' ') --from;
        while (from > 0 && text_[from - 1] != ' ') --from;
        text_.erase(from, cursor_ - from);
        cursor_ = from;
        break;
      }
      case 0x1b:
        pending_ = c;
        break;
      default:
        if (u >= 0xc0)
          pending_ = c;
        else if (u >= 0x20 && u < 0x7f)
          insert({&c, 1});
        else if (u == '\t' && i + 1 == bytes.size())
          out.push_back({Key::complete, {}});
        else if (u == '\t')
          insert(" ");
        break;  // other controls, and stray continuation bytes, are no text
    }
  }
  out.push_back({Key::redraw, {}});
  return out;
}

LineEditor::View LineEditor::view(std::size_t columns) const {
  // From the cursor to the left, as much as leaves a few columns for what is to its right.
  View view;
  if (columns == 0) return view;
  if (searching_) return search_view(columns);
  const std::size_t left_max = columns - std::min<std::size_t>(columns, columns / 8 + 1);
  std::size_t begin = cursor_;
  std::size_t left = 0;
  while (begin > 0) {
    const std::size_t previous = before(begin);
    const std::size_t width =
        columns_of(printable(std::string_view(text_).substr(previous, begin - previous)));
    if (left + width > left_max) break;
    left += width;
    begin = previous;
  }
  std::size_t end = cursor_;
  std::size_t used = left;
  while (end < text_.size()) {
    const std::size_t next = after(end);
    const std::size_t width = columns_of(printable(std::string_view(text_).substr(end, next - end)));
    if (used + width > columns) break;
    used += width;
    end = next;
  }
  view.text = printable(std::string_view(text_).substr(begin, end - begin));
  view.cursor = left;
  return view;
}

}  // namespace client
