#include "tests/sim/observer.h"

#include <algorithm>
#include <tuple>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "client/session/outbox.h"
#include "tests/sim/broken.h"
#include "tests/sim/own_rows.h"

namespace sim {

namespace {

constexpr std::size_t mark_digits = 16;

std::uint64_t digest_of(const std::vector<chat::Row>& rows) {
  // Without those that are each replica's own.
  const auto own = [](const chat::Row& row) { return row.key[0] == chat::rows::family_erasure; };
  std::uint64_t hash = rows.size() - static_cast<std::size_t>(std::count_if(rows.begin(), rows.end(), own));
  for (const chat::Row& row : rows) {
    if (own(row)) continue;
    hash = XXH3_64bits_withSeed(row.key.data(), row.key.size(), hash);
    if (row.value)
      hash = XXH3_64bits_withSeed(row.value->data(), row.value->size(), hash + 1);
    else
      hash += 2;
  }
  return hash;
}

}  // namespace

Observer::Observer(std::size_t replicas, std::size_t clients, std::size_t rooms, bool rooms_may_fill,
                   std::uint64_t journal_slots)
    : replicas_(replicas),
      rooms_may_fill_(rooms_may_fill),
      applied_(replicas),
      chosen_checked_(replicas),
      promised_sent_(replicas),
      rows_(journal_slots),
      messages_(clients),
      shares_(clients),
      room_log_(rooms),
      next_of_(clients, std::vector<std::uint32_t>(rooms)),
      kept_(rooms),
      room_floor_(rooms),
      erased_(replicas) {}

Observer::SlotFacts& Observer::facts(paxos::Slot slot) {
  if (slot.none() || slot.n > slots_.size() + 1'000'000) broken("I10", text(slot) + " is out of any range");
  if (slots_.size() < slot.n) slots_.resize(slot.n);
  return slots_[slot.n - 1];
}

// --- disks ---

void Observer::may_vote(std::uint8_t replica, const paxos::Incarnation& incarnation, paxos::Slot slot,
                        const paxos::Ballot& ballot) const {
  if (configurations_.empty() && ballot.configuration == 1) return;  // nothing was said about it
  const std::string what = name(replica) + " votes in " + text(slot) + " at " + to_string(ballot);
  if (ballot.configuration > configurations_.size())
    broken("C11", what + ", and nobody has decided such a configuration");
  const paxos::Configuration& of = configurations_[ballot.configuration - 1];
  if (slot < of.begins) broken("C11", what + ", but that configuration begins with " + text(of.begins));
  if (!of.voter({replica}, incarnation)) broken("C11", what + ", and has no vote in that configuration");
}

void Observer::configured(paxos::Slot slot, const paxos::Decree& decree) {
  if (configurations_.empty()) return;
  auto next = paxos::configuration_after(configurations_.back().number, slot, decree);
  if (!next) return;
  for (std::uint64_t above = slot.n; above < slots_.size(); ++above)
    if (slots_[above].chosen && slots_[above].chosen_in < next->number)
      broken("C11", text({above + 1}) + " was chosen in configuration " +
                        std::to_string(slots_[above].chosen_in) + ", which ends with " + text(slot));
  configurations_.push_back(std::move(*next));
}

void Observer::vote_durable(std::uint8_t replica, const paxos::Incarnation& incarnation, paxos::Slot slot,
                            paxos::Ballot ballot, const paxos::Decree& decree) {
  may_vote(replica, incarnation, slot, ballot);
  SlotFacts& f = facts(slot);
  auto vote = std::find_if(f.votes.begin(), f.votes.end(), [&](const Vote& v) { return v.ballot == ballot; });
  if (vote == f.votes.end()) {
    f.votes.push_back({ballot, 0, decree});
    vote = std::prev(f.votes.end());
  } else if (vote->decree != decree) {
    broken("I1", "two decrees in " + text(slot) + " at ballot " + to_string(ballot) + "; the second on " +
                     name(replica));
  }
  vote->replicas |= 1U << replica;
  const bool known = ballot.configuration <= configurations_.size();
  const std::size_t quorum = known ? configurations_[ballot.configuration - 1].quorum() : replicas_ / 2 + 1;
  if (static_cast<std::size_t>(__builtin_popcount(vote->replicas)) < quorum) return;
  if (ballot.configuration < configurations_.size() && slot >= configurations_[ballot.configuration].begins)
    broken("C11", text(slot) + " is chosen at ballot " + to_string(ballot) +
                      ", and that configuration ends with " +
                      text({configurations_[ballot.configuration].begins.n - 1}));
  f.chosen_in = std::max(f.chosen_in, ballot.configuration);
  chosen_ballot_max_ = std::max(chosen_ballot_max_, ballot);
  if (!f.chosen) {
    f.chosen = decree;
    ++chosen_count_;
  } else if (!chat::same_but_redacted(*f.chosen, decree)) {
    broken("I1",
           text(slot) + " was chosen twice, differently, the second time at ballot " + to_string(ballot));
  }
}

void Observer::claim(std::uint8_t replica, const char* how, paxos::Slot slot,
                     const paxos::Decree& decree) const {
  if (slot.none() || slot.n > slots_.size() || !slots_[slot.n - 1].chosen)
    broken("I1", name(replica) + " " + how + " " + text(slot) + ", for which no quorum has durably voted");
  if (!chat::same_but_redacted(*slots_[slot.n - 1].chosen, decree))
    broken("I1", name(replica) + " " + how + " " + text(slot) + " with another decree than the chosen one");
}

void Observer::group_durable(std::uint8_t replica, const chat::GroupWrite& group, const Disk& before) {
  paxos::Ballot promised = before.promised;
  for (const paxos::Record& record : group.records) {
    if (const auto* promise = std::get_if<paxos::PromiseRecord>(&record)) {
      if (promise->ballot <= promised)
        broken("I6",
               name(replica) + " promises " + to_string(promise->ballot) + " after " + to_string(promised));
      promised = promise->ballot;
    } else if (const auto* vote = std::get_if<paxos::VoteRecord>(&record)) {
      if (vote->ballot < promised)
        broken("I6", name(replica) + " votes in " + text(vote->slot) + " at " + to_string(vote->ballot) +
                         " after its promise of " + to_string(promised));
      promised = vote->ballot;
      const Disk::Entry* entry = before.find(vote->slot);
      if (entry != nullptr && !entry->learned && entry->ballot == vote->ballot &&
          entry->decree != vote->decree)
        broken("I6", name(replica) + " changes its vote in " + text(vote->slot));
      // An older copy's votes go with it.
      if ((old_copies_ >> replica & 1) == 0)
        vote_durable(replica, before.incarnation, vote->slot, vote->ballot, vote->decree);
    } else if (const auto* birth = std::get_if<paxos::BirthRecord>(&record)) {
      if (birth->born && birth->configuration == 1 && configurations_.empty())
        configurations_.push_back(paxos::Configuration::of_birth(birth->members));
    } else if (const auto* chosen = std::get_if<paxos::ChosenRecord>(&record)) {
      claim(replica, "stored as chosen", chosen->slot, chosen->decree);
      if (chosen->slot < before.begins)
        broken("T2",
               name(replica) + " writes a record of " + text(chosen->slot) + " again, which it has trimmed");
    } else if (const auto* trim = std::get_if<paxos::TrimRecord>(&record)) {
      // One that is at the state's own slot leaves nothing to start from.
      if (trim->first > before.state_durable)
        broken("T1", name(replica) + " trims its log up to " + text(trim->first) +
                         ", but its state on the disk stands at " + text(before.state_durable));
      if (trim->first < before.begins)
        broken("T1", name(replica) + " says that its log begins at " + text(trim->first) + ", not " +
                         text(before.begins) + " any more");
    }
  }
}

void Observer::directory_wiped(std::uint8_t replica) {
  applied_[replica] = {};
  erased_[replica].clear();
  promised_sent_[replica] = {};
  chosen_checked_[replica] = 0;
}

void Observer::directory_rolled_back(std::uint8_t replica) {
  directory_wiped(replica);
  old_copies_ |= 1U << replica;
}

void Observer::directory_restored(std::uint8_t replica, const Disk& disk) {
  old_copies_ &= ~(1U << replica);
  promised_sent_[replica] = disk.promised;
}

void Observer::started(std::uint8_t replica, const Disk& disk, const chat::Node& node) {
  const paxos::Status status = node.status();
  if (status.ballot < promised_sent_[replica] || status.ballot != disk.promised)
    broken("I6", name(replica) + " starts with promise " + to_string(status.ballot) + ", told others " +
                     to_string(promised_sent_[replica]) + ", its disk says " + to_string(disk.promised));
  applied_[replica] = node.machine().applied();
}

// --- what replicas say and do ---

void Observer::leaves(std::uint8_t replica, const paxos::Envelope& envelope, const Disk& disk, bool wiped) {
  if ((old_copies_ >> replica & 1) != 0) {
    if (std::holds_alternative<paxos::Accept>(envelope.message))
      broken("I2", name(replica) + " has an older copy of its directory, and yet leads");
    return;
  }
  if (wiped && !std::holds_alternative<paxos::Birth>(envelope.message))
    broken("I2", name(replica) + " has an emptied directory and yet takes part");
  if (const auto* accepted = std::get_if<paxos::Accepted>(&envelope.message)) {
    for (const paxos::SlotRange& range : accepted->slots)
      for (paxos::Slot slot = range.first; slot <= range.last; ++slot) {
        const auto& votes = facts(slot).votes;
        if (std::none_of(votes.begin(), votes.end(), [&](const Vote& v) {
              return v.ballot == accepted->ballot && (v.replicas >> replica & 1) != 0;
            }))
          broken("I9", name(replica) + " sends Accepted for " + text(slot) + " at " +
                           to_string(accepted->ballot) + ", but its disk has no such vote");
      }
    promised_sent_[replica] = std::max(promised_sent_[replica], accepted->ballot);
  } else if (const auto* promise = std::get_if<paxos::Promise>(&envelope.message)) {
    if (disk.promised < promise->ballot)
      broken("I9", name(replica) + " sends a Promise of " + to_string(promise->ballot) +
                       ", but its disk holds " + to_string(disk.promised));
    promised_sent_[replica] = std::max(promised_sent_[replica], promise->ballot);
    for (const paxos::PromiseEntry& entry : promise->entries)
      if (entry.chosen) claim(replica, "promises as chosen", entry.slot, entry.decree);
    promise_is_whole(replica, *promise);
  } else if (const auto* prepare = std::get_if<paxos::Prepare>(&envelope.message)) {
    if (disk.promised < prepare->ballot)
      broken("I9", name(replica) + " sends a Prepare of " + to_string(prepare->ballot) +
                       ", but its disk holds " + to_string(disk.promised));
  } else if (const auto* learn = std::get_if<paxos::LearnReply>(&envelope.message)) {
    for (const paxos::ChosenDecree& decree : learn->decrees) {
      claim(replica, "teaches", decree.slot, decree.decree);
      if (erased_[replica].contains(decree.slot) && !chat::has_redacted(decree.decree))
        broken("R1",
               name(replica) + " teaches " + text(decree.slot) + " with a text that it says is off its disk");
    }
    if (!learn->chosen_prefix.none() &&
        (learn->chosen_prefix.n > slots_.size() || !slots_[learn->chosen_prefix.n - 1].chosen))
      broken("I1", name(replica) + " says that " + text(learn->chosen_prefix) + " is chosen");
  } else if (const auto* commit = std::get_if<paxos::Commit>(&envelope.message)) {
    if (commit->chosen_prefix.n > slots_.size() ||
        (!commit->chosen_prefix.none() && !slots_[commit->chosen_prefix.n - 1].chosen))
      broken("I1", name(replica) + " commits " + text(commit->chosen_prefix) +
                       ", for which no quorum has durably voted");
  } else if (const auto* accept = std::get_if<paxos::Accept>(&envelope.message)) {
    // One decree a (slot, ballot), whoever hears it.
    SlotFacts& f = facts(accept->slot);
    const auto vote = std::find_if(f.votes.begin(), f.votes.end(),
                                   [&](const Vote& v) { return v.ballot == accept->ballot; });
    if (vote == f.votes.end())
      f.votes.push_back({accept->ballot, 0, accept->decree});
    else if (vote->decree != accept->decree)
      broken("I1", name(replica) + " proposes a second decree in " + text(accept->slot) + " at " +
                       to_string(accept->ballot));
  }
}

/// A Promise tells of votes that were cast, and leaves out none of those on the disk.
void Observer::promise_is_whole(std::uint8_t replica, const paxos::Promise& promise) const {
  const auto durable = [&](const Vote& v) { return (v.replicas >> replica & 1) != 0; };
  auto entry = promise.entries.begin();
  for (paxos::Slot slot = std::max(promise.from, promise.chosen_prefix + 1); slot.n <= slots_.size();
       ++slot) {
    if (!promise.next.none() && slot >= promise.next) break;
    while (entry != promise.entries.end() && entry->slot < slot) ++entry;
    const bool told = entry != promise.entries.end() && entry->slot == slot;
    if (told && entry->chosen) continue;
    const auto& votes = slots_[slot.n - 1].votes;
    if (told && std::none_of(votes.begin(), votes.end(),
                             [&](const Vote& v) { return durable(v) && v.ballot == entry->ballot; }))
      broken("I9", name(replica) + " promises a vote in " + text(slot) + " at " + to_string(entry->ballot) +
                       ", which is not on its disk");
    for (const Vote& v : votes)
      if (durable(v) && v.ballot < promise.ballot && v.ballot.configuration == promise.ballot.configuration &&
          (!told || entry->ballot < v.ballot))
        broken("I6", name(replica) + " promises " + to_string(promise.ballot) +
                         " and keeps quiet about its vote in " + text(slot) + " at " + to_string(v.ballot));
  }
}

void Observer::applied(std::uint8_t replica, chat::StateWrite write, const Disk& disk) {
  if (write.slot != applied_[replica] + 1)
    broken("I5", name(replica) + " applies " + text(write.slot) + " after " + text(applied_[replica]));
  applied_[replica] = write.slot;
  const Disk::Entry* entry = disk.find(write.slot);
  if (entry == nullptr)
    broken("I9", name(replica) + " applies " + text(write.slot) + ", which is not on its disk");
  claim(replica, "applies", write.slot, entry->decree);
  const std::uint64_t digest = digest_of(write.rows);
  if (write.slot.n <= digests_.size()) {
    if (digests_[write.slot.n - 1] != digest &&
        !(chat::has_redacted(entry->decree) && same_rows(write.rows, write.slot)))
      broken("I7", name(replica) + " has other rows, or another hash, at " + text(write.slot) +
                       " than the first to apply it");
    return;
  }
  if (write.slot.n != digests_.size() + 1)
    broken("I5", text(write.slot) + " is applied before its predecessor");
  digests_.push_back(digest);
  configured(write.slot, entry->decree);
  messages_applied(write.slot, write.rows);
  kept_applied(write.slot, write.rows, entry->decree);
  rows_.append(std::move(write.rows));
}

bool Observer::same_rows(const std::vector<chat::Row>& rows, paxos::Slot slot) const {
  const auto& others = rows_.of(slot);
  auto other = others.begin();
  for (const chat::Row& row : rows) {
    if (row.key[0] == chat::rows::family_erasure) continue;
    while (other != others.end() && other->key[0] == chat::rows::family_erasure) ++other;
    if (other == others.end() || other->key != row.key) return false;
    const bool run = row.key[0] == chat::rows::family_message;
    if (!run && *other++ != row) return false;
    if (!run) continue;
    // One message after the other: all but the texts, and a text or none.
    const auto& whole = *other++;
    paxos::ByteReader a{std::string_view(*row.value)}, b{std::string_view(*whole.value)};
    const auto fixed = [](paxos::ByteReader& r) {
      return std::tuple(r.fixed<std::uint8_t>(), r.fixed<std::uint64_t>(), r.fixed<std::uint64_t>());
    };
    if (fixed(a) != fixed(b)) return false;
    const std::uint64_t count = a.varint();
    if (count != b.varint()) return false;
    const auto marks = [](paxos::ByteReader& r) {
      return std::tuple(r.varint(), r.varint(), r.varint(), r.varint(), r.sized_view(SIZE_MAX));
    };
    const bool stamped = row.value->at(0) == chat::rows::stamped_run_version;
    if (stamped) return false;  // nobody here says when it was written
    for (std::uint64_t i = 0; i < count; ++i) {
      if (marks(a) != marks(b)) return false;
      const std::string_view mine = a.sized_view(SIZE_MAX), theirs = b.sized_view(SIZE_MAX);
      if (mine != theirs && !mine.empty() && !theirs.empty()) return false;
    }
    if (!a.done() || !b.done()) return false;
  }
  while (other != others.end() && other->key[0] == chat::rows::family_erasure) ++other;
  return other == others.end();
}

void Observer::redaction_told(std::uint32_t room, std::uint64_t seq, paxos::Slot slot) {
  redacted_.emplace_back(room, seq);
  acknowledged_slot_ = std::max(acknowledged_slot_, slot);
}

void Observer::erased(std::uint8_t replica, const Disk& disk, const chat::Erasure& erasure) {
  for (const paxos::Slot slot : erasure.slots) {
    const Disk::Entry* entry = disk.find(slot);
    if (entry == nullptr && slot < disk.begins) continue;  // no record is left of it
    if (entry == nullptr || !chat::has_redacted(entry->decree))
      broken("R1", name(replica) + " says that a text is off its disk, and its record of " + text(slot) +
                       " has it");
    erased_[replica].insert(slot);
  }
}

void Observer::nothing_left(std::uint8_t replica, const Disk& disk, const chat::Node& node) {
  std::vector<std::string> marks;
  for (const auto& [room, seq] : redacted_) {
    const std::uint64_t id = room_log_[room].at(seq - 1);
    marks.push_back(mark(static_cast<std::uint32_t>(id >> 32), static_cast<std::uint32_t>(id)));
  }
  const auto look = [&](std::string_view bytes, const std::string& where) {
    for (std::size_t i = 0; i < marks.size(); ++i)
      if (bytes.find(marks[i]) != std::string_view::npos)
        broken("R1", name(replica) + " has the text of message " + std::to_string(redacted_[i].second) +
                         " of room " + std::to_string(redacted_[i].first) + ", which was redacted, in " +
                         where);
  };
  if (marks.empty()) return;
  for (std::uint64_t n = 1; n <= disk.log.size(); ++n)
    if (disk.log[n - 1].present)
      look(disk.log[n - 1].decree.value.view(), "its log, " + text(paxos::Slot{n}));
  const VersionedRows::View all(rows_, disk.state_written);
  const OwnRows state(all, disk);
  state.scan(chat::rows::family_begin(chat::rows::family_message),
             chat::rows::family_end(chat::rows::family_message),
             [&](std::string_view, std::string_view value) {
               look(value, "its state");
               return true;
             });
  for (const auto& [room, seq] : redacted_) {
    const auto page = chat::read_history(state, room_name(room), seq, 1);
    if (page && page->first > seq) continue;  // its room keeps it no more
    if (!page || page->messages.size() != 1 || page->messages[0].seq != seq ||
        !page->messages[0].text.empty() || !page->messages[0].redacted ||
        page->messages[0].redacted->by != "somebody")
      broken("R1", name(replica) + " does not show message " + std::to_string(seq) + " of room " +
                       std::to_string(room) + " as redacted");
  }
  if (node.machine().hash() != chat::read_hash(state, node.machine().applied()))
    broken("R1", name(replica) + " has another hash than its state");
}

/// Reads the marks out of the message rows, without the machine's help.
void Observer::messages_applied(paxos::Slot slot, const std::vector<chat::Row>& rows) {
  for (const chat::Row& row : rows) {
    if (row.key.empty() || row.key[0] != 'm' || !row.value) continue;
    const std::size_t room_size = static_cast<unsigned char>(row.key.at(1));
    const std::string room_text = row.key.substr(2, room_size);
    std::uint32_t room = 0;
    while (room < room_log_.size() && room_name(room) != room_text) ++room;
    if (room == room_log_.size()) broken("I3", "a message stands in the unknown room " + room_text);
    if (const std::uint64_t number =
            paxos::ByteReader(std::string_view(row.key).substr(row.key.size() - 8)).key64();
        number != room_log_[room].size() + 1)
      broken("I3", "the message after number " + std::to_string(room_log_[room].size()) + " of room " +
                       std::to_string(room) + " has number " + std::to_string(number) + ", in " + text(slot));
    for (std::size_t at = row.value->find(marker); at != std::string::npos;
         at = row.value->find(marker, at + marker.size())) {
      const std::uint64_t id = std::stoull(row.value->substr(at + marker.size(), mark_digits), nullptr, 16);
      const auto client = static_cast<std::uint32_t>(id >> 32);
      const auto n = static_cast<std::uint32_t>(id);
      if (client >= messages_.size() || n >= messages_[client].size())
        broken("I3", "a message that nobody posted stands in " + text(slot));
      Posted& message = messages_[client][n];
      const std::string who = "message " + std::to_string(n) + " of client " + std::to_string(client);
      if (message.refused) broken("I2", who + " was refused, but runs in " + text(slot));
      if (!message.slot.none())
        broken("I3", who + " ran in " + text(message.slot) + " and again in " + text(slot));
      if (message.room != room) broken("I3", who + " stands in another room");
      if (message.refused) broken("I3", who + " was refused, and runs in " + text(slot));
      if (slot <= message.after)
        broken("I4", who + " was posted after something in " + text(message.after) +
                         " was acknowledged, but stands in " + text(slot));
      if (n < next_of_[client][room]) broken("I3", who + " ran after a later one of its room");
      next_of_[client][room] = n + 1;
      message.slot = slot;
      room_log_[room].push_back(id);
      message.seq = room_log_[room].size();
      if (!message.told_slot.none() && (message.told_slot != slot || message.told_seq != message.seq))
        broken("I2",
               who + " was acknowledged at " + text(message.told_slot) + ", but stands at " + text(slot));
    }
  }
}

void Observer::misapplied(std::uint8_t replica, paxos::Slot slot, const Disk& disk) {
  if (slot != applied_[replica] + 1)
    broken("I5", name(replica) + " applies " + text(slot) + " after " + text(applied_[replica]));
  applied_[replica] = slot;
  const Disk::Entry* entry = disk.find(slot);
  if (entry == nullptr) broken("I9", name(replica) + " applies " + text(slot) + ", which is not on its disk");
  claim(replica, "applies", slot, entry->decree);
}

void Observer::after_turn(std::uint8_t replica, const chat::Node& node, bool misapplies) {
  const chat::Desk::Figures figures = node.desk_figures();
  if (figures.waiting_receipts > 100'000 || figures.queued_commands > 65'536 || figures.reads > 65'536)
    broken("I10", name(replica) + "'s front desk grows without bound");
  if (const auto why = node.diverged(); why && !misapplies) broken("I7", name(replica) + ": " + *why);
}

// --- clients ---

std::string Observer::mark(std::uint32_t client, std::uint32_t n) const {
  static constexpr char digits[] = "0123456789abcdef";
  const std::uint64_t id = std::uint64_t{client} << 32 | n;
  std::string out(marker);
  for (int shift = 60; shift >= 0; shift -= 4) out.push_back(digits[id >> shift & 15]);
  return out;
}

void Observer::posted(std::uint32_t client, std::uint32_t room) {
  messages_[client].push_back({.room = room, .after = acknowledged_slot_});
  ++posted_count_;
}

void Observer::taken_back(std::uint32_t client, std::size_t count) {
  auto& messages = messages_[client];
  for (std::size_t n = count; n < messages.size(); ++n)
    if (!messages[n].slot.none())
      broken("I2", "message " + std::to_string(n) + " of client " + std::to_string(client) + " runs in " +
                       text(messages[n].slot) + ", but its client lost it from its journal");
  if (count >= messages.size()) return;
  posted_count_ -= messages.size() - count;
  messages.resize(count);
}

void Observer::delivered(std::uint32_t client, std::uint64_t ticket, const std::string& refused,
                         const chat::Message& message) {
  const std::string who = "message " + std::to_string(ticket - 1) + " of client " + std::to_string(client);
  Posted& known = messages_.at(client).at(ticket - 1);
  if (!refused.empty()) {
    // Its refusal may have been forgotten by the log before it came: then the client knows that it ran, and
    // stands nowhere.
    const bool full = rooms_may_fill_ && (refused == chat::to_string(chat::Verdict::rooms_full) ||
                                          refused == "the log refused it earlier; its reason is gone");
    // Nobody can tell any more; then it isn't called delivered.
    const bool forgotten = refused == client::Outbox::forgotten_meanwhile;
    if (forgotten) {
      if (kept_[known.room].first == 1)
        broken("K4", who + " is given back for what its room has forgotten: nothing");
    }
    if (forgotten || refused == client::Outbox::redacted_meanwhile) {
      known.untold = true;
      return;
    }
    if (!full && !shares_[client]) broken("I2", who + " was refused: " + refused);
    if (!known.slot.none())
      broken("I2", who + " was refused (" + refused + "), but stands in " + text(known.slot));
    known.refused = true;
    return;
  }
  if (known.slot.none()) {
    // Who applied it may have died before its rows were seen; then the chosen decree must hold it.
    const auto n = message.slot.n;
    if (n == 0 || n > slots_.size() || !slots_[n - 1].chosen ||
        slots_[n - 1].chosen->value.view().find(mark(client, static_cast<std::uint32_t>(ticket - 1))) ==
            std::string_view::npos)
      broken("I2", who + " was acknowledged at " + text(message.slot) + ", whose chosen decree lacks it");
    known.told_slot = message.slot;
    known.told_seq = message.seq;
  } else if (known.slot != message.slot || known.seq != message.seq)
    broken("I2", who + " was acknowledged at " + text(message.slot) + ", number " +
                     std::to_string(message.seq) + ", but stands at " + text(known.slot) + ", number " +
                     std::to_string(known.seq));
  if (!known.acknowledged) ++acknowledged_;
  known.acknowledged = true;
  acknowledged_slot_ = std::max(acknowledged_slot_, message.slot);
  room_floor_[known.room] = std::max(room_floor_[known.room], message.seq);
}

void Observer::read_served(std::uint32_t room, std::uint64_t floor, bool linearizable,
                           const chat::HistoryPage& page, std::size_t redacted) {
  if (linearizable && page.head < floor)
    broken("I4", "a read of room " + std::to_string(room) + " shows " + std::to_string(page.head) +
                     " messages, but " + std::to_string(floor) + " were acknowledged before it started");
  forgotten_told(room, page.first);
  std::uint64_t last = 0;
  for (const chat::Message& message : page.messages) {
    if (last != 0 && message.seq != last + 1) broken("I4", "a page of history has a gap");
    last = message.seq;
    if (message.seq > room_log_[room].size()) {
      // Pushed by one that died before its rows were seen: then the chosen decree must hold it.
      const auto n = message.slot.n;
      if (n == 0 || n > slots_.size() || !slots_[n - 1].chosen ||
          slots_[n - 1].chosen->value.view().find(message.text) == std::string_view::npos)
        broken("I4", "history shows a message that is not in the log");
      continue;
    }
    if (message.seq == 0) broken("I4", "history shows a message without a number");
    const std::uint64_t id = room_log_[room][message.seq - 1];
    if ((message.redacted || message.text == chat::redacted_text) &&
        redaction_asked_.contains({room, message.seq}))
      continue;
    if (linearizable &&
        std::find(redacted_.begin(), redacted_.begin() + static_cast<std::ptrdiff_t>(redacted),
                  std::pair(room, message.seq)) != redacted_.begin() + static_cast<std::ptrdiff_t>(redacted))
      broken("R2", "a read shows the text of message " + std::to_string(message.seq) +
                       ", which was redacted before");
    if (message.text.find(mark(static_cast<std::uint32_t>(id >> 32), static_cast<std::uint32_t>(id))) ==
        std::string::npos)
      broken("I4", "history shows another message than the log at number " + std::to_string(message.seq));
  }
  if (page.next == 0 && !page.messages.empty() && last != page.head)
    broken("I4", "a page of history says that it ends at the room's head, but does not");
  if (linearizable) room_floor_[room] = std::max(room_floor_[room], page.head);
}

// --- the end ---

void Observer::all_equal(const std::vector<paxos::Slot>& applied) const {
  for (std::size_t i = 0; i < applied.size(); ++i)
    if (applied[i].n != digests_.size())
      broken("I8", "replica " + std::to_string(i) + " stands at " + text(applied[i]) + " of " +
                       std::to_string(digests_.size()));
  for (std::size_t client = 0; client < messages_.size(); ++client)
    for (std::size_t n = 0; n < messages_[client].size(); ++n) {
      const Posted& message = messages_[client][n];
      if (message.refused || (message.untold && !message.acknowledged)) continue;
      if (!message.acknowledged || message.slot.none())
        broken("I8", "message " + std::to_string(n) + " of client " + std::to_string(client) +
                         " was never acknowledged");
    }
}

}  // namespace sim
