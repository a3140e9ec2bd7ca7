#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "client/ctl/ctl.h"
#include "client/ctl/progress_line.h"
#include "client/ctl/room_file.h"
#include "client/session/history_reader.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// export: every room, as JSON lines.
namespace client {

namespace {

using namespace std::chrono_literals;
const std::string export_program = "paxosctl export";
constexpr std::chrono::milliseconds export_outage_timeout = 1000ms;

struct ExportFlags {
  std::vector<std::string> rooms;  ///< none: all
  bool local = false;
  std::optional<paxos::ReplicaId> replica;
  std::chrono::milliseconds timeout{10'000};  ///< for each page
};

class Exporter {
 public:
  Exporter(Connection& connection, ExportFlags flags) : c_(connection), flags_(std::move(flags)) {}

  net::Task<int> run() {
    const auto found = co_await list_rooms(c_, {.local = flags_.local, .timeout = flags_.timeout});
    if (!found)
      co_return complain(
          export_program,
          found.error().why + (flags_.local || found.error().too_old
                                   ? ""
                                   : "; with --local a replica tells what it has, without a quorum"),
          found.error().too_old ? config::exit_refused : config::exit_unknown);
    std::vector<chat::RoomLine> rooms;
    for (const chat::RoomLine& line : found->lines)
      if (flags_.rooms.empty() || std::count(flags_.rooms.begin(), flags_.rooms.end(), line.name) > 0) {
        rooms.push_back(line);
        messages_in_all_ += line.messages + 1 - line.first;
      }
    for (const std::string& wanted : flags_.rooms)
      if (std::none_of(rooms.begin(), rooms.end(), [&](const auto& line) { return line.name == wanted; }))
        co_return complain(export_program,
                           fmt::format("nothing was exported: there is no room {}{}", printable_name(wanted),
                                       did_you_mean(co_await find_near_room(c_, wanted))),
                           config::exit_refused);
    put(room_file::text_of(
        room_file::Header{.cluster = c_.config().cluster,
                          .cluster_id = c_.config().id,
                          .time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                         std::chrono::system_clock::now().time_since_epoch())
                                         .count()}));
    for (const chat::RoomLine& room : rooms)
      if (const auto code = co_await write_room(room)) co_return *code;
    put_raw(room_file::text_of(
        room_file::End{.rooms = rooms.size(), .messages = messages_, .checksum = sum_.hex()}));
    std::fflush(stdout);
    progress_.clear();
    if (std::ferror(stdout) == 0)
      complain(export_program,
               fmt::format("whole: {} in {}", counted(messages_, "message"), counted(rooms.size(), "room")),
               0);
    co_return config::exit_fine;
  }

 private:
  /// Up to the last message that the room has when its turn comes: a busy room would have no end.
  net::Task<std::optional<int>> write_room(const chat::RoomLine& room) {
    put(room_file::text_of(room_file::Room{
        .name = room.name, .topic = room.topic, .topic_by = room.topic_by, .topic_ms = room.topic_ms}));
    HistoryReader reader(c_, {.room = room.name,
                              .local = flags_.local,
                              .first = flags_.replica,
                              .pinned = flags_.replica.has_value(),
                              .timeout = flags_.timeout});
    std::uint64_t last = 0;
    for (bool more = true; more && std::ferror(stdout) == 0;) {
      const auto page = co_await reader.next(0);
      if (!page) {
        progress_.clear();
        const Outage outage = co_await look_for_outage(c_, export_outage_timeout);
        co_return complain(
            export_program,
            fmt::format(
                "room {}: {}{}{}. What was written so far is cut off, and no import takes it: export again",
                printable_name(room.name), page.error(), outage.over() ? "" : "; ", outage.sentence()),
            config::exit_unknown);
      }
      if (last == 0) last = page->head;
      for (const chat::Message& m : page->messages) {
        if (m.seq > last) break;
        put(room_file::text_of(m));
        ++messages_;
      }
      more = !reader.done() && (page->messages.empty() || page->messages.back().seq < last);
      show(room.name);
    }
    co_return std::nullopt;
  }

  void put(const std::string& text) {
    sum_.add(text);
    put_raw(text);
  }
  /// JSON, as it is: its control characters are escaped.
  static void put_raw(const std::string& text) { say(stdout, "{}", Own{text}); }

  void show(const std::string& room) {
    progress_.show(c_.loop().now(), "{} of {} messages, room {}", messages_,
                   std::max(messages_, messages_in_all_), printable_name(room));
  }

  Connection& c_;
  ExportFlags flags_;
  room_file::Checksum sum_;
  std::uint64_t messages_ = 0, messages_in_all_ = 0;
  ProgressLine progress_;
};

net::Task<int> export_rooms(Connection& c, ExportFlags flags) {
  Exporter exporter(c, std::move(flags));
  co_return co_await exporter.run();
}

}  // namespace

int ctl_export(const Words& words) {
  VerbFlags flags(
      export_program, "PAXOSCTL",
      "Every room with its messages, names and times, to standard output, as JSON lines for `import`.");
  flags.list("room", "ROOM", "only this one (may be given several times)");
  flags.flag("local", "what a replica has applied, without asking a quorum: may be old");
  flags.value("replica", "ID", "this replica answers, or none");
  flags.value("timeout", "TIME", "give up when no page comes for so long (default: 10s)");
  flags.flag("json", "as it is anyway: one JSON object a line");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  if (::isatty(STDOUT_FILENO) == 1)
    return flags.wrong_usage("standard output is a terminal: write it to a file (`> rooms.jsonl`) or a pipe");
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto replica = flags.replica(*config);
  if (!replica) return flags.wrong_usage(replica.error());
  return flags.with_cluster([&](Connection& c) {
    return export_rooms(
        c,
        {.rooms = flags.all("room"), .local = flags.has("local"), .replica = *replica, .timeout = *timeout});
  });
}

}  // namespace client
