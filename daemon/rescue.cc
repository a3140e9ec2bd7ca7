#include "daemon/rescue.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "config/flags.h"
#include "config/generate_flags.h"
#include "daemon/ballot_json.h"
#include "daemon/new_config.h"
#include "daemon/plain_text.h"
#include "storage/rescue.h"
#include "storage/survivor.h"

namespace paxosd {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Survivors = std::vector<std::unique_ptr<storage::Survivor>>;
using storage::RescueReport;

/// Of a kind; with --json all of them.
constexpr std::size_t lines_max = 20;

std::string numbered(std::uint64_t n, const char* noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string range_of(paxos::Slot first, paxos::Slot last) {
  return first == last ? fmt::format("slot {}", first.n) : fmt::format("slots {} to {}", first.n, last.n);
}

/// What keeps it from being used: a sentence with what to do, or nothing.
std::string fault_of(const storage::Survivor& survivor, bool accept_damage) {
  const storage::Inspection& found = survivor.inspection();
  if (found.findings.empty()) return {};
  const storage::Finding* state = survivor.state_damage();
  const auto damaged = [&](const storage::Finding& finding, const std::string& next) {
    return fmt::format(
        "{}: is damaged: {}: {}{} (`paxosd inspect` names all of it). {}", survivor.directory().string(),
        finding.where, finding.what,
        found.findings.size() > 1 ? fmt::format(", and {} more", found.findings.size() - 1) : "", next);
  };
  if (state != nullptr) {
    const bool redone = !found.first_slot.none() && found.first_slot == paxos::Slot{1};
    return damaged(
        *state,
        redone ? "Move its state/ away (keep it) and say this again: it is made again from the log next to it"
               : "Its log was trimmed and can't make it again: leave this directory out");
  }
  if (accept_damage) return {};
  return damaged(found.findings.front(),
                 "Leave this directory out where another one survived; else --accept-damage goes on with "
                 "what reads in it");
}

/// Why these can't be used together, or nothing.
std::string fault_between(const Survivors& survivors) {
  const storage::Survivor* first = nullptr;
  for (const auto& survivor : survivors) {
    const std::string& cluster = survivor->inspection().cluster;
    if (cluster.empty()) continue;  // it does not read, and that was accepted
    if (first == nullptr) first = survivor.get();
    if (cluster != first->inspection().cluster)
      return fmt::format("{} is of cluster {}, and {} of cluster {}: give directories of one cluster",
                         first->directory().string(), first->inspection().cluster,
                         survivor->directory().string(), cluster);
  }
  return {};
}

/// Whether these are enough of the voters to go on, were they started: of the latest configuration that one
/// of them has come to, or of the replicas that the cluster was born with.
bool are_majority(const Survivors& survivors) {
  std::set<std::uint64_t> replicas;
  std::size_t members = 0;
  std::optional<paxos::Configuration> latest;
  for (const auto& survivor : survivors) {
    if (survivor->inspection().findings.empty() && survivor->inspection().replica)
      replicas.insert(*survivor->inspection().replica);
    members = std::max(members, survivor->members().value_or(0));
    if (auto known = survivor->configuration(); known && (!latest || latest->number < known->number))
      latest = std::move(known);
  }
  if (!latest) return members > 0 && replicas.size() > members / 2;
  paxos::ReplicaSet voters;
  for (const std::uint64_t id : replicas)
    if (id < latest->members.size()) voters.insert({static_cast<std::uint8_t>(id)});
  return latest->is_quorum(voters);
}

std::string messages_text(const storage::RoomCounts& rooms) {
  std::string out;
  for (const auto& [room, messages] : rooms)
    out +=
        fmt::format("{}{} in {}", out.empty() ? "" : ", ", numbered(messages, "message"), plain_text(room));
  return out.empty() ? "no message" : out;
}

std::string time_text(std::int64_t ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<std::time_t>(ms / 1000)));
}

std::string why_best(const Survivors& survivors, const RescueReport& report) {
  if (survivors.size() == 1) return {};
  const storage::Standing& best = survivors[report.best]->standing();
  for (std::size_t i = 0; i < survivors.size(); ++i)
    if (i != report.best && !storage::can_begin(survivors[i]->standing()) &&
        survivors[i]->standing().chosen > best.chosen)
      return "the best of those whose state is there";
  for (std::size_t i = 0; i < survivors.size(); ++i)
    if (i != report.best && survivors[i]->standing().chosen == best.chosen)
      return "the best: none knows more slots to be chosen, and it has the least to do";
  return "the best: it knows the most slots to be chosen";
}

template <class Items, class Line>
void print_some(const Items& items, const Line& line) {
  std::size_t n = 0;
  for (const auto& item : items) {
    if (n++ == lines_max) {
      fmt::print("  ... and {} more: see --json\n", items.size() - lines_max);
      return;
    }
    fmt::print("  {}\n", line(item));
  }
}

void print_report(const Survivors& survivors, const RescueReport& report) {
  const std::string& cluster = survivors[report.best]->inspection().cluster;
  fmt::print("{} of cluster {}:\n",
             survivors.size() == 1 ? "1 directory" : fmt::format("{} directories", survivors.size()),
             cluster.empty() ? "(its id does not read)" : plain_text(cluster));
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    const storage::Survivor& s = *survivors[i];
    const storage::Standing& at = s.standing();
    fmt::print(
        "  {}: replica {}, state at slot {}, knows slots up to {} to be chosen, log {}{}\n",
        plain_text(s.directory().string()),
        s.inspection().replica ? std::to_string(*s.inspection().replica) : "(does not read)", at.applied.n,
        at.chosen.n, at.last.none() ? "empty" : fmt::format("from slot {} to {}", at.first_slot.n, at.last.n),
        i != report.best ? report.used[i] ? "" : ": of no use, its log begins above all states that are left"
        : survivors.size() == 1 ? ""
                                : "\n    " + why_best(survivors, report));
  }
  if (are_majority(survivors))
    fmt::print(
        "\nTHESE ARE A MAJORITY of the replicas. If each is the latest directory of its replica, start them "
        "where "
        "they\nbelong: the cluster goes on, and nothing that was acknowledged is missing. A rescue is for "
        "when that "
        "can't be.\n");
  fmt::print("\nTogether: everything up to slot {}, hash {}; up to slot {} it is known to be chosen.\n",
             report.slot.n, paxos::to_string(report.hash), report.chosen.n);
  if (report.said_ms)
    fmt::print("The last commands in it were proposed at {}.\n", time_text(*report.said_ms));
  if (!report.raised.none())
    fmt::print("The old cluster went by rules 1; slot {} raises them to {}, which a new cluster needs.\n",
               report.raised.n, report.rules);
  if (!report.unsure.empty()) {
    fmt::print(
        "\nKept, and may never have been chosen: {}. A vote for each is there, and a new leader would keep "
        "it;\n"
        "the lost replicas may have decided otherwise.\n",
        numbered(report.unsure.size(), "slot"));
    print_some(report.unsure, [&](const RescueReport::Unsure& u) {
      return fmt::format("slot {}, ballot {}: {}, {}", u.slot.n, paxos::to_string(u.ballot),
                         paxos::to_string(u.kind), messages_text(u.messages));
    });
  }
  if (!report.holes.empty()) {
    fmt::print("\nMissing: nothing here says what stood there; no-ops take these places.\n");
    print_some(report.holes, [](const RescueReport::Hole& hole) {
      return range_of(hole.first, hole.last) + (hole.chosen ? ", known to be chosen" : "");
    });
  }
  if (!report.left_out.empty()) {
    fmt::print(
        "\nLeft out: votes of a lower ballot than the one that is kept, or beside what is known to be "
        "chosen.\n");
    print_some(report.left_out, [&](const RescueReport::LeftOut& left) {
      return fmt::format("slot {}, ballot {}, of {}: {}", left.slot.n, paxos::to_string(left.ballot),
                         plain_text(survivors[left.directory]->directory().string()),
                         messages_text(left.messages));
    });
  }
  if (!report.rooms.empty()) {
    fmt::print("\nRooms in doubt:\n");
    print_some(report.rooms, [](const auto& room) {
      const auto& [name, doubt] = room;
      std::string out = plain_text(name) + ": ";
      if (doubt.unsure > 0) out += numbered(doubt.unsure, "message") + " may never have been chosen";
      if (doubt.missing > 0)
        out += fmt::format("{}{} that {} here {} not in it", doubt.unsure > 0 ? "; " : "",
                           numbered(doubt.missing, "message"), doubt.missing == 1 ? "stands" : "stand",
                           doubt.missing == 1 ? "is" : "are");
      return out;
    });
  }
  fmt::print(
      "\nNobody can tell from here: what the lost replicas chose above slot {}{}, in any room. It may have "
      "been\n"
      "acknowledged, and it is gone.\n",
      report.raised.none() ? report.slot.n : report.raised.n - 1,
      report.holes.empty() ? "" : ", and in the slots that are missing");
  if (report.promised_above)
    fmt::print(
        "There is a sign of that: ballot {} was promised here, and no vote of it is here. Whoever led with "
        "it may have\n"
        "chosen slots without these directories.\n",
        paxos::to_string(*report.promised_above));
}

Json report_json(const Survivors& survivors, const RescueReport& report) {
  const std::string& cluster = survivors[report.best]->inspection().cluster;
  Json out{{"from_cluster_id", cluster.empty() ? Json(nullptr) : Json(cluster)},
           {"best", survivors[report.best]->directory().string()},
           {"majority", are_majority(survivors)},
           {"slot", report.slot.n},
           {"hash", paxos::to_string(report.hash)},
           {"rules", report.rules},
           {"raised", report.raised.none() ? Json(nullptr) : Json(report.raised.n)},
           {"chosen", report.chosen.n},
           {"last_said_ms", report.said_ms ? Json(*report.said_ms) : Json(nullptr)},
           {"promised_above", report.promised_above ? ballot_json(*report.promised_above) : Json(nullptr)},
           {"directories", Json::array()},
           {"unsure", Json::array()},
           {"holes", Json::array()},
           {"left_out", Json::array()},
           {"rooms", Json::array()}};
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    const storage::Survivor& s = *survivors[i];
    out["directories"].push_back(
        {{"directory", s.directory().string()},
         {"replica", s.inspection().replica ? Json(*s.inspection().replica) : Json(nullptr)},
         {"applied", s.standing().applied.n},
         {"chosen", s.standing().chosen.n},
         {"first_slot", s.standing().first_slot.n},
         {"last_slot", s.standing().last.none() ? Json(nullptr) : Json(s.standing().last.n)},
         {"best", i == report.best},
         {"used", report.used[i]},
         {"whole", s.inspection().findings.empty()}});
  }
  for (const RescueReport::Unsure& u : report.unsure) {
    Json directories = Json::array();
    for (const std::size_t i : u.directories) directories.push_back(survivors[i]->directory().string());
    out["unsure"].push_back({{"slot", u.slot.n},
                             {"ballot", ballot_json(u.ballot)},
                             {"kind", paxos::to_string(u.kind)},
                             {"directories", std::move(directories)},
                             {"messages", u.messages}});
  }
  for (const RescueReport::Hole& hole : report.holes)
    out["holes"].push_back(
        {{"first_slot", hole.first.n}, {"last_slot", hole.last.n}, {"chosen", hole.chosen}});
  for (const RescueReport::LeftOut& left : report.left_out)
    out["left_out"].push_back({{"slot", left.slot.n},
                               {"ballot", ballot_json(left.ballot)},
                               {"directory", survivors[left.directory]->directory().string()},
                               {"messages", left.messages}});
  for (const auto& [room, doubt] : report.rooms)
    out["rooms"].push_back({{"name", room}, {"unsure", doubt.unsure}, {"missing", doubt.missing}});
  return out;
}

void print_json(const Json& json) {
  std::puts(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

}  // namespace

int rescue_verb(const std::vector<std::string>& words, std::uint16_t rules_known) {
  config::Flags flags("paxosd rescue", "PAXOSD",
                      "The last resort, after a majority has lost its disks for good: a new cluster out of "
                      "the directories that are "
                      "left, and what may be missing. The directories stay as they are. Without -f the new "
                      "cluster has as many "
                      "replicas as the old one.");
  flags.flag("accept-data-loss", "do it; without this nothing is made, and what it would be is told");
  flags.flag("accept-damage", "go on with what reads in a damaged log");
  config::add_generate_flags(flags);
  flags.value("cluster", "NAME", "its name (default: rescued)");
  flags.flag("json", "one JSON object");
  flags.arguments_help(
      "DIR ...   data_dirs of stopped replicas of one cluster, or whole copies: the best one counts, and the "
      "others' "
      "logs complete it");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().empty())
    return flags.wrong_usage("give DIR, the data_dir of a replica that is left, or several");
  std::set<fs::path> places;
  Survivors survivors;
  for (const std::string& directory : flags.arguments()) {
    std::error_code error;
    if (!places.insert(fs::weakly_canonical(directory, error)).second)
      return flags.wrong_usage(directory + " is given twice");
    survivors.push_back(std::make_unique<storage::Survivor>(directory));
  }
  const auto refuse = [](const std::string& why) {
    fmt::print(stderr, "paxosd rescue: {}. Nothing was made\n", plain_text(why));
    return config::exit_refused;
  };
  for (const auto& survivor : survivors)
    if (const std::string why = survivor->lock(); !why.empty()) return refuse(why);
  std::uint64_t failures = 1;
  for (const auto& survivor : survivors)
    if (const auto members = survivor->members()) {
      failures = (*members - 1) / 2;
      break;
    }
  auto options = config::generate_options(flags, "rescued", failures);
  if (!options) return options.error();
  NewConfig made("rescue", std::move(*options));
  if (const std::string why = made.check(); !why.empty()) return refuse(why);

  const bool accept_damage = flags.has("accept-damage");
  for (const auto& survivor : survivors) {
    std::string why = survivor->examine(rules_known);
    if (why.empty()) why = fault_of(*survivor, accept_damage);
    if (why.empty()) why = survivor->load();
    if (!why.empty()) return refuse(why);
  }
  if (const std::string why = fault_between(survivors); !why.empty()) return refuse(why);

  if (!flags.has("accept-data-loss")) {
    const auto report = storage::rescue(survivors, rules_known, nullptr, 0);
    if (!report) return refuse(report.error());
    if (flags.has("json")) {
      Json out = report_json(survivors, *report);
      out["done"] = false;
      print_json(out);
    } else {
      print_report(survivors, *report);
    }
    std::fflush(stdout);
    return refuse(fmt::format(
        "a new cluster of this begins at slot {}, and whatever is missing above is lost for good: "
        "with --accept-data-loss it is made",
        report->slot.n));
  }

  if (const std::string why = made.begin(); !why.empty()) return refuse(why);
  std::optional<RescueReport> report;
  {
    storage::NewCluster cluster(made.members(rules_known));
    if (const std::string why = cluster.begin(); !why.empty()) return refuse(why);
    std::uint64_t number = 0;
    random_bytes(&number, sizeof number);
    auto done = storage::rescue(survivors, rules_known, &cluster, number);
    if (!done) return refuse(done.error());
    report = std::move(*done);
  }
  if (const std::string why = made.finish(); !why.empty()) {
    fmt::print(stderr, "paxosd rescue: {}\n", why);
    return config::exit_refused;
  }
  const config::ClusterConfig& config = made.config();
  if (flags.has("json")) {
    Json out = report_json(survivors, *report);
    out.update({{"done", true},
                {"config", made.file().string()},
                {"cluster", config.cluster},
                {"cluster_id", config.id},
                {"replicas", Json::array()}});
    for (const config::ReplicaConfig& r : config.replicas)
      out["replicas"].push_back({{"id", r.id.n}, {"address", r.address}, {"directory", r.data_dir.string()}});
    print_json(out);
    return config::exit_fine;
  }
  print_report(survivors, *report);
  fmt::print("\nA new cluster of {} begins there: {}\n", numbered(config.replicas.size(), "replica"),
             made.file().string());
  for (const config::ReplicaConfig& r : config.replicas)
    fmt::print("  replica {}  {}  {}\n", r.id.n, r.address, r.data_dir.string());
  fmt::print(
      "Each directory belongs on its own machine, in the place that the config names there, before its "
      "replica starts.\nKeep what it was made of. No replica of the old cluster may run any more.\n");
  return config::exit_fine;
}

}  // namespace paxosd
