#include <algorithm>
#include <chrono>
#include <utility>

#include "daemon/host.h"
#include "daemon/refused.h"

/// What operators ask of the disk: the handler looks at what the loop knows, and a function without a Host
/// reads the rest on a reader's thread.
namespace paxosd {

namespace {

using Reader = storage::Storage::Reader;

constexpr std::size_t log_page_bytes = 128 * 1024;

/// The entries of [first, last] and their rows of the state, read back and checked; `next` where a page was
/// not enough.
chat::ScrubReply scrub(const Reader& reader, paxos::Slot first, paxos::Slot last) {
  chat::ScrubReply reply;
  if (first == paxos::Slot{1})
    if (const auto own = reader.log_own(); !own) {
      reply.damage = own.error();
      return reply;
    }
  auto entries = reader.log(first, last, log_page_bytes * 16);
  if (!entries) {
    reply.damage = entries.error();
    return reply;
  }
  reply.records = entries->size();
  for (const paxos::LogEntry& entry : *entries)
    if (entry.chosen && !chat::read_hash(reader.rows, entry.slot) && reply.damage.empty()) {
      const auto mark = chat::read_applied(reader.rows);
      if (!mark)
        reply.damage = mark.error();
      else if (entry.slot <= mark->slot)
        reply.damage = "the hash of slot " + std::to_string(entry.slot.n) + " is missing from the state";
    }
  if (!entries->empty() && entries->back().slot < last) reply.next = entries->back().slot + 1;
  return reply;
}

/// What the loop knows to be chosen: all up to `up_to`, and above a hole these votes. The disk may still hold
/// an older vote than the decree that is known chosen.
struct Chosen {
  paxos::Slot up_to;
  std::vector<std::pair<paxos::Slot, paxos::Ballot>> ahead;  ///< ascending

  [[nodiscard]] bool has(const paxos::LogEntry& entry) const {
    return entry.chosen || entry.slot <= up_to ||
           std::binary_search(ahead.begin(), ahead.end(), std::pair(entry.slot, entry.ballot));
  }
};

chat::LogSlot empty_slot(paxos::Slot slot) {
  return {.slot = slot, .empty = true, .chosen = false, .ballot = {}, .decree = {}, .outcomes = {}};
}

/// The slots [first, last], as many as fit a page; those without a vote between others are empty.
chat::OperatorAnswer log_page(const Reader& reader, paxos::Slot first, paxos::Slot last,
                              const Chosen& chosen) {
  chat::LogReply reply;
  if (first > last) return reply;
  auto entries = reader.log(first, last, log_page_bytes);
  if (!entries) return refused(entries.error());
  paxos::Slot next = first;
  for (const paxos::LogEntry& entry : *entries) {
    for (; next < entry.slot; ++next) reply.slots.push_back(empty_slot(next));
    reply.slots.push_back({.slot = entry.slot,
                           .empty = false,
                           .chosen = chosen.has(entry),
                           .ballot = entry.ballot,
                           .decree = entry.decree,
                           .outcomes = chat::read_outcomes(reader.rows, entry.slot)});
    next = entry.slot + 1;
  }
  if (next <= last) reply.next = next;
  return reply;
}

/// What the log holds in `slot`, added to what the loop knew of it. `chosen_under`: the ballot of its decree,
/// where it is known chosen above a hole.
chat::ExplainReply explain(const Reader& reader, chat::ExplainReply reply, paxos::Slot slot,
                           std::optional<paxos::Ballot> chosen_under) {
  if (slot.none()) return reply;
  const auto entries = reader.log(slot, slot, 1);
  if (!entries) {
    reply.damage = entries.error();
  } else if (!entries->empty() && entries->front().slot == slot) {
    const paxos::LogEntry& entry = entries->front();
    reply.held = {.chosen = entry.chosen || slot <= reply.chosen || chosen_under == entry.ballot,
                  .ballot = entry.ballot,
                  .kind = entry.decree.kind,
                  .commands = 0,
                  .bytes = static_cast<std::uint32_t>(entry.decree.value.size())};
    if (entry.decree.kind == paxos::DecreeKind::commands)
      if (const auto batch = chat::decode_batch(entry.decree))
        reply.held->commands = static_cast<std::uint32_t>(batch->commands.size());
  }
  return reply;
}

std::int64_t unix_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

void Host::read_for_operator(const Asker& asker, std::function<chat::OperatorAnswer(const Reader&)> job,
                             std::function<chat::OperatorAnswer(const std::string& why)> unread) {
  const auto post = [this, asker](chat::OperatorAnswer result) {
    mailbox_.push([this, asker, result = std::move(result)]() mutable { answer(asker, std::move(result)); });
  };
  storage_->read([post, job = std::move(job)](const Reader& reader) { post(job(reader)); },
                 [post, unread = std::move(unread)](const std::string& why) {
                   post(unread ? unread(why) : refused(why));
                 });
}

void Host::on(const Asker& asker, const chat::HashRequest& request) {
  const paxos::Slot applied = node_.machine().applied();
  if (request.slot == applied || request.slot.none() || request.slot > applied) {
    chat::HashReply reply{.applied = applied, .hash = {}};
    if (request.slot == applied && !applied.none()) reply.hash = node_.machine().hash();
    return answer(asker, reply);
  }
  read_for_operator(asker, [slot = request.slot, applied](const Reader& reader) {
    return chat::HashReply{.applied = applied, .hash = chat::read_hash(reader.rows, slot)};
  });
}

void Host::on(const Asker& asker, const chat::SnapshotRequest& request) {
  snapshots_.backup_message(
      loop_.now(), asker.at.to_string(), request.word,
      [this, asker](const chat::SnapshotWord& word) { answer(asker, chat::SnapshotReply{word}); });
}

void Host::on(const Asker& asker, const chat::ScrubRequest& request) {
  read_for_operator(
      asker,
      [first = std::max(request.from, paxos::Slot{1}), last = node_.status().accepted](const Reader& reader) {
        return scrub(reader, first, last);
      },
      [](const std::string& why) {
        chat::ScrubReply reply;
        reply.damage = why;
        return reply;
      });
}

void Host::on(const Asker& asker, const chat::LogRequest& request) {
  const paxos::Status status = node_.status();
  const paxos::Slot first = std::max({request.from, status.first_slot, paxos::Slot{1}});
  const paxos::Slot last = request.to.none() ? status.accepted : std::min(request.to, status.accepted);
  read_for_operator(asker,
                    [first, last, chosen = Chosen{.up_to = status.chosen, .ahead = node_.chosen_ahead()}](
                        const Reader& reader) { return log_page(reader, first, last, chosen); });
}

void Host::on(const Asker& asker, const chat::ExplainRequest& request) {
  const paxos::Slot slot = request.slot;
  const paxos::Status status = node_.status();
  flight_.take_syncs();
  const std::vector<chat::FlightEntry> all = flight_.all();
  // By today's wall clock: one that was set meanwhile shifts all records of this replica alike.
  const std::int64_t wall = unix_ns();
  const std::int64_t offset = wall - loop_.now().time_since_epoch().count();
  chat::FlightOfSlot found = chat::flight_of_slot(all, slot, chat::ExplainReply::records_max);
  for (chat::FlightEntry& entry : found.entries) entry.ns += offset;
  chat::ExplainReply reply{
      .boot = self_.boot,
      .now_ns = wall,
      .started_ns = self_.started.time_since_epoch().count() + offset,
      .oldest_ns = (all.empty() ? self_.started.time_since_epoch().count() : all.front().ns) + offset,
      .first_slot = status.first_slot,
      .chosen = status.chosen,
      .applied = status.applied,
      .accepted = status.accepted,
      .damage = {},
      .held = {},
      .left_out = found.left_out,
      .records = std::move(found.entries)};
  const auto ahead = node_.chosen_ahead();
  const auto known =
      std::find_if(ahead.begin(), ahead.end(), [&](const auto& one) { return one.first == slot; });
  const auto chosen_under = known == ahead.end() ? std::nullopt : std::optional(known->second);
  read_for_operator(asker, [slot, chosen_under, known = std::move(reply)](const Reader& reader) {
    return explain(reader, known, slot, chosen_under);
  });
}

}  // namespace paxosd
