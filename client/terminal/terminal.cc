#include "client/terminal/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "client/terminal/printable.h"
#include "client/terminal/screen.h"

namespace client {

namespace {

termios terminal_given;  // as the terminal was; for the handler, which runs while a Terminal lives

/// Marks pastes, and stops to: paste.h.
constexpr std::string_view mark_pastes = "\x1b[?2004h";
constexpr std::string_view mark_no_pastes = "\x1b[?2004l";

/// A terminal left in raw mode is of no use to anyone.
void give_terminal_back_and_die(int signal) {
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, mark_no_pastes.data(), mark_no_pastes.size());
  ::tcsetattr(STDIN_FILENO, TCSANOW, &terminal_given);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}
constexpr int deadly_to_terminal[] = {SIGABRT, SIGTERM, SIGHUP, SIGINT, SIGQUIT};

}  // namespace

Terminal::Terminal(LineEditor& editor)
    : editor_(editor),
      interactive_(::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1),
      colour_(wants_colour()) {
  if (interactive_ && ::tcgetattr(STDIN_FILENO, &before_) != 0) interactive_ = false;
  if (!interactive_) return;
  termios raw = before_;
  raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON | BRKINT | INPCK | ISTRIP);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  raw_ = raw;
  terminal_given = before_;
  for (const int signal : deadly_to_terminal) std::signal(signal, give_terminal_back_and_die);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  write(mark_pastes);
}

Terminal::~Terminal() {
  if (!interactive_) return;
  write(cleared());
  write(mark_no_pastes);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  for (const int signal : deadly_to_terminal) std::signal(signal, SIG_DFL);
}

std::size_t Terminal::columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void Terminal::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void Terminal::set_prompt(std::string prompt) {
  prompt_ = std::move(prompt);
  redraw();
}

std::string Terminal::cleared() const {
  if (drawn_.empty()) return "\r\x1b[K";
  return "\r\x1b[" + std::to_string(drawn_.size()) + "A\x1b[J";
}

std::string Terminal::standing_rows(std::size_t width) {
  std::string out;
  drawn_.clear();
  for (const std::string& line : standing_) {
    std::string_view part = cut(line, width - 1);
    for (std::size_t n = width - 1; n > 0 && columns_of(part) >= width; --n)
      part = cut(part, n - 1);  // wide characters
    out += dimmed(part, colour_) + "\n";
    drawn_.push_back(columns_of(part));
  }
  return out;
}

void Terminal::set_standing(std::vector<std::string> lines) {
  if (!interactive_ || lines == standing_) return;
  standing_ = std::move(lines);
  const std::string before = cleared();
  write(before + standing_rows(columns()));
  redraw();
}

void Terminal::print(std::string_view line) {
  std::string out;
  if (interactive_) out += cleared();
  out += line;
  out += "\n";
  if (interactive_) out += standing_rows(columns());
  write(out);
  redraw();
}

void Terminal::redraw() {
  if (!interactive_) return;
  const std::size_t width = columns();
  const std::string prompt = printable(prompt_);
  const std::size_t taken = columns_of(prompt);
  // The last column stays free: a cursor behind it wraps on some terminals.
  const LineEditor::View view = editor_.view(width > taken + 1 ? width - taken - 1 : 0);
  std::string out = "\r\x1b[K" + prompt + view.text + "\r";
  cursor_ = taken + view.cursor;
  if (cursor_ > 0) out += "\x1b[" + std::to_string(cursor_) + "C";
  write(out);
}

void Terminal::ring() {
  if (interactive_) write("\a");
}

void Terminal::clear() {
  if (!interactive_) return;
  write("\x1b[H\x1b[2J" + standing_rows(columns()));
  redraw();
}

void Terminal::suspend() {
  if (!interactive_) return;
  write(cleared());
  write(mark_no_pastes);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  ::kill(0, SIGTSTP);  // the rest goes on with the shell's SIGCONT
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw_);
  write(mark_pastes);
  write(standing_rows(columns()));
  redraw();
}

void Terminal::resized() {
  if (!interactive_) return;
  // A narrower terminal wraps the line that was there over several rows; the cursor goes with its character.
  std::size_t above = cursor_ / columns();
  for (const std::size_t line : drawn_) above += 1 + (line > 0 ? (line - 1) / columns() : 0);
  write((above > 0 ? "\x1b[" + std::to_string(above) + "A" : std::string()) + "\r\x1b[J" +
        standing_rows(columns()));
  redraw();
}

}  // namespace client
