#include "storage/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>

#include "chat/machine.h"
#include "chat/rows.h"
#include "chat/versions.h"
#include "storage/log_format.h"
#include "storage/read_lock.h"
#include "storage/read_only.h"
#include "storage/state_store.h"
#include "storage/wal_chain.h"
#include "storage/wal_check.h"

namespace storage {

namespace {

constexpr const char* word_means =
    "what it promised or voted for may be lost: it must not vote, and its start is refused";
constexpr const char* word_next =
    "keep this replica down and give it a new life: 'A disk is lost' in OPERATIONS.md; never put an older "
    "copy of "
    "the directory back";
constexpr const char* chosen_means =
    "a quorum knows what stood there, and this replica's vote does not rest on it; it can't teach these "
    "slots, nor "
    "make its state again from this log";
constexpr const char* state_means = "what was applied; it is made from the log, and no vote rests on it";
constexpr const char* state_next =
    "start the replica: what does not read it puts aside as state-damaged/, at once or when it comes to "
    "read it, and makes its state again from the log. Where that was trimmed, or is damaged too, it takes "
    "another replica's: only while one runs that is up to date";

tl::expected<std::string, std::string> contents(const std::filesystem::path& file) {
  errno = 0;
  const auto failed = [] {
    return tl::make_unexpected(fmt::format("can't be read: {}", std::strerror(errno != 0 ? errno : EIO)));
  };
  std::ifstream in(file, std::ios::binary);
  if (!in) return failed();
  try {
    return std::string{std::istreambuf_iterator<char>(in), {}};
  } catch (const std::ios_base::failure&) {  // a block that does not read
    return failed();
  }
}

class Inspector {
 public:
  Inspector(std::filesystem::path directory, std::uint16_t rules_known, std::optional<paxos::Slot> slot)
      : directory_(std::move(directory)), rules_known_(rules_known), slot_(slot) {}

  Inspection run() {
    read_mark();
    read_log();
    read_state();
    return std::move(out_);
  }

 private:
  void find(Finding finding) { out_.findings.push_back(std::move(finding)); }
  void word(std::string where, std::string what) {
    find({.where = std::move(where),
          .first = {},
          .last = {},
          .what = std::move(what),
          .means = word_means,
          .next = word_next});
  }

  void read_mark() {
    const auto file = directory_ / "log-mark";
    std::error_code error;
    if (!std::filesystem::exists(file, error)) {
      if (std::filesystem::exists(directory_ / "log" / "CURRENT", error))
        find({.where = "log-mark",
              .first = {},
              .last = {},
              .what = "it is missing",
              .means = "the log may have lost its end without anybody noticing: a damaged tail looks like a "
                       "torn one",
              .next = "unless all else reads and the replica was stopped cleanly: 'A disk is lost' in "
                      "OPERATIONS.md"});
      return;
    }
    const auto bytes = contents(file);
    unsigned broken = 0;
    for (std::size_t cell = 0; cell < 2 && bytes; ++cell) {
      const std::string_view all = *bytes;
      if (all.size() < cell * 512 + mark_cell_bytes) {
        // The second one is first written by the second write.
        if (cell == 0 || all.size() > 512) ++broken;
        continue;
      }
      const std::string_view part = all.substr(cell * 512, mark_cell_bytes);
      const auto mark = decode_mark(part);
      if (mark) {
        if (!out_.mark || *mark > *out_.mark) out_.mark = mark;
      } else if (part.find_first_not_of('\0') != std::string_view::npos) {
        ++broken;
      }
    }
    if (!bytes || broken > 0 || !out_.mark)
      find(
          {.where = "log-mark",
           .first = {},
           .last = {},
           .what = !bytes      ? bytes.error()
                   : out_.mark ? "one of its two cells does not read"
                               : "neither of its two cells reads",
           .means = out_.mark
                        ? "the other cell counts; how far the log was synced may be told too low by one write"
                        : "the log may have lost its end without anybody noticing",
           .next = out_.mark
                       ? "nothing, where all else reads: the next start writes it anew"
                       : "unless all else reads and the replica was stopped cleanly: 'A disk is lost' in "
                         "OPERATIONS.md"});
  }

  /// Manifests, write-ahead logs and tables of one of the two folders, each by itself.
  void read_files(const std::string& part, bool votes) {
    std::error_code error;
    std::set<std::filesystem::path> files;
    for (const auto& place : {directory_ / part, directory_ / part / "archive"})
      for (std::filesystem::directory_iterator at(place, error), end; !error && at != end;
           at.increment(error))
        files.insert(at->path());
    const std::string current = contents(directory_ / part / "CURRENT").value_or("");
    for (const auto& file : files) {
      const std::string name = file.filename().string();
      const std::string where = std::filesystem::relative(file, directory_, error).string();
      const auto add = [&](std::string what) {
        if (votes)
          word(where, std::move(what));
        else
          find({.where = where,
                .first = {},
                .last = {},
                .what = std::move(what),
                .means = state_means,
                .next = state_next});
      };
      if (name.ends_with(".sst") || name.ends_with(".ldb")) {
        ++out_.tables;
        out_.table_bytes += std::filesystem::file_size(file, error);
        if (std::string what = check_table(file); !what.empty())
          broken_tables_.emplace(where, std::move(what));
      } else if (name.ends_with(".log")) {
        const auto bytes = contents(file);
        if (!bytes) {
          add(bytes.error());
          continue;
        }
        const RecordFile read = check_records(*bytes);
        ++out_.wal_files;
        out_.wal_records += read.records;
        if (read.whole_behind)
          add(fmt::format("{} at byte {} does not read, and whole records stand behind it", read.fault,
                          read.fault_at));
        else if (!read.fault.empty())
          torn_.push_back(fmt::format("{}: {} at byte {}", where, read.fault, read.fault_at));
      } else if (name.starts_with("MANIFEST-") && current.starts_with(name)) {
        const auto bytes = contents(file);
        const RecordFile read = bytes ? check_records(*bytes) : RecordFile{.fault = bytes.error()};
        if (!read.fault.empty()) add(fmt::format("{} at byte {}", read.fault, read.fault_at));
      }
    }
  }

  /// Says which of the broken tables are in use; the others are left over from something, and nobody reads
  /// them.
  void tell_tables(const std::string& part, const ReadOnlyDatabase* db, bool votes) {
    std::set<std::string> live;
    if (db != nullptr)
      for (const auto& table : db->tables())
        live.insert(part + "/" + std::filesystem::path(table.name).filename().string());
    for (const auto& [where, what] : broken_tables_) {
      if (!where.starts_with(part + "/")) continue;
      if (db != nullptr && !live.contains(where)) {
        out_.notes.push_back(
            fmt::format("{} does not read, but it is not in use: the next start deletes it", where));
        continue;
      }
      // What in it is lost is told slot by slot, where the database opens.
      find({.where = where,
            .first = {},
            .last = {},
            .what = what,
            .means = votes ? db != nullptr ? "records of the log; which ones is told below" : word_means
                           : state_means,
            .next = votes ? word_next : state_next});
    }
  }

  void read_log() {
    std::error_code error;
    if (!std::filesystem::exists(directory_ / "log" / "CURRENT", error)) {
      word("log/", "the log is gone");
      read_files("log", true);
      tell_tables("log", nullptr, true);
      return;
    }
    read_files("log", true);
    WalChain chain(directory_ / "log");
    auto opened = ReadOnlyDatabase::open(directory_ / "log", &chain);
    if (!chain.fault().empty()) word("log/", chain.fault());
    tell_tables("log", opened ? opened->get() : nullptr, true);
    if (!opened) {
      word("log/", "it does not open: " + opened.error());
      for (std::string& torn : torn_) word(torn.substr(0, torn.find(':')), torn.substr(torn.find(':') + 2));
      return;
    }
    log_ = std::move(*opened);
    read_own();
    read_slots();
  }

  std::optional<std::string> own(std::string_view key, bool needed) {
    try {
      const auto stored = log_->get(key);
      if (!stored) {
        if (needed) word(fmt::format("log/ record {}", key), "it is missing");
        return std::nullopt;
      }
      if (const auto value = open_value(key, *stored)) return std::string(*value);
      word(fmt::format("log/ record {}", key), "its checksum does not fit");
    } catch (const StateDamage& damage) {
      word(fmt::format("log/ record {}", key), damage.what());
    }
    return std::nullopt;
  }
  template <class Value>
  std::optional<Value> own_as(std::string_view key, bool needed,
                              std::optional<Value> (*decode)(std::string_view)) {
    const auto bytes = own(key, needed);
    if (!bytes) return std::nullopt;
    auto value = decode(*bytes);
    if (!value) word(fmt::format("log/ record {}", key), "it makes no sense");
    return value;
  }

  void read_own() {
    out_.format = own_as(log_key::format, true, decode_number);
    out_.cluster = own(log_key::cluster, true).value_or("");
    out_.replica = own_as(log_key::replica, true, decode_number);
    if (const auto bytes = own(log_key::incarnation, true)) {
      if (bytes->size() == 16) {
        std::memcpy(out_.incarnation.emplace().bytes.data(), bytes->data(), 16);
      } else {
        word(fmt::format("log/ record {}", log_key::incarnation), "it makes no sense");
      }
    }
    out_.boot = own_as(log_key::boot, true, decode_number);
    if (const auto birth = own_as(log_key::birth, false, decode_birth)) out_.born = birth->born;
    out_.promised = own_as(log_key::promised, false, decode_ballot);
    out_.chosen_prefix.n = own_as(log_key::chosen_prefix, false, decode_number).value_or(0);
    begins_.n = std::max<std::uint64_t>(own_as(log_key::first_slot, false, decode_number).value_or(1), 1);
    (void)own_as(log_key::lives, false, decode_lives);
    (void)own_as(log_key::outdated, false, decode_outdated);
    for (std::uint8_t id = 0; id < paxos::limits::replicas_max; ++id) (void)own(log_key::peer({id}), false);
    const auto group = own_as(log_key::group, true, decode_group);
    if (group) out_.group = group->last;
    bool cut = false;
    if (out_.mark && group && group->last < out_.mark->group) {
      word("log/", fmt::format("groups up to {} were synced, but the log ends at group {}: its end is lost",
                               out_.mark->group, group->last));
      cut = true;
    }
    if (out_.mark && out_.boot && *out_.boot < out_.mark->boot) {
      word("log/", fmt::format("boot {} was synced, but the log ends in boot {}: its end is lost",
                               out_.mark->boot, *out_.boot));
      cut = true;
    }
    const bool unmarked = !out_.mark;
    for (std::string& torn : torn_)
      if (cut || unmarked)
        word(torn.substr(0, torn.find(':')), torn.substr(torn.find(':') + 2));
      else
        out_.notes.push_back(torn + ": torn. No sync covered it, and the next start goes on before it");
  }

  void lost_slots(paxos::Slot first, paxos::Slot last, const std::string& what) {
    const bool votes = last.none() || last > out_.chosen_prefix;
    find({.where = "log/",
          .first = first,
          .last = last.none() ? std::nullopt : std::optional(last),
          .what = what,
          .means = votes ? word_means : chosen_means,
          .next =
              votes
                  ? word_next
                  : "start it as it is where state/ reads; `paxosctl status` then names what it still can't "
                    "read. To be rid of it: 'A disk is lost' in OPERATIONS.md"});
  }

  void read_slots() {
    // What stands below where a trimmed log begins is waiting for a compaction, and nobody reads it.
    paxos::Slot before{begins_.n - 1};
    if (begins_ > paxos::Slot{1}) out_.first_slot = begins_;
    const auto follow = [&](paxos::Slot slot) {
      if (out_.first_slot.none()) out_.first_slot = slot;
      if (slot > before + 1 && before < out_.chosen_prefix)
        lost_slots(before + 1, std::min(paxos::Slot{slot.n - 1}, out_.chosen_prefix),
                   "missing, though every slot up to " + std::to_string(out_.chosen_prefix.n) +
                       " is known to be chosen");
      before = slot;
    };
    log_->each_slot(
        begins_,
        [&](paxos::Slot slot, std::string_view stored) {
          follow(slot);
          out_.last_slot = std::max(out_.last_slot, slot);
          const auto value = open_value(log_key::slot(slot), stored);
          auto entry = value ? decode_slot(slot, *value) : std::nullopt;
          if (!entry) {
            lost_slots(slot, slot, value ? "it makes no sense" : "its checksum does not fit");
            return true;
          }
          ++out_.slots;
          if (slot_ && slot == *slot_) {
            entry->chosen = entry->chosen || slot <= out_.chosen_prefix;
            out_.entry = std::move(*entry);
          }
          return true;
        },
        [&](paxos::Slot first, paxos::Slot last, const std::string& why) {
          lost_slots(first, last, why);
          if (out_.first_slot.none()) out_.first_slot = first;
          before = last.none() ? before : last;
          if (last.none()) before = out_.chosen_prefix;  // told already
        });
    if (before < out_.chosen_prefix && !(before.none() && out_.chosen_prefix.none()))
      lost_slots(before + 1, out_.chosen_prefix, "missing, though known to be chosen");
  }

  void state_damage(std::string where, std::string what) {
    find({.where = std::move(where),
          .first = {},
          .last = {},
          .what = std::move(what),
          .means = state_means,
          .next = state_next});
  }

  void read_state() {
    std::error_code error;
    torn_.clear();
    if (!std::filesystem::exists(directory_ / "state" / "CURRENT", error)) {
      // Moved away, perhaps; or it has not come to that yet. But no start leaves a folder without this file.
      bool files = false;
      for (std::filesystem::directory_iterator at(directory_ / "state", error), end; !error && at != end;
           at.increment(error))
        files = files || at->path().extension() == ".sst" ||
                at->path().filename().string().starts_with("MANIFEST-");
      if (files)
        return state_damage("state/CURRENT", "it is missing, though other files of the state are there");
      out_.notes.push_back(
          begins_ > paxos::Slot{1}
              ? "state/ is empty or gone, and the log was trimmed: the next start takes another "
                "replica's, while one runs that is up to date"
              : "state/ is empty or gone: the next start makes it from the log");
      return;
    }
    read_files("state", false);
    auto opened = ReadOnlyDatabase::open(directory_ / "state");
    tell_tables("state", opened ? opened->get() : nullptr, false);
    if (!opened) return state_damage("state/", "it does not open: " + opened.error());
    const ReadOnlyDatabase& rows = **opened;
    try {
      read_rows(rows);
    } catch (const StateDamage& damage) {
      state_damage("state/", damage.what());
    }
  }

  void read_rows(const ReadOnlyDatabase& rows) {
    // All of them, so that every block of every table is met once.
    std::set<std::string> rooms;
    rows.scan("", std::string(64, '\xff'), [&](std::string_view key, std::string_view) {
      ++out_.rows;
      if (key.size() > 10 && key[0] == chat::rows::family_message) {
        const std::size_t size = static_cast<unsigned char>(key[1]);
        if (key.size() == 10 + size) rooms.emplace(key.substr(2, size));
      }
      return true;
    });
    out_.rooms = rooms.size();
    if (out_.rows == 0) return;
    const auto mark = chat::read_applied(rows);
    if (!mark) return state_damage("state/ row a", mark.error());
    out_.applied = mark->slot;
    out_.hash = mark->hash;
    out_.rules = mark->rules;
    if (mark->rules > rules_known_) {
      out_.notes.push_back(
          fmt::format("rules {} are in force, which a newer program than this one knows: its rows were read, "
                      "not understood",
                      mark->rules));
    } else {
      if (const auto machine = chat::Machine::load(rows, rules_known_); !machine)
        state_damage("state/", machine.error());
      if (const auto hash = chat::read_hash(rows, mark->slot); !hash || *hash != mark->hash)
        state_damage(fmt::format("state/ hash of slot {}", mark->slot.n),
                     "it is not that of the row that names the slot");
      for (const std::string& room : rooms) read_room(rows, room);
    }
    if (log_ && !out_.applied.none() && out_.applied > std::max(out_.last_slot, paxos::Slot{begins_.n - 1}))
      word("log/", fmt::format("the state has applied slot {}, the log ends at slot {}: its end is lost",
                               out_.applied.n, out_.last_slot.n));
  }

  void read_room(const ReadOnlyDatabase& rows, const std::string& room) {
    for (std::uint64_t from = 1; from != 0;) {
      const auto page = chat::read_history(rows, room, from, 0);
      if (!page) return state_damage("state/ messages", page.error());
      out_.messages += page->messages.size();
      from = page->next;
    }
  }

  std::filesystem::path directory_;
  std::uint16_t rules_known_;
  std::optional<paxos::Slot> slot_;
  std::unique_ptr<ReadOnlyDatabase> log_;
  paxos::Slot begins_{1};  ///< below it the log was trimmed
  std::map<std::string, std::string> broken_tables_;
  std::vector<std::string> torn_;
  Inspection out_;
};

}  // namespace

tl::expected<Inspection, std::string> inspect(const std::filesystem::path& directory,
                                              std::uint16_t rules_known, std::optional<paxos::Slot> slot) {
  std::error_code error;
  const auto status = std::filesystem::status(directory, error);
  if (!std::filesystem::exists(status))
    return tl::make_unexpected(
        fmt::format("{}: there is no such folder: give the `data_dir` of a replica", directory.string()));
  if (!std::filesystem::is_directory(status))
    return tl::make_unexpected(
        fmt::format("{}: is no folder: give the `data_dir` of a replica", directory.string()));
  (void)std::filesystem::directory_iterator(directory, error);
  if (error)
    return tl::make_unexpected(fmt::format("{}: can't be read: {}", directory.string(), error.message()));
  bool anything = false;
  for (const char* name : {"log", "state", "log-mark"})
    anything = anything || std::filesystem::exists(directory / name, error);
  if (!anything)
    return tl::make_unexpected(
        fmt::format("{}: there is no replica's data in it (no log/, no state/, no log-mark): give the "
                    "`data_dir` of a replica",
                    directory.string()));
  ReadLock lock;
  if (std::string why = lock.take(directory); !why.empty()) return tl::make_unexpected(std::move(why));
  return Inspector(directory, rules_known, slot).run();
}

}  // namespace storage
