#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "client/chat/chat.h"
#include "client/chat/chat_words.h"
#include "client/chat/days.h"
#include "client/chat/find_room.h"
#include "client/chat/message_lines.h"
#include "client/chat/patience.h"
#include "client/session/cluster_view.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/say.h"
#include "client/terminal/screen.h"

/// Reading rooms: history pages, and the long polls of follow.
namespace client {

using namespace std::chrono_literals;

namespace {
/// After a refusal or a silence everywhere.
constexpr std::chrono::milliseconds pause = 100ms;
constexpr std::uint32_t poll_ms = 1000;
constexpr std::chrono::milliseconds poll_patience = 1500ms;
/// A replica that is cut off from the others answers polls for ever with nothing: look elsewhere now and
/// then.
constexpr paxos::Duration look_every = 2s;
constexpr std::chrono::milliseconds follow_outage_timeout = 1000ms;

}  // namespace

void tell_zone_fault(const std::string& program) {
  if (const std::string fault = zone_fault_here(); !fault.empty()) complain(program, fault, 0);
}

Json to_json(const Forgotten& forgotten) {
  return {{"room", forgotten.room}, {"forgotten", true}, {"from", forgotten.from}, {"to", forgotten.to}};
}

std::string to_line(const Forgotten& forgotten) {
  return fmt::format("{} of {} {} gone: the room keeps {} no more (`paxosctl retention`)",
                     forgotten.from == forgotten.to
                         ? fmt::format("message {}", forgotten.from)
                         : fmt::format("messages {} to {}", forgotten.from, forgotten.to),
                     printable_name(forgotten.room), forgotten.from == forgotten.to ? "is" : "are",
                     forgotten.from == forgotten.to ? "it" : "them");
}

// --- history ---

namespace {

struct HistoryFlags {
  HistoryReader::Options read;
  std::uint64_t limit = 0;
  bool json = false;
};

constexpr paxos::Duration unsettled_pause = 500ms;
/// The room that was typed as the one that is meant: an older one of exactly that name, else the folded one.
/// False: nobody can tell now which one it is.
net::Task<bool> settle_room(Connection& c, std::string& room, bool local) {
  const RoomMeant meant = co_await find_room(c, room, false, settle_timeout);
  if (!meant.certain && !local) co_return false;
  if (meant.fault.empty()) room = meant.name;
  co_return true;
}
std::string unsettled(const std::string& room) {
  return fmt::format("nobody can tell now whether there is a room that is written {}. See `paxosctl status`",
                     printable_name(room));
}

net::Task<int> history(Connection& c, HistoryFlags options) {
  if (!co_await settle_room(c, options.read.room, options.read.local))
    co_return complain("paxoschat history", unsettled(options.read.room), config::exit_unknown);
  HistoryReader reader(c, options.read);
  const std::uint64_t wanted = options.limit != 0       ? options.limit
                               : options.read.last != 0 ? options.read.last
                                                        : UINT64_MAX;
  std::uint64_t printed = 0;
  // With --last nobody asked for what is gone.
  std::uint64_t expected = options.read.last != 0 ? 0 : options.read.from;
  bool told_forgotten = false;
  const bool colour = wants_colour();
  Days days(wall_clock_ms());
  if (!options.json) tell_zone_fault("paxoschat history");
  do {
    const auto page = co_await reader.next(static_cast<std::uint32_t>(
        std::min<std::uint64_t>(wanted - printed, chat::limits::page_messages_max)));
    if (!page) {
      const Outage outage = co_await look_for_outage(c, follow_outage_timeout);
      complain("paxoschat history",
               fmt::format(
                   "{} answered within {:g} s: {}{}{}. See `paxosctl status`{}",
                   options.read.pinned ? fmt::format("replica {} has not", options.read.first->n)
                                       : "no replica has",
                   static_cast<double>(options.read.timeout.count()) / 1000, page.error(),
                   outage.over() ? "" : "; ", outage.sentence(),
                   options.read.local ? "" : "; with --local a replica shows what it has, without a quorum"),
               config::exit_unknown);
      co_return config::exit_unknown;
    }
    if (expected != 0 && page->first > expected) {
      const Forgotten gone{options.read.room, expected, page->first - 1};
      if (options.json)
        print_json(to_json(gone));
      else
        complain("paxoschat history", to_line(gone), 0);
      told_forgotten = true;
    }
    for (const chat::Message& message : page->messages) {
      if (printed == wanted) break;
      ++printed;
      expected = message.seq + 1;
      if (options.json) {
        print_json(to_json(message));
        continue;
      }
      if (const auto day = days.before(message.time_ms)) say(stdout, "{}\n", *day);
      say(stdout, "{}\n", Own{to_line(message, colour)});
    }
  } while (!reader.done() && printed < wanted && std::ferror(stdout) == 0);
  if (printed == 0 && !options.json && !told_forgotten)
    complain("paxoschat history",
             options.read.from > 1
                 ? fmt::format("room '{}' has no message {} yet", printable_name(options.read.room),
                               options.read.from)
                 : fmt::format("room '{}' has no messages; a room exists from its first message on{}",
                               printable_name(options.read.room),
                               did_you_mean(co_await find_near_room(c, options.read.room))),
             0);
  co_return config::exit_fine;
}

}  // namespace

int chat_history(const std::vector<std::string>& words) {
  VerbFlags flags("paxoschat history", "PAXOSCHAT", "Messages of a room, oldest first.");
  flags.value("room", "ROOM", "whose messages");
  flags.value("from", "SEQ", "from this message on (default: 1)");
  flags.value("last", "N", "only the last N");
  flags.value("limit", "N", "at most N");
  flags.flag("local", "what the replica has applied, without asking a quorum: may be old");
  flags.value("replica", "ID", "this replica answers, or none");
  flags.value("timeout", "TIME", "give up after it (default: 10s)");
  flags.flag("json", "one JSON object a line");
  if (const auto code = flags.parse_without_arguments(words, "the room is given by --room")) return *code;
  const auto room = flags.get("room");
  if (!room) return flags.wrong_usage("--room ROOM is missing");
  if (flags.get("from") && flags.get("last"))
    return flags.wrong_usage("--from and --last exclude each other");
  const auto from = flags.number("from", 1, UINT64_MAX, 1);
  const auto last = flags.number("last", 1, UINT32_MAX, 0);
  const auto limit = flags.number("limit", 1, UINT64_MAX, 0);
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(from, last, limit, timeout)) return *code;
  if (const std::string fault = chat::validate_room(*room); !fault.empty()) return flags.refused(fault);
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto replica = flags.replica(*config);
  if (!replica) return flags.wrong_usage(replica.error());
  return flags.with_cluster([&](Connection& c) {
    return history(c, {.read = {.room = *room,
                                .from = *from,
                                .last = static_cast<std::uint32_t>(*last),
                                .local = flags.has("local"),
                                .first = *replica,
                                .pinned = replica->has_value(),
                                .timeout = *timeout},
                       .limit = *limit,
                       .json = flags.has("json")});
  });
}

// --- follow ---

Follower::Follower(Connection& connection, Options options)
    : connection_(connection), options_(std::move(options)), patience_(poll_patience) {
  target_ = options_.first.value_or(connection_.config().some_member(connection_.random()));
  cursor_ = options_.from.value_or(0);
  looked_elsewhere_ = connection_.loop().now();
}

void Follower::trouble(std::string text) {
  if (text == trouble_) return;
  trouble_ = std::move(text);
  if (on_trouble_) on_trouble_(trouble_);
}

void Follower::move_on() { target_ = connection_.config().next_member(target_); }

/// "From the next message on" is a read of its own: what was acknowledged before it must not come.
net::Task<bool> Follower::find_start() {
  while (!stopped_) {
    HistoryReader reader(connection_, {.room = options_.room, .last = 1, .first = target_, .timeout = 2s});
    const auto page = co_await reader.next(1);
    if (page) {
      cursor_ = page->head + 1;
      trouble({});
      co_return true;
    }
    const Outage outage = co_await look_for_outage(connection_, follow_outage_timeout);
    if (stopped_) break;
    if (outage.over() || outage.differs(outage_)) trouble(outage.over() ? page.error() : outage.sentence());
    outage_ = outage;
  }
  co_return false;
}

/// Goes to another replica that has more of the room, or as much; the one that answers now may be cut off.
net::Task<void> Follower::look_elsewhere() {
  const config::ClusterConfig& config = connection_.config();
  looked_elsewhere_ = connection_.loop().now();
  elsewhere_ = config.next_member(elsewhere_);
  if (elsewhere_ == target_) elsewhere_ = config.next_member(elsewhere_);
  if (elsewhere_ == target_) co_return;
  const auto head = co_await connection_.follow(
      elsewhere_, {.id = 0, .room = options_.room, .from = 0, .wait_ms = 0}, 200ms);
  if (head && head->refused.empty() && head->page.head >= cursor_) target_ = elsewhere_;
}

/// A replica without a quorum answers polls for ever with nothing: that is said, once.
net::Task<void> Follower::look_at_quorum() {
  const ReplicaStatus here = co_await ask_status(connection_, target_, follow_outage_timeout);
  // One without a quorum may be cut off alone: the others decide.
  const bool well = here.json && here.json->contains("leader") && !here.json->at("leader").is_null() &&
                    !here.json->contains("no_quorum_age_ms");
  Outage outage;
  if (!well) outage = co_await look_for_outage(connection_, follow_outage_timeout);
  if (stopped_) co_return;
  if (outage.over())
    trouble({});
  else if (outage.differs(outage_))
    trouble(outage.sentence() + "; " + outage.still_works());
  outage_ = std::move(outage);
}

net::Task<std::vector<chat::Message>> Follower::next() {
  net::Loop& loop = connection_.loop();
  if (cursor_ == 0 && !co_await find_start()) co_return std::vector<chat::Message>{};
  while (!stopped_) {
    const paxos::Time asked = loop.now();
    auto reply = co_await connection_.follow(
        target_,
        {.id = 0, .room = options_.room, .from = cursor_, .wait_ms = poll_ms | chat::wait_wants_stamps},
        patience_.now());
    if (stopped_) break;
    if (reply)
      patience_.answered(loop.now() - asked);
    else
      patience_.silent(connection_.config().members());
    if (!reply || !reply->refused.empty()) {
      ++unanswered_;
      const std::string why = reply ? reply->refused : "no answer";
      if (unanswered_ % connection_.config().members() == 0) co_await look_at_quorum();
      if (stopped_) break;
      if (unanswered_ >= connection_.config().members() && outage_.over())
        trouble(fmt::format("replica {}: {}; trying the others", target_.n, why));
      if (reply) co_await loop.sleep(pause);
      move_on();
      continue;
    }
    unanswered_ = 0;
    if (outage_.over()) trouble({});
    if (const chat::HistoryPage& page = reply->page;
        page.first > cursor_ && (page.messages.empty() || page.messages.front().seq >= page.first)) {
      if (on_forgotten_) on_forgotten_({options_.room, cursor_, page.first - 1});
      cursor_ = page.first;
    }
    std::vector<chat::Message> fresh;
    for (chat::Message& message : reply->page.messages) {
      if (message.seq != cursor_) continue;  // a repeat, or behind a gap that the next poll closes
      ++cursor_;
      fresh.push_back(std::move(message));
    }
    if (!fresh.empty()) {
      outage_ = {};
      trouble({});
      looked_elsewhere_ = loop.now();
      co_return fresh;
    }
    if (loop.now() - looked_elsewhere_ >= look_every) {
      co_await look_elsewhere();
      if (!stopped_) co_await look_at_quorum();
    }
  }
  co_return std::vector<chat::Message>{};
}

namespace {

net::Task<void> watch_reader(net::HungUp& output, Follower& follower, Connection& c, bool& gone) {
  if (!co_await output.wait()) co_return;
  gone = true;
  follower.stop();
  c.give_up();
}

net::Task<int> follow(Connection& c, Follower::Options options, std::uint64_t count, bool json) {
  for (bool told = false; !co_await settle_room(c, options.room, false);) {
    if (c.given_up()) co_return config::exit_fine;
    if (!std::exchange(told, true)) complain("paxoschat follow", unsettled(options.room), 0);
    co_await c.loop().sleep(unsettled_pause);
  }
  Follower follower(c, std::move(options));
  follower.on_trouble([](const std::string& why) {
    if (why.empty())
      say(stderr, "paxoschat follow: going on\n");
    else
      say(stderr, "paxoschat follow: waiting: {}\n", why);
  });
  follower.on_forgotten([json](const Forgotten& gone) {
    if (json)
      print_json(to_json(gone));
    else
      complain("paxoschat follow", to_line(gone), 0);
  });
  const bool colour = wants_colour();
  Days days(wall_clock_ms());
  if (!json) tell_zone_fault("paxoschat follow");
  // Between messages nothing is written that could fail: `follow | head -1` would wait for the next one.
  bool gone = false;
  net::HungUp output(c.loop(), STDOUT_FILENO);
  net::Scope scope(c.loop());
  scope.spawn(watch_reader(output, follower, c, gone));
  std::uint64_t printed = 0;
  while (!gone && (count == 0 || printed < count)) {
    for (const chat::Message& message : co_await follower.next()) {
      if (count != 0 && printed == count) break;
      ++printed;
      if (json) {
        print_json(to_json(message));
        continue;
      }
      // Programs read one line a message.
      if (const auto day = days.before(message.time_ms); day && colour)
        say(stdout, "\x1b[2m{}\x1b[0m\n", *day);
      say(stdout, "{}\n", Own{to_line(message, colour)});
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) break;  // main() says it
  }
  output.cancel();
  co_await scope.join();
  co_return gone ? reader_gone() : std::ferror(stdout) != 0 ? config::exit_unknown : config::exit_fine;
}

}  // namespace

int chat_follow(const std::vector<std::string>& words) {
  VerbFlags flags("paxoschat follow", "PAXOSCHAT", "Messages of a room as they come; never gives up.");
  flags.value("room", "ROOM", "whose messages");
  flags.value("from", "SEQ", "from this message on (default: the next one)");
  flags.value("count", "N", "end after N messages");
  flags.value("replica", "ID", "ask this replica first");
  flags.flag("json", "one JSON object a line");
  if (const auto code = flags.parse_without_arguments(words, "the room is given by --room")) return *code;
  const auto room = flags.get("room");
  if (!room) return flags.wrong_usage("--room ROOM is missing");
  const auto from = flags.number("from", 1, UINT64_MAX, 1);
  const auto count = flags.number("count", 1, UINT64_MAX, 0);
  if (const auto code = flags.first_fault(from, count)) return *code;
  if (const std::string fault = chat::validate_room(*room); !fault.empty()) return flags.refused(fault);
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto replica = flags.replica(*config);
  if (!replica) return flags.wrong_usage(replica.error());
  return flags.with_cluster([&](Connection& c) {
    Follower::Options options{.room = *room, .from = {}, .first = *replica};
    if (flags.get("from")) options.from = *from;
    return follow(c, std::move(options), *count, flags.has("json"));
  });
}

}  // namespace client
