#include "client/terminal/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace client {

namespace {

constexpr std::string_view enter = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr std::string_view leave = "\x1b[0m\x1b[?25h\x1b[?1049l";

termios given;  // as the terminal was; for the handler, which runs while a Screen lives

/// Only what a signal handler may do.
void give_back_and_die(int signal) {
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, leave.data(), leave.size());
  ::tcsetattr(STDIN_FILENO, TCSANOW, &given);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}
constexpr int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                          SIGPIPE, SIGTERM, SIGHUP, SIGINT, SIGQUIT};

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

std::string dimmed(std::string_view text, bool colour) {
  return colour ? "\x1b[2m" + std::string(text) + "\x1b[0m" : std::string(text);
}

bool wants_colour() {
  const char* refused = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (refused == nullptr || *refused == '\0');
}

std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  while (end < text.size()) {
    const bool starts = (static_cast<unsigned char>(text[end]) & 0xc0) != 0x80;
    if (starts && columns-- == 0) break;
    ++end;
  }
  return text.substr(0, end);
}

std::string drawing(const std::vector<ScreenLine>& lines, std::size_t columns, std::size_t rows) {
  std::string out = "\x1b[H";
  const std::size_t shown = std::min(lines.size(), rows);
  for (std::size_t i = 0; i < shown; ++i) {
    if (i > 0) out += "\r\n";
    if (lines[i].look == ScreenLine::Look::bold) out += "\x1b[1m";
    if (lines[i].look == ScreenLine::Look::alarm) out += "\x1b[1;31m";
    // A line as wide as the screen leaves the cursor in the last column on some terminals: erasing there
    // would take the last character.
    const std::string_view text = cut(lines[i].text, columns > 0 ? columns - 1 : 0);
    out += text;
    if (lines[i].look != ScreenLine::Look::plain) out += "\x1b[0m";
    out += "\x1b[K";
  }
  if (shown < rows) out += "\x1b[J";
  return out;
}

bool Screen::possible() { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1; }

Screen::Screen() {
  ::tcgetattr(STDIN_FILENO, &before_);
  given = before_;
  for (const int signal : deadly) std::signal(signal, give_back_and_die);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // stopped, it would leave the shell on this screen
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  write_all(enter);
}

Screen::~Screen() {
  write_all(leave);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  for (const int signal : deadly) std::signal(signal, SIG_DFL);
}

Screen::Size Screen::size() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

void Screen::draw(const std::vector<ScreenLine>& lines) {
  const Size now = size();
  write_all(drawing(lines, now.columns, now.rows));
}

}  // namespace client
