#include "daemon/inspect.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "chat/command.h"
#include "config/flags.h"
#include "daemon/address_file.h"
#include "daemon/ballot_json.h"
#include "daemon/plain_text.h"
#include "storage/inspect.h"

namespace paxosd {

namespace {

using Json = nlohmann::json;

void print_object(const Json& json) {
  std::puts(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

template <class Value>
Json value_or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}
Json value_or_null(paxos::Slot slot) { return slot.none() ? Json(nullptr) : Json(slot.n); }

Json inspected_command(const chat::Command& c, std::size_t index) {
  Json out{{"index", index}, {"session", chat::to_string(c.session)}, {"client_seq", c.seq}};
  if (const auto* post = std::get_if<chat::Post>(&c.operation)) {
    out.update({{"op", "post"}, {"room", post->room}, {"name", post->name}, {"text", post->text}});
    if (post->text.empty()) out["redacted"] = true;
  } else if (const auto* redact = std::get_if<chat::Redact>(&c.operation)) {
    out.update({{"op", "redact"}, {"room", redact->room}, {"seq", redact->seq}});
  } else if (const auto* retain = std::get_if<chat::Retain>(&c.operation)) {
    out.update(
        {{"op", "retain"}, {"room", retain->room}, {"count", retain->count}, {"age_ms", retain->age_ms}});
  } else if (const auto* access = std::get_if<chat::SetAccess>(&c.operation)) {
    out.update({{"op", chat::to_string(access->kind)}, {"name", access->name}, {"by", access->by}});
    if (!access->whose.is_secret()) out["key"] = chat::key_id_text(access->whose.id);
  } else {
    out["op"] = std::holds_alternative<chat::Open>(c.operation) ? "open" : "close";
  }
  return out;
}

Json inspected_entry(const paxos::LogEntry& entry) {
  Json out{{"slot", entry.slot.n},
           {"kind", paxos::to_string(entry.decree.kind)},
           {"ballot", ballot_json(entry.ballot)},
           {"chosen", entry.chosen},
           {"bytes", entry.decree.value.size()}};
  if (entry.decree.kind == paxos::DecreeKind::commands) {
    if (const auto batch = chat::decode_batch(entry.decree)) {
      out["commands"] = Json::array();
      for (std::size_t i = 0; i < batch->commands.size(); ++i)
        out["commands"].push_back(inspected_command(batch->commands[i], i));
    } else {
      out["undecodable"] = batch.error();
    }
  }
  return out;
}

Json finding_json(const storage::Finding& f) {
  Json out{{"where", f.where}, {"what", f.what}, {"means", f.means}, {"next", f.next}};
  if (f.first) out["first_slot"] = f.first->n;
  if (f.first) out["last_slot"] = f.last ? Json(f.last->n) : Json(nullptr);
  return out;
}

std::string slots_text(const storage::Finding& f) {
  if (!f.first) return {};
  if (!f.last) return fmt::format(", slots from {} on", f.first->n);
  return *f.first == *f.last ? fmt::format(", slot {}", f.first->n)
                             : fmt::format(", slots {} to {}", f.first->n, f.last->n);
}

void print_line(const char* name, const std::string& value) {
  fmt::print("  {:<15}{}\n", name, plain_text(value));
}

void print_inspection(const std::string& directory, const storage::Inspection& found,
                      std::optional<paxos::Slot> slot) {
  const auto number = [](const std::optional<std::uint64_t>& n) {
    return n ? std::to_string(*n) : std::string("does not read");
  };
  fmt::print("{}\n", plain_text(directory));
  print_line("cluster", found.cluster.empty() ? "does not read" : found.cluster);
  print_line("replica", number(found.replica));
  print_line("incarnation", found.incarnation ? paxos::to_string(*found.incarnation) : "does not read");
  print_line("format", number(found.format));
  print_line("rules", found.rules == 0 ? "not known: no state" : std::to_string(found.rules));
  print_line("boot", fmt::format("{}, last group {}", number(found.boot), number(found.group)));
  print_line("born", found.born ? *found.born ? "yes" : "no" : "no: it was never told who the members are");
  print_line("promised", found.promised ? paxos::to_string(*found.promised) : "nothing");
  print_line("chosen up to", std::to_string(found.chosen_prefix.n));
  print_line("slots", found.first_slot.none() ? "none"
                                              : fmt::format("{} to {}, {} read", found.first_slot.n,
                                                            found.last_slot.n, found.slots));
  print_line("applied", found.applied.none()
                            ? "nothing"
                            : fmt::format("{}, hash {}", found.applied.n, paxos::to_string(found.hash)));
  print_line("messages", fmt::format("{} in {} rooms", found.messages, found.rooms));
  print_line("read",
             fmt::format("{} tables ({} bytes), {} write-ahead logs ({} records), {} rows of the state",
                         found.tables, found.table_bytes, found.wal_files, found.wal_records, found.rows));
  if (slot) {
    if (found.entry)
      fmt::print("\nslot {}: {}, {}, ballot {}, {} bytes; with --json also what it says\n", slot->n,
                 paxos::to_string(found.entry->decree.kind), found.entry->chosen ? "chosen" : "voted for",
                 paxos::to_string(found.entry->ballot), found.entry->decree.value.size());
    else
      fmt::print("\nslot {}: there is no record of it that reads\n", slot->n);
  }
  for (const std::string& note : found.notes) fmt::print("\nnote: {}\n", plain_text(note));
  for (const storage::Finding& f : found.findings)
    fmt::print("\nDAMAGED: {}{}: {}\n  means: {}\n  next: {}\n", plain_text(f.where), slots_text(f),
               plain_text(f.what), f.means, f.next);
  if (found.findings.empty()) fmt::print("\nall of it reads as it was written\n");
}

}  // namespace

int inspect_verb(const std::vector<std::string>& words, std::uint16_t rules_known) {
  config::Flags flags(
      "paxosd inspect", "PAXOSD",
      "What a stopped replica's directory holds, with every checksum in it; nothing is written.");
  flags.value("slot", "N", "also the record of this slot");
  flags.flag("json", "one JSON object; with --slot its commands too");
  flags.arguments_help("DIR   the replica's data_dir");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("give DIR, one replica's data_dir");
  std::optional<paxos::Slot> slot;
  if (flags.get("slot")) {
    const auto n = flags.number("slot", 1, UINT64_MAX);
    if (!n) return flags.wrong_usage(n.error());
    slot = paxos::Slot{*n};
  }
  const std::string& directory = flags.arguments().front();
  auto found = storage::inspect(directory, rules_known, slot);
  if (!found) {
    fmt::print(stderr, "paxosd inspect: {}\n", found.error());
    return config::exit_refused;
  }
  if (const auto addresses = read_address_file(directory); !addresses)
    found->findings.push_back(
        {.where = "addresses",
         .first = {},
         .last = {},
         .what = addresses.error(),
         .means = "where the others were heard last; a help at a start without a name server",
         .next = "nothing: the next start leaves it out and writes it anew"});
  // All of it reads, and yet the slot is not there: that is no damage, but not what was asked for either.
  const bool no_slot = slot && !found->entry;
  const int code = found->findings.empty() && !no_slot ? config::exit_fine : config::exit_refused;
  if (!flags.has("json")) {
    print_inspection(directory, *found, slot);
    return code;
  }
  Json out{{"directory", directory},
           {"cluster_id", found->cluster.empty() ? Json(nullptr) : Json(found->cluster)},
           {"replica", value_or_null(found->replica)},
           {"incarnation", found->incarnation ? Json(paxos::to_string(*found->incarnation)) : Json(nullptr)},
           {"format", value_or_null(found->format)},
           {"rules", found->rules == 0 ? Json(nullptr) : Json(found->rules)},
           {"boot", value_or_null(found->boot)},
           {"group", value_or_null(found->group)},
           {"born", found->born.value_or(false)},
           {"promised", found->promised ? ballot_json(*found->promised) : Json(nullptr)},
           {"chosen_prefix", found->chosen_prefix.n},
           {"first_slot", value_or_null(found->first_slot)},
           {"last_slot", value_or_null(found->last_slot)},
           {"slots", found->slots},
           {"applied", found->applied.n},
           {"hash", found->applied.none() ? Json(nullptr) : Json(paxos::to_string(found->hash))},
           {"rooms", found->rooms},
           {"messages", found->messages},
           {"read",
            {{"tables", found->tables},
             {"table_bytes", found->table_bytes},
             {"wal_files", found->wal_files},
             {"wal_records", found->wal_records},
             {"rows", found->rows}}},
           {"whole", found->findings.empty()},
           {"damage", Json::array()},
           {"notes", found->notes}};
  for (const storage::Finding& f : found->findings) out["damage"].push_back(finding_json(f));
  if (slot) out["slot"] = found->entry ? inspected_entry(*found->entry) : Json(nullptr);
  print_object(out);
  return code;
}

}  // namespace paxosd
