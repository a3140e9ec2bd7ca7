#include "paxos/member_changes.h"

#include <utility>

#include "paxos/replica_parts.h"

namespace paxos {

namespace {

std::string name_of(ReplicaId id) { return "replica " + std::to_string(id.n); }

/// The member that the change makes of `id`, or why it makes none.
struct Made {
  std::string refused;
  Member member;
};

Made no(std::string why) { return {.refused = std::move(why), .member = {}}; }

Made replaced(const MemberChange& change, const ChangeSurroundings& around) {
  const std::string name = name_of(change.id);
  if (!around.now.holds(change.id)) return no(name + " is no member: `paxosctl member add` makes it one");
  if (change.id == around.self || around.counted.contains(change.id))
    return no(name + " is there, and votes or is about to: only one whose directory is lost can be replaced");
  // Whatever announces itself: that may be an older one's word, on its way for long.
  if (around.connected.contains(change.id))
    return no(name +
              " is in the configuration with the directory that it has: it votes once it has caught up");
  if (!around.newcomer)
    return no(name +
              " has not announced a new directory: start it, with an empty data directory, and try again");
  Member member = *around.now.find(change.id);
  member.incarnation = *around.newcomer;
  if (!change.address.empty()) member.address = change.address;
  return {.refused = {}, .member = std::move(member)};
}

Made added(const MemberChange& change, const ChangeSurroundings& around) {
  const std::string name = name_of(change.id);
  if (around.now.holds(change.id))
    return no(name + " is a member already, as a " + to_string(around.now.find(change.id)->role) +
              "; `paxosctl member replace` puts another directory in the place of a lost one");
  if (!around.newcomer)
    return no(name +
              " has not announced itself: start it, with an empty data directory and a config that names "
              "it beside the others, and try again");
  return {.refused = {},
          .member = {.incarnation = *around.newcomer,
                     .role = MemberRole::learner,
                     .address = change.address,
                     .by_hand = change.by_hand}};
}

Made promoted(const MemberChange& change, const ChangeSurroundings& around) {
  const std::string name = name_of(change.id);
  if (!around.now.holds(change.id)) return no(name + " is no member: `paxosctl member add` makes it one");
  if (around.now.votes(change.id)) return no(name + " votes already");
  if (!around.keep_up.contains(change.id))
    return no(name + " has not caught up, or does not answer: as a voter it would only be missing");
  Member member = *around.now.find(change.id);
  member.role = MemberRole::voter;
  member.by_hand = false;
  return {.refused = {}, .member = std::move(member)};
}

Made removed(const MemberChange& change, const ChangeSurroundings& around) {
  const std::string name = name_of(change.id);
  if (!around.now.holds(change.id)) return no(name + " is no member");
  if (around.now.votes(change.id) && around.now.voters().size() == 1)
    return no(name + " is the only one that votes: without it there is no cluster");
  if (change.id == around.self)
    return no(name + " leads: another one has to, first; `paxosctl transfer-leader` does that");
  return {.refused = {}, .member = {}};
}

Made moved(const MemberChange& change, const ChangeSurroundings& around) {
  if (!around.now.holds(change.id)) return no(name_of(change.id) + " is no member");
  Member member = *around.now.find(change.id);
  if (member.address == change.address) return no(name_of(change.id) + " has that address already");
  member.address = change.address;
  return {.refused = {}, .member = std::move(member)};
}

Made made(const MemberChange& change, const ChangeSurroundings& around) {
  switch (change.kind) {
    case MemberChange::Kind::replace:
      return replaced(change, around);
    case MemberChange::Kind::add:
      return added(change, around);
    case MemberChange::Kind::promote:
      return promoted(change, around);
    case MemberChange::Kind::remove:
      return removed(change, around);
    case MemberChange::Kind::set_address:
      return moved(change, around);
  }
  return no("this replica does not know such a change");
}

}  // namespace

Planned plan_change(const MemberChange& change, const ChangeSurroundings& around) {
  const auto refuse = [](std::string why) { return Planned{.refused = std::move(why), .next = {}}; };
  if (change.id.n >= around.capacity)
    return refuse("there can be no " + name_of(change.id) + ": ids go up to " +
                  std::to_string(around.capacity - 1));
  if (!change.address.empty())
    for (std::uint8_t id = 0; id < around.now.members.size(); ++id)
      if (ReplicaId{id} != change.id && around.now.holds({id}) &&
          around.now.members[id].address == change.address)
        return refuse("replica " + std::to_string(id) + " has the address " + change.address);
  Made member = made(change, around);
  if (!member.refused.empty()) return refuse(std::move(member.refused));
  Planned out{.refused = {}, .next = around.now.with(change.id, std::move(member.member))};
  // Another directory may be there at once, or much later: it is not counted on.
  ReplicaSet ready = around.keep_up;
  if (change.kind == MemberChange::Kind::replace) ready.erase(change.id);
  if (out.next.is_quorum(ready)) return out;
  std::string missing;
  for (std::uint8_t id = 0; id < out.next.members.size(); ++id)
    if (out.next.votes({id}) && !ready.contains({id}) && ReplicaId{id} != change.id)
      missing += (missing.empty() ? "" : ", ") + std::to_string(id);
  return refuse("it would leave no quorum of replicas that are up and caught up; these are not: " + missing);
}

ChangeResult Replica::Parts::propose_change(const MemberChange& change) {
  if (!proposer.leading()) return {.refused = "this replica does not lead"};
  if (proposer.closing())
    return {.refused = "another change is under way: configuration " +
                       std::to_string(env.configuration.number + 1) + " is being decided"};
  ChangeSurroundings around{.now = env.configuration,
                            .self = env.options.self,
                            .newcomer = {},
                            .counted = {},
                            .connected = election.connected(),
                            .keep_up = {},
                            .capacity = env.options.capacity()};
  if (change.id.n < around.capacity) around.newcomer = birth.newcomer(change.id);
  around.counted.insert(env.options.self);
  around.keep_up.insert(env.options.self);
  env.each_peer([&](ReplicaId id) {
    if (election.counted(id)) around.counted.insert(id);
    const bool votes = env.configuration.votes(id);
    if (votes ? election.caught_up(id, log.applied()) : election.keeps_up(id, log.applied()))
      around.keep_up.insert(id);
  });
  Planned planned = plan_change(change, around);
  ChangeResult result{.refused = std::move(planned.refused)};
  if (!result.refused.empty()) return result;
  if (!env.room.proposes)
    result.refused = "the disks of too many replicas are full to decide anything new";
  else if (proposer.has_holes())
    result.refused = "slots that were skipped are not filled yet: try again when they are";
  else if (!proposer.can_propose())
    result.refused = "too much is proposed and not yet applied: try again when it is";
  if (!result.refused.empty()) return result;
  result.slot = proposer.propose_change(make_configuration_decree(planned.next));
  result.configuration = planned.next.number;
  env.event("change",
            "proposes configuration " + std::to_string(planned.next.number) + ": " + to_string(change.kind) +
                " " + name_of(change.id),
            proposer.ballot(), result.slot);
  watch_waits();
  return result;
}

void Replica::Parts::promote_learners() {
  if (!proposer.leading() || proposer.closing()) return;
  for (std::uint8_t id = 0; id < env.configuration.members.size(); ++id) {
    if (!env.configuration.learns({id}) || env.configuration.members[id].by_hand ||
        !election.keeps_up({id}, log.applied()))
      continue;
    if (propose_change({.kind = MemberChange::Kind::promote, .id = {id}, .address = {}}).refused.empty())
      return;
  }
}

}  // namespace paxos
