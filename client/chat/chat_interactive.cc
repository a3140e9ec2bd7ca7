#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <deque>

#include "client/chat/chat.h"
#include "client/chat/chat_outbox.h"
#include "client/chat/chat_visits.h"
#include "client/chat/chat_words.h"
#include "client/chat/completion.h"
#include "client/chat/days.h"
#include "client/chat/message_lines.h"
#include "client/chat/patience.h"
#include "client/chat/waiting_text.h"
#include "client/session/cluster_view.h"
#include "client/session/hub.h"
#include "client/terminal/line_reader.h"
#include "client/terminal/paste.h"
#include "client/terminal/say.h"
#include "client/terminal/screen.h"
#include "client/terminal/terminal.h"
#include "client/terminal/words.h"
#include "net/signals.h"

/// paxoschat without a verb: a person in a room.
namespace client {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t shown_lines_max = 40;  ///< of one message
/// Messages without a receipt at one time, and their bytes: the outbox' file holds 64 MiB.
constexpr std::size_t unfinished_max = 10'000;
constexpr std::size_t unfinished_bytes_max = 16u << 20;
constexpr std::size_t paste_bytes_max = 1u << 20;
constexpr std::size_t farewell_texts_max = 200;
/// A paste whose end mark does not come is one all the same.
constexpr paxos::Duration paste_patience = 2s;
/// What follows an ESC within this time belongs to it: terminals send a key's bytes at once, networks may
/// part them.
constexpr paxos::Duration escape_patience = 150ms;
constexpr paxos::Duration draft_pause = 1s;
/// A message without a receipt for so long is worth a word.
constexpr paxos::Duration patience = 2s;
constexpr paxos::Duration farewell = 3s;
constexpr paxos::Duration farewell_silence = 300ms;  ///< of it; longer than that is worth a word

constexpr std::size_t candidates_shown = 40;

class Interactive {
 public:
  Interactive(Connection& connection, std::string room, std::string name)
      : c_(connection),
        hub_(connection),
        editor_(chat::limits::text_bytes_max),
        terminal_(editor_),
        first_room_(std::move(room)),
        name_(std::move(name)),
        changed_(connection.loop()),
        typed_(connection.loop()) {}

  net::Task<int> run() {
    open_sessions();
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
    scope.spawn(keep_draft());
    scope_ = &scope;
    visits_.join(first_room_);
    if (terminal_.interactive()) scope.spawn(visits_.people().keep_in_touch());
    restore();
    while (!leaving_) (void)co_await changed_.wait();
    input.cancel();
    // What was typed last is still under way.
    const paxos::Time until = c_.loop().now() + farewell;
    const paxos::Time word = c_.loop().now() + farewell_silence;
    bool said = false;
    while (unfinished() > 0 && c_.loop().now() < until && hub_.failure().empty()) {
      (void)co_await hub_.progress().wait_until(said ? until : word);
      if (said || unfinished() == 0 || c_.loop().now() < word) continue;
      said = true;
      note(fmt::format("{} not delivered yet: waiting for up to {} s",
                       unfinished() == 1 ? "1 message is" : counted(unfinished(), "message") + " are",
                       std::chrono::duration_cast<std::chrono::seconds>(farewell).count()));
    }
    const std::size_t left = unfinished();
    if (left == 0) co_await close_sessions();
    stopped_ = true;
    visits_.stop();
    c_.give_up();
    changed_.notify();
    typed_.notify();
    if (signals) ::kill(::getpid(), SIGWINCH);  // ends the wait for signals like any other
    say_goodbye(left);
    co_await scope.join();
    co_return left > 0 ? config::exit_unknown : config::exit_fine;
  }

 private:
  // --- what was typed and is not delivered yet ---

  /// A person's messages outlive the chat; a script has `send --state` for that.
  void open_sessions() {
    const paxos::ReplicaId first = c_.config().some_member(c_.random());
    const auto add = [&](std::unique_ptr<StateFile> state) {
      const std::uint64_t fresh = state ? state->ledger().next_ticket : 1;
      const std::size_t left = state ? state->ledger().entries.size() : 0;
      if (state)
        for (const Ledger::Entry& entry : state->ledger().entries)
          unfinished_bytes_ += entry.post.text.size();
      restored_ += left;
      had_restored_ = had_restored_ || left > 0;
      sessions_.push_back(&hub_.add(
          first, [this, fresh](Delivery&& d) { delivered(d, d.ticket < fresh); }, std::move(state)));
    };
    if (!terminal_.interactive()) return add(nullptr);
    const auto variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value != nullptr ? value : "");
    };
    // By its id where it has one: the same key renewed is the same key.
    const auto key = config::load_key(c_.config().key_file);
    const std::string id = c_.whose().is_secret() ? std::string() : chat::to_string(c_.whose());
    kept_ = ChatOutbox::open(
        chat_state_folder(variable), c_.config().id,
        !id.empty() ? std::string_view(id)
        : key       ? std::string_view(reinterpret_cast<const char*>(key->bytes.data()), key->bytes.size())
                    : "");
    add(kept_.own ? std::move(kept_.own->state) : nullptr);
    for (ChatOutbox::Place& place : kept_.left)
      if (!place.state->ledger().entries.empty()) add(std::move(place.state));
  }

  /// Says what an earlier chat left, and puts its draft into the input line.
  void restore() {
    for (const std::string& text : kept_.notes) note(text);
    if (restored_ > 0)
      note(fmt::format("{} from before {} out now", counted(restored_, "message"),
                       restored_ == 1 ? "goes" : "go"));
    std::optional<DraftFile::Draft> draft;
    if (kept_.own) draft = kept_.own->draft.left();
    for (ChatOutbox::Place& place : kept_.left) {
      if (draft) break;
      draft = place.draft.left();
      if (draft && kept_.own->draft.keep(*draft)) place.draft.forget();
    }
    if (!draft) return;
    note(draft->room == here() ? "what you were writing is in the input line"
                               : fmt::format("what you were writing for room {} is in the input line",
                                             printable_name(draft->room)));
    if (!editor_.put(draft->text)) ask(draft->text);
    terminal_.redraw();
  }

  net::Task<void> keep_draft() {
    while (!stopped_) {
      const bool typed = co_await typed_.wait_until(c_.loop().now() + draft_pause);
      if (stopped_ || !kept_.own) co_return;
      if (!typed) {
        kept_.own->draft.sync();
        continue;
      }
      co_await c_.loop().sleep(
          1ms);  // a line that was sent is in the outbox by then: it is always in one of the two
      if (hub_.failure().empty()) (void)kept_.own->draft.keep(draft());
    }
  }
  [[nodiscard]] DraftFile::Draft draft() const {
    const std::string written = question_.asking() ? question_.text() : editor_.text();
    const std::string ahead = waiting_lines_text();
    return {here(), ahead.empty() || written.empty() ? ahead + written : ahead + "\n" + written};
  }

  [[nodiscard]] std::size_t unfinished() const {
    std::size_t out = 0;
    for (const HubSession* session : sessions_) out += session->outbox().pending();
    return out;
  }
  [[nodiscard]] std::vector<Outbox::Unfinished> unfinished(std::size_t at_most) const {
    std::vector<Outbox::Unfinished> out;
    for (const HubSession* session : sessions_)
      for (Outbox::Unfinished& one : session->outbox().unfinished(at_most - out.size()))
        out.push_back(std::move(one));
    return out;
  }
  [[nodiscard]] std::optional<paxos::Time> oldest() const {
    std::optional<paxos::Time> out;
    for (const HubSession* session : sessions_)
      if (const auto at = session->outbox().oldest(); at && (!out || *at < *out)) out = at;
    return out;
  }
  [[nodiscard]] std::string trouble() const {
    for (const HubSession* session : sessions_)
      if (const std::string why = session->outbox().trouble(); !why.empty()) return why;
    return {};
  }
  void show_waiting() {
    terminal_.set_standing(
        waiting_lines(unfinished(standing_max + 1), unfinished(), here(), c_.loop().now()));
  }

  net::Task<void> close_sessions() {
    const paxos::Time until = c_.loop().now() + 500ms;
    for (HubSession* session : sessions_)
      if (!session->outbox().session().none()) session->close();
    const auto open = [](const HubSession* s) {
      return !s->outbox().session().none() && !s->outbox().closed();
    };
    while (std::any_of(sessions_.begin(), sessions_.end(), open) && c_.loop().now() < until &&
           hub_.failure().empty())
      (void)co_await hub_.progress().wait_until(until);
  }

  void say_goodbye(std::size_t left) {
    terminal_.set_standing({});
    if (!hub_.failure().empty()) note(hub_.failure());
    if (left > 0) {
      const std::string file = kept_.own && hub_.failure().empty() ? kept_.own->file.string() : "";
      for (const std::string& line :
           farewell_lines(delivered_late_, unfinished(farewell_texts_max), left, file))
        note(line);
      if (const std::string why = trouble(); !why.empty()) note(why);
    }
    if (!kept_.own) return;
    const DraftFile::Draft writing = draft();
    if (kept_.own->draft.keep(writing) && !writing.text.empty()) {
      kept_.own->draft.sync();
      note("what you were writing is kept for the next time");
    }
  }

  net::Task<void> watch_size(net::Signals& signals) {
    while (!stopped_) {
      (void)co_await signals.next();
      if (!stopped_) terminal_.resized();
    }
  }

  void note(const std::string& text) {
    if (terminal_.interactive())
      for (const std::string& row : folded("-- " + printable(text), terminal_.columns(), "   "))
        terminal_.print(dimmed(row, colour_));
    else
      say(stderr, "paxoschat: {}\n", text);
  }

  void show(const chat::Message& message) {
    const auto day = days_.before(message.time_ms);
    if (day && terminal_.interactive()) terminal_.print(dimmed(*day, colour_));
    terminal_.print(to_line(message, colour_, shown_lines_max, name_));
  }

  void delivered(const Delivery& delivery, bool restored) {
    unfinished_bytes_ -= std::min(unfinished_bytes_, delivery.message.text.size());
    if (leaving_ && delivery.refused.empty()) delivered_late_.push_back(delivery.message.text);
    show_waiting();
    if (restored) --restored_;
    changed_.notify();
    if (!delivery.refused.empty())
      return note(fmt::format("{}: {} ({})", delivery.unknown ? "perhaps sent" : "not sent", delivery.refused,
                              cut(delivery.message.text, 40)));
    ++delivered_since_;
    if (delivery.message.room != here() && (restored || trouble_shown_))
      note(fmt::format("delivered to {}: {}", printable_name(delivery.message.room),
                       cut(delivery.message.text, 40)));
  }

  /// Once nothing waits any more, where that was worth a word.
  void tell_recovery() {
    if (unfinished() > 0) return;
    if (std::exchange(trouble_shown_, false))
      note(fmt::format("{}: {} delivered", no_quorum_ ? "the quorum is back" : "going on",
                       counted(delivered_since_, "message")));
    else if (had_restored_)
      note("what waited from before is delivered");
    had_restored_ = false;
  }

  /// Tells why messages wait, once it has lasted.
  net::Task<void> watch() {
    while (!stopped_) {
      (void)co_await changed_.wait_until(c_.loop().now() + 250ms);
      if (!hub_.failure().empty() && !leaving_) leave();
      if (stopped_ || leaving_) continue;
      show_waiting();
      tell_recovery();
      settle_escape();
      if (splitter_.inside() && c_.loop().now() - pasted_ >= paste_patience) {
        pasted(splitter_.give_up());
        terminal_.redraw();
      }
      const auto since = oldest();
      if (!since || c_.loop().now() - *since < patience || trouble_shown_) continue;
      const Outage outage = co_await look_for_outage(c_, outage_timeout);
      const std::size_t pending = unfinished();
      if (stopped_ || leaving_ || pending == 0) continue;
      const std::string why = outage.over() ? trouble() : outage.sentence();
      note(fmt::format(
          "{} {} queued{}{}; what you write goes out, once, when {}{}", counted(pending, "message"),
          pending == 1 ? "is" : "are", why.empty() ? "" : ": ", why,
          outage.full ? "there is room" : "a quorum is back",
          kept_.own ? ", now or when you start paxoschat again" : ", as long as this chat is open"));
      trouble_shown_ = true;
      no_quorum_ = outage.what == "no quorum" || outage.what == "no replica answers";
      delivered_since_ = 0;
    }
  }

  [[nodiscard]] const std::string& here() const { return visits_.here().name; }

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

  void show_prompt() { terminal_.set_prompt(question_.asking() ? question_.prompt() : visits_.prompt()); }

  void leave() {
    leaving_ = true;
    changed_.notify();
  }

  void message_to(const std::string& rest) {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    if (!visits_.go_to_two(rest.substr(0, space))) {
      // It is meant for nobody else.
      if (terminal_.interactive()) editor_.put("/msg " + rest);
      return;
    }
    std::string text = rest.substr(space);
    text.erase(0, text.find_first_not_of(' '));
    if (!text.empty()) send(text);
  }

  void set_topic(const std::string& rest) {
    if (rest.empty()) return scope_->spawn(visits_.people().show_topic(here(), true));
    const std::string topic = rest == "-" ? "" : rest;
    if (const std::string fault = chat::validate_topic(topic); !fault.empty())
      return note("not set: " + fault);
    // People read the change as a message; the topic itself goes with it, so that no two can stand in another
    // order.
    send(topic.empty() ? "/me took the topic away" : "/me set the topic: " + topic, topic);
  }

  void complete_word() {
    const Completion found =
        complete(editor_.before_cursor(), visits_.people().rooms(), visits_.people().names());
    if (found.candidates.empty()) return terminal_.ring();
    if (found.candidates.size() > 1 && found.text == editor_.before_cursor().substr(found.from)) {
      std::string all;
      for (std::size_t i = 0; i < std::min(found.candidates.size(), candidates_shown); ++i)
        all += (i == 0 ? "" : "  ") + found.candidates[i];
      note(all + (found.candidates.size() > candidates_shown ? "  …" : ""));
    }
    editor_.complete(found.from, found.text);
  }

  /// In order, one after the other is done with; what was typed ahead of a question waits for its answer.
  void take_lines() {
    while (!leaving_ && !visits_.busy() && !visits_.asks() && !lines_.empty()) {
      const std::string line = std::move(lines_.front());
      lines_.pop_front();
      on_line(line);
    }
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
      for (const std::string& help : chat_help()) note(help);
    } else if (word == "/join") {
      visits_.go_to(rest);
    } else if (word == "/leave") {
      visits_.leave(rest);
    } else if (word == "/next") {
      visits_.next();
    } else if (word == "/rooms") {
      scope_->spawn(visits_.people().show_rooms());
    } else if (word == "/who") {
      scope_->spawn(visits_.people().show_who(here()));
    } else if (word == "/msg") {
      message_to(rest);
    } else if (word == "/topic") {
      set_topic(rest);
    } else if (word == "/search") {
      if (rest.empty()) return note("/search TEXT");
      scope_->spawn(visits_.people().search(here(), rest));
    } else if (word == "/me") {
      if (rest.empty()) return note("/me TEXT, as in /me waves");
      send(line);
    } else if (word == "/name" || word == "/nick") {
      if (const std::string fault = chat::validate_name(rest); !fault.empty()) return note(fault);
      if (const std::string fault = chat::validate_visible_name(rest); !fault.empty()) return note(fault);
      if (!rest.empty()) name_ = rest;
      note((name_.empty() ? "you have no name" : "you are " + name_) +
           (rest.empty() ? "; " + word + " NAME changes that" : ""));
      visits_.people().tell(chat::Whereabouts::here);
    } else if (word == "/history") {
      const auto count =
          rest.empty() ? std::optional<std::uint64_t>(shown_on_join) : config::parse_number(rest);
      if (!count || *count < 1 || *count > shown_at_most)
        return note(fmt::format("/history [N], N from 1 to {}", shown_at_most));
      scope_->spawn(show_history(here(), static_cast<std::uint32_t>(*count)));
    } else {
      note(no_such_command(word));
    }
  }

  void send(std::string text, std::optional<std::string> topic = {}) {
    while (text.ends_with('\n')) text.pop_back();
    for (const std::string& fault : {chat::validate_text(text), chat::validate_visible_text(text)})
      if (!fault.empty()) return note("not sent: " + fault);
    if (const std::string full = no_room_for(1, text.size()); !full.empty()) return note("not sent: " + full);
    unfinished_bytes_ += text.size();
    sessions_.front()->post({.room = here(),
                             .name = name_,
                             .text = std::move(text),
                             .topic = std::move(topic),
                             .written_ms = wall_clock_ms()});
  }
  [[nodiscard]] std::string no_room_for(std::size_t messages, std::size_t bytes) const {
    if (unfinished() + messages <= unfinished_max && unfinished_bytes_ + bytes <= unfinished_bytes_max)
      return {};
    return fmt::format("{} wait already", counted(unfinished(), "message"));
  }

  // --- pastes: nothing of several lines is sent before the person said how ---

  void ask(std::string text) {
    question_.ask(std::move(text));
    show_prompt();
  }

  void pasted(const PasteSplitter::Piece& piece) {
    if (piece.total > piece.bytes.size())
      return note(fmt::format(
          "the paste has {} bytes, at most {} are taken: nothing of it was; `paxoschat send -` reads files",
          piece.total, paste_bytes_max));
    const std::string text = pasted_text(piece.bytes);
    if (question_.asking()) return ask(text);
    const std::vector<std::string> lines = filled_lines(text);
    if (lines.size() > 1) return ask(editor_.take_with(text));
    if (!lines.empty() && !editor_.put(lines.front()))
      note(fmt::format("the paste is too long for one message of {} bytes: nothing of it was taken",
                       chat::limits::text_bytes_max));
  }

  void answer(PasteQuestion::Answer answer) {
    if (answer == PasteQuestion::Answer::none) return terminal_.ring();
    const std::vector<std::string> lines = filled_lines(question_.text());
    if (answer == PasteQuestion::Answer::lines)
      if (const std::string full = no_room_for(lines.size(), question_.text().size()); !full.empty())
        return note("not sent: " + full);
    const std::string text = question_.take();
    if (answer == PasteQuestion::Answer::message) send(text);
    if (answer == PasteQuestion::Answer::lines)
      for (const std::string& line : lines) send(line);
    if (answer == PasteQuestion::Answer::edit) editor_.put(text);
    if (answer == PasteQuestion::Answer::drop) note("nothing of the paste was sent");
    show_prompt();
  }

  /// An ESC by itself, once nothing came behind it for a while.
  void settle_escape() {
    if (c_.loop().now() - pasted_ < escape_patience) return;
    const bool held = splitter_.lone_escape();
    if (!editor_.forget_escape() && !held) return;
    if (held && question_.asking()) answer(PasteQuestion::Answer::drop);
    terminal_.redraw();
  }

  void typed(std::string_view bytes) {
    if (question_.asking()) return answer(question_.answer(bytes));
    for (const LineEditor::Event& event : editor_.feed(bytes)) on_key(event);
    take_lines();
  }

  void answer_visit(const std::string& line) {
    const std::uint64_t before = visits_.here().visit;
    if (!visits_.answer(line)) {
      editor_.put(line);
    } else if (visits_.here().visit == before) {
      keep_lines();
    }
  }

  /// What was typed ahead for a room that was not entered goes nowhere else: back to the person. Commands are
  /// carried out all the same, and what follows one that leads to a room is meant for that one.
  void keep_lines() {
    std::string text;
    bool elsewhere = false;
    std::erase_if(lines_, [&](const std::string& line) {
      for (const char* leads : {"/join", "/next", "/msg", "/leave"})
        elsewhere = elsewhere || line.starts_with(leads);
      const bool said = !line.empty() && (line[0] != '/' || line.starts_with("//") ||
                                          line.starts_with("/me ") || line.starts_with("/topic "));
      if (elsewhere || !said) return false;
      text += (text.empty() ? "" : "\n") + line;
      return true;
    });
    if (text.empty()) return;
    if (text.find('\n') == std::string::npos && editor_.text().empty() && editor_.put(text)) return;
    ask(editor_.take_with(text));
  }
  [[nodiscard]] std::string waiting_lines_text() const {
    std::string out;
    for (const std::string& line : lines_) out += (out.empty() ? "" : "\n") + line;
    return out;
  }

  void on_key(const LineEditor::Event& event) {
    using Key = LineEditor::Key;
    switch (event.key) {
      case Key::line:
        if (!visits_.asks()) return lines_.push_back(event.line);
        answer_visit(event.line);
        return;
      case Key::end:
      case Key::interrupt:
        leaving_ = true;
        return;
      case Key::complete:
        return complete_word();
      case Key::room: {
        const auto at = static_cast<std::size_t>(event.line[0] - '1');
        if (at >= visits_.size()) return terminal_.ring();
        if (at != visits_.current() && !visits_.asks()) visits_.go(at);
        return;
      }
      case Key::clear:
        return terminal_.clear();
      case Key::suspend:
        return terminal_.suspend();
      case Key::redraw:
        return;
    }
  }

  net::Task<void> read_input(net::Readable& input) {
    LineReader lines(chat::limits::text_bytes_max);
    char buffer[4096];
    while (!leaving_) {
      // A script's lines are not lost: they wait for those before them.
      if (!terminal_.interactive() && unfinished() >= chat::limits::outstanding_max) {
        (void)co_await hub_.progress().wait_until(c_.loop().now() + 100ms);
        continue;
      }
      if (!terminal_.interactive() && visits_.busy()) {
        (void)co_await changed_.wait_until(c_.loop().now() + 100ms);
        continue;
      }
      if (!lines.empty()) {
        const LineReader::Line line = lines.take();
        if (line.bytes > line.text.size())
          note(fmt::format("not sent: the text has {} bytes; at most {} are allowed", line.bytes,
                           chat::limits::text_bytes_max));
        else
          lines_.push_back(line.text);
        take_lines();
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
      settle_escape();
      pasted_ = c_.loop().now();
      visits_.looked();
      for (const PasteSplitter::Piece& piece : splitter_.feed(bytes))
        if (piece.pasted)
          pasted(piece);
        else
          typed(piece.bytes);
      terminal_.redraw();
      typed_.notify();
    }
    leave();
  }

  Connection& c_;
  Hub hub_;
  LineEditor editor_;
  Terminal terminal_;
  const bool colour_ = wants_colour();
  const std::string first_room_;
  std::string name_;
  ChatOutbox kept_;
  std::vector<HubSession*> sessions_;  ///< the one that takes what is typed, then those that others left
  std::size_t restored_ = 0;           ///< from before, and not delivered yet
  bool had_restored_ = false;
  std::size_t unfinished_bytes_ = 0;
  std::vector<std::string> delivered_late_;  ///< texts, while leaving
  PasteSplitter splitter_{paste_bytes_max};
  PasteQuestion question_{chat::limits::text_bytes_max};
  paxos::Time pasted_{};  ///< when bytes came last
  Days days_{wall_clock_ms()};
  net::Scope* scope_ = nullptr;
  std::deque<std::string> lines_;  ///< typed, not looked at yet
  bool ended_ = false;
  bool leaving_ = false;
  bool stopped_ = false;
  bool trouble_shown_ = false;
  bool no_quorum_ = false;           ///< is the trouble
  std::size_t delivered_since_ = 0;  ///< it was shown
  net::Event changed_;
  net::Event typed_;  ///< something that the draft may have to hold
  Visits visits_{c_,
                 name_,
                 {.note = [this](const std::string& text) { note(text); },
                  .print = [this](const std::string& line) { terminal_.print(line); },
                  .show = [this](const chat::Message& message) { show(message); },
                  .ring = [this] { terminal_.ring(); },
                  .prompt_changed = [this] { show_prompt(); },
                  .free =
                      [this](bool there) {
                        if (!there && terminal_.interactive()) keep_lines();
                        take_lines();
                        terminal_.redraw();
                        changed_.notify();
                      },
                  .over = [this] { return stopped_ || leaving_; },
                  .nap = [this](paxos::Duration duration) { return nap(duration); },
                  .spawn = [this](net::Task<void> task) { scope_->spawn(std::move(task)); },
                  .interactive = terminal_.interactive(),
                  .colour = colour_}};
};

}  // namespace

net::Task<int> run_chat(Connection& c, std::string room, std::string name) {
  Interactive here(c, std::move(room), std::move(name));
  co_return co_await here.run();
}

}  // namespace client
