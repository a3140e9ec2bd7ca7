#include "chat/snapshot_source.h"

#include <algorithm>

#include "paxos/overloaded.h"

namespace chat {

namespace {
/// What the rate lets through at once after a rest: as much as a late timer would have let through.
constexpr paxos::Duration burst = std::chrono::milliseconds{20};
/// Who asks meanwhile is better served elsewhere.
constexpr paxos::Duration rest_after_failure = std::chrono::seconds{30};
}  // namespace

void SnapshotSource::found(paxos::Time now, const SnapshotId& id, std::uint64_t bytes) {
  id_ = id;
  bytes_ = bytes;
  last_heard_ = now;
}

void SnapshotSource::message(paxos::Time now, paxos::ReplicaId from, const SnapshotWord& word,
                             const Standing& standing) {
  if (const auto* ask = std::get_if<SnapshotAsk>(&word)) return on_ask(now, from, *ask, standing);
  if (const auto* pull = std::get_if<SnapshotPull>(&word)) return on_pull(now, from, *pull);
  const auto* ask = std::get_if<SnapshotSumAsk>(&word);
  if (ask == nullptr) return;
  if (ask->id != id_) {
    out_.send.emplace_back(from, SnapshotGone{ask->id});
    return;
  }
  last_heard_ = now;
  if (Puller* puller = place(now, from)) puller->heard = now;
  if (!sum_) out_.count = true;
  out_.send.emplace_back(from, SnapshotSummed{*id_, sum_});
}

void SnapshotSource::offer(paxos::ReplicaId to, std::uint64_t nonce, SnapshotAnswer answer) {
  SnapshotOffer reply{.nonce = nonce, .answer = answer, .id = {}};
  if (answer == SnapshotAnswer::offered) {
    reply.id = *id_;
    reply.bytes = bytes_;
  }
  out_.send.emplace_back(to, reply);
}

void SnapshotSource::on_ask(paxos::Time now, paxos::ReplicaId from, const SnapshotAsk& ask,
                            const Standing& standing) {
  if (making_) return offer(from, ask.nonce, SnapshotAnswer::making);
  if (now < able_at_) return offer(from, ask.nonce, SnapshotAnswer::none);
  // Where its log begins above the snapshot, a replica that took it would need another one at once.
  const bool of_use = id_ && id_->slot > ask.above && id_->slot + 1 >= standing.first_slot;
  if (of_use || (id_ && ask.begun == id_)) {
    if (Puller* puller = place(now, from)) {
      puller->heard = last_heard_ = now;
      return offer(from, ask.nonce, SnapshotAnswer::offered);
    }
    return offer(from, ask.nonce, SnapshotAnswer::busy);
  }
  if (!standing.fit || standing.applied <= ask.above) return offer(from, ask.nonce, SnapshotAnswer::none);
  const bool others = std::any_of(pullers_.begin(), pullers_.end(), [&](const Puller& p) {
    return p.who != from && now - p.heard < options_.silence;
  });
  if (id_ && others) return offer(from, ask.nonce, SnapshotAnswer::busy);
  if (id_) {
    out_.drop = true;
    forget();
  }
  // A splitmix step: another number each time, and none that another source's seed gives, too.
  numbers_ += 0x9e3779b97f4a7c15;
  std::uint64_t number = numbers_;
  number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
  making_ = number ^ number >> 27;
  out_.make = making_;
  offer(from, ask.nonce, SnapshotAnswer::making);
}

void SnapshotSource::made(paxos::Time now, tl::expected<Made, std::string> made) {
  if (!making_) return;
  const std::uint64_t number = *std::exchange(making_, std::nullopt);
  if (!made) {
    able_at_ = now + rest_after_failure;
    out_.events.push_back("no snapshot of the state can be made: " + made.error());
    return;
  }
  id_ = SnapshotId{.source = options_.incarnation, .number = number, .slot = made->slot, .hash = made->hash};
  bytes_ = made->bytes;
  last_heard_ = now;
  out_.count = true;
  out_.events.push_back("a snapshot of slot " + std::to_string(id_->slot.n) +
                        " is there to be pulled, about " + std::to_string(bytes_ >> 20) + " MiB");
}

SnapshotSource::Puller* SnapshotSource::place(paxos::Time now, paxos::ReplicaId from) {
  for (Puller& puller : pullers_)
    if (puller.who == from) return &puller;
  if (pullers_.size() >= options_.pullers)
    std::erase_if(pullers_, [&](const Puller& p) { return now - p.heard >= options_.silence; });
  if (pullers_.size() >= options_.pullers) return nullptr;
  return &pullers_.emplace_back(Puller{.who = from, .heard = now, .next = {}});
}

void SnapshotSource::on_pull(paxos::Time now, paxos::ReplicaId from, const SnapshotPull& pull) {
  if (pull.id != id_) {
    out_.send.emplace_back(from, SnapshotGone{pull.id});
    return;
  }
  Puller* puller = place(now, from);
  if (puller == nullptr) return;  // it asks again, here or elsewhere
  puller->heard = last_heard_ = now;
  const std::uint64_t limit =
      pull.from.offset + std::min<std::uint64_t>(pull.window, limits::snapshot_window_bytes);
  // What lies between was sent and is on its way, unless the puller says that it is not.
  const bool goes_on = !pull.again && pull.from.offset <= puller->next.offset &&
                       puller->next.offset - pull.from.offset <= limits::snapshot_window_bytes * 2 &&
                       puller->next.offset > 0;
  if (!goes_on) {
    puller->next = pull.from;
    puller->at_end = false;
  }
  puller->limit = limit;
  serve(now);
}

void SnapshotSource::serve(paxos::Time now) {
  free_at_ = std::max(free_at_, now - burst);
  for (std::size_t tried = 0; tried < pullers_.size() && free_at_ <= now; ++tried) {
    Puller& puller = pullers_[turn_ % pullers_.size()];
    ++turn_;
    if (puller.reading || puller.at_end || puller.next.offset >= puller.limit) continue;
    puller.reading = true;
    out_.reads.push_back({puller.who, *id_, puller.next, options_.chunk_bytes});
    free_at_ += paxos::Duration{static_cast<std::int64_t>(
        static_cast<double>(options_.chunk_bytes) * 1e9 /
        static_cast<double>(std::max<std::uint64_t>(options_.bytes_per_second, 1)))};
  }
}

void SnapshotSource::read(paxos::Time now, paxos::ReplicaId to, std::optional<SnapshotChunk> chunk) {
  if (!chunk) {
    if (id_) out_.events.push_back("its snapshot does not read, and is given up");
    out_.drop = out_.drop || id_.has_value();
    return forget();
  }
  for (Puller& puller : pullers_) {
    if (puller.who != to) continue;
    puller.reading = false;
    if (chunk->id != id_) break;
    // Else it has asked for another place meanwhile.
    if (puller.next.offset == chunk->offset) {
      puller.next = chunk->next;
      puller.at_end = chunk->last;
    }
    bytes_sent_ += chunk->bytes.size();
    out_.send.emplace_back(to, std::move(*chunk));
    break;
  }
  serve(now);
}

void SnapshotSource::counted(const SnapshotId& id, const SnapshotSum& sum) {
  if (id == id_) sum_ = sum;
}

void SnapshotSource::lost() { forget(); }

void SnapshotSource::forget() {
  id_.reset();
  sum_.reset();
  pullers_.clear();
}

void SnapshotSource::tick(paxos::Time now) {
  if (!id_) return;
  if (now - last_heard_ >= options_.keep) {
    out_.drop = true;
    out_.events.push_back("nobody came for the snapshot of slot " + std::to_string(id_->slot.n) +
                          " any more: it is given up");
    return forget();
  }
  serve(now);
}

paxos::Time SnapshotSource::deadline() const {
  if (!id_) return paxos::time_never;
  paxos::Time at = last_heard_ + options_.keep;
  for (const Puller& puller : pullers_)
    if (!puller.reading && !puller.at_end && puller.next.offset < puller.limit) at = std::min(at, free_at_);
  return at;
}

std::optional<paxos::Slot> SnapshotSource::holds() const {
  return id_ ? std::optional(id_->slot) : std::nullopt;
}

SnapshotSource::Figures SnapshotSource::figures() const {
  return {.id = id_, .pullers = pullers_.size(), .bytes_sent = bytes_sent_};
}

}  // namespace chat
