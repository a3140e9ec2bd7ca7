#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <vector>

#include "chat/rows.h"
#include "client/ctl/ctl.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// verify: whether the replicas agree.
namespace client {

namespace {

net::Task<int> verify(Connection& c, bool json, bool full) {
  const auto replicas = co_await ask_all(c, status_timeout);
  std::uint64_t slot = UINT64_MAX;
  std::uint64_t kept_from = 0;
  std::size_t answered = 0;
  // One that never applied anything and may not vote (its directory was lost) has nothing to compare, and
  // never will.
  const auto left_out = [](const ReplicaStatus& r) {
    return !r.json->value("voting", true) && r.json->value("applied", std::uint64_t{0}) == 0;
  };
  std::vector<const ReplicaStatus*> empty;
  std::vector<unsigned> silent;
  // A learner is compared as any other, and tells nothing of what a quorum has.
  const auto counts = [&](const ReplicaStatus& r) { return c.config().replicas[r.id.n].votes; };
  for (const ReplicaStatus& r : replicas) {
    if (!c.config().member(r.id)) continue;
    if (!r.json) {
      silent.push_back(r.id.n);
      continue;
    }
    if (left_out(r)) {
      empty.push_back(&r);
      continue;
    }
    answered += counts(r) ? 1 : 0;
    slot = std::min(slot, r.json->value("applied", std::uint64_t{0}));
    kept_from = std::max(kept_from, r.json->value("first_slot", std::uint64_t{0}));
  }
  // Whose log was trimmed has few hashes below; that of the slot which it applied last it always knows.
  const bool far_apart = std::ranges::any_of(replicas, [&](const ReplicaStatus& r) {
    return r.json && !left_out(r) && slot < r.json->value("first_slot", std::uint64_t{0}) &&
           slot != r.json->value("applied", std::uint64_t{0});
  });
  if (far_apart) slot -= slot % chat::rows::hash_stride;
  Json out{{"consistent", false}, {"slot", slot == UINT64_MAX ? 0 : slot}, {"replicas", Json::array()}};
  const auto give_up = [&](const std::string& why) {
    out["consistent"] = nullptr;
    out["error"] = why;
    if (json) print_json(out);
    return complain("paxosctl verify", why, config::exit_unknown);
  };
  if (answered < c.config().quorum())
    co_return give_up(
        fmt::format("{} of {} answer{} and ha{} something to compare, a quorum is {}: this tells nothing. "
                    "Start the others "
                    "(`paxosctl status` names them), then verify again",
                    answered, counted(c.config().voters(), "replica"), answered == 1 ? "s" : "",
                    answered == 1 ? "s" : "ve", c.config().quorum()));
  if (slot == 0 && far_apart)
    co_return give_up(
        fmt::format("one of them lags so far that the others have trimmed the hashes to compare it by; wait "
                    "until it has applied slot {}, then verify again",
                    kept_from));
  if (slot == 0)
    co_return give_up("the replicas have no applied slot in common yet: send a message, then verify again");

  std::map<std::string, std::size_t> hashes;
  std::size_t compared = 0;
  bool damaged = false;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json || left_out(r)) continue;
    Json one{{"id", r.id.n}, {"applied", r.json->value("applied", std::uint64_t{0})}};
    const auto answer = co_await c.ask(r.id, chat::HashRequest{{slot}}, {}, std::chrono::seconds{5});
    const auto* hash = answer ? std::get_if<chat::HashReply>(&*answer) : nullptr;
    if (hash != nullptr && hash->hash) {
      compared += counts(r) ? 1 : 0;
      const std::string text = paxos::to_string(*hash->hash);
      one["hash"] = text;
      ++hashes[text];
    } else {
      one["hash"] = nullptr;
    }
    if (full) {
      std::uint64_t records = 0;
      std::string damage;
      for (paxos::Slot from{1}; !from.none() && damage.empty();) {
        const auto slice = co_await c.ask(r.id, chat::ScrubRequest{from}, {}, std::chrono::seconds{30});
        const auto* scrub = slice ? std::get_if<chat::ScrubReply>(&*slice) : nullptr;
        if (scrub == nullptr) {
          damage = "no answer while reading its records back";
          break;
        }
        records += scrub->records;
        damage = scrub->damage;
        from = scrub->next;
      }
      one["records"] = records;
      if (!damage.empty()) {
        one["damage"] = damage;
        damaged = true;
      }
    }
    out["replicas"].push_back(std::move(one));
  }
  if (compared < c.config().quorum())
    co_return give_up("fewer than a quorum of the replicas gave their hash");
  const bool consistent = hashes.size() == 1 && !damaged;
  out["consistent"] = consistent;
  if (json) {
    print_json(out);
  } else {
    say(stdout, "{} at slot {}\n", consistent ? "consistent" : "NOT CONSISTENT", slot);
    for (const Json& r : out["replicas"])
      say(stdout, "  replica {}  applied {:>10}  hash {}{}{}\n", r.at("id").get<int>(),
          r.at("applied").get<std::uint64_t>(),
          r.at("hash").is_null() ? std::string("(none)") : r.at("hash").get<std::string>(),
          full ? fmt::format("  {} read back", counted(r.value("records", std::uint64_t{0}), "record"))
               : std::string(),
          r.contains("damage") ? "  DAMAGE: " + r.at("damage").get<std::string>() : std::string());
  }
  if (!silent.empty())
    say(stderr, "{} not compared: no answer\n",
        replicas_text(silent) + (silent.size() == 1 ? " was" : " were"));
  for (const ReplicaStatus* r : empty)
    say(stderr, "replica {} was left out, it has applied nothing: {}\n", r->id.n,
        printable(r->json->value("reason", std::string("it does not vote"))));
  if (damaged && hashes.size() == 1)
    co_return complain("paxosctl verify",
                       "the replicas agree, but records on a disk are damaged; docs/OPERATIONS.md goes on, "
                       "under `A replica's disk is damaged`",
                       config::exit_refused);
  if (!consistent)
    co_return complain("paxosctl verify",
                       "the replicas differ: stop the one that stands alone and keep its data directory; "
                       "docs/OPERATIONS.md goes on, under `Replicas "
                       "disagree`",
                       config::exit_refused);
  co_return config::exit_fine;
}

}  // namespace

int ctl_verify(const Words& words) {
  VerbFlags flags("paxosctl verify", "PAXOSCTL",
                  "Compares the replicas' hash chains; exit 1 where they differ, 3 when that can't be told.");
  flags.flag("json", "one JSON object");
  flags.flag("full", "also read back and check every stored record");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  return flags.with_cluster([&](Connection& c) { return verify(c, flags.has("json"), flags.has("full")); });
}

}  // namespace client
