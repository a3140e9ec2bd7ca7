#include "paxos/lives.h"

#include <algorithm>
#include <string>

namespace paxos {

Lives::Lives(Env& env, const std::vector<PeerRecord>& recovered) : env_(env), peers_(env.options.capacity()) {
  for (const PeerRecord& record : recovered)
    if (record.peer.n < peers_.size())
      peers_[record.peer.n] = {.known = record, .group = env.synced_group, .groups = record.groups};
}

Lives::Word Lives::judge(ReplicaId from, const Origin& origin) const {
  const Peer& peer = peers_[from.n];
  const Origin& known = peer.known.origin;
  // Whoever has said a life once speaks the format that has one.
  if (origin.life.number == 0)
    return known.life.number == 0 || known.incarnation != origin.incarnation ? Word::counts : Word::not_yet;
  if (known.life.number == 0 || known.incarnation != origin.incarnation) return Word::not_yet;
  if (known.life == origin.life) return peer.group <= env_.synced_group ? Word::counts : Word::not_yet;
  if (origin.life.boot <= known.life.boot || origin.life == peer.known.refused) return Word::outdated;
  return Word::not_yet;
}

bool Lives::wonders(ReplicaId from, const Origin& origin) const {
  return origin.life.number != 0 && judge(from, origin) == Word::not_yet &&
         peers_[from.n].known.origin != origin;
}

void Lives::introduced(ReplicaId from, const Origin& origin, const Introduction& m, bool settled) {
  if (m.lives.empty() || m.lives.back() != origin.life || !wonders(from, origin)) return;
  Peer& peer = peers_[from.n];
  // A later configuration, of which the log is about to tell, may have put another directory in its place.
  if (!settled && peer.known.origin.life.number != 0 && peer.known.origin.incarnation != origin.incarnation)
    return;
  if (peer.known.origin.incarnation != origin.incarnation) peer = {};  // the one before was replaced
  if (const std::string fault = fault_of(peer, m); !fault.empty()) {
    peer.known.refused = origin.life;
    record(from, peer);  // what comes from it is found out by that, too
    env_.event("outdated",
               "replica " + std::to_string(from.n) + " runs from an older copy of its directory: " + fault);
    return;
  }
  peer.known.origin = origin;
  peer.groups = std::max(peer.groups, m.groups_at_start);
  last_group_ = peer.group = record(from, peer);
}

std::string Lives::fault_of(const Peer& peer, const Introduction& m) const {
  const Life& known = peer.known.origin.life;
  if (known.number == 0) return {};
  const auto has = [&](const Life& life) {
    return std::find(m.lives.begin(), m.lives.end(), life) != m.lives.end();
  };
  if (peer.known.refused.number != 0 && has(peer.known.refused))
    return "it comes from boot " + std::to_string(peer.known.refused.boot) + ", which was one";
  // A full list may begin later than what is known.
  const bool reaches = m.lives.size() < limits::lives_max || m.lives.front().boot <= known.boot;
  if (reaches && !has(known))
    return "it does not come from boot " + std::to_string(known.boot) + " as known here";
  if (m.groups_at_start < peer.groups)
    return "its log had " + std::to_string(m.groups_at_start) + " groups, and " +
           std::to_string(peer.groups) + " were synced";
  return {};
}

void Lives::heard(ReplicaId from, const Origin& origin, std::uint64_t groups) {
  Peer& peer = peers_[from.n];
  if (origin.life.number == 0 || peer.known.origin != origin) return;
  peer.groups = std::max(peer.groups, groups);
  if (peer.groups < peer.known.groups + env_.options.bounds.groups_stride) return;
  env_.reached(Bound::groups_stride);
  record(from, peer);
}

void Lives::ride_along(std::uint64_t stride) {
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    Peer& peer = peers_[id];
    if (peer.known.origin.life.number == 0 || peer.groups < peer.known.groups + stride) continue;
    record({static_cast<std::uint8_t>(id)}, peer);
    return;
  }
}

std::uint64_t Lives::record(ReplicaId from, Peer& peer) {
  peer.known.peer = from;
  peer.known.groups = peer.groups;
  return env_.record(peer.known);
}

Outdated Lives::outdated(ReplicaId from, const Origin& origin) const {
  const Peer& peer = peers_[from.n];
  return {.meant = origin.life, .known_boot = peer.known.origin.life.boot, .known_groups = peer.groups};
}

}  // namespace paxos
