#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "daemon/ballot_json.h"
#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/proc.h"

/// What `paxosctl status` shows, and the parts of it that `top` and `doctor` show too. docs/WIRE.md has the
/// fields.
namespace paxosd {

namespace {

using Json = nlohmann::json;

std::int64_t whole_ms(paxos::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

Json ids_json(const std::vector<paxos::ReplicaId>& ids) {
  Json out = Json::array();
  for (const paxos::ReplicaId id : ids) out.push_back(id.n);
  return out;
}

/// Where it stands in the protocol.
void add_protocol(Json& out, const paxos::Status& s) {
  out["role"] = paxos::to_string(s.role);
  out["voting"] = s.voting;
  // Of the leader that it names, whose quorum makes a cluster healthy: who restarted has not promised it yet.
  out["ballot"] = ballot_json(s.leader ? s.leader_ballot : s.ballot);
  out["promised"] = ballot_json(s.ballot);
  out["leader"] = s.leader ? Json(s.leader->n) : Json(nullptr);
  out["leader_ballot"] = ballot_json(s.leader_ballot);
  out["first_slot"] = s.first_slot.n;
  out["accepted"] = s.accepted.n;
  out["chosen"] = s.chosen.n;
  out["chosen_max"] = s.chosen_max.n;
  out["applied"] = s.applied.n;
  out["inflight"] = s.inflight;
  out["leader_changes"] = s.leader_changes;
  out["retransmissions"] = s.retransmissions;
  out["connected"] = ids_json(s.connected);
}

/// Who belongs to the cluster, as far as it is known here.
void add_members(Json& out, const paxos::Status& s) {
  if (s.announces) out["newcomer"] = true;
  if (!s.newcomers.empty()) out["newcomers"] = ids_json(s.newcomers);
  if (!s.keep_up.empty()) out["keep_up"] = ids_json(s.keep_up);
  const paxos::Configuration& configuration = s.configuration;
  if (configuration.members.empty()) return;
  auto& members = out["members"] = Json::array();
  for (std::size_t id = 0; id < configuration.members.size(); ++id) {
    const paxos::Member& member = configuration.members[id];
    members.push_back({{"id", id},
                       {"role", paxos::to_string(member.role)},
                       {"incarnation", paxos::to_string(member.incarnation)}});
    if (!member.address.empty()) members.back()["address"] = member.address;
    if (member.by_hand) members.back()["by_hand"] = true;
  }
  out["configuration"] = configuration.number;
  out["configuration_begins"] = configuration.begins.n;
}

void add_damage(Json& out, const Damages& damages) {
  if (damages.shown().empty() && damages.mended().empty()) return;
  const auto list = [&](const char* name, const std::vector<storage::Damage>& all) {
    for (const storage::Damage& one : all)
      out[name].push_back(
          {{"store", one.store == storage::Damage::Store::log ? "log" : "state"}, {"text", one.what}});
  };
  list("damage", damages.shown());
  list("repaired", damages.mended());
  out["damaged_reads"] = damages.log_reads() + damages.state_reads();
}

void add_redactions(Json& out, const chat::Redactor::Figures& redactions) {
  if (redactions.pending + redactions.done == 0) return;
  out["redactions"] = {{"pending", redactions.pending}, {"done", redactions.done}};
  if (!redactions.fault.empty()) out["redactions"]["fault"] = redactions.fault;
}

/// To whoever counts votes, this or any older program, one that is paused is not there.
void add_pause(Json& out, std::int64_t ms) {
  out["voting"] = false;
  out["leader"] = nullptr;
  out["reason"] = "it stands still by `paxosctl pause`, for " + std::to_string(ms) + " ms more";
}

/// What keeps it from getting on.
void add_trouble(Json& out, const paxos::Status& s, paxos::Time now) {
  if (s.hole) out["hole"] = s.hole->n;
  if (s.waiting) {
    const auto age_ms = [&](paxos::Time since) { return std::max<std::int64_t>(0, whole_ms(now - since)); };
    out["waiting_slot"] = s.waiting->slot.n;
    out["waiting_ms"] = age_ms(s.waiting->since);
    out["standing_ms"] = age_ms(s.waiting->still);
  }
  if (s.redoing)
    out["redoing"] = {{"done", s.applied.n + 1 - s.redoing->first.n},
                      {"of", s.redoing->last.n + 1 - s.redoing->first.n}};
  if (s.snapshot_wanted)
    out["snapshot_wanted"] = {{"above", s.snapshot_wanted->above.n},
                              {"from", ids_json(s.snapshot_wanted->from)}};
  if (!s.reason.empty()) out["reason"] = s.reason;
  if (!s.disagreeing.empty()) {
    out["disagrees_with"] = ids_json(s.disagreeing);
    out["disagrees_since"] = s.disagrees_since.n;
    out["disputed"] = s.disputed;
  }
  if (!s.missing_at_birth.empty()) out["missing_at_birth"] = ids_json(s.missing_at_birth);
}

/// `<name>_us_total` and `<name>_us_buckets`; the bounds of the latter are `latency_bounds_us`.
void add_latency(Json& out, const std::string& name, const storage::Latency::Figures& figures) {
  out[name + "_us_total"] = figures.sum_ns / 1000;
  out[name + "_us_buckets"] = figures.counts;
}

void add_disk_use(Json& out, const DiskFigures& disk) {
  if (!disk.use()) return;
  out["disk_used_bytes"] = disk.use()->used;
  if (disk.use()->free) out["disk_free_bytes"] = *disk.use()->free;
}

void add_room(Json& out, const paxos::Status& s, const storage::SpaceFigures& space) {
  out["disk_full"] = s.room != paxos::DiskRoom::enough;
  out["disk_room"] = paxos::to_string(s.room);
  out["disk_reserve_bytes"] = space.reserve;
  out["disk_reserve_held_bytes"] = space.held;
  if (!s.full.empty()) out["disks_full"] = ids_json(s.full);
  if (s.blocked) out["blocked_by_full_disks"] = true;
}

void add_memory(Json& out) {
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  if (std::istringstream(text_of("/proc/self/statm")) >> pages >> resident)
    out["resident_bytes"] = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

void Host::on(const Asker& asker, const chat::StatusRequest& /*request*/) {
  refresh_disk_figures();
  Json out = status_json();
  if (const auto members = out.find("members"); members != out.end())
    for (Json& member : *members)
      if (const net::Address& at = addresses_.book.at(member["id"].get<std::size_t>());
          !at.empty() && !at.is_any() && member["id"] != self_.id.n)
        member["at"] = at.to_string();
  answer(asker, chat::StatusReply{out.dump()});
}

Json Host::status_json() const {
  const paxos::Status s = node_.status();
  const storage::Storage::Figures figures = storage_->figures();
  Json out{
      {"hash", paxos::to_string(node_.machine().hash())},
      {"incarnation", paxos::to_string(self_.incarnation)},
      {"boot", self_.boot},
      {"pid", ::getpid()},
      {"uptime_ms", whole_ms(loop_.now() - self_.started)},
      {"version", options_.version},
      {"rules", node_.machine().rules()},
      {"rules_known", options_.rules_known},
      {"sessions", node_.machine().sessions()},
      {"rooms", node_.machine().rooms()},
      {"waiting_receipts", node_.desk_figures().waiting_receipts},
      {"loss", faults_.loss()},
      {"syncs", figures.syncs},
      {"sync_us_mean", figures.syncs == 0 ? 0 : figures.sync_latency.sum_ns / figures.syncs / 1000},
      {"sync_us_max", figures.sync_ns_max / 1000},
      {"log_lines_lost", daemon_log::lines_lost()},
  };
  add_protocol(out, s);
  add_members(out, s);
  // Nothing is wrong with it: it does not vote yet.
  const bool born =
      s.role != paxos::Role::unborn && s.role != paxos::Role::dormant && s.role != paxos::Role::removed;
  const paxos::Member* self = s.configuration.find(self_.id);
  const bool waits_for_a_word = self != nullptr && self->by_hand;
  if (born && !s.voting && !waits_for_a_word && !node_.diverged() && node_.withdrawn().empty())
    out["catching_up"] = true;
  add_vitals(out);
  add_damage(out, damages_);
  add_secrets(out);
  add_redactions(out, node_.redactions());
  snapshots_.add_to(out);
  // Not for a moment's queue: only where nobody seems to take them any more.
  if (const auto stuck = daemon_log::stuck_for(); stuck >= std::chrono::seconds{1})
    out["log_stuck_ms"] = stuck.count();
  if (pause_.lasts(loop_.now()))
    add_pause(out, out["paused_ms"].get<std::int64_t>());
  else
    add_trouble(out, s, loop_.now());
  return out;
}

void Host::add_vitals(Json& out) const {
  const paxos::Time now = loop_.now();
  if (pause_.lasts(now)) out["paused_ms"] = whole_ms(*pause_.until() - now);
  if (faults_.isolated(now)) out["isolated_ms"] = whole_ms(faults_.isolated_until() - now);
  if (const auto since = vitals_.no_quorum_since()) out["no_quorum_age_ms"] = whole_ms(now - *since);
  out["leader_age_ms"] = whole_ms(now - vitals_.leader_since());
  const std::vector<paxos::ReplicaId>& missing = node_.last_standing().missing;
  out["missing"] = ids_json(missing);
  auto& missing_ms = out["missing_ms"] = Json::array();
  for (const paxos::ReplicaId id : missing) missing_ms.push_back(whole_ms(now - vitals_.unheard_since(id)));
  add_addresses(out);
  add_latencies(out);
  add_disk_use(out, disk_);
  add_room(out, node_.status(), storage_->space());
  add_memory(out);
}

void Host::add_latencies(Json& out) const {
  auto& bounds = out["latency_bounds_us"] = Json::array();
  for (const std::int64_t ns : storage::Latency::bounds_ns) bounds.push_back(ns / 1000);
  const storage::Latency::Figures commits = latencies_.commits.figures();
  out["commits"] = std::accumulate(commits.counts.begin(), commits.counts.end(), std::uint64_t{0});
  add_latency(out, "commit", commits);
  add_latency(out, "sync", storage_->figures().sync_latency);
}

void Host::add_addresses(nlohmann::json& out) const {
  for (std::size_t id = 0; id < addresses_.book.size(); ++id) {
    if (id != self_.id.n && addresses_.book.moved(id))
      out["moved"].push_back({{"id", id}, {"address", addresses_.book.at(id).to_string()}});
    if (!addresses_.book.fault(id).empty())
      out["unresolved"].push_back({{"id", id}, {"error", addresses_.book.fault(id)}});
  }
  if (outlet_) out["listens_on"] = outlet_->local_address().to_string();
  if (!metrics_.fault.empty()) out["metrics_error"] = metrics_.fault;
}

/// On the state thread: even a question about a file may hang with its disk.
void Host::refresh_disk_figures() {
  if (!disk_.begin(loop_.now())) return;
  storage_->read([this, directory = options_.directory](const storage::Storage::Reader&) {
    mailbox_.push([this, use = look_at_disk(directory)] { disk_.found(loop_.now(), use); });
  });
}

}  // namespace paxosd
