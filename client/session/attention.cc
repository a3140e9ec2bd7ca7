#include "client/session/attention.h"

#include <fmt/format.h>

#include <algorithm>

#include "chat/client_messages.h"
#include "client/session/cluster_view.h"
#include "client/terminal/printable.h"

namespace client {

using namespace std::chrono_literals;

namespace {

/// An older program tells no ages: so many slots below the leader's are a lag.
constexpr double lag_without_age = 1000;

bool is_true(const Json& r, const char* field) {
  const auto at = r.find(field);
  return at != r.end() && at->is_boolean() && at->get<bool>();
}
bool reachable(const Json& r) { return is_true(r, "reachable"); }
unsigned id_of(const Json& r) { return r.at("id").get<unsigned>(); }

/// A count or a slot.
std::uint64_t slot_in(const Json& r, const char* field) {
  return static_cast<std::uint64_t>(std::clamp(number_in(r, field).value_or(0), 0.0, 1e18));
}

bool names(const Json& r, unsigned leader) {
  return votes(r) && number_in(r, "leader") == static_cast<double>(leader);
}

/// Since when `r` has not heard `id`; nothing where it hears it, or does not say.
std::optional<std::chrono::milliseconds> unheard_for(const Json& r, unsigned id) {
  const std::vector<unsigned> ids = ids_in(r, "missing");
  const auto at = std::find(ids.begin(), ids.end(), id);
  if (at == ids.end()) return std::nullopt;
  const auto ages = r.find("missing_ms");
  const auto index = static_cast<std::size_t>(at - ids.begin());
  if (ages == r.end() || !ages->is_array() || ages->size() != ids.size() || !ages->at(index).is_number())
    return 0ms;
  return std::chrono::milliseconds{
      static_cast<std::int64_t>(std::clamp(ages->at(index).get<double>(), 0.0, 1e15))};
}

std::string for_age(std::optional<std::chrono::milliseconds> age) {
  return age && *age > 0ms ? " for " + age_text(*age) : "";
}

/// What the others that vote say of `id`: who does not hear it, and for how long at least.
struct Hearsay {
  std::vector<unsigned> deaf;
  std::vector<unsigned> hearing;
  std::optional<std::chrono::milliseconds> age;
};
Hearsay hearsay(const Json& replicas, unsigned id) {
  Hearsay out;
  for (const Json& r : replicas) {
    if (id_of(r) == id || !reachable(r) || !votes(r) || r.contains("isolated_ms")) continue;
    const auto age = unheard_for(r, id);
    if (!age) {
      out.hearing.push_back(id_of(r));
      continue;
    }
    out.deaf.push_back(id_of(r));
    out.age = std::min(out.age.value_or(*age), *age);
  }
  return out;
}

class Look {
 public:
  Look(const Json& replicas, std::optional<unsigned> leader, std::chrono::milliseconds election_timeout)
      : replicas_(replicas), leader_(leader), patience_(patience_in_election_timeouts * election_timeout) {}

  std::vector<Attention> all() {
    for (const Json& r : replicas_) {
      id_ = id_of(r);
      if (reachable(r))
        look_at(r);
      else
        look_at_silent();
    }
    return std::move(out_);
  }

 private:
  void say(const char* what, std::string text, std::optional<std::chrono::milliseconds> age,
           std::string advice = {}) {
    out_.push_back(
        {.replica = id_, .what = what, .text = std::move(text), .age = age, .advice = std::move(advice)});
  }

  /// What it lacks to answer here, the next steps say.
  void look_at_silent() {
    const Hearsay others = hearsay(replicas_, id_);
    if (!others.deaf.empty())
      say("unheard", fmt::format("is not heard by {}{}", replicas_text(others.deaf), for_age(others.age)),
          others.age);
    else if (!others.hearing.empty())
      say("unheard_here",
          fmt::format("does not answer here, but {} {} it", replicas_text(others.hearing),
                      others.hearing.size() == 1 ? "hears" : "hear"),
          {}, "the network between here and it, or the load there: ask from another machine");
  }

  void look_at(const Json& r) {
    if (const std::vector<unsigned> others = ids_in(r, "disagrees_with"); !others.empty()) {
      const bool open = is_true(r, "disputed");
      say("disagrees",
          fmt::format(
              "DISAGREES with {}: they computed different states by slot {}{} (`paxosctl verify`)",
              replicas_text(others), slot_in(r, "disagrees_since"),
              open ? ", and no quorum tells which is right: it confirms no read until an operator mends that"
                   : ""),
          {},
          "stop the one that stands alone, keep its directory, and see 'Replicas disagree' in OPERATIONS.md");
    }
    if (const double loss = number_in(r, "loss").value_or(0); loss > 0)
      say("loss", fmt::format("drops {:g} % of what it receives (`paxosctl loss 0` ends that)", loss * 100),
          {});
    if (const auto at = r.find("damage"); at != r.end() && at->is_array())
      for (const Json& one : *at)
        if (one.is_object()) say("damage", "has damage on its disk: " + printable(text_in(one, "text")), {});
    if (const auto stuck = age_in(r, "log_stuck_ms"))
      say("log_stuck",
          fmt::format("can't get rid of its log since {}: nobody reads its standard error, or the journal "
                      "hangs; {} lines are lost",
                      age_text(*stuck), slot_in(r, "log_lines_lost")),
          stuck);
    if (is_true(r, "disk_full"))
      say("disk_full", "has a full disk: it votes for nothing new until there is room", {},
          "make room on the volume of its data, or give the file system more; it goes on by itself ('A disk "
          "fills up' in OPERATIONS.md)");
    if (const auto left = age_in(r, "paused_ms")) {
      say("paused", fmt::format("stands still by `paxosctl pause`, for {} more", age_text(*left)), {});
      return;
    }
    if (const auto left = age_in(r, "isolated_ms")) {
      say("isolated", fmt::format("is cut off by `paxosctl isolate`, for {} more", age_text(*left)), {});
      return;
    }
    const bool learner = text_in(r, "role") == "learner";  // nothing is wrong with it
    if (!votes(r) && !learner) {
      look_at_nonvoter(r);
      return;
    }
    if (const auto hole = number_in(r, "hole"))
      say("hole",
          fmt::format("waits for the skipped slot {}{}: nothing above is applied until the leader changes "
                      "(`paxosctl kill "
                      "leader`, or a restart of it)",
                      slot_in(r, "hole"), for_age(age_in(r, "waiting_ms"))),
          age_in(r, "waiting_ms"));
    if (const auto at = r.find("redoing"); at != r.end() && at->is_object()) {
      say("redoes",
          fmt::format(
              "redoes its own log, since its state was lost or old: {} of {} slots; it votes, and reads "
              "from it wait",
              slot_in(*at, "done"), slot_in(*at, "of")),
          {});
      return;
    }
    if (const auto at = r.find("snapshot_wanted"); at != r.end() && at->is_object()) {
      say("stranded",
          fmt::format("needs a snapshot: nobody that it reaches has slot {} any more", slot_in(*at, "above")),
          {}, "it takes one from a peer as soon as it reaches one that is further");
      return;
    }
    if (!leader_ || id_ == *leader_) return;
    if (!names(r, *leader_))
      look_at_stray(r);
    else if (!look_at_link(r))
      look_at_lag(r);
  }

  void look_at_nonvoter(const Json& r) {
    // Those two were so from their start on; one that diverged was not.
    const auto up = dormant(r) || unborn(r) ? age_in(r, "uptime_ms") : std::nullopt;
    std::string advice;
    if (dormant(r))
      advice = fmt::format(
          "{}replace it with `paxosctl member replace {}`, and see 'A disk is lost' in OPERATIONS.md "
          "before (of an older copy: the section behind it); the others go on while a quorum of "
          "them votes",
          newcomer(r) || announced() ? ""
                                     : "this directory can't take a lost one's place: start it with an empty "
                                       "data directory first (and keep this one), then ",
          id_);
    // It is none that the cluster counts on.
    if (dormant(r) && newcomer(r) && !r.value("voter", true))
      advice = fmt::format("`paxosctl member add {} --address HOST:PORT` takes it in", id_);
    if (catches_up(r))
      advice = "it pulls by itself, and votes then; `applied` must grow (`paxosctl member list`)";
    if (unborn(r) && leader_)
      advice =
          "the others are born: it hears none of them, or its data directory was lost meanwhile; look at the "
          "network first";
    const std::string reason = printable(text_in(r, "reason"));
    say("does_not_vote",
        fmt::format("does not vote{}{}", up ? " since its start " + age_text(*up) + " ago" : "",
                    reason.empty() ? "" : ": " + reason),
        up, std::move(advice));
  }

  /// Somebody who votes hears of a directory that is in no configuration, and runs under its id.
  [[nodiscard]] bool announced() const {
    return std::any_of(replicas_.begin(), replicas_.end(), [&](const Json& one) {
      const std::vector<unsigned> ids = ids_in(one, "newcomers");
      return reachable(one) && votes(one) && std::find(ids.begin(), ids.end(), id_) != ids.end();
    });
  }

  /// It votes, and does not follow whom a quorum follows.
  void look_at_stray(const Json& r) {
    const std::vector<unsigned> unheard = ids_in(r, "missing");
    const auto cut = age_in(r, "no_quorum_age_ms");
    const auto since = cut ? cut : age_in(r, "leader_age_ms");
    if (!since || *since <= patience_) return;  // an election a moment ago
    if (!unheard.empty())
      say("unheard",
          fmt::format("{}{}, and follows nobody: it takes no part",
                      unheard.size() + 1 == replicas_.size() ? "hears nobody"
                                                             : "does not hear " + replicas_text(unheard),
                      for_age(since)),
          since,
          "if it was moved: its `address` must be the same, and true, in the config of every replica; else "
          "look at the network "
          "between it and them (UDP, both ways)");
    else
      say("follows_nobody",
          fmt::format("hears the others, and does not follow replica {}{}", *leader_, for_age(since)), since,
          "its log says why (journalctl)");
  }

  /// It follows the leader; does the leader hear it?
  bool look_at_link(const Json& r) {
    const Json* leader = nullptr;
    for (const Json& one : replicas_)
      if (id_of(one) == *leader_ && reachable(one)) leader = &one;
    if (leader != nullptr)
      if (const auto age = unheard_for(*leader, id_); age && *age > patience_) {
        say("unheard", fmt::format("is not heard by replica {}, which leads,{}", *leader_, for_age(age)), age,
            "look at the network between the two (UDP, both ways)");
        return true;
      }
    if (const auto age = unheard_for(r, *leader_); age && *age > patience_) {
      say("unheard", fmt::format("does not hear replica {}, which leads,{}", *leader_, for_age(age)), age,
          "look at the network between the two (UDP, both ways)");
      return true;
    }
    return false;
  }

  void look_at_lag(const Json& r) {
    if (is_true(r, "disk_full")) return;
    std::uint64_t ahead = 0;
    for (const Json& one : replicas_)
      if (reachable(one) && votes(one)) ahead = std::max(ahead, slot_in(one, "applied"));
    const std::uint64_t applied = slot_in(r, "applied");
    if (applied >= ahead) return;  // where all wait, it is not this one's trouble
    const auto waits = age_in(r, "waiting_ms");
    const auto still = age_in(r, "standing_ms");
    if (still && *still > patience_)
      say("stands_still",
          fmt::format("has applied slot {} of {}, and nothing{}", applied, ahead, for_age(still)), still,
          "its log says why: a disk that does not keep up, or a link that loses what it pulls ('A replica "
          "lags' in OPERATIONS.md)");
    else if ((waits && *waits > patience_) ||
             (!waits && static_cast<double>(ahead - applied) > lag_without_age))
      say("behind",
          fmt::format(
              "catches up: it has applied slot {} of {}, {}", applied, ahead,
              waits ? fmt::format("what comes next is {} old", age_text(*waits)) : std::string("and moves")),
          waits, "it pulls by itself; `applied` must grow (`paxosctl top`)");
  }

  const Json& replicas_;
  std::optional<unsigned> leader_;
  std::chrono::milliseconds patience_;
  unsigned id_ = 0;
  std::vector<Attention> out_;
};

}  // namespace

bool votes(const Json& answer) { return is_true(answer, "voting"); }

bool dormant(const Json& answer) {
  const std::string role = text_in(answer, "role");
  return role == "dormant" || (role == "unborn" && !answer.contains("missing_at_birth"));
}

bool unborn(const Json& answer) { return text_in(answer, "role") == "unborn" && !dormant(answer); }

bool newcomer(const Json& answer) { return unborn(answer) || is_true(answer, "newcomer"); }

bool catches_up(const Json& answer) { return is_true(answer, "catching_up"); }

std::optional<std::chrono::milliseconds> age_in(const Json& object, const char* field) {
  const auto ms = number_in(object, field);
  if (!ms) return std::nullopt;
  return std::chrono::milliseconds{static_cast<std::int64_t>(std::clamp(*ms, 0.0, 1e15))};
}

std::optional<Standstill> standstill_of(const Json& replicas, unsigned leader,
                                        std::chrono::milliseconds election_timeout) {
  const auto patience = patience_in_election_timeouts * election_timeout;
  std::optional<Standstill> out;
  const auto waits_longer = [&](const Json& r) -> std::optional<Standstill> {
    const auto age = age_in(r, "waiting_ms");
    if (!age || *age <= patience) return std::nullopt;
    const std::uint64_t slot = slot_in(r, "waiting_slot");
    std::string why = fmt::format("slot {} waits to be applied", slot);
    const std::uint64_t chosen = slot_in(r, "chosen");
    const std::uint64_t above = slot_in(r, "chosen_max");
    if (slot <= chosen)
      why += ": it is chosen, but replica " + std::to_string(id_of(r)) + " does not get on with applying";
    else if (above > slot)
      why +=
          fmt::format(": it is not chosen yet, and holds up what is chosen above it, up to slot {}", above);
    return Standstill{
        .why = std::move(why),
        .age = *age,
        .slot = slot,
        .advice = fmt::format(
            "`paxosctl explain {}` tells what happened to it, `paxosctl doctor` looks at disks and "
            "links; if nothing helps, restart replica {}: another one leads, and finishes it",
            slot, leader)};
  };
  // The leader knows best. Where it does not answer here: those that follow it, unless one of them gets on.
  for (const Json& r : replicas) {
    if (!reachable(r) || !names(r, leader)) continue;
    if (id_of(r) == leader) {
      if (is_true(r, "blocked_by_full_disks")) {
        std::vector<paxos::ReplicaId> full;
        for (const unsigned id : ids_in(r, "disks_full")) full.push_back({static_cast<std::uint8_t>(id)});
        return Standstill{
            .why = chat::disks_full_text(full),
            .age = {},
            .slot = slot_in(r, "applied"),
            .advice =
                "make room on their volumes, or give the file systems more: a quorum needs some, and goes "
                "on by itself ('A disk fills up' in OPERATIONS.md)",
            .disks_full = true};
      }
      if (!number_in(r, "hole")) return waits_longer(r);
      const std::uint64_t slot = slot_in(r, "hole");
      return Standstill{
          .why = fmt::format("slot {} was skipped, and holds up everything above it", slot),
          .age = age_in(r, "waiting_ms").value_or(0ms),
          .slot = slot,
          .advice = fmt::format(
              "a new leader fills it with a no-op: restart replica {} (`systemctl restart paxosd@{}`, "
              "or `paxosctl kill leader`)",
              leader, leader)};
    }
  }
  for (const Json& r : replicas) {
    if (!reachable(r) || !names(r, leader)) continue;
    const auto one = waits_longer(r);
    if (!one) return std::nullopt;
    if (!out || one->age < out->age) out = one;
  }
  return out;
}

std::vector<Attention> attention_of(const Json& replicas, std::optional<unsigned> leader,
                                    std::chrono::milliseconds election_timeout) {
  return Look(replicas, leader, election_timeout).all();
}

Json to_json(const Attention& a) {
  return {{"replica", a.replica},
          {"what", a.what},
          {"text", a.text},
          {"age_ms", a.age ? Json(a.age->count()) : Json(nullptr)},
          {"advice", a.advice}};
}

std::vector<Attention> attention_in(const Json& status) {
  std::vector<Attention> out;
  for (const Json& one : status.at("attention"))
    out.push_back({.replica = one.at("replica").get<unsigned>(),
                   .what = text_in(one, "what"),
                   .text = text_in(one, "text"),
                   .age = age_in(one, "age_ms"),
                   .advice = text_in(one, "advice")});
  return out;
}

}  // namespace client
