#include "client/terminal/paste.h"

#include <algorithm>
#include <utility>

namespace client {

void PasteSplitter::keep(std::string_view bytes) {
  total_ += bytes.size();
  paste_.append(bytes.substr(0, bytes_max_ - std::min(bytes_max_, paste_.size())));
}

std::vector<PasteSplitter::Piece> PasteSplitter::feed(std::string_view bytes) {
  std::vector<Piece> out;
  std::string all = std::exchange(held_, {});
  all += bytes;
  std::string_view rest = all;
  while (!rest.empty()) {
    const std::string_view mark = inside_ ? end : begin;
    std::size_t at = rest.find(mark);
    const bool found = at != std::string_view::npos;
    if (!found) {
      // What may be the mark's beginning waits for what comes next.
      at = rest.size();
      for (std::size_t n = std::min(mark.size() - 1, rest.size()); n > 0; --n)
        if (rest.ends_with(mark.substr(0, n))) {
          at = rest.size() - n;
          break;
        }
    }
    const std::string_view before = rest.substr(0, at);
    if (inside_)
      keep(before);
    else if (!before.empty())
      out.push_back({.pasted = false, .bytes = std::string(before), .total = before.size()});
    if (!found) {
      held_ = rest.substr(at);
      break;
    }
    if (inside_)
      out.push_back({.pasted = true, .bytes = std::exchange(paste_, {}), .total = std::exchange(total_, 0)});
    inside_ = !inside_;
    rest.remove_prefix(at + mark.size());
  }
  return out;
}

bool PasteSplitter::lone_escape() {
  if (inside_ || held_ != "\x1b") return false;
  held_.clear();
  return true;
}

PasteSplitter::Piece PasteSplitter::give_up() {
  keep(std::exchange(held_, {}));
  inside_ = false;
  return {.pasted = true, .bytes = std::exchange(paste_, {}), .total = std::exchange(total_, 0)};
}

std::string pasted_text(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    if (c == '\r') {
      out += '\n';
      if (i + 1 < bytes.size() && bytes[i + 1] == '\n') ++i;
    } else if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f)) {
      out += bytes[i];
    }
  }
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

std::vector<std::string> filled_lines(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end).find_first_not_of(" \t") != std::string_view::npos)
      out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void PasteQuestion::ask(std::string text) {
  if (!text_.empty()) text_ += '\n';
  text_ += text;
}

std::string PasteQuestion::prompt() const {
  const std::string lines = std::to_string(filled_lines(text_).size()) + " lines: ";
  return fits() ? lines + "[o]ne message, [l]ines, [e]dit, Esc drops them "
                : lines + "too long for one message: as [l]ines, Esc drops them ";
}

PasteQuestion::Answer PasteQuestion::answer(std::string_view typed) const {
  // A sequence of several bytes (an arrow) is no Esc.
  if (typed == "\x1b" || typed == "\x03") return Answer::drop;
  if (typed.size() != 1) return Answer::none;
  switch (typed[0]) {
    case 'o':
    case 'O':
      return fits() ? Answer::message : Answer::none;
    case 'l':
    case 'L':
      return Answer::lines;
    case 'e':
    case 'E':
      return fits() ? Answer::edit : Answer::none;
    default:
      return Answer::none;
  }
}

std::string PasteQuestion::take() { return std::exchange(text_, {}); }

}  // namespace client
