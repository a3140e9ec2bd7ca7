#include "chat/flight.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

namespace chat {

namespace {

/// Phase 1: from a slot on, so it covers more than it tells about.
bool phase_1(FlightKind kind) {
  return kind >= FlightKind::prepare_sent && kind <= FlightKind::nack_received;
}
tl::unexpected<std::string> bad(std::string why) { return tl::unexpected<std::string>(std::move(why)); }
bool of_role(FlightKind kind) { return kind <= FlightKind::diverged; }
/// Something happened to this very slot.
bool of_slot(FlightKind kind) {
  return kind >= FlightKind::proposed && kind < FlightKind::commands_came && kind != FlightKind::synced;
}

}  // namespace

std::string to_string(FlightKind kind) {
  switch (kind) {
    case FlightKind::boot:
      return "started";
    case FlightKind::candidate:
      return "candidate";
    case FlightKind::leader:
      return "leader";
    case FlightKind::deposed:
      return "deposed";
    case FlightKind::candidacy_ended:
      return "candidacy ended";
    case FlightKind::taking_over:
      return "takes over";
    case FlightKind::handing_over:
      return "hands over";
    case FlightKind::diverged:
      return "diverged";
    case FlightKind::prepare_sent:
      return "prepare sent";
    case FlightKind::prepare_received:
      return "prepare received";
    case FlightKind::promise_sent:
      return "promise sent";
    case FlightKind::promise_received:
      return "promise received";
    case FlightKind::promise_named:
      return "promise named a vote";
    case FlightKind::nack_sent:
      return "nack sent";
    case FlightKind::nack_received:
      return "nack received";
    case FlightKind::proposed:
      return "proposed";
    case FlightKind::accept_repeated:
      return "accept repeated";
    case FlightKind::accept_received:
      return "accept received";
    case FlightKind::voted:
      return "voted";
    case FlightKind::vote_durable:
      return "vote durable";
    case FlightKind::accepted_repeated:
      return "accepted repeated";
    case FlightKind::accepted_received:
      return "accepted received";
    case FlightKind::synced:
      return "synced";
    case FlightKind::chosen:
      return "chosen";
    case FlightKind::told_chosen:
      return "told chosen";
    case FlightKind::learned:
      return "learned";
    case FlightKind::learn_asked:
      return "asked for it";
    case FlightKind::learn_received:
      return "decree received";
    case FlightKind::learn_sent:
      return "decree sent";
    case FlightKind::applied:
      return "applied";
    case FlightKind::skipped:
      return "skipped";
    case FlightKind::noop_filled:
      return "no-op filled in";
    case FlightKind::commands_came:
      return "commands came";
  }
  return "kind " + std::to_string(static_cast<unsigned>(kind));
}

FlightOfSlot flight_of_slot(std::span<const FlightEntry> entries, paxos::Slot slot, std::size_t max) {
  FlightOfSlot out;
  std::set<std::uint64_t> ballots;
  std::size_t first = entries.size();
  std::size_t last = 0;
  std::size_t last_proposed = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const FlightEntry& e = entries[i];
    if (!of_slot(e.kind) || !e.covers(slot)) continue;
    first = std::min(first, i);
    last = i;
    if (e.kind == FlightKind::proposed) last_proposed = i;
    // What others say of the slot names a ballot of theirs, not of a vote.
    if (e.ballot != 0) ballots.insert(e.ballot);
  }
  // A slot that nothing happened to yet: only where a phase 1 would have found it.
  const bool touched = first < entries.size();
  if (!touched) return out;
  const std::int64_t until = entries[last].ns;
  std::optional<FlightEntry> commands;
  bool proposed = false;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const FlightEntry& e = entries[i];
    bool take = false;
    if (of_slot(e.kind)) {
      take = e.covers(slot);
      if (take && e.kind == FlightKind::proposed && !proposed) {
        proposed = true;
        if (commands && e.detail == 0) out.entries.push_back(*commands);
      }
    } else if (phase_1(e.kind)) {
      const bool meanwhile = i >= first && e.ns <= until;
      take = e.slot == 0 ? meanwhile : e.covers(slot) && (ballots.contains(e.ballot) || meanwhile);
    } else if (e.kind == FlightKind::boot) {
      take = i >= first;
    } else if (of_role(e.kind)) {
      take = ballots.contains(e.ballot) || (i >= first && e.ns <= until);
    } else if (e.kind == FlightKind::commands_came) {
      if (!proposed && i < std::max(last_proposed, first)) commands = e;
    }
    if (!take) continue;
    out.entries.push_back(e);
    if (e.kind == FlightKind::voted) {
      // The first sync that reached its group. Groups in flight are far fewer than 32,768.
      for (std::size_t s = i + 1; s < entries.size(); ++s) {
        if (entries[s].kind == FlightKind::boot) break;
        if (entries[s].kind != FlightKind::synced) continue;
        const auto ahead = static_cast<std::uint16_t>(static_cast<std::uint16_t>(entries[s].slot) - e.detail);
        if (ahead >= 0x8000) continue;
        FlightEntry durable = e;
        durable.kind = FlightKind::vote_durable;
        durable.slot = slot.n;
        durable.count = 1;
        durable.ns = entries[s].ns;
        durable.detail = 0;
        out.entries.push_back(durable);
        break;
      }
    }
  }
  // What was noted later about an earlier moment (syncs) moves to its place; the rest keeps its order.
  std::vector<std::pair<std::int64_t, std::size_t>> order;
  for (std::size_t i = 0; i < out.entries.size(); ++i) order.emplace_back(out.entries[i].ns, i);
  std::sort(order.begin(), order.end());
  std::vector<FlightEntry> sorted;
  for (const auto& [ns, at] : order) sorted.push_back(out.entries[at]);
  out.entries = std::move(sorted);
  if (out.entries.size() > max) {
    // How it began and how it ended tell most; repeats lie in between.
    out.left_out = out.entries.size() - max;
    const auto at = out.entries.begin() + static_cast<std::ptrdiff_t>(max - max / 4);
    out.entries.erase(at, at + static_cast<std::ptrdiff_t>(out.left_out));
  }
  return out;
}

tl::expected<FlightDump, std::string> parse_flight_dump(std::span<const std::byte> bytes) {
  static_assert(std::endian::native == std::endian::little);
  FlightDump out;
  if (bytes.size() < sizeof out.head) return bad("too short for a flight recorder's dump");
  std::memcpy(&out.head, bytes.data(), sizeof out.head);
  const FlightDumpHead& h = out.head;
  if (h.magic != FlightDumpHead::magic_value) return bad("no dump of paxosd's flight recorder");
  if (h.entry_bytes != sizeof(FlightEntry) || h.capacity == 0 || h.capacity > flight_entries_max ||
      !std::has_single_bit(h.capacity))
    return bad("a dump of another version of paxosd");
  const auto body = bytes.subspan(sizeof h);
  const std::uint64_t kept = std::min<std::uint64_t>(h.written, h.capacity);
  if (body.size() != kept * sizeof(FlightEntry))
    return bad("cut off: " + std::to_string(body.size() / sizeof(FlightEntry)) + " of " +
               std::to_string(kept) + " records are there; was the disk full?");
  std::vector<FlightEntry> ring(kept);
  if (kept > 0) std::memcpy(ring.data(), body.data(), body.size());
  const auto oldest = static_cast<std::ptrdiff_t>(h.written > h.capacity ? h.written % h.capacity : 0);
  std::rotate(ring.begin(), ring.begin() + oldest, ring.end());
  out.entries = std::move(ring);
  return out;
}

}  // namespace chat
