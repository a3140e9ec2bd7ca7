#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace client {

/// Cuts a byte stream into lines; one that ends in CR LF loses both. Pure; holds at most one line of
/// `bytes_max` and what came after it.
class LineReader {
 public:
  explicit LineReader(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  struct Line {
    std::string text;
    std::size_t bytes = 0;  ///< of the whole line; more than text has when it was too long to keep
  };

  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      size_ += part.size();
      if (partial_.size() < bytes_max_ + 1) partial_.append(part.substr(0, bytes_max_ + 1 - partial_.size()));
      if (end == std::string_view::npos) {
        open_ = true;
        return;
      }
      finish();
      bytes.remove_prefix(end + 1);
    }
  }
  /// The end of the stream: what came after the last newline is a line, too.
  void end() {
    if (open_ || size_ > 0) finish();
  }
  [[nodiscard]] bool empty() const { return lines_.empty(); }
  [[nodiscard]] Line take() {
    Line line = std::move(lines_.front());
    lines_.pop_front();
    return line;
  }

 private:
  void finish() {
    if (size_ == partial_.size() && partial_.ends_with('\r')) {
      partial_.pop_back();
      --size_;
    }
    lines_.push_back({std::move(partial_), size_});
    partial_.clear();
    size_ = 0;
    open_ = false;
  }
  std::size_t bytes_max_;
  std::string partial_;
  std::size_t size_ = 0;
  bool open_ = false;
  std::deque<Line> lines_;
};

}  // namespace client
