#include "client/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "client/printable.h"

namespace client {

namespace {

termios given;  // as the terminal was; for the handler, which runs while a Terminal lives

/// A terminal left in raw mode is of no use to anyone.
void give_back_and_die(int signal) {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &given);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}
constexpr int deadly[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};

}  // namespace

Terminal::Terminal(LineEditor& editor)
    : editor_(editor), interactive_(::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1) {
  if (interactive_ && ::tcgetattr(STDIN_FILENO, &before_) != 0) interactive_ = false;
  if (!interactive_) return;
  termios raw = before_;
  raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON | BRKINT | INPCK | ISTRIP);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  given = before_;
  for (const int signal : deadly) std::signal(signal, give_back_and_die);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

Terminal::~Terminal() {
  if (!interactive_) return;
  write("\r\x1b[K");
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  for (const int signal : deadly) std::signal(signal, SIG_DFL);
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

void Terminal::print(std::string_view line) {
  std::string out;
  if (interactive_) out += "\r\x1b[K";
  out += line;
  out += "\n";
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

void Terminal::resized() {
  if (!interactive_) return;
  // A narrower terminal wraps the line that was there over several rows; the cursor goes with its character.
  const std::size_t above = cursor_ / columns();
  write((above > 0 ? "\x1b[" + std::to_string(above) + "A" : std::string()) + "\r\x1b[J");
  redraw();
}

}  // namespace client
