#include <algorithm>
#include <utility>

#include "client/session/outbox.h"

/// Which replica a session asks, and when it says something again.
namespace client {

namespace {

using namespace std::chrono_literals;

/// Between two repeats of one command, unless the round trip itself takes longer: a new leader is found this
/// fast.
constexpr paxos::Duration repeat_max = 200ms;
/// A replica that has said "no leader" is asked again after this: about as often as it may answer.
constexpr paxos::Duration unhelpful_pause = 40ms;
constexpr unsigned unhelpful_max = 8;
/// A full disk is full for long; when it is not, that is to be found out in less than an election timeout.
constexpr paxos::Duration full_pause = 100ms;
/// Two replicas that each name the other as leader are not believed faster than this.
constexpr paxos::Duration redirect_pause = 20ms;
/// A replica that was silent is not tried directly for so long: commands for it are forwarded by another.
constexpr paxos::Duration silence_kept = 2s;
constexpr paxos::Duration forward_kept = 1s;
/// Repeats of one moment, in bytes: the first ones matter, the log takes a session in order.
constexpr std::size_t repeat_bytes_max = 64 * 1024;

}  // namespace

// --- where to ask ---

bool Outbox::silent_lately(paxos::Time now, paxos::ReplicaId replica) const {
  // Longer than a lap around all of them takes: who reaches only one would be sent back to a silent leader by
  // it for ever.
  const paxos::Duration lap =
      static_cast<int>(options_.replicas) * 3 * std::max<paxos::Duration>(repeat_max, rtt_.timeout());
  return silent_[replica.n] != paxos::Time::min() && now - silent_[replica.n] < silence_kept + lap;
}

paxos::ReplicaId Outbox::next_member(paxos::ReplicaId id) const {
  for (std::size_t i = 1; i <= options_.replicas; ++i) {
    const paxos::ReplicaId next{static_cast<std::uint8_t>((id.n + i) % options_.replicas)};
    if (member(next)) return next;
  }
  return id;
}

void Outbox::know(std::size_t replicas, const paxos::ReplicaSet& members) {
  PAXOS_ASSERT(replicas >= options_.replicas);
  options_.replicas = replicas;
  options_.members = members;
  heard_.resize(replicas, paxos::Time::min());
  silent_.resize(replicas, paxos::Time::min());
}

void Outbox::on_redirect(paxos::Time now, paxos::ReplicaId from, const chat::Redirect& redirect) {
  if (from != target_) return;
  if (!redirect.leader || *redirect.leader == from || redirect.leader->n >= paxos::limits::replicas_max) {
    on_waiting(now, from, {.reason = chat::WaitReason::no_leader, .slot = {}, .missing = {}});
    return;
  }
  waiting_.reset();
  // Who joined the cluster since this program began is reached by those that it knows.
  if (!member(*redirect.leader) || silent_lately(now, *redirect.leader)) {
    if (!forward_) move_to(now, target_, true);  // it reaches the leader, maybe; we don't
    return;
  }
  move_to(now, *redirect.leader, false);
}

void Outbox::on_waiting(paxos::Time now, paxos::ReplicaId from, const chat::Waiting& waiting) {
  if (from != target_) return;
  waiting_ = waiting;
  waiting_from_ = from;
  switch (waiting.reason) {
    case chat::WaitReason::hole:
    case chat::WaitReason::overloaded:
      return;
    case chat::WaitReason::disks_full:
      return delay_all(now + full_pause);
    case chat::WaitReason::no_leader:
      ++unhelpful_;
      break;
    case chat::WaitReason::no_quorum:
    case chat::WaitReason::catching_up:
    case chat::WaitReason::not_voting:
      unhelpful_ = unhelpful_max;
      break;
  }
  delay_all(now + unhelpful_pause);
}

void Outbox::move_to(paxos::Time now, paxos::ReplicaId replica, bool forward) {
  const bool hasty = now - moved_ <= redirect_pause && figures_.moves > 0;
  if (replica != target_) ++figures_.moves;
  target_ = replica;
  asked_ = paxos::time_never;
  forward_ = forward;
  forward_until_ = now + forward_kept;
  moved_ = now;
  unhelpful_ = 0;
  if (hasty)
    delay_all(now + redirect_pause);
  else
    resend_all(now);
}

void Outbox::rotate(paxos::Time now) {
  ++laps_;
  ++figures_.moves;
  target_ = next_member(target_);
  asked_ = paxos::time_never;
  forward_ = false;
  moved_ = now;
  unhelpful_ = 0;
  resend_all(now);
}

// --- sending ---

paxos::Duration Outbox::interval(unsigned attempts) const {
  const paxos::Duration base = rtt_.timeout();
  return std::min(base * (1 << std::min(attempts + laps(), 10u)),
                  std::max<paxos::Duration>(base, repeat_max));
}

void Outbox::again(paxos::Time now, Repeat& repeat) {
  repeat.at = now + interval(repeat.attempts);
  if (repeat.attempts < 1000) ++repeat.attempts;
  next_repeat_ = std::min(next_repeat_, repeat.at);
}

/// Karn's rule: only what was said once is measured.
void Outbox::measured(paxos::Time now, paxos::Time sent, const Repeat& repeat) {
  if (repeat.attempts == 1) rtt_.measured(now - sent);
}

std::uint64_t Outbox::answered_below() const {
  return entries_.empty() || entries_.front().seq == 0 ? next_seq_ : entries_.front().seq;
}

chat::Command Outbox::command_of(paxos::Time now, const Entry& entry) const {
  chat::Command command{
      .session = session_, .seq = entry.seq, .answered_below = answered_below(), .operation = {}};
  if (entry.fate == Fate::voided) {
    command.operation = chat::Close{};
  } else if (entry.deed) {
    command.operation = *entry.deed;
  } else {
    const chat::Message& m = entry.delivery.message;
    command.operation = chat::Post{m.room,    m.name,      m.text,
                                   entry.key, entry.topic, says_when(now, entry) ? entry.written_ms : 0};
  }
  return command;
}

void Outbox::send_command(const chat::Command& command) {
  paxos::Bytes bytes = chat::encode(command);
  if (!pack_.empty() && pack_bytes_ + bytes.size() > pack_bytes_max) flush_pack();
  pack_bytes_ += bytes.size();
  pack_.push_back(std::move(bytes));
}

void Outbox::flush_pack() {
  if (pack_.empty()) return;
  out_.sends.push_back({target_, chat::ClientCommands{forward_, std::exchange(pack_, {})}});
  pack_bytes_ = 0;
}

void Outbox::send_entry(paxos::Time now, Entry& entry) {
  if (asked_ == paxos::time_never) asked_ = now;
  entry.said = entry.said || entry.deed;
  if (entry.repeat.attempts == 0)
    entry.sent = now;
  else
    ++figures_.repeats;
  again(now, entry.repeat);
  send_command(command_of(now, entry));
}

void Outbox::send_single(paxos::Time now) {
  if (asked_ == paxos::time_never) asked_ = now;
  if (single_.attempts == 0)
    single_sent_ = now;
  else
    ++figures_.repeats;
  again(now, single_);
  chat::Command command;
  if (phase_ == Phase::opening) {
    command.operation = chat::Open{nonce_, options_.whose};
  } else {
    command.session = session_;
    command.seq = next_seq_;
    command.answered_below = next_seq_;
    command.operation = chat::Close{};
  }
  send_command(command);
}

void Outbox::resend_all(paxos::Time now) {
  if (phase_ == Phase::opening || phase_ == Phase::closing) {
    send_single(now);
    return;
  }
  if (phase_ == Phase::searching && search_) {
    search_->moved = 0;
    ask_history(now);
    return;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < unsent_; ++i) {
    Entry& entry = entries_[i];
    if (entry.fate != Fate::sent && entry.fate != Fate::voided) continue;
    bytes += weight(entry);
    if (bytes <= repeat_bytes_max || i == 0) {
      entry.repeat.attempts = std::max(1u, std::min(entry.repeat.attempts, 2u));
      send_entry(now, entry);
    } else {
      again(now, entry.repeat);
    }
  }
  flush_pack();
}

void Outbox::delay_all(paxos::Time at) {
  next_repeat_ = at;
  if (phase_ == Phase::opening || phase_ == Phase::closing) single_.at = at;
  for (std::size_t i = 0; i < unsent_; ++i)
    if (entries_[i].fate == Fate::sent || entries_[i].fate == Fate::voided) entries_[i].repeat.at = at;
}

void Outbox::tick(paxos::Time now) {
  if (search_ && search_->repeat.at <= now) {
    ++search_->moved;
    ask_history(now);
  }
  if (next_repeat_ <= now) on_due(now);
}

/// Something was not answered in time.
void Outbox::on_due(paxos::Time now) {
  next_repeat_ = paxos::time_never;
  const bool single = phase_ == Phase::opening || phase_ == Phase::closing;
  paxos::Time oldest = paxos::time_never;  // first sending of what is due
  if (single) {
    if (single_.at <= now) oldest = single_sent_;
    next_repeat_ = single_.at;
  }
  for (std::size_t i = 0; i < unsent_; ++i) {
    const Entry& entry = entries_[i];
    if (entry.fate != Fate::sent && entry.fate != Fate::voided) continue;
    if (entry.repeat.at <= now) oldest = std::min(oldest, entry.sent);
    next_repeat_ = std::min(next_repeat_, entry.repeat.at);
  }
  if (oldest == paxos::time_never) return;
  if (unhelpful_ >= unhelpful_max && options_.replicas > 1) {
    rotate(now);
    return;
  }
  const paxos::Duration patience =
      std::min<paxos::Duration>(3 * rtt_.timeout() * (1 << std::min(laps(), 5u)),
                                std::max<paxos::Duration>(3 * repeat_max, 3 * rtt_.timeout()));
  // Silence counts from the first question that it left open: who has told us to wait was not asked since.
  if (asked_ != paxos::time_never && now - asked_ >= patience) {
    silent_[target_.n] = now;
    rotate(now);
    return;
  }
  if (forward_ && now >= forward_until_) forward_ = false;  // the leader may be in reach again
  next_repeat_ = paxos::time_never;
  if (single) {
    if (single_.at <= now)
      send_single(now);
    else
      next_repeat_ = single_.at;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < unsent_; ++i) {
    Entry& entry = entries_[i];
    if (entry.fate != Fate::sent && entry.fate != Fate::voided) continue;
    if (entry.repeat.at <= now) {
      bytes += weight(entry);
      if (bytes <= repeat_bytes_max || bytes == weight(entry)) {
        send_entry(now, entry);
        continue;
      }
      again(now, entry.repeat);
    }
    next_repeat_ = std::min(next_repeat_, entry.repeat.at);
  }
  flush_pack();
}

paxos::Time Outbox::deadline() const {
  return search_ ? std::min(next_repeat_, search_->repeat.at) : next_repeat_;
}

}  // namespace client
