#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "client/ctl/ctl.h"
#include "client/ctl/progress_line.h"
#include "client/ctl/room_file.h"
#include "client/session/history_reader.h"
#include "client/session/hub.h"
#include "client/session/room_list.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// import: what `export` wrote, into this cluster, each message exactly once however often it is broken off.
///
/// The messages go out in the file's order through one session whose outbox is on disk, so a ticket's number
/// is a message's place in the file, and the next ticket tells where an earlier run ended.
namespace client {

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const std::string import_program = "paxosctl import";
/// Messages taken in before their predecessors' receipts came.
constexpr std::size_t import_queue_max = 1024;
constexpr std::uint64_t import_skip_turn = 4096;  ///< lines of an earlier run read in one turn
constexpr paxos::Duration import_close_patience = 1s;
constexpr std::chrono::milliseconds import_outage_timeout = 1000ms;
/// From these rules on the log keeps when a message was written.
constexpr double rules_needed = 2;
constexpr std::size_t import_named_max = 5;

struct ImportFlags {
  fs::path file;
  fs::path state_dir;
  bool append = false;
  std::chrono::milliseconds timeout{60'000};  ///< without any receipt
  bool json = false;
};

class Importer {
 public:
  Importer(Connection& connection, ImportFlags flags, room_file::Contents contents)
      : c_(connection), flags_(std::move(flags)), contents_(std::move(contents)), hub_(connection) {}

  net::Task<int> run() {
    if (const auto code = co_await check_rules()) co_return *code;
    const fs::path path =
        flags_.state_dir / fmt::format("{}.to-{}-{}.state", flags_.file.filename().string(),
                                       c_.config().id.substr(0, 8), contents_.end.checksum.substr(0, 8));
    std::error_code error;
    const bool begun = fs::exists(path, error);
    if (!begun)
      if (const auto code = co_await check_rooms()) co_return *code;
    auto state = StateFile::open(path, c_.config().id);
    if (!state) co_return complain(import_program, state.error(), config::exit_refused);
    before_ = (*state)->ledger().next_ticket - 1;
    left_ = (*state)->ledger().entries.size();
    if (before_ > contents_.end.messages)
      co_return complain(
          import_program,
          fmt::format("{}: it is of {}, the export has {}: it is not of this export. Move it away",
                      path.string(), counted(before_, "message"), contents_.end.messages),
          config::exit_refused);
    path_ = path.string();
    waits_ = left_;
    const paxos::ReplicaId first = c_.config().some_member(c_.random());
    session_ = &hub_.add(first, [this](Delivery&& d) { delivered(std::move(d)); }, std::move(*state), true);
    heard_ = c_.loop().now();
    if (const auto code = co_await post_all()) co_return *code;
    if (before_ < contents_.end.messages) co_await close();
    if (contents_.redacted > 0)
      if (const auto code = co_await redact_all(first)) co_return *code;
    progress_.clear();
    done();
    co_return refused_ == 0 ? config::exit_fine : config::exit_refused;
  }

 private:
  net::Task<std::optional<int>> check_rules() {
    std::vector<unsigned> old;
    bool any = false;
    for (const ReplicaStatus& status : co_await ask_all(c_, status_timeout)) {
      if (!status.json) continue;
      any = true;
      if (number_in(*status.json, "rules").value_or(1) < rules_needed) old.push_back(status.id.n);
    }
    if (!any) {
      const Outage outage = co_await look_for_outage(c_, import_outage_timeout);
      co_return complain(import_program,
                         fmt::format("nothing was imported: {}. See `paxosctl status`", outage.sentence()),
                         config::exit_unknown);
    }
    if (!old.empty())
      co_return complain(
          import_program,
          fmt::format(
              "nothing was imported: {} still by rules 1, which keep no time of another clock. They are "
              "raised once every replica runs this version and there is a quorum: see `paxosctl status`",
              replicas_text(old) + (old.size() == 1 ? " goes" : " go")),
          config::exit_refused);
    co_return std::nullopt;
  }

  /// Not into rooms in which people talk already, unless that is wanted.
  net::Task<std::optional<int>> check_rooms() {
    const auto found =
        co_await list_rooms(c_, {.timeout = std::min<std::chrono::milliseconds>(flags_.timeout, 10s)});
    if (!found)
      co_return complain(import_program, "nothing was imported: " + found.error().why,
                         found.error().too_old ? config::exit_refused : config::exit_unknown);
    std::vector<std::string> there;
    for (const chat::RoomLine& line : found->lines)
      if (line.messages > 0 && contents_.rooms.contains(line.name)) there.push_back(line.name);
    if (there.empty() || flags_.append) co_return std::nullopt;
    std::string names;
    for (std::size_t i = 0; i < std::min(there.size(), import_named_max); ++i)
      names += (i == 0 ? "" : ", ") + printable_name(there[i]);
    co_return complain(
        import_program,
        fmt::format(
            "nothing was imported: this cluster has messages in {}{} already. With --append the imported "
            "ones come behind them, and get other numbers than they had",
            names,
            there.size() > import_named_max ? fmt::format(" and {} more", there.size() - import_named_max)
                                            : ""),
        config::exit_refused);
  }

  net::Task<std::optional<int>> post_all() {
    std::ifstream in(flags_.file, std::ios::binary);
    std::string line, room;
    std::uint64_t place = 0, in_room = 0;
    const room_file::Contents::RoomContents* about = nullptr;
    while (std::getline(in, line)) {
      ++line_;
      auto read = room_file::parse(line);
      if (!read)
        co_return complain(import_program,
                           fmt::format("{}: line {}: it was changed meanwhile", flags_.file.string(), line_),
                           config::exit_unknown);
      if (const auto* next = std::get_if<room_file::Room>(&*read)) {
        room = next->name;
        about = &contents_.rooms.at(room);
        in_room = 0;
      }
      auto* message = std::get_if<room_file::Message>(&*read);
      if (message == nullptr || about == nullptr) continue;
      ++place;
      ++in_room;
      if (place <= before_) {
        // What the session hears meanwhile is heard, and the clock goes on.
        if (place % import_skip_turn == 0) (void)co_await hub_.progress().wait_until(c_.loop().now() + 1ms);
        continue;
      }
      while (waits_ >= import_queue_max)
        if (const auto code = co_await wait(room)) co_return code;
      chat::Post post{.room = room,
                      .name = message->name,
                      .text = message->redacted ? room_file::placeholder(contents_, message->seq)
                                                : std::move(message->text),
                      .key = {},
                      .topic = {},
                      .written_ms = message->first_written_ms()};
      if (in_room == about->topic_at) post.topic = about->topic;
      const std::uint64_t ticket = session_->post(std::move(post));
      if (ticket != place)
        co_return complain(import_program, fmt::format("{}: it does not fit the export: move it away", path_),
                           config::exit_unknown);
      if (waits_++ == 0) heard_ = c_.loop().now();  // reading took its time, too
    }
    if (place != contents_.end.messages)
      co_return complain(import_program, flags_.file.string() + ": it was changed meanwhile",
                         config::exit_unknown);
    while (waits_ > 0)
      if (const auto code = co_await wait(room)) co_return code;
    co_return std::nullopt;
  }

  void delivered(Delivery&& delivery) {
    heard_ = c_.loop().now();
    --waits_;
    if (delivery.refused.empty()) {
      ++imported_;
      return;
    }
    ++refused_;
    if (refused_ <= import_named_max) {
      progress_.clear();
      complain(import_program,
               fmt::format("message {} of the file, in room {}: refused: {}", delivery.ticket,
                           printable_name(delivery.message.room), delivery.refused),
               0);
    }
  }

  /// A turn; an exit code where nothing has come for too long.
  net::Task<std::optional<int>> wait(const std::string& room) {
    (void)co_await hub_.progress().wait_until(c_.loop().now() + 250ms);
    show(room);
    if (!hub_.failure().empty()) {
      progress_.clear();
      co_return complain(import_program, hub_.failure() + again(), config::exit_unknown);
    }
    if (c_.loop().now() - heard_ < flags_.timeout) co_return std::nullopt;
    progress_.clear();
    const Outage outage = co_await look_for_outage(c_, import_outage_timeout);
    const std::string why = outage.over() ? session_->outbox().trouble() : outage.sentence();
    co_return complain(
        import_program,
        fmt::format("no receipt for {:g} s{}{}{}", static_cast<double>(flags_.timeout.count()) / 1000,
                    why.empty() ? "" : ": ", why, again()),
        config::exit_unknown);
  }
  [[nodiscard]] std::string again() const {
    return fmt::format(
        ". {} of {} are in; the same command goes on from there, and posts none twice, as long as {} is "
        "there",
        std::min(before_, contents_.end.messages) - std::min(left_, before_) + imported_,
        contents_.end.messages, path_);
  }

  net::Task<void> close() {
    session_->close();
    const paxos::Time until = c_.loop().now() + import_close_patience;
    while (!session_->outbox().closed() && c_.loop().now() < until)
      (void)co_await hub_.progress().wait_until(until);
  }

  /// What was redacted is so here too: found by its placeholder, so that a later run finds what this one
  /// left.
  net::Task<std::optional<int>> redact_all(paxos::ReplicaId first) {
    std::uint64_t open = 0;
    std::string refusal;
    HubSession& session = hub_.add(first, [&](Delivery&& d) {
      heard_ = c_.loop().now();
      --open;
      if (!d.refused.empty()) refusal = d.refused;
    });
    bool any = false;
    const auto redactions = redactions_by_room();
    for (const auto& [room, about] : contents_.rooms) {
      if (about.redacted == 0) continue;
      const std::map<std::string, chat::Redaction>& wanted = redactions.at(room);
      HistoryReader reader(c_, {.room = room, .timeout = flags_.timeout});
      for (bool more = true; more; more = !reader.done()) {
        const auto page = co_await reader.next(0);
        if (!page) {
          progress_.clear();
          co_return complain(import_program,
                             fmt::format("room {}: {}{}", printable_name(room), page.error(), again()),
                             config::exit_unknown);
        }
        for (const chat::Message& m : page->messages) {
          const auto at = m.redacted ? wanted.end() : wanted.find(m.text);
          if (at == wanted.end()) continue;
          session.redact({.room = room, .seq = m.seq, .by = at->second.by, .reason = at->second.reason});
          if (open++ == 0) heard_ = c_.loop().now();
          any = true;
        }
        while (open > 0)
          if (const auto code = co_await wait(room)) co_return code;
      }
    }
    if (any) session.close();
    const paxos::Time until = c_.loop().now() + import_close_patience;
    while (any && !session.outbox().closed() && c_.loop().now() < until)
      (void)co_await hub_.progress().wait_until(until);
    if (!refusal.empty())
      co_return complain(import_program,
                         "a message that was redacted could not be redacted here: " + refusal + again(),
                         config::exit_refused);
    co_return std::nullopt;
  }

  /// Each by the text that stands in its place until then.
  std::map<std::string, std::map<std::string, chat::Redaction>> redactions_by_room() {
    std::map<std::string, std::map<std::string, chat::Redaction>> out;
    for (const auto& [room, about] : contents_.rooms) out[room];
    std::ifstream in(flags_.file, std::ios::binary);
    std::string room;
    for (std::string line; std::getline(in, line);) {
      const auto read = room_file::parse(line);
      if (!read) break;
      if (const auto* next = std::get_if<room_file::Room>(&*read)) room = next->name;
      if (const auto* message = std::get_if<room_file::Message>(&*read);
          message != nullptr && message->redacted)
        out[room].emplace(room_file::placeholder(contents_, message->seq), *message->redacted);
    }
    return out;
  }

  void show(const std::string& room) {
    progress_.show(c_.loop().now(), "{} of {} messages, room {}", before_ - left_ + imported_,
                   contents_.end.messages, printable_name(room));
  }

  void done() {
    const std::uint64_t earlier = before_ - left_;
    if (flags_.json) {
      print_json({{"messages", contents_.end.messages},
                  {"imported", imported_},
                  {"imported_before", earlier},
                  {"refused", refused_},
                  {"redacted", contents_.redacted},
                  {"rooms", contents_.rooms.size()},
                  {"from_cluster", contents_.header.cluster},
                  {"from_cluster_id", contents_.header.cluster_id},
                  {"state", path_}});
      return;
    }
    say(stdout, "imported {} into {}{}{}\n", counted(imported_, "message"),
        counted(contents_.rooms.size(), "room"),
        earlier > 0 ? fmt::format("; {} were there from an earlier run", earlier) : "",
        contents_.redacted > 0 ? fmt::format("; {} of all are redacted", contents_.redacted) : "");
    if (contents_.first_missing > 0)
      complain(import_program,
               fmt::format(
                   "{} began with a later message than the first: what was before it was not in the export, "
                   "and numbers begin at 1 here",
                   counted(contents_.first_missing, "room")),
               0);
    complain(import_program,
             fmt::format("{} keeps this from being imported twice; it may go once that can't happen", path_),
             0);
  }

  Connection& c_;
  ImportFlags flags_;
  room_file::Contents contents_;
  Hub hub_;
  HubSession* session_ = nullptr;
  std::string path_;
  std::uint64_t before_ = 0;  ///< taken in by earlier runs
  std::uint64_t left_ = 0;    ///< of these, not answered then
  std::uint64_t waits_ = 0, imported_ = 0, refused_ = 0, line_ = 0;
  paxos::Time heard_{};
  ProgressLine progress_;
};

net::Task<int> import_rooms(Connection& c, ImportFlags flags, room_file::Contents contents) {
  Importer importer(c, std::move(flags), std::move(contents));
  co_return co_await importer.run();
}

}  // namespace

int ctl_import(const Words& words) {
  VerbFlags flags(import_program, "PAXOSCTL",
                  "Posts what `paxosctl export` wrote: names, order and times stay. Broken off, the same "
                  "command goes on.");
  flags.flag("append", "also into rooms that have messages already, behind them");
  flags.value("state-dir", "DIR", "for the file that keeps how far it came (default: beside FILE)");
  flags.value("timeout", "TIME", "give up when no receipt comes for so long (default: 60s)");
  flags.flag("json", "one JSON object at the end");
  flags.arguments_help("FILE   as `paxosctl export` wrote it");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("give FILE, an export of rooms");
  const auto timeout = flags.timeout(60s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  const fs::path file = flags.arguments().front();
  std::error_code error;
  if (fs::exists(file, error) && !fs::is_regular_file(file, error))
    return flags.refused(fmt::format(
        "{}: is no regular file; it is read twice, first to see that it is whole", file.string()));
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return flags.refused(fmt::format("{}: {}", file.string(), std::strerror(errno != 0 ? errno : EIO)));
  auto contents = room_file::check(in);
  if (!contents)
    return flags.refused(fmt::format("{}: {}. Nothing was imported", file.string(), contents.error()));
  in.close();
  fs::path state_dir = flags.get("state-dir") ? fs::path(*flags.get("state-dir")) : file.parent_path();
  if (state_dir.empty()) state_dir = ".";
  return flags.with_cluster([&](Connection& c) {
    return import_rooms(c,
                        {.file = file,
                         .state_dir = std::move(state_dir),
                         .append = flags.has("append"),
                         .timeout = *timeout,
                         .json = flags.has("json")},
                        std::move(*contents));
  });
}

}  // namespace client
