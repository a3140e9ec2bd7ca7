#include "paxos/hash_watch.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

void HashWatch::applied(Slot slot, const Hash& hash) {
  PAXOS_ASSERT(recent_.empty() || slot == last() + 1);
  recent_.push_back({slot, hash});
  if (recent_.size() > bounds_.recent_hashes) {
    reached_(Bound::recent_hashes);
    recent_.pop_front();
  }
  for (std::size_t id = 0; id < peers_.size(); ++id)
    if (peers_[id].pending && peers_[id].pending->slot == slot) compare(id);
}

void HashWatch::heard(ReplicaId from, Slot slot, const Hash& hash) {
  if (slot.none()) return;
  // A mark ahead of us is kept until we get there; a newer one would keep running away.
  Peer& peer = peers_[from.n];
  if (peer.pending) return;
  peer.pending = Mark{slot, hash};
  if (slot <= last()) compare(from.n);
}

void HashWatch::compare(std::size_t id) {
  Peer& peer = peers_[id];
  PAXOS_ASSERT(!recent_.empty() && peer.pending->slot <= last());
  const Mark mark = *std::exchange(peer.pending, std::nullopt);
  if (mark.slot < recent_.front().slot) return;
  const Mark& own = recent_[mark.slot - recent_.front().slot];
  PAXOS_ASSERT(own.slot == mark.slot);
  const bool disagreed = peer.parted.has_value();
  if (own.hash != mark.hash) {
    peer.parted = std::min(peer.parted.value_or(mark.slot), mark.slot);
    // It came back with other rows than those of which it spoke before.
    peer.agreed = std::min(peer.agreed, Slot{peer.parted->n - 1});
  } else {
    // An older word of a peer that parted since proves nothing.
    if (peer.parted && mark.slot >= *peer.parted) peer.parted.reset();
    if (!peer.parted || mark.slot < *peer.parted) peer.agreed = std::max(peer.agreed, mark.slot);
  }
  if (peer.parted.has_value() != disagreed)
    news_.push_back({.peer = ReplicaId{static_cast<std::uint8_t>(id)},
                     .disagrees = !disagreed,
                     .slot = mark.slot,
                     .own = own.hash,
                     .theirs = mark.hash});
}

std::vector<HashWatch::News> HashWatch::take_news() { return std::exchange(news_, {}); }

ReplicaSet HashWatch::disagreeing() const {
  return those([](const Peer& peer) { return peer.parted.has_value(); });
}

Slot HashWatch::since() const {
  Slot out;
  for (const Peer& peer : peers_)
    if (peer.parted && (out.none() || *peer.parted < out)) out = *peer.parted;
  return out;
}

bool HashWatch::outvoted() const {
  // Each parted within (agreed, parted]. Where several of these have a slot in common, the lowest of their
  // ends is one.
  return std::any_of(peers_.begin(), peers_.end(), [&](const Peer& end) {
    if (!end.parted) return false;
    return configuration_.is_quorum(those([&](const Peer& peer) {
      return peer.parted && peer.agreed < *end.parted && *end.parted <= *peer.parted;
    }));
  });
}

bool HashWatch::disputed() const {
  return std::any_of(peers_.begin(), peers_.end(), [&](const Peer& other) {
    if (!other.parted) return false;
    ReplicaSet with_us =
        those([&](const Peer& peer) { return &peer != &other && peer.agreed >= *other.parted; });
    with_us.insert(self_);
    return !configuration_.is_quorum(with_us);
  });
}

std::string to_string(const HashWatch::News& news) {
  const std::string at = " slot " + std::to_string(news.slot.n);
  if (!news.disagrees) return "replica " + std::to_string(news.peer.n) + " agrees again, at" + at;
  return "replica " + std::to_string(news.peer.n) + " has computed another state than this one by" + at +
         ": hash " + to_string(news.theirs) + " there, " + to_string(news.own) + " here";
}

}  // namespace paxos
