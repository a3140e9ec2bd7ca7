#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <deque>

#include "client/chat.h"
#include "client/cluster_view.h"
#include "client/hub.h"
#include "client/line_reader.h"
#include "client/say.h"
#include "client/screen.h"
#include "client/terminal.h"
#include "net/signals.h"

/// paxoschat without a verb: a person in a room.
namespace client {

using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t shown_on_join = 20;
constexpr std::uint32_t shown_at_most = 500;
constexpr std::size_t waiting_max = 10'000;  ///< messages typed or pasted that the outbox has no room for yet
/// A message without a receipt for so long is worth a word.
constexpr paxos::Duration patience = 2s;
constexpr paxos::Duration farewell = 3s;
constexpr std::chrono::milliseconds outage_timeout = 500ms;

constexpr const char* help_text =
    "/join ROOM      go to another room\n"
    "/history [N]    show its last N messages (default 20)\n"
    "/name NAME      call yourself something else\n"
    "/quit           leave (Ctrl-D and Ctrl-C do it, too)\n"
    "/help           this\n"
    "//text          a message that begins with a slash";

class Interactive {
 public:
  Interactive(Connection& connection, std::string room, std::string name)
      : c_(connection),
        hub_(connection),
        editor_(chat::limits::text_bytes_max),
        terminal_(editor_),
        room_(std::move(room)),
        name_(std::move(name)),
        changed_(connection.loop()) {}

  net::Task<int> run() {
    session_ = &hub_.add({static_cast<std::uint8_t>(c_.random() % c_.config().replicas.size())},
                         [this](Delivery&& d) { delivered(d); });
    net::Scope scope(c_.loop());
    net::Readable input(c_.loop(), STDIN_FILENO);
    if (terminal_.interactive())
      note(fmt::format("cluster {}; /help says what there is, /quit or Ctrl-D leaves", c_.config().cluster));
    std::optional<net::Signals> signals;
    if (terminal_.interactive()) {
      signals.emplace(c_.loop(), std::initializer_list<int>{SIGWINCH});
      scope.spawn(watch_size(*signals));
    }
    scope.spawn(read_input(input));
    scope.spawn(watch());
    join(scope, room_);
    while (!leaving_) (void)co_await changed_.wait();
    input.cancel();
    // What was typed last is still under way.
    const paxos::Time until = c_.loop().now() + farewell;
    while (unfinished() > 0 && c_.loop().now() < until && hub_.failure().empty())
      (void)co_await hub_.progress().wait_until(until);
    const std::size_t left = unfinished();
    const std::string trouble = session_->outbox().trouble();
    if (left == 0 && !session_->outbox().session().none()) {
      session_->close();
      const paxos::Time closed_by = c_.loop().now() + 500ms;
      while (!session_->outbox().closed() && c_.loop().now() < closed_by)
        (void)co_await hub_.progress().wait_until(closed_by);
    }
    stopped_ = true;
    if (follower_) follower_->stop();
    c_.give_up();
    changed_.notify();
    if (signals) ::kill(::getpid(), SIGWINCH);  // ends the wait for signals like any other
    if (left > 0)
      note(fmt::format(
          "{} without a receipt{}{}; perhaps delivered: look with `paxoschat history --room {}`",
          counted(left, "message"), trouble.empty() ? "" : ": ", trouble, room_));
    co_await scope.join();
    co_return left > 0 ? config::exit_unknown : config::exit_fine;
  }

 private:
  /// Without a receipt, those that wait here to be sent included.
  [[nodiscard]] std::size_t unfinished() const { return session_->outbox().pending() + waiting_.size(); }

  net::Task<void> watch_size(net::Signals& signals) {
    while (!stopped_) {
      (void)co_await signals.next();
      if (!stopped_) terminal_.resized();
    }
  }

  void note(const std::string& text) {
    if (terminal_.interactive())
      terminal_.print("\x1b[2m-- " + printable(text) + "\x1b[0m");
    else
      say(stderr, "paxoschat: {}\n", text);
  }

  void show(const chat::Message& message) { terminal_.print(to_line(message, terminal_.interactive())); }

  void delivered(const Delivery& delivery) {
    send_waiting();
    if (!delivery.refused.empty()) {
      note(fmt::format("not sent: {} ({})", delivery.refused, cut(delivery.message.text, 40)));
      return;
    }
    if (trouble_shown_) note("going on");
    trouble_shown_ = false;
  }

  /// Tells why messages wait, once it has lasted.
  net::Task<void> watch() {
    while (!stopped_) {
      (void)co_await changed_.wait_until(c_.loop().now() + 250ms);
      send_waiting();
      const auto oldest = session_->outbox().oldest();
      if (!oldest || c_.loop().now() - *oldest < patience || trouble_shown_ || leaving_) continue;
      const Outage outage = co_await look_for_outage(c_, outage_timeout);
      const std::size_t pending = unfinished();
      if (stopped_ || leaving_ || pending == 0) continue;
      const std::string why = outage.over() ? session_->outbox().trouble() : outage.sentence();
      note(fmt::format("{} {} queued{}{}; what you write goes out, once, when a quorum is back, as long as this chat is open",
                       counted(pending, "message"), pending == 1 ? "is" : "are", why.empty() ? "" : ": ", why));
      trouble_shown_ = true;
    }
  }

  void join(net::Scope& scope, const std::string& room) {
    scope_ = &scope;
    if (follower_) follower_->stop();
    room_ = room;
    ++visit_;
    terminal_.set_prompt(room_ + "> ");
    scope.spawn(follow(room_, visit_));
  }

  /// The room's latest messages, then what comes; ends when another room is joined.
  net::Task<void> follow(std::string room, std::uint64_t visit) {
    const auto here = [&] { return !stopped_ && !leaving_ && visit == visit_; };
    std::uint64_t next = 0;
    {
      HistoryReader reader(c_, {.room = room, .last = shown_on_join, .timeout = 1500ms});
      bool told = false;
      while (here() && next == 0) {
        const auto page = co_await reader.next(shown_on_join);
        if (!here()) co_return;
        if (!page) {
          // Once: the reason has ages in it, and each telling pushes what stands there off the screen.
          if (!std::exchange(told, true)) note(fmt::format("cannot read room {} yet: {}", room, page.error()));
          co_await nap(2s);
          continue;
        }
        if (told) note(fmt::format("room {} can be read again", room));
        for (const chat::Message& message : page->messages) show(message);
        next = page->messages.empty() ? page->head + 1 : page->messages.back().seq + 1;
        if (page->head == 0) note(fmt::format("room {} is new: it exists from its first message on", room));
      }
    }
    if (!here()) co_return;
    auto follower =
        std::make_shared<Follower>(c_, Follower::Options{.room = room, .from = next, .first = {}});
    follower->on_trouble([this, here](const std::string& why) {
      if (here()) note(why.empty() ? "going on" : "waiting: " + why);
    });
    follower_ = follower;
    while (here())
      for (const chat::Message& message : co_await follower->next())
        if (here()) show(message);
  }

  net::Task<void> show_history(std::string room, std::uint32_t count) {
    HistoryReader reader(c_, {.room = room, .last = count, .timeout = 3s});
    std::uint32_t shown = 0;
    do {
      const auto page = co_await reader.next(count - shown);
      if (stopped_) co_return;
      if (!page) {
        note("no history: " + page.error());
        co_return;
      }
      for (const chat::Message& message : page->messages) {
        if (shown == count) break;
        show(message);
        ++shown;
      }
    } while (!reader.done() && shown < count);
    note(fmt::format("{} of room {}", counted(shown, "message"), room));
  }

  net::Task<void> nap(paxos::Duration duration) {
    const paxos::Time until = c_.loop().now() + duration;
    while (!stopped_ && !leaving_ && c_.loop().now() < until) (void)co_await changed_.wait_until(until);
  }

  void leave() {
    leaving_ = true;
    changed_.notify();
  }

  void on_line(const std::string& line) {
    if (line.empty()) return;
    if (line[0] != '/') return send(line);
    if (line.starts_with("//")) return send(line.substr(1));
    const std::size_t space = line.find(' ');
    const std::string word = line.substr(0, space);
    std::string rest = space == std::string::npos
                           ? ""
                           : line.substr(line.find_first_not_of(' ', space) == std::string::npos
                                             ? line.size()
                                             : line.find_first_not_of(' ', space));
    while (!rest.empty() && rest.back() == ' ') rest.pop_back();
    if (word == "/quit" || word == "/exit") {
      leave();
    } else if (word == "/help") {
      std::string_view text = help_text;
      while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        note(std::string(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
      }
    } else if (word == "/join") {
      if (const std::string fault = chat::validate_room(rest); !fault.empty())
        note(fault + "; /join ROOM");
      else
        join(*scope_, rest);
    } else if (word == "/name") {
      if (const std::string fault = chat::validate_name(rest); !fault.empty()) return note(fault);
      if (!rest.empty()) name_ = rest;
      note((name_.empty() ? "you have no name" : "you are " + name_) + (rest.empty() ? "; /name NAME changes that" : ""));
    } else if (word == "/history") {
      const auto count =
          rest.empty() ? std::optional<std::uint64_t>(shown_on_join) : config::parse_number(rest);
      if (!count || *count < 1 || *count > shown_at_most)
        return note(fmt::format("/history [N], N from 1 to {}", shown_at_most));
      scope_->spawn(show_history(room_, static_cast<std::uint32_t>(*count)));
    } else {
      note(fmt::format("there is no command {}; /help lists them, //… sends a text that begins with a slash",
                       word));
    }
  }

  void send(const std::string& text) {
    if (const std::string fault = chat::validate_text(text); !fault.empty())
      return note("not sent: " + fault);
    if (waiting_.size() >= waiting_max)
      return note(fmt::format("not sent: {} wait already", counted(unfinished(), "message")));
    waiting_.push_back({room_, name_, text});
    send_waiting();
  }

  /// A paste of many lines is more than may be under way at once.
  void send_waiting() {
    while (!waiting_.empty() && session_->outbox().pending() < chat::limits::outstanding_max) {
      session_->post(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }

  net::Task<void> read_input(net::Readable& input) {
    LineReader lines(chat::limits::text_bytes_max);
    char buffer[4096];
    while (!leaving_) {
      // A script's lines are not lost: they wait for those before them.
      if (!terminal_.interactive() && session_->outbox().pending() >= chat::limits::outstanding_max) {
        (void)co_await hub_.progress().wait_until(c_.loop().now() + 100ms);
        continue;
      }
      if (!lines.empty()) {
        const LineReader::Line line = lines.take();
        if (line.bytes > line.text.size())
          note(fmt::format("not sent: the text has {} bytes; at most {} are allowed", line.bytes,
                           chat::limits::text_bytes_max));
        else
          on_line(line.text);
        continue;
      }
      if (ended_) break;
      if (!co_await input) break;
      const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n <= 0) {
        lines.end();
        ended_ = true;
        continue;
      }
      const std::string_view bytes(buffer, static_cast<std::size_t>(n));
      if (!terminal_.interactive()) {
        lines.feed(bytes);
        continue;
      }
      for (const LineEditor::Event& event : editor_.feed(bytes)) {
        if (event.key == LineEditor::Key::line) on_line(event.line);
        if (event.key == LineEditor::Key::end || event.key == LineEditor::Key::interrupt) leaving_ = true;
      }
      terminal_.redraw();
    }
    leave();
  }

  Connection& c_;
  Hub hub_;
  LineEditor editor_;
  Terminal terminal_;
  std::string room_;
  std::string name_;
  HubSession* session_ = nullptr;
  net::Scope* scope_ = nullptr;
  std::shared_ptr<Follower> follower_;
  std::uint64_t visit_ = 0;
  std::deque<chat::Post> waiting_;  ///< not in the outbox yet
  bool ended_ = false;
  bool leaving_ = false;
  bool stopped_ = false;
  bool trouble_shown_ = false;
  net::Event changed_;
};

net::Task<int> interactive(Connection& c, std::string room, std::string name) {
  Interactive here(c, std::move(room), std::move(name));
  co_return co_await here.run();
}

}  // namespace

int chat_interactive(const std::vector<std::string>& words) {
  VerbFlags flags("paxoschat", "PAXOSCHAT", "Chat in a room.");
  flags.value("room", "ROOM", "which one (default: lobby)");
  flags.value("name", "NAME", "what others see (default: the login name)");
  flags.arguments_help("\n       paxoschat send|history|follow --room ROOM [flags]   (each has --help)");
  if (const auto code = flags.parse(words)) return *code;
  for (const std::string& word : flags.arguments())
    if (word == "send" || word == "history" || word == "follow")
      return flags.wrong_usage(
          fmt::format("the verb comes first: paxoschat {0} ...; see `paxoschat {0} --help`", word));
  if (!flags.arguments().empty())
    return flags.wrong_usage(fmt::format("'{}' is neither a flag nor one of send, history, follow",
                                         printable(flags.arguments().front())));
  const std::string room = flags.get("room").value_or("lobby");
  const std::string name = name_or_login(flags.get("name"));
  for (const std::string& fault : {chat::validate_room(room), chat::validate_name(name)})
    if (!fault.empty()) return complain("paxoschat", fault, config::exit_refused);
  return flags.with_cluster([&](Connection& c) { return interactive(c, room, name); });
}

}  // namespace client
