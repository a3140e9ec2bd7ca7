#include "client/ctl/member_view.h"

#include <cstdio>

#include "client/session/attention.h"
#include "client/terminal/say.h"

namespace client {

std::uint64_t whole(const Json& object, const char* field) {
  const double value = number_in(object, field).value_or(0);
  return value >= 1 && value < 1e15 ? static_cast<std::uint64_t>(value) : 0;
}

std::string member_in(const Json& status, std::size_t id) {
  const auto members = status.find("members");
  if (members == status.end() || !members->is_array()) return {};
  for (const Json& member : *members)
    if (member.is_object() && number_in(member, "id") == static_cast<double>(id))
      return text_in(member, "incarnation");
  return {};
}

Members latest(const std::vector<ReplicaStatus>& replicas) {
  Members best;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json || whole(*r.json, "configuration") <= best.number) continue;
    const auto members = r.json->find("members");
    if (members == r.json->end() || !members->is_array()) continue;
    best = {.number = whole(*r.json, "configuration"),
            .begins = whole(*r.json, "configuration_begins"),
            .by_id = {}};
    for (const Json& member : *members)
      if (const auto id = member.is_object() ? number_in(member, "id") : std::nullopt;
          id && *id >= 0 && *id < static_cast<double>(paxos::limits::replicas_max))
        best.by_id.emplace(static_cast<std::size_t>(*id), member);
  }
  return best;
}

std::set<std::size_t> announced_in(const std::vector<ReplicaStatus>& replicas) {
  std::set<std::size_t> out;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json) continue;
    if (newcomer(*r.json)) out.insert(r.id.n);
    if (!votes(*r.json)) continue;
    for (const unsigned id : ids_in(*r.json, "newcomers")) out.insert(id);
  }
  return out;
}

std::string Members::role(std::size_t id) const {
  const auto at = by_id.find(id);
  return at == by_id.end() ? std::string() : text_in(at->second, "role");
}

bool Members::holds(std::size_t id) const { return role(id) == "voter" || role(id) == "learner"; }

void Progress::operator()(const std::string& line) {
  if (line != told_) say(json_ ? stderr : stdout, "{}\n", line);
  std::fflush(stdout);
  told_ = line;
}

}  // namespace client
