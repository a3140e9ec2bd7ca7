#include "tests/sim/conduct.h"

#include <algorithm>
#include <utility>

#include "chat/command.h"
#include "tests/sim/broken.h"

namespace sim {

namespace {

constexpr std::size_t kept_max = 512;
// Of the meta row: docs/ROWS.md.
constexpr std::size_t meta_clock = 26;

template <class Map>
void forget_oldest(Map& map) {
  while (map.size() > kept_max) {
    auto oldest = map.begin();
    for (auto at = map.begin(); at != map.end(); ++at) {
      const auto when = [](const auto& of) {
        if constexpr (requires { of.second.said; })
          return of.second.said;
        else
          return of.second.heard;
      };
      if (when(*at) < when(*oldest)) oldest = at;
    }
    map.erase(oldest);
  }
}

}  // namespace

void Conduct::started(std::uint8_t replica, const Disk& disk) {
  of_[replica] = Own{};
  of_[replica].promised = disk.promised;
}

// --- C3: reads; C9: hand-over ---

void Conduct::hears(std::uint8_t replica, std::uint8_t from, const paxos::PeerMessage& message,
                    const chat::Node& node, paxos::Slot acknowledged) {
  Own& own = of_[replica];
  own.quorum = node.configuration().members.empty() ? replicas_ / 2 + 1 : node.configuration().quorum();
  if (const auto* request = std::get_if<paxos::ReadRequest>(&message)) {
    own.requests.try_emplace({from, request->id}, Request{++order_, acknowledged});
    forget_oldest(own.requests);
  } else if (const auto* confirmed = std::get_if<paxos::ReadConfirmed>(&message)) {
    if (const auto round = own.rounds.find(confirmed->nonce); round != own.rounds.end())
      round->second.confirmed |= 1U << from;
  } else if (const auto* over = std::get_if<paxos::HandOver>(&message)) {
    (over->ballot == node.status().leader_ballot ? own.good_hand_over : own.stale_hand_over) = true;
  }
}

void Conduct::says(std::uint8_t replica, const paxos::Envelope& envelope, const Disk& disk) {
  Own& own = of_[replica];
  if (const auto* confirm = std::get_if<paxos::ReadConfirm>(&envelope.message)) {
    if (own.rounds.try_emplace(confirm->nonce, Round{++order_, 1U << replica}).second)
      forget_oldest(own.rounds);
  } else if (const auto* reply = std::get_if<paxos::ReadReply>(&envelope.message)) {
    const auto request = own.requests.find({envelope.to->n, reply->id});
    if (request == own.requests.end()) return;  // long ago
    if (reply->index < request->second.acknowledged)
      broken("C3", name(replica) + " answers a read with " + text(reply->index) + ", but " +
                       text(request->second.acknowledged) + " was acknowledged before it was asked");
    const auto good = [&](const auto& known) {
      return known.second.said > request->second.heard &&
             static_cast<std::size_t>(__builtin_popcount(known.second.confirmed)) >= own.quorum;
    };
    if (std::none_of(own.rounds.begin(), own.rounds.end(), good))
      broken("C3", name(replica) + " answers a read that no quorum confirmed after it came");
  } else if (const auto* birth = std::get_if<paxos::Birth>(&envelope.message)) {
    if (birth->synced && birth->configuration == 1 && (!disk.birth || disk.birth->members != birth->members))
      broken("C5", name(replica) + " announces incarnations that are not on its disk");
  }
}

// --- C1, C2, C4: proposals; C6: promises ---

void Conduct::turn(std::uint8_t replica, const chat::Node& node, const chat::NodeOutput& out,
                   const Disk& disk) {
  Own& own = of_[replica];
  if (node.is_leader()) decided_elsewhere(own, out, disk);
  // What it takes from then on, and maybe proposes much later, it judges by what it has applied.
  if (!std::exchange(own.leads, node.is_leader())) own.applied = own.applied_before;
  paxos::Ballot promised = own.promised;
  for (const chat::GroupWrite& group : out.groups) {
    for (const paxos::Record& record : group.records)
      if (const auto* vote = std::get_if<paxos::VoteRecord>(&record)) {
        promised = std::max(promised, vote->ballot);
        votes(replica, own, node, *vote);
        voted_max_ = std::max(voted_max_, vote->slot);
      } else if (const auto* promise = std::get_if<paxos::PromiseRecord>(&record)) {
        promised = std::max(promised, promise->ballot);
      }
    for (const paxos::Envelope& envelope : group.send_after_sync)
      if (const auto* page = std::get_if<paxos::Promise>(&envelope.message);
          page != nullptr && page->ballot < own.promised)
        broken("C6", name(replica) + " serves a page of its promise of " + to_string(page->ballot) +
                         ", but has promised " + to_string(own.promised));
  }
  own.promised = promised;
  if (!node.is_leader()) own.elsewhere.clear();
  const auto redoing = out.log_reads.empty() ? std::nullopt : node.status().redoing;
  const paxos::Slot whole = std::max(node.machine().applied(), redoing ? redoing->last : paxos::Slot{});
  for (const paxos::LogReadWish& wish : out.log_reads)
    if (wish.last > whole)
      broken("C10", name(replica) + " reads " + text(wish.last) +
                        " from its disk for another, but has applied only " + text(node.machine().applied()) +
                        ": what stands there may be an older vote");
  if (own.noop_due)
    broken("C2", name(replica) + " leaves slots empty, and proposes nothing in " + text(*own.noop_due) +
                     " above them");
  if (own.stale_hand_over && !own.good_hand_over)
    for (const paxos::Event& event : out.events)
      if (event.name == "take_over" && event.text.find("hands over") != std::string::npos)
        broken("C9", name(replica) + " takes over by a hand-over of a ballot that it does not follow");
  own.stale_hand_over = own.good_hand_over = false;
  own.applied_before = node.machine().applied();
}

void Conduct::skips(std::uint8_t replica, const chat::Node& node, const paxos::SkipResult& result) {
  if (!result.refused.empty()) return;
  Own& own = of_[replica];
  for (const paxos::Slot slot : result.slots) own.skipped[slot] = node.status().ballot;
  own.noop_due = result.slots.back() + 1;
}

void Conduct::votes(std::uint8_t replica, Own& own, const chat::Node& node, const paxos::VoteRecord& vote) {
  if (vote.ballot.replica.n != replica) return;
  if (vote.ballot != own.ballot) {
    own.ballot = vote.ballot;
    own.adopted = voted_max_;
    own.proposed.clear();
    own.last.clear();
    std::erase_if(own.skipped, [&](const auto& skipped) { return skipped.second != vote.ballot; });
  }
  if (own.noop_due == vote.slot) own.noop_due.reset();
  if (const auto skipped = own.skipped.find(vote.slot);
      skipped != own.skipped.end() && skipped->second == vote.ballot)
    broken("C2", name(replica) + " proposes in " + text(vote.slot) + " at " + to_string(vote.ballot) +
                     ", which it was told to leave empty");
  if (vote.slot <= own.adopted) {
    proposes_in_order(replica, own, node, vote);
    return;
  }
  // Applied by the end of the turn: at most more than what was applied when it proposed.
  if (vote.slot.n > node.machine().applied().n + window_)
    broken("C1", name(replica) + " proposes " + text(vote.slot) + ", but has applied only " +
                     text(node.machine().applied()) + " and has a window of " + std::to_string(window_));
  proposes_in_order(replica, own, node, vote);
}

Conduct::CommandKey Conduct::key_of(const chat::CommandView& command) {
  return {command.session, command.seq,
          std::hash<std::string_view>{}({reinterpret_cast<const char*>(command.operation_bytes.data()),
                                         command.operation_bytes.size()})};
}

/// An earlier leader's slot may hold what waits or is under way here, and there it came early and changed
/// nothing. So it is under way no more, as far as the desk knows, its sender says it again, and it stands in
/// the log a third time.
void Conduct::decided_elsewhere(Own& own, const chat::NodeOutput& out, const Disk& disk) {
  for (const chat::StateWrite& write : out.state) {
    const Disk::Entry* entry = disk.find(write.slot);
    if (entry == nullptr) continue;
    const auto batch = chat::view_batch(entry->decree);
    if (!batch) continue;
    for (const chat::CommandView& command : batch->commands) {
      CommandKey key = key_of(command);
      const auto at = own.proposed.find(key);
      if (at == own.proposed.end() || at->second != write.slot) own.elsewhere.insert(std::move(key));
    }
  }
}

/// While a command is under way, its leader does not propose it again; and each session's in order. Of
/// sessions only that it knew before it led: what an unknown one sends is not for the desk to judge. What
/// phase 1 found may stand anywhere.
void Conduct::proposes_in_order(std::uint8_t replica, Own& own, const chat::Node& node,
                                const paxos::VoteRecord& vote) {
  const auto batch = chat::view_batch(vote.decree);
  if (!batch) return;
  for (const chat::CommandView& command : batch->commands) {
    if (command.session.none()) continue;
    std::uint64_t& last = own.last[command.session];
    const std::uint64_t before = std::exchange(last, std::max(last, command.seq));
    const auto known = node.machine().session(command.session);
    // What has run meanwhile, by another slot, may be said again.
    if (vote.slot <= own.adopted || (known && command.seq <= known->last_seq)) continue;
    const std::string what =
        "seq " + std::to_string(command.seq) + " of session " + chat::to_string(command.session);
    const auto [at, fresh] = own.proposed.try_emplace(key_of(command), vote.slot);
    if (!fresh && at->second > node.machine().applied() && !own.elsewhere.contains(at->first))
      broken("C4", name(replica) + " proposes " + what + " in " + text(vote.slot) +
                       ", which is under way in " + text(at->second));
    at->second = vote.slot;
    if (known && command.session.slot <= own.applied && command.seq > std::max(before, known->last_seq) + 1)
      broken("C4", name(replica) + " proposes " + what + " in " + text(vote.slot) + " after seq " +
                       std::to_string(std::max(before, known->last_seq)));
  }
}

// --- C5: birth ---

void Conduct::announced(std::uint8_t replica, const paxos::BirthRecord& birth, std::uint8_t other,
                        const Disk& disk) const {
  if (other != replica && (!disk.birth || disk.birth->members != birth.members))
    broken("C5", name(replica) + " is born, but the disk of " + name(other) +
                     " does not hold the same incarnations");
}

// --- C7: the session clock ---

void Conduct::applied(paxos::Slot slot, const std::vector<chat::Row>& rows) {
  if (slot <= clock_of_) return;
  const auto meta =
      std::find_if(rows.rbegin(), rows.rend(), [](const chat::Row& row) { return row.key == "a"; });
  if (meta == rows.rend() || !meta->value || meta->value->size() < meta_clock + 8)
    broken("C7", "the rows of " + text(slot) + " do not say what the session clock shows");
  std::uint64_t clock = 0;
  for (std::size_t i = 8; i-- > 0;)
    clock = clock << 8 | static_cast<unsigned char>((*meta->value)[meta_clock + i]);
  const auto now = static_cast<std::int64_t>(clock);
  if (now < clock_ms_ || (clock_ms_ != 0 && now - clock_ms_ > 60'000))
    broken("C7", "the session clock goes from " + std::to_string(clock_ms_) + " to " + std::to_string(now) +
                     " ms in " + text(slot));
  clock_ms_ = now;
  clock_of_ = slot;
}

// --- C8: datagrams ---

void Conduct::taken(std::uint8_t replica, std::span<const std::byte> datagram) {
  const auto header = net::parse_header(datagram, 255);
  if (!header) broken("C8", name(replica) + " takes a datagram without a header");
  Own& own = of_[replica];
  const net::Identity& sender = header->sender;
  const std::uint8_t to = header->way.destination;
  if (to != net::any_destination && to != net::all_replicas && to != replica)
    broken("C8", name(replica) + " takes a datagram for " + name(to));
  std::uint64_t identity = sender.sender;
  const auto mix = [&](std::uint64_t with) {
    identity = (identity ^ with) * 0x9e3779b97f4a7c15ULL;
    identity ^= identity >> 29;
  };
  for (const std::uint8_t byte : sender.incarnation.bytes) mix(byte);
  mix(sender.boot);
  mix(sender.life);
  mix(header->counter);
  if (!own.datagrams.insert(identity).second)
    broken("C8", name(replica) + " takes a datagram of " + name(sender.sender) + " a second time");
  if (sender.is_client()) return;
  std::uint64_t& newest = own.boots[{sender.sender, sender.incarnation}];
  if (sender.boot < newest)
    broken("C8", name(replica) + " takes a datagram of boot " + std::to_string(sender.boot) + " of " +
                     name(sender.sender) + ", after one of boot " + std::to_string(newest));
  newest = sender.boot;
}

}  // namespace sim
