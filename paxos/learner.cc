#include "paxos/learner.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

namespace {
/// A hole is usually an Accept that is still under way, or that its leader repeats: wait a little first.
constexpr Duration patience{std::chrono::milliseconds{5}};
/// A pull without an answer is repeated after this, or after a round trip, where that is longer.
constexpr Duration pull_timeout{std::chrono::milliseconds{50}};
}  // namespace

void Learner::learn(const ChosenDecree& chosen) {
  if (chosen.slot <= log_.chosen_prefix()) return;
  const SlotEntry* entry = log_.find(chosen.slot);
  if (entry != nullptr && entry->chosen) return;
  // Our own vote's record already holds it. But in which configuration a slot was chosen is what phase 1
  // judges a change below it by: a vote of an earlier one says that wrongly.
  if (entry != nullptr && entry->decree == chosen.decree &&
      entry->ballot.configuration == chosen.ballot.configuration) {
    log_.mark_chosen(chosen.slot);
    return;
  }
  // It is pulled again once there is room.
  if (!log_.has_room(chosen.slot, chosen.decree.value.size()) || !env_.room_for_records()) return;
  const std::uint64_t group = env_.record(ChosenRecord{chosen.slot, chosen.ballot, chosen.decree});
  log_.put_chosen(chosen.slot, chosen.ballot, chosen.decree, group);
}

void Learner::on_commit(ReplicaId from, Ballot ballot, Slot prefix) {
  peer_prefix(from, prefix);
  if (ballot < commit_ballot_) return;
  if (ballot > commit_ballot_) {
    commit_ballot_ = ballot;
    commit_prefix_ = {};
    commit_scanned_ = {};
  }
  commit_prefix_ = std::max(commit_prefix_, prefix);
  // A vote stands for the chosen decree only where it was cast at exactly this ballot: a leader proposes one
  // decree a slot, and it says that the slot is chosen. A vote at another ballot may be for another.
  const Slot last = std::min(commit_prefix_, log_.accepted_max());
  for (Slot slot = std::max(log_.chosen_prefix(), commit_scanned_) + 1; slot <= last; ++slot) {
    const SlotEntry* entry = log_.find(slot);
    if (entry != nullptr && entry->voted && !entry->chosen && entry->ballot == ballot) log_.mark_chosen(slot);
  }
  commit_scanned_ = std::max(commit_scanned_, last);
}

void Learner::voted(Slot slot, Ballot ballot) {
  if (ballot != commit_ballot_ || slot > commit_prefix_) return;
  const SlotEntry* entry = log_.find(slot);
  if (entry != nullptr && entry->voted && entry->ballot == ballot) log_.mark_chosen(slot);
}

void Learner::peer_prefix(ReplicaId from, Slot prefix) {
  peers_[from.n].prefix = std::max(peers_[from.n].prefix, prefix);
  target_ = std::max(target_, prefix);
  if (behind() && pull_at_ == time_never) arm(patience);
}

void Learner::arm(Duration wait) {
  pull_at_ = env_.now + wait;
  prefix_when_armed_ = log_.chosen_prefix();
}

void Learner::tick() {
  if (env_.now < pull_at_) return;
  if (out_of_reach()) {
    cries_ = true;
    arm(env_.options.election_timeout);
    return;
  }
  if (!behind()) {
    pull_at_ = time_never;
    asked_.reset();
    silent_ = 0;
    return;
  }
  // Under load a follower is always a little behind; as long as it moves by itself, nothing is pulled.
  const bool moves = log_.chosen_prefix() > prefix_when_armed_;
  if (!asked_ && moves && target_ - log_.chosen_prefix() <= env_.options.bounds.window_slots) {
    arm(patience);
    return;
  }
  pull();
}

bool Learner::stranded() const {
  return out_of_reach() || (stranded_at_ == log_.chosen_prefix() && behind());
}

void Learner::pull() {
  // What it brought could not be applied, and would only fill the memory. And each request holds the log of
  // who is asked (Trimmer::hold): one whose disk hangs would make the others keep theirs for ever.
  const bool room = log_.wants_more();
  if (held_ || !room || !env_.room_for_records()) {
    if (!room) env_.reached(Bound::unapplied_pull);
    arm(env_.room.takes ? patience : env_.options.heartbeat);
    return;
  }
  const Slot first = log_.chosen_prefix() + 1;
  std::vector<ReplicaId> sources;
  bool trimmed = false;
  env_.each_peer([&](ReplicaId id) {
    if (peers_[id.n].prefix < first) return;
    if (peers_[id.n].first > first)
      trimmed = true;
    else
      sources.push_back(id);
  });
  // Those that may still have it were asked in turn, and have nothing, or are not there.
  if (trimmed && silent_ >= 2 * sources.size()) {
    stranded_at_ = log_.chosen_prefix();
    cries_ = true;
  }
  if (sources.empty()) {
    asked_.reset();
    arm(env_.options.election_timeout / 2);
    return;
  }
  if (asked_) ++silent_;
  // The last one that answered first; after silence the next in turn.
  const ReplicaId first_choice = asked_ ? *asked_ : source_.value_or(commit_ballot_.replica);
  auto at = std::find(sources.begin(), sources.end(), first_choice);
  std::size_t index = at == sources.end() ? env_.random.below(sources.size())
                                          : static_cast<std::size_t>(at - sources.begin());
  if (asked_) index = (index + 1) % sources.size();
  // All up to the target, though some of it may be here already: under loss the holes are many, and one
  // page closes them all, where a pull for each would take a round trip a hole.
  asked_ = sources[index];
  env_.send(*asked_, LearnRequest{first, target_});
  // Not for longer than an election can wait for it, however long the silence was.
  const Duration wait = std::max(pull_timeout, env_.round_trip(*asked_));
  arm(std::min(wait * (1U << std::min(silent_, 3U)),
               std::max<Duration>(pull_timeout, env_.options.election_timeout / 2)));
}

void Learner::pull_from(ReplicaId from) {
  PAXOS_ASSERT(behind());
  silent_ = 0;
  asked_.reset();
  source_ = from;
  pull();
}

void Learner::on_learn_request(ReplicaId from, const LearnRequest& m) {
  const Slot last = std::min(m.to, log_.chosen_prefix());
  LearnReply reply{.decrees = {}, .first_slot = log_.first_served(), .chosen_prefix = log_.chosen_prefix()};
  if (m.from.none() || m.from > last || m.from < reply.first_slot) {
    env_.send(from, std::move(reply));
    return;
  }
  if (m.from < log_.hot_first()) {
    // Only what was applied once, so what is held in memory is not asked of the disk: a record that is not
    // synced yet is not there, but an older vote of its slot may be, for another decree.
    const Slot cold = std::min(last, Slot{log_.hot_first().n - 1});
    env_.read_log({from, m.from, cold});
    return;
  }
  std::size_t bytes = 0;
  for (Slot slot = m.from; slot <= last; ++slot) {
    if (reply.decrees.size() == env_.options.bounds.learn_entries) {
      env_.reached(Bound::learn_entries);
      break;
    }
    const SlotEntry* entry = log_.find(slot);
    PAXOS_ASSERT(entry != nullptr && entry->chosen);
    bytes += entry->decree.value.size();
    if (!reply.decrees.empty() && bytes > env_.options.bounds.page_bytes) {
      env_.reached(Bound::page_bytes);
      break;
    }
    reply.decrees.push_back({slot, entry->ballot, entry->decree});
  }
  env_.send(from, std::move(reply));
}

void Learner::log_read(const LogReadWish& wish, std::vector<ChosenDecree> decrees) {
  env_.reading.erase(wish.to);
  if (wish.to == env_.options.self) return redone(wish, std::move(decrees));
  LearnReply reply{.decrees = std::move(decrees),
                   .first_slot = log_.first_served(),
                   .chosen_prefix = log_.chosen_prefix()};
  env_.send(wish.to, std::move(reply));
}

void Learner::on_learn_reply(ReplicaId from, const LearnReply& m) {
  const Slot before = log_.chosen_prefix();
  for (const ChosenDecree& decree : m.decrees) learn(decree);
  peers_[from.n].prefix = std::max(peers_[from.n].prefix, m.chosen_prefix);
  if (!m.first_slot.none()) peers_[from.n].first = m.first_slot;
  target_ = std::max(target_, m.chosen_prefix);
  if (log_.chosen_prefix() > before) {
    source_ = from;
    silent_ = 0;
    if (asked_ == from) {
      asked_.reset();
      if (behind()) pull();  // more to fetch: no pause between pages
    } else if (behind() && pull_at_ == time_never) {
      arm(patience);
    }
  } else if (asked_ == from && behind() && m.first_slot > before + 1) {
    pull();  // trimmed: it will not be asked again
  } else if (asked_ == from && behind()) {
    // It has nothing for us (it restarted, or trimmed): soon the next one, but not for ever at this pace.
    arm(patience * (1U << std::min(silent_, 4U)));
  } else if (behind() && pull_at_ == time_never) {
    arm(patience);
  }
}

void Learner::redo() {
  if (out_of_reach() || handed_out_ - log_.applied() >= env_.options.bounds.handed_out_slots) return;
  const Slot last = std::min(log_.redo_to(), handed_out_ + env_.options.bounds.redo_slots);
  if (env_.read_log({env_.options.self, handed_out_ + 1, last}) && last < log_.redo_to())
    env_.reached(Bound::redo_slots);
}

void Learner::redone(const LogReadWish& wish, std::vector<ChosenDecree> decrees) {
  PAXOS_ASSERT(wish.from == handed_out_ + 1);
  if (decrees.empty()) {
    env_.ready.lost = wish.from;
    return;
  }
  for (ChosenDecree& decree : decrees) {
    PAXOS_ASSERT(decree.slot == handed_out_ + 1 && decree.slot <= log_.redo_to());
    give(std::move(decree));
  }
}

void Learner::hand_out() {
  if (held_) return;
  if (handed_out_ < log_.redo_to()) return redo();
  const Slot last = log_.chosen_prefix();
  while (handed_out_ < last) {
    const Slot slot = handed_out_ + 1;
    const SlotEntry* entry = log_.find(slot);
    PAXOS_ASSERT(entry != nullptr && entry->chosen);
    if (entry->group > env_.synced_group) return;
    // The rest follows as these are applied: one turn never does all of a long way.
    if (handed_out_ > log_.applied()) {
      if (handed_out_ - log_.applied() >= env_.options.bounds.handed_out_slots)
        return env_.reached(Bound::handed_out_slots);
      if (handed_out_bytes_ + entry->decree.value.size() > env_.options.bounds.handed_out_bytes)
        return env_.reached(Bound::handed_out_bytes);
    }
    handed_out_bytes_ += entry->decree.value.size();
    give({slot, entry->ballot, entry->decree});
  }
}

void Learner::give(ChosenDecree chosen) {
  handed_out_ = chosen.slot;
  if (chosen.decree.kind == DecreeKind::configuration) changes_.push_back(chosen);
  env_.ready.to_apply.push_back(std::move(chosen));
}

std::optional<Configuration> Learner::take_configuration(Slot applied) {
  if (changes_.empty() || changes_.front().slot != applied) return std::nullopt;
  auto next = configuration_after(env_.configuration.number, applied, changes_.front().decree);
  changes_.pop_front();
  return next;
}

}  // namespace paxos
