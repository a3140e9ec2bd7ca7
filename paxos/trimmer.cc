#include "paxos/trimmer.h"

#include <algorithm>

#include "paxos/invariant.h"

namespace paxos {

namespace {
/// A mark is full at either; above `marks_max` of them, two become one.
constexpr std::uint64_t mark_slots = 64;
constexpr std::uint64_t mark_bytes = 256 * 1024;
constexpr std::size_t marks_max = 16384;
/// What was there before the start is taken to be spread evenly.
constexpr std::uint64_t marks_at_start = 64;
}  // namespace

Trimmer::Trimmer(Slot first, Slot applied, Slot last, std::uint64_t log_bytes, std::size_t replicas,
                 const Bounds& bounds, BoundsReached& reached)
    : bounds_(bounds), reached_(reached), first_(first), durable_(applied), holds_(replicas) {
  if (last < first) return;
  const std::uint64_t slots = last.n - first.n + 1;
  const std::uint64_t parts = std::min(slots, marks_at_start);
  for (std::uint64_t part = 1; part <= parts; ++part) {
    marks_.push_back({Slot{first.n - 1 + slots * part / parts}, log_bytes / parts});
    bytes_ += marks_.back().bytes;
  }
}

void Trimmer::set_slack(std::optional<TrimSlack> slack) {
  slack_ = slack && !slack->unbounded() ? slack : std::nullopt;
  aim();
}

void Trimmer::applied(Slot slot, std::size_t bytes) {
  if (!marks_.empty() && slot <= marks_.back().last) return;  // it was there at the start
  const Slot before = marks_.size() < 2 ? Slot{first_.n - 1} : marks_[marks_.size() - 2].last;
  if (marks_.empty() || marks_.back().bytes >= mark_bytes || marks_.back().last - before >= mark_slots)
    marks_.push_back({slot, 0});
  marks_.back().last = slot;
  marks_.back().bytes += bytes;
  bytes_ += bytes;
  if (marks_.size() <= marks_max) return;
  std::deque<Mark> half;
  for (std::size_t i = 0; i < marks_.size(); i += 2) {
    half.push_back(marks_[i]);
    if (i + 1 == marks_.size()) break;
    half.back().last = marks_[i + 1].last;
    half.back().bytes += marks_[i + 1].bytes;
  }
  marks_.swap(half);
}

void Trimmer::durable(Slot slot) {
  if (slot <= durable_) return;
  durable_ = slot;
  aim();
}

void Trimmer::hold(ReplicaId peer, Slot from, Time until) {
  Hold& hold = holds_.at(peer.n);
  // A snapshot is held for longer than a page of the log, and what lies behind it is asked for after it.
  if (hold.until > until)
    hold.from = std::min(hold.from, from);
  else
    hold = {from, until};
}

void Trimmer::aim() {
  target_ = {};
  stride_ = 0;
  if (!slack_) return;
  std::uint64_t freed = 0;
  if (slack_->slots != 0 && durable_.n > slack_->slots) target_ = durable_ + 1;
  if (!target_.none()) target_.n -= slack_->slots;
  if (slack_->bytes != 0) {
    std::uint64_t kept = bytes_;
    for (const Mark& mark : marks_) {
      if (kept <= slack_->bytes) break;
      kept -= mark.bytes;
      freed += mark.bytes;
      target_ = std::max(target_, mark.last + 1);
    }
  }
  target_ = std::min(target_, durable_);
  // Not for every slot; but a stride of large decrees may be many times what is to be kept.
  stride_ = bounds_.trim_stride;
  if (slack_->slots != 0) stride_ = std::min(stride_, slack_->slots / 4 + 1);
  if (slack_->bytes != 0 && freed >= slack_->bytes / 4) stride_ = 1;
}

void Trimmer::cut(Slot first) { cut_ = std::max(cut_, first); }

std::optional<Slot> Trimmer::next(Time now) {
  if (cut_ > first_ && cut_ <= durable_) return begin_at(cut_);
  if (target_ <= first_ || target_ - first_ < stride_) return std::nullopt;
  Slot to = target_;
  for (const Hold& hold : holds_)
    if (now < hold.until) to = std::min(to, hold.from);
  if (to <= first_ || to - first_ < stride_) {
    reached_(Bound::trim_held);
    return std::nullopt;
  }
  PAXOS_ASSERT(to <= durable_);
  reached_(Bound::trim_stride);
  return begin_at(to);
}

Slot Trimmer::begin_at(Slot to) {
  first_ = to;
  for (; marks_.size() > 1 && marks_.front().last < to; marks_.pop_front()) bytes_ -= marks_.front().bytes;
  aim();
  return to;
}

}  // namespace paxos
