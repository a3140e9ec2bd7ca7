#include "storage/rescue.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "chat/command.h"
#include "chat/machine.h"
#include "chat/versions.h"
#include "storage/new_cluster.h"
#include "storage/state_store.h"
#include "storage/survivor.h"

namespace storage {

namespace {

constexpr std::size_t page_bytes = 8u << 20;
constexpr std::size_t copy_bytes = 1u << 20;
/// The first rules under which a log may begin behind a state, as that of a new cluster does.
constexpr std::uint16_t rules_needed = 2;

/// One directory's records, one slot after another.
class Cursor {
 public:
  explicit Cursor(const Survivor& survivor) : survivor_(survivor) {}
  /// Slots are asked for in ascending order.
  std::optional<paxos::LogEntry> take(paxos::Slot slot) {
    while (!page_.empty() && page_.front().slot < slot) page_.pop_front();
    if (page_.empty() && !done_) {
      for (paxos::LogEntry& entry : survivor_.page(slot, page_bytes)) page_.push_back(std::move(entry));
      done_ = page_.empty();
    }
    if (page_.empty() || page_.front().slot != slot) return std::nullopt;
    paxos::LogEntry entry = std::move(page_.front());
    page_.pop_front();
    return entry;
  }

 private:
  const Survivor& survivor_;
  std::deque<paxos::LogEntry> page_;
  bool done_ = false;
};

/// A message that did not take effect where it stood.
struct Astray {
  std::string room;
  chat::SessionId session;
  std::uint64_t seq = 0;
  friend auto operator<=>(const Astray&, const Astray&) = default;
};

void each_post(
    const paxos::Decree& decree,
    const std::function<void(std::size_t, const chat::CommandView&, const chat::PostView&)>& visit) {
  if (decree.kind != paxos::DecreeKind::commands) return;
  const auto batch = chat::view_batch(decree);
  if (!batch) return;
  for (std::size_t i = 0; i < batch->commands.size(); ++i)
    if (const auto* post = std::get_if<chat::PostView>(&batch->commands[i].operation))
      visit(i, batch->commands[i], *post);
}

class Rescue {
 public:
  Rescue(const std::vector<std::unique_ptr<Survivor>>& survivors, std::uint16_t rules_known, NewCluster* into)
      : survivors_(survivors), rules_known_(rules_known), into_(into), machine_(rules_known) {}

  /// What is wrong, or nothing; so for all of these.
  std::string run(std::uint64_t number) {
    std::string why = choose();
    if (why.empty()) why = take_state();
    for (paxos::Slot slot = out_.from + 1; why.empty() && slot <= end_; ++slot) why = take_slot(slot);
    if (why.empty()) why = raise_rules();
    if (!why.empty()) return why;
    out_.slot = machine_.applied();
    out_.hash = machine_.hash();
    out_.rules = machine_.rules();
    if (out_.slot.none())
      return best().directory().string() + ": there is nothing in it: no slot was ever chosen";
    count_rooms();
    if (into_ == nullptr) return {};
    if (why = flush(); !why.empty()) return why;
    const chat::SnapshotId id{.source = best().inspection().incarnation.value_or(paxos::Incarnation{}),
                              .number = number,
                              .slot = out_.slot,
                              .hash = out_.hash};
    const auto sum = into_->count(id);
    return sum ? into_->finish(id, *sum) : sum.error();
  }
  RescueReport report() { return std::move(out_); }

 private:
  [[nodiscard]] const Survivor& best() const { return *survivors_[out_.best]; }
  [[nodiscard]] std::uint32_t configuration() const {
    return machine_.configuration() ? machine_.configuration()->number : 1;
  }

  std::string choose() {
    std::vector<Standing> standings;
    for (const auto& survivor : survivors_) standings.push_back(survivor->standing());
    const auto best_one = best_of(standings);
    if (!best_one) {
      std::string who;
      for (const auto& survivor : survivors_)
        who += fmt::format("{}{}: its log begins with slot {}, and its state, which held all before, is gone",
                           who.empty() ? "" : "; ", survivor->directory().string(),
                           survivor->standing().first_slot.n);
      return who;
    }
    out_.best = *best_one;
    out_.from = standings[out_.best].applied;
    out_.chosen = end_ = out_.from;
    for (std::size_t i = 0; i < survivors_.size(); ++i) {
      out_.used.push_back(helps(standings[i], standings[out_.best]));
      cursors_.emplace_back(*survivors_[i]);
      if (out_.used[i]) end_ = std::max(end_, standings[i].last);
    }
    return {};
  }

  std::string take_state() {
    const chat::RowReader* rows = best().rows();
    if (rows == nullptr) return {};
    auto machine = chat::Machine::load(*rows, rules_known_);
    if (!machine) return fmt::format("{}: {}", best().directory().string(), machine.error());
    machine_ = std::move(*machine);
    // Those that stand below it are held against its own chain.
    for (std::size_t i = 0; i < survivors_.size(); ++i)
      if (const paxos::Slot at = survivors_[i]->standing().applied; !at.none() && at <= out_.from)
        if (const auto hash = chat::read_hash(*rows, at); hash && *hash != survivors_[i]->hash())
          return parted(i, at);
    if (into_ == nullptr) return {};
    const chat::SnapshotId id{.source = {}, .number = 0, .slot = out_.from, .hash = machine_.hash()};
    chat::SnapshotRows cut;
    std::vector<chat::Row> whole;
    for (chat::SnapshotPlace at;;) {
      const chat::SnapshotChunk chunk = chat::read_snapshot(*rows, id, at, copy_bytes);
      if (!cut.take({reinterpret_cast<const char*>(chunk.bytes.data()), chunk.bytes.size()}, whole))
        return best().directory().string() + ": what is in it are no rows of a replica's state";
      if (std::string why = into_->write(whole); !why.empty()) return why;
      whole.clear();
      at = chunk.next;
      if (chunk.last) return {};
    }
  }

  [[nodiscard]] std::string parted(std::size_t other, paxos::Slot at) const {
    return fmt::format(
        "{} and {} do not agree about slot {}: one of the two replicas went astray. Give the one whose "
        "messages "
        "are right, alone",
        best().directory().string(), survivors_[other]->directory().string(), at.n);
  }

  std::string take_slot(paxos::Slot slot) {
    std::vector<std::optional<paxos::LogEntry>> found(survivors_.size());
    std::vector<std::optional<SlotWord>> words(survivors_.size());
    for (std::size_t i = 0; i < survivors_.size(); ++i) {
      if (out_.used[i]) found[i] = cursors_[i].take(slot);
      if (!found[i]) continue;
      // Its configuration is closed by a slot below: only a quorum of the one in force could have this
      // chosen.
      if (!found[i]->chosen && found[i]->ballot.configuration < configuration()) {
        leave_out(i, *found[i]);
        found[i].reset();
        continue;
      }
      words[i] = SlotWord{found[i]->ballot, found[i]->chosen};
      ballot_max_ = std::max(ballot_max_, found[i]->ballot);
    }
    const auto standing = standing_word(words);
    if (!standing) return fill(slot);
    const paxos::LogEntry& stands = *found[*standing];
    const paxos::Decree* decree = &stands.decree;
    std::vector<std::size_t> same;
    for (std::size_t i = 0; i < survivors_.size(); ++i) {
      if (!found[i]) continue;
      if (chat::same_but_redacted(found[i]->decree, stands.decree)) {
        same.push_back(i);
        if (chat::has_redacted(found[i]->decree)) decree = &found[i]->decree;
      } else if (found[i]->chosen) {
        return fmt::format(
            "{} and {} both know slot {} to be chosen, and have other decrees there: one of the two replicas "
            "went "
            "astray. Give the one whose messages are right, alone",
            survivors_[*standing]->directory().string(), survivors_[i]->directory().string(), slot.n);
      } else {
        leave_out(i, *found[i]);
      }
    }
    if (stands.chosen) {
      if (out_.chosen + 1 == slot) out_.chosen = slot;
      return apply(slot, *decree, nullptr);
    }
    out_.unsure.push_back({.slot = slot,
                           .ballot = stands.ballot,
                           .kind = stands.decree.kind,
                           .directories = std::move(same),
                           .messages = {}});
    return apply(slot, *decree, &out_.unsure.back().messages);
  }

  std::string fill(paxos::Slot slot) {
    const bool chosen = std::any_of(survivors_.begin(), survivors_.end(),
                                    [&](const auto& each) { return slot <= each->standing().chosen; });
    if (!out_.holes.empty() && out_.holes.back().last + 1 == slot && out_.holes.back().chosen == chosen)
      out_.holes.back().last = slot;
    else
      out_.holes.push_back({slot, slot, chosen});
    return apply(slot, {}, nullptr);
  }

  void leave_out(std::size_t directory, const paxos::LogEntry& entry) {
    RescueReport::LeftOut left{
        .slot = entry.slot, .ballot = entry.ballot, .directory = directory, .messages = {}};
    each_post(entry.decree, [&](std::size_t, const chat::CommandView& command, const chat::PostView& post) {
      ++left.messages[std::string(post.room)];
      astray_.insert({std::string(post.room), command.session, command.seq});
    });
    out_.left_out.push_back(std::move(left));
  }

  /// `unsure`: where its messages are counted, where they may never have been chosen.
  std::string apply(paxos::Slot slot, const paxos::Decree& decree, RoomCounts* unsure) {
    chat::Applied applied = machine_.apply(slot, decree);
    if (!applied.refused.empty()) return fmt::format("slot {}: {}", slot.n, applied.refused);
    each_post(decree, [&](std::size_t i, const chat::CommandView& command, const chat::PostView& post) {
      const chat::Verdict verdict =
          i < applied.outcomes.size() ? applied.outcomes[i].verdict : chat::Verdict::invalid;
      if (verdict == chat::Verdict::done && unsure != nullptr) ++(*unsure)[std::string(post.room)];
      // What it builds on stood in a slot that is gone.
      if (!out_.holes.empty() &&
          (verdict == chat::Verdict::early || verdict == chat::Verdict::session_unknown))
        astray_.insert({std::string(post.room), command.session, command.seq});
    });
    if (decree.kind == paxos::DecreeKind::commands)
      if (const auto batch = chat::view_batch(decree)) out_.said_ms = batch->time_ms;
    for (std::size_t i = 0; i < survivors_.size(); ++i)
      if (survivors_[i]->standing().applied == slot && survivors_[i]->hash() != machine_.hash())
        return parted(i, slot);
    if (into_ == nullptr) return {};
    for (chat::Row& row : applied.rows) {
      gathered_bytes_ += row.key.size() + (row.value ? row.value->size() : 0);
      gathered_.push_back(std::move(row));
    }
    return gathered_bytes_ < copy_bytes ? std::string() : flush();
  }
  std::string flush() {
    std::string why = into_->write(gathered_);
    gathered_.clear();
    gathered_bytes_ = 0;
    return why;
  }

  std::string raise_rules() {
    while (machine_.rules() < rules_needed && !machine_.applied().none()) {
      out_.raised = machine_.applied() + 1;
      if (std::string why =
              apply(out_.raised, chat::make_rules_decree(static_cast<std::uint16_t>(machine_.rules() + 1)),
                    nullptr);
          !why.empty())
        return why;
    }
    return {};
  }

  void count_rooms() {
    if (!out_.said_ms) out_.said_ms = best().last_said(out_.from);
    for (const RescueReport::Unsure& unsure : out_.unsure)
      for (const auto& [room, messages] : unsure.messages) out_.rooms[room].unsure += messages;
    for (const Astray& post : astray_) {
      // It may stand elsewhere: a client repeats what it has no answer to.
      const auto session = machine_.session(post.session);
      if (!session || session->last_seq < post.seq) ++out_.rooms[post.room].missing;
    }
    paxos::Ballot promised;
    for (const auto& survivor : survivors_)
      promised = std::max(promised, survivor->inspection().promised.value_or(paxos::Ballot{}));
    if (ballot_max_.none())
      for (const auto& survivor : survivors_)
        for (const paxos::LogEntry& entry : survivor->page(survivor->standing().applied, 1))
          ballot_max_ = std::max(ballot_max_, entry.ballot);
    if (!ballot_max_.none() && promised > ballot_max_) out_.promised_above = promised;
  }

  const std::vector<std::unique_ptr<Survivor>>& survivors_;
  std::uint16_t rules_known_;
  NewCluster* into_;
  chat::Machine machine_;
  std::deque<Cursor> cursors_;
  paxos::Slot end_;
  paxos::Ballot ballot_max_;
  std::set<Astray> astray_;
  std::vector<chat::Row> gathered_;
  std::size_t gathered_bytes_ = 0;
  RescueReport out_;
};

}  // namespace

tl::expected<RescueReport, std::string> rescue(const std::vector<std::unique_ptr<Survivor>>& survivors,
                                               std::uint16_t rules_known, NewCluster* into,
                                               std::uint64_t number) {
  Rescue walk(survivors, rules_known, into);
  try {
    if (std::string why = walk.run(number); !why.empty()) return tl::make_unexpected(std::move(why));
  } catch (const StateDamage& damage) {
    return tl::make_unexpected(fmt::format("what was read does not read any more: {}", damage.what()));
  }
  return walk.report();
}

}  // namespace storage
