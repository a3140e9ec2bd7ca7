#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "client/chat/chat.h"
#include "client/chat/days.h"
#include "client/chat/find_room.h"
#include "client/chat/message_lines.h"
#include "client/chat/patience.h"
#include "client/session/cluster_view.h"
#include "client/session/hub.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/line_reader.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// paxoschat send: one message, or one a line; a receipt for each, in order.
namespace client {

using namespace std::chrono_literals;

namespace {

/// Messages taken in before their predecessors' receipts came: input waits behind them.
constexpr std::size_t queue_max = 1024;
constexpr paxos::Duration close_patience = 1s;
/// A message without a receipt for so long is worth a word.
constexpr paxos::Duration trouble_patience = 2s;

struct SendFlags {
  std::string room;
  std::string name;
  std::optional<std::string> text;  ///< nothing: lines of standard input
  std::string key;                  ///< of `text`; empty: none
  bool resume = false;              ///< only what the state file has left
  std::optional<std::string> state;
  bool create = false;     ///< a new room is no surprise
  bool no_create = false;  ///< a new room is refused
  std::chrono::milliseconds timeout{10'000};
  bool json = false;
};

class Sender {
 public:
  Sender(Connection& connection, SendFlags flags)
      : c_(connection), flags_(std::move(flags)), hub_(connection) {}

  net::Task<int> run(std::optional<paxos::ReplicaId> first) {
    std::unique_ptr<StateFile> state;
    if (flags_.resume && ::access(flags_.state->c_str(), F_OK) != 0)
      co_return complain(
          "paxoschat send",
          fmt::format("nothing to resume: {}: {}", printable(*flags_.state), std::strerror(errno)),
          config::exit_refused);
    if (flags_.state) {
      auto opened = StateFile::open(*flags_.state, c_.config().id);
      if (!opened) co_return complain("paxoschat send", opened.error(), config::exit_refused);
      state = std::move(*opened);
      // Left over from an earlier run: first in line.
      for (const Ledger::Entry& entry : state->ledger().entries)
        items_.push_back({.ticket = entry.ticket, .since = c_.loop().now(), .delivery = {}, .refused = {}});
      left_over_ = !items_.empty();
    }
    const paxos::ReplicaId to = first.value_or(c_.config().some_member(c_.random()));
    session_ = &hub_.add(to, [this](Delivery&& d) { delivered(std::move(d)); }, std::move(state));

    net::Scope scope(c_.loop());
    net::Readable input(c_.loop(), STDIN_FILENO);
    if (flags_.resume) {
      input_ended_ = true;
    } else if (flags_.text) {
      take(*flags_.text, flags_.text->size());
      input_ended_ = true;
    } else {
      scope.spawn(read_input(input));
    }
    scope.spawn(watch());
    const bool in_time = co_await deliver_all();
    input_stop_ = true;
    if (new_room_ && in_time && hub_.failure().empty())
      if (const std::string near = co_await find_near_room(c_, *new_room_); !near.empty())
        complain("paxoschat send", fmt::format("did you mean {}?", printable_name(near)), 0);
    c_.give_up();
    changed_.notify();
    input.cancel();
    room_.notify();
    co_await scope.join();
    if (blank_lines_ > 0)
      complain("paxoschat send", fmt::format("{} skipped", counted(blank_lines_, "blank line")), 0);
    if (!hub_.failure().empty())
      co_return hub_.sent_commands() || left_over_
          ? complain("paxoschat send", hub_.failure() + "; what was sent before is perhaps delivered",
                     config::exit_unknown)
          : complain("paxoschat send", "nothing was sent: " + hub_.failure(), config::exit_refused);
    if (!in_time) co_return gave_up();
    if (!flags_.state && !session_->outbox().session().none()) co_await close();
    co_return any_unknown_ ? config::exit_unknown : any_refused_ ? config::exit_refused : config::exit_fine;
  }

 private:
  struct Item {
    std::uint64_t ticket = 0;  ///< 0: refused here
    std::uint64_t line = 0;    ///< 0: not from this run's lines
    paxos::Time since{};
    std::optional<Delivery> delivery;
    std::string refused;
  };

  net::Task<void> read_input(net::Readable& input) {
    LineReader lines(chat::limits::text_bytes_max);
    char buffer[16 * 1024];
    bool ended = false;
    while (!input_stop_) {
      if (!lines.empty()) {
        if (items_.size() >= queue_max) {
          (void)co_await room_.wait();
          continue;
        }
        const LineReader::Line line = lines.take();
        ++line_;
        if (line.bytes == 0)
          ++blank_lines_;
        else
          take(line.text, line.bytes);
        continue;
      }
      if (ended) break;
      if (!co_await input) break;
      const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n < 0) {
        any_refused_ = true;
        complain("paxoschat send", fmt::format("standard input can't be read: {}", std::strerror(errno)), 0);
      }
      if (n > 0) {
        lines.feed({buffer, static_cast<std::size_t>(n)});
      } else {
        lines.end();
        ended = true;
      }
    }
    input_ended_ = true;
    changed_.notify();
  }

  void take(const std::string& text, std::size_t bytes) {
    std::string fault = chat::validate_text(text);
    if (fault.empty()) fault = chat::validate_visible_text(text);
    if (bytes > text.size())
      fault =
          fmt::format("the text has {} bytes; at most {} are allowed", bytes, chat::limits::text_bytes_max);
    Item item{.line = flags_.text ? 0 : line_, .since = c_.loop().now(), .delivery = {}, .refused = {}};
    if (fault.empty())
      item.ticket = session_->post({.room = flags_.room,
                                    .name = flags_.name,
                                    .text = text,
                                    .key = flags_.key,
                                    .written_ms = wall_clock_ms()});
    else
      item.refused = std::move(fault);
    items_.push_back(std::move(item));
    show();
  }

  void delivered(Delivery&& delivery) {
    // In ticket order: the first that waits for one.
    for (Item& item : items_) {
      if (item.ticket != delivery.ticket) continue;
      if (!delivery.refused.empty()) item.refused = delivery.refused;
      item.delivery = std::move(delivery);
      break;
    }
    show();
  }

  /// A room that this message made was perhaps not meant.
  void look_for_new_room(const chat::Message& message) {
    if (message.seq != 1 || flags_.create || new_room_) return;
    new_room_ = message.room;
    complain("paxoschat send", fmt::format("new room {}", printable_name(message.room)), 0);
  }

  void show() {
    while (!items_.empty() && (items_.front().delivery || items_.front().ticket == 0)) {
      const Item& item = items_.front();
      if (!item.refused.empty()) {
        const bool unknown = item.delivery && item.delivery->unknown;
        (unknown ? any_unknown_ : any_refused_) = true;
        if (flags_.json) {
          Json json{{unknown ? "unknown" : "refused", item.refused}};
          if (item.line != 0) json["line"] = item.line;
          print_json(json);
        }
        complain("paxoschat send",
                 fmt::format("{}{}: {}", item.line != 0 ? fmt::format("line {}: ", item.line) : "",
                             unknown ? "perhaps sent" : "not sent", item.refused),
                 0);
      } else if (flags_.json) {
        Json json = to_json(item.delivery->message);
        if (item.delivery->repeat) json["repeat"] = true;
        print_json(json);
        look_for_new_room(item.delivery->message);
      } else {
        const chat::Message& m = item.delivery->message;
        say(stdout, "{}: message {} of {}, slot {}\n",
            item.delivery->repeat ? "delivered before" : "delivered", m.seq, printable_name(m.room),
            m.slot.n);
        std::fflush(stdout);
        look_for_new_room(m);
      }
      items_.pop_front();
    }
    room_.notify();
    changed_.notify();
  }

  /// True when all is delivered or refused, false when the oldest one's time passed.
  net::Task<bool> deliver_all() {
    for (;;) {
      if (!hub_.failure().empty()) co_return true;
      if (input_ended_ && items_.empty()) co_return true;
      if (refused_by_full_disks()) co_return true;
      const paxos::Time until = items_.empty() ? paxos::time_never : items_.front().since + flags_.timeout;
      if (until <= c_.loop().now()) co_return false;
      // A failure shows at a turn's end; nothing else wakes us then.
      (void)co_await changed_.wait_until(std::min(until, c_.loop().now() + 100ms));
    }
  }

  /// Disks are full for long. Where nothing that could run has left, it is not done, and never will be. (With
  /// a state file it is kept, and waits.)
  bool refused_by_full_disks() {
    const auto why = session_->outbox().disks_full();
    if (!why || flags_.state || hub_.sent_commands() || items_.empty()) return false;
    for (Item& item : items_) {
      item.refused = *why +
                     "; reading goes on, and with --state FILE it would be kept until there is room. See "
                     "`paxosctl status`";
      item.ticket = 0;
    }
    show();
    return true;
  }

  /// Tells once what messages wait for, when that has lasted.
  net::Task<void> watch() {
    const paxos::Duration patience = std::min<paxos::Duration>(trouble_patience, flags_.timeout / 2);
    while (!input_stop_) {
      (void)co_await changed_.wait_until(c_.loop().now() + 250ms);
      if (input_stop_) co_return;
      const auto waits = [&] {
        return !items_.empty() && c_.loop().now() - items_.front().since >= patience;
      };
      if (!waits()) {
        if (!outage_.over()) complain("paxoschat send", "going on", 0);
        outage_ = {};
        continue;
      }
      Outage now = co_await look_for_outage(c_, outage_timeout);
      if (input_stop_) co_return;
      if (!waits() || now.over()) continue;
      if (now.differs(outage_))
        complain("paxoschat send",
                 flags_.state
                     ? fmt::format("{}; {} {} queued in the state file, to go out when {}", now.sentence(),
                                   counted(items_.size(), "message"), items_.size() == 1 ? "is" : "are",
                                   now.full ? "there is room" : "a quorum is there")
                     : fmt::format("{}; {} wait{} for up to {:g} s each, to go out when {}; "
                                   "with --state FILE they would be kept",
                                   now.sentence(), counted(items_.size(), "message"),
                                   items_.size() == 1 ? "s" : "",
                                   static_cast<double>(flags_.timeout.count()) / 1000,
                                   now.full ? "there is room" : "a quorum is there"),
                 0);
      outage_ = std::move(now);
    }
  }

  int gave_up() {
    const std::string trouble = outage_.over() ? session_->outbox().trouble() : outage_.sentence();
    // Without a session nothing that could run has left.
    const bool certain = !hub_.sent_commands() && !left_over_;
    const std::string next =
        flags_.state ? fmt::format(
                           "; it stays in the outbox: `paxoschat send --resume --state {}` delivers what is "
                           "left, each "
                           "exactly once. To give the text again would post it again{}",
                           printable(*flags_.state), flags_.key.empty() ? "" : ", but for its key")
        : certain ? ""
        : flags_.key.empty()
            ? "; to send it again may post it twice. With --key ID, the same each time, it never does"
            : "; to send it again with the same --key posts it at most once";
    return complain(
        "paxoschat send",
        fmt::format("{} without a receipt after {:g} s, {}{}{}. See `paxosctl status`{}",
                    counted(items_.size(), "message"), static_cast<double>(flags_.timeout.count()) / 1000,
                    certain ? "not sent" : "perhaps delivered", trouble.empty() ? "" : ": ", trouble, next),
        config::exit_unknown);
  }

  /// All is acknowledged; the session would otherwise stay until it expires.
  net::Task<void> close() {
    session_->close();
    const paxos::Time until = c_.loop().now() + close_patience;
    while (!session_->outbox().closed() && c_.loop().now() < until)
      (void)co_await hub_.progress().wait_until(until);
  }

  Connection& c_;
  SendFlags flags_;
  Hub hub_;
  HubSession* session_ = nullptr;
  std::deque<Item> items_;
  Outage outage_;  ///< as last told
  std::uint64_t line_ = 0;
  std::uint64_t blank_lines_ = 0;
  bool input_ended_ = false;
  bool input_stop_ = false;
  bool any_refused_ = false;
  bool any_unknown_ = false;  ///< what nobody can tell any more
  bool left_over_ = false;
  std::optional<std::string> new_room_;
  net::Event changed_{c_.loop()};
  net::Event room_{c_.loop()};
};

/// The room that was typed as the one that is meant; an exit code where there is none.
net::Task<std::optional<int>> settle_room(Connection& c, SendFlags& flags) {
  const RoomMeant meant =
      co_await find_room(c, flags.room, flags.no_create,
                         flags.no_create ? flags.timeout : std::min(flags.timeout, settle_timeout));
  std::string why = meant.fault;
  if (why.empty() && flags.no_create && meant.exists == false)
    why = fmt::format("there is no room {}{}; without --no-create the first message makes it",
                      printable_name(meant.name), did_you_mean(co_await find_near_room(c, meant.name)));
  if (!why.empty()) {
    if (flags.json) print_json({{"refused", why}});
    co_return complain("paxoschat send", "nothing was sent: " + why, config::exit_refused);
  }
  if (!meant.certain)
    co_return complain(
        "paxoschat send",
        fmt::format("nothing was sent: nobody can tell now whether there is a room that is written {}. "
                    "If {} is meant, write it so. See `paxosctl status`",
                    printable_name(flags.room), printable_name(meant.name)),
        config::exit_unknown);
  if (flags.no_create && !meant.exists)
    co_return complain(
        "paxoschat send",
        fmt::format("nothing was sent: no replica told within {:g} s whether there is a room {}. See "
                    "`paxosctl status`",
                    static_cast<double>(flags.timeout.count()) / 1000, printable_name(meant.name)),
        config::exit_unknown);
  flags.room = meant.name;
  co_return std::nullopt;
}

net::Task<int> send(Connection& c, SendFlags flags, std::optional<paxos::ReplicaId> first) {
  if (!flags.resume)
    if (const auto code = co_await settle_room(c, flags)) co_return *code;
  Sender sender(c, std::move(flags));
  co_return co_await sender.run(first);
}

}  // namespace

int chat_send(const std::vector<std::string>& words) {
  VerbFlags flags("paxoschat send", "PAXOSCHAT", "Sends a message, or one a line, and prints the receipts.");
  flags.value("room", "ROOM", "where to (not with --resume)");
  flags.value("name", "NAME", "of the sender (default: the login name)");
  flags.value("state", "FILE",
              "keeps the session and what is not delivered yet: exactly once, across crashes");
  flags.value("key", "ID",
              "the message stands once, however often and from wherever it is sent with this key (for a day "
              "at least); a TEXT is needed");
  flags.flag("create", "the room may be a new one: nothing is said about it");
  flags.flag("no-create", "refuse to make a room that does not exist yet");
  flags.flag("resume", "delivers what is left in --state FILE; reads nothing");
  flags.value("timeout", "TIME", "for each message, from reading it (default: 10s)");
  flags.value("replica", "ID", "ask this replica first");
  flags.flag("json", "one JSON object a line");
  flags.arguments_help("[TEXT | -]   - (or nothing): one message a line from standard input");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() > 1) return flags.wrong_usage("one TEXT at a time; put quotes around it");
  const auto room = flags.get("room");
  const bool resume = flags.has("resume");
  if (resume && !flags.get("state"))
    return flags.wrong_usage("--resume goes with --state FILE: it delivers what that has left");
  if (resume && !flags.arguments().empty())
    return flags.wrong_usage("--resume reads nothing: leave the TEXT out");
  if (resume && flags.get("key"))
    return flags.wrong_usage("--resume delivers what is left under the keys that it has: leave --key out");
  if (!room && !resume) return flags.wrong_usage("--room ROOM is missing");
  if (flags.has("create") && flags.has("no-create"))
    return flags.wrong_usage("--create and --no-create exclude each other");
  if (resume && flags.has("no-create"))
    return flags.wrong_usage("--resume delivers into the rooms that it has: leave --no-create out");
  const bool one_text = !flags.arguments().empty() && flags.arguments().front() != "-";
  if (flags.get("key") && !one_text) return flags.wrong_usage("--key names one message: give its TEXT");
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  SendFlags options{.room = room.value_or(""),
                    .name = {},
                    .text = {},
                    .key = flags.get("key").value_or(""),
                    .resume = resume,
                    .state = flags.get("state"),
                    .create = flags.has("create"),
                    .no_create = flags.has("no-create"),
                    .timeout = *timeout,
                    .json = flags.has("json")};
  if (one_text) options.text = flags.arguments().front();
  const auto refuse = [&](const std::string& why) {
    if (options.json) print_json({{"refused", why}});
    return complain("paxoschat send", "nothing was sent: " + why, config::exit_refused);
  };
  if (!resume) {
    auto name = flags.person();
    if (!name) return refuse(name.error());
    options.name = std::move(*name);
    if (std::string fault = chat::validate_room(options.room); !fault.empty()) return refuse(fault);
    if (std::string fault = chat::validate_name(options.name); !fault.empty()) return refuse(fault);
    if (std::string fault = chat::validate_visible_name(options.name); !fault.empty()) return refuse(fault);
    if (flags.get("key"))
      if (std::string fault = chat::validate_key(options.key); !fault.empty()) return refuse(fault);
  }
  if (options.text) {
    if (std::string fault = chat::validate_text(*options.text); !fault.empty()) return refuse(fault);
    if (std::string fault = chat::validate_visible_text(*options.text); !fault.empty()) return refuse(fault);
  }
  const auto config = flags.load_config();
  if (!config) return refuse(config.error());
  const auto replica = flags.replica(*config);
  if (!replica) return flags.wrong_usage(replica.error());
  return flags.with_cluster([&](Connection& c) { return send(c, std::move(options), *replica); });
}

}  // namespace client
