#include "chat/snapshot_puller.h"

#include <algorithm>

#include "paxos/invariant.h"
#include "paxos/overloaded.h"

namespace chat {

namespace {
constexpr paxos::Duration making_again = std::chrono::milliseconds{100};
constexpr paxos::Duration round_again = std::chrono::seconds{1};  ///< after all sources were tried
}  // namespace

std::vector<paxos::ReplicaId> SnapshotPuller::sources() const {
  std::vector<paxos::ReplicaId> out;
  const auto add = [&](std::optional<paxos::ReplicaId> who) {
    if (who && *who != options_.self && std::find(out.begin(), out.end(), *who) == out.end())
      out.push_back(*who);
  };
  add(begun_with_);
  for (const paxos::ReplicaId who : preferred_) add(who);
  const std::size_t ids = std::max(options_.replicas, voters_.members.size());
  for (std::size_t i = 1; i < ids; ++i) {
    const paxos::ReplicaId id{static_cast<std::uint8_t>((options_.self.n + i) % ids)};
    if (voters_.members.empty() || voters_.holds(id)) add(id);
  }
  return out;
}

void SnapshotPuller::want(paxos::Time now, paxos::Slot applied, std::vector<paxos::ReplicaId> from,
                          paxos::Configuration voters) {
  voters_ = std::move(voters);
  above_ = std::max(above_, applied);
  preferred_ = std::move(from);
  if (stage_ != Stage::idle || sources().empty()) return;
  if (staged_ && staged_->id.slot <= above_) {
    staged_.reset();
    begun_with_.reset();
  }
  stage_ = Stage::asking;
  tried_ = 0;
  ++nonce_;
  source_ = sources().front();
  heard_ = now;
  ask(now);
}

void SnapshotPuller::applied(paxos::Slot applied) {
  above_ = std::max(above_, applied);
  if (stage_ == Stage::complete) return;  // what an earlier life staged is given up, too
  const bool useless = staged_ ? staged_->id.slot <= above_ : false;
  if (!useless) return;
  out_.events.push_back("this replica has caught up by itself: the snapshot of slot " +
                        std::to_string(staged_->id.slot.n) + " is given up");
  drop_staged();
  stage_ = Stage::idle;
  again_.stop();
}

void SnapshotPuller::ask(paxos::Time now) {
  SnapshotAsk word{.nonce = nonce_, .above = above_, .begun = {}};
  if (staged_) word.begun = staged_->id;
  out_.send.emplace_back(source_, word);
  again_.start(now, rtt_.timeout());
}

void SnapshotPuller::next_source(paxos::Time now) {
  const auto all = sources();
  if (all.empty()) {
    stage_ = Stage::idle;
    return again_.stop();
  }
  ++tried_;
  const auto at = std::find(all.begin(), all.end(), *source_);
  const std::size_t next = at == all.end() ? 0 : static_cast<std::size_t>(at - all.begin() + 1) % all.size();
  source_ = all[next];
  stage_ = Stage::asking;
  ++nonce_;
  ahead_.clear();
  patience_ = {};
  if (tried_ % all.size() == 0) {
    // What an earlier life has begun is of use with its source alone. All were asked for it.
    heard_ = now + round_again;
    again_.start(now, round_again);
    return;
  }
  heard_ = now;
  ask(now);
}

void SnapshotPuller::message(paxos::Time now, paxos::ReplicaId from, const SnapshotWord& word) {
  std::visit(paxos::Overloaded{
                 [&](const SnapshotOffer& m) { on_offer(now, from, m); },
                 [&](const SnapshotChunk& m) { on_chunk(now, from, m); },
                 [&](const SnapshotSummed& m) {
                   if (stage_ != Stage::counting || from != source_ || m.id != staged_->id) return;
                   heard_ = now;
                   if (!m.sum) return again_.start(now, making_again);
                   theirs_ = m.sum;
                   compare(now);
                 },
                 [&](const SnapshotGone& m) {
                   if (from != source_ || !staged_ || m.id != staged_->id) return;
                   if (stage_ == Stage::pulling || stage_ == Stage::counting)
                     give_up(now, "its source has it no more");
                 },
                 [&](const SnapshotHash& m) {
                   if (stage_ != Stage::confirming || m.nonce != confirm_nonce_) return;
                   if (m.hash) (*m.hash == staged_->id.hash ? agree_ : disagree_).insert(from);
                   judge(now);
                 },
                 [](const auto&) {},
             },
             word);
}

void SnapshotPuller::on_offer(paxos::Time now, paxos::ReplicaId from, const SnapshotOffer& offer) {
  if (stage_ != Stage::asking || from != source_ || offer.nonce != nonce_) return;
  heard_ = now;
  switch (offer.answer) {
    case SnapshotAnswer::making:
      again_.start(now, making_again);
      return;
    case SnapshotAnswer::busy:
    case SnapshotAnswer::none:
      return next_source(now);
    case SnapshotAnswer::offered:
      break;
  }
  if (offer.id.slot <= above_) return next_source(now);
  tried_ = 0;
  begun_with_ = from;
  stage_ = Stage::pulling;
  ahead_.clear();
  ended_ = false;
  theirs_.reset();
  ours_.reset();
  count_asked_ = false;
  if (staged_ && staged_->id == offer.id) {
    place_ = staged_->place;
    resumed_at_ = place_.offset;
    // Its key is the one behind the last row.
    rows_.resume(place_.key.empty() ? std::string() : place_.key.substr(0, place_.key.size() - 1));
  } else {
    out_.begin = true;
    out_.writes.clear();
    staged_ = SnapshotProgress{.id = offer.id, .place = {}, .bytes_about = offer.bytes};
    place_ = {};
    resumed_at_ = 0;
    rows_.resume({});
  }
  out_.events.push_back("pulls the snapshot of slot " + std::to_string(offer.id.slot.n) + " from replica " +
                        std::to_string(from.n) + ": about " + std::to_string(offer.bytes >> 20) + " MiB" +
                        (resumed_at_ == 0
                             ? std::string()
                             : ", " + std::to_string(resumed_at_ >> 20) + " MiB of which were here already"));
  granted_ = place_.offset;
  patience_ = {};
  pull(now, true);
}

void SnapshotPuller::pull(paxos::Time now, bool again) {
  if (unwritten_ > options_.unwritten_bytes_max) {
    // The disk is behind: written() goes on.
    again_.start(now, std::max(rtt_.timeout(), making_again));
    return;
  }
  std::uint64_t window = options_.window_bytes;
  // What came behind the gap need not come again.
  if (again && !ahead_.empty()) window = std::min(window, ahead_.begin()->first - place_.offset);
  if (again) {
    ++repeats_;
    measured_from_.reset();
    patience_ = std::min<paxos::Duration>(2 * timeout(), paxos::RttEstimator::timeout_max);
  } else {
    measured_from_ = now;
  }
  granted_ = place_.offset + window;
  out_.send.emplace_back(
      source_,
      SnapshotPull{
          .id = staged_->id, .from = place_, .window = static_cast<std::uint32_t>(window), .again = again});
  again_.start(now, timeout());
}

void SnapshotPuller::on_chunk(paxos::Time now, paxos::ReplicaId from, const SnapshotChunk& chunk) {
  if (stage_ != Stage::pulling) return;
  if (from != source_ || chunk.id != staged_->id || chunk.checksum != snapshot_checksum(chunk) ||
      (chunk.bytes.empty() && !chunk.last)) {
    ++refused_;
    return;
  }
  heard_ = now;
  if (chunk.offset < place_.offset || ended_) return;
  if (chunk.offset > place_.offset) {
    // No more than may be on its way.
    if (chunk.offset - place_.offset <= 2 * options_.window_bytes)
      ahead_.insert_or_assign(chunk.offset, chunk);
    return;
  }
  if (measured_from_) rtt_.measured(now - *std::exchange(measured_from_, std::nullopt));
  // Halved, so that one loss does not slow all down; doubled by each repeat, so that a slow path is not
  // flooded.
  patience_ /= 2;
  if (!take(chunk)) return give_up(now, "what it sends are no rows");
  while (!ahead_.empty() && !ended_ && ahead_.begin()->first <= place_.offset) {
    const SnapshotChunk next = std::move(ahead_.extract(ahead_.begin()).mapped());
    if (next.offset == place_.offset && !take(next)) return give_up(now, "what it sends are no rows");
  }
  again_.start(now, timeout());
  if (ended_) {
    ahead_.clear();
    if (rows_.held() > 0) return give_up(now, "it ends within a row");
    stage_ = Stage::counting;
    ask_for_sum();
    return;
  }
  // Half a window ahead of when it would have to stop.
  if (granted_ < place_.offset + options_.window_bytes / 2 + 1) pull(now, false);
}

bool SnapshotPuller::take(const SnapshotChunk& chunk) {
  Write write;
  if (!rows_.take(chunk.bytes.view(), write.rows)) return false;
  place_ = chunk.next;
  ended_ = chunk.last;
  if (write.rows.empty()) return true;
  // What the disk knows ends between two rows.
  staged_->place = {
      .offset = place_.offset - rows_.held(), .key = rows_.last_key() + std::string(1, '\0'), .skip = 0};
  write.progress = *staged_;
  for (const Row& row : write.rows) write.bytes += row.key.size() + row.value->size();
  unwritten_ += write.bytes;
  out_.writes.push_back(std::move(write));
  return true;
}

void SnapshotPuller::written(paxos::Time now, std::size_t bytes) {
  unwritten_ -= std::min(bytes, unwritten_);
  if (stage_ == Stage::pulling && granted_ < place_.offset + options_.window_bytes / 2 + 1 &&
      unwritten_ <= options_.unwritten_bytes_max)
    pull(now, false);
}

void SnapshotPuller::ask_for_sum() {
  if (!count_asked_) {
    count_asked_ = true;
    out_.count = true;
  }
  if (!theirs_) out_.send.emplace_back(source_, SnapshotSumAsk{staged_->id});
}

void SnapshotPuller::counted(paxos::Time now,
                             const std::optional<std::pair<SnapshotSum, AppliedMark>>& counted) {
  if (stage_ != Stage::counting) return;
  if (!counted) return give_up(now, "what was written of it does not read");
  ours_ = counted;
  compare(now);
}

void SnapshotPuller::compare(paxos::Time now) {
  if (!theirs_ || !ours_) return;
  const auto& [sum, mark] = *ours_;
  if (sum.rows != theirs_->rows || sum.sum != theirs_->sum)
    return give_up(now, "its rows come to something else here than there");
  if (mark.slot != staged_->id.slot || mark.hash != staged_->id.hash)
    return give_up(now, "its rows stand at another slot, or hash, than it says");
  stage_ = Stage::confirming;
  confirm_nonce_ = ++nonce_;
  confirm_until_ = now + options_.confirm;
  agree_.clear();
  disagree_.clear();
  agree_.insert(*source_);
  out_.send.emplace_back(std::nullopt, SnapshotHashAsk{confirm_nonce_, staged_->id.slot});
  again_.start(now, rtt_.timeout());
  judge(now);
}

/// One replica may have gone astray, and then its snapshot has, too: its chain must be what a quorum has, as
/// far as anybody still knows that slot.
void SnapshotPuller::judge(paxos::Time now) {
  disagree_.erase(*source_);
  if (!voters_.is_quorum(agree_)) {
    if (now < confirm_until_) return;
    if (disagree_.size() > 0)
      return give_up(now, "another replica has another hash at that slot, and no quorum has this one");
    out_.events.push_back("no quorum knows the hash of slot " + std::to_string(staged_->id.slot.n) +
                          " any more; nobody has another one than the snapshot");
  }
  stage_ = Stage::complete;
  again_.stop();
  staged_->complete = true;
  out_.complete = staged_;
}

void SnapshotPuller::give_up(paxos::Time now, const std::string& why) {
  out_.events.push_back("gives up the snapshot of slot " + std::to_string(staged_->id.slot.n) + ": " + why);
  drop_staged();
  next_source(now);
}

/// Nothing of it is to be written any more, and what is on the disk goes.
void SnapshotPuller::drop_staged() {
  out_.writes.clear();
  out_.count = false;
  unwritten_ = 0;
  out_.begin = true;
  staged_.reset();
  begun_with_.reset();
}

void SnapshotPuller::tick(paxos::Time now) {
  if (stage_ == Stage::confirming && now >= confirm_until_) return judge(now);
  if (stage_ == Stage::idle || stage_ == Stage::complete || !again_.due(now)) return;
  if (stage_ == Stage::confirming) {
    out_.send.emplace_back(std::nullopt, SnapshotHashAsk{confirm_nonce_, staged_->id.slot});
    return again_.again(now);
  }
  // The source has said its sum: only this replica's own disk is waited for, which may take what it takes.
  if (stage_ == Stage::counting && theirs_) return again_.again(now);
  const bool begun = staged_ && staged_->place.offset > 0 && source_ == begun_with_;
  if (now - heard_ > (begun ? options_.patience : options_.try_each)) {
    if (stage_ != Stage::asking)
      out_.events.push_back("replica " + std::to_string(source_->n) +
                            " is silent: others are asked for a snapshot");
    return next_source(now);
  }
  if (stage_ == Stage::asking) {
    heard_ = std::min(heard_, now);
    const paxos::Backoff before = again_;
    ask(now);
    again_ = before;
    again_.again(now);
  } else if (stage_ == Stage::pulling) {
    pull(now, true);
  } else {
    ask_for_sum();
    again_.again(now);
  }
}

paxos::Time SnapshotPuller::deadline() const {
  if (stage_ == Stage::idle || stage_ == Stage::complete) return paxos::time_never;
  return stage_ == Stage::confirming ? std::min(again_.at(), confirm_until_) : again_.at();
}

SnapshotPuller::Figures SnapshotPuller::figures() const {
  Figures out{.stage = stage_,
              .from = stage_ == Stage::idle ? std::nullopt : source_,
              .slot = {},
              .resumed_at = resumed_at_,
              .repeats = repeats_,
              .refused = refused_};
  if (!staged_) return out;
  out.slot = staged_->id.slot;
  out.bytes = stage_ == Stage::pulling ? place_.offset : staged_->place.offset;
  out.bytes_about = staged_->bytes_about;
  return out;
}

}  // namespace chat
