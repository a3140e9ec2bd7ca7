#include "chat/intake.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "paxos/invariant.h"

namespace chat {

std::optional<Bound> Intake::no_room(std::size_t bytes) const {
  if (queue_.size() >= bounds_.queue_commands) return Bound::queue_commands;
  if (queue_bytes_ + bytes > bounds_.queue_bytes) return Bound::queue_bytes;
  if (under_way_.size() >= bounds_.under_way) return Bound::under_way;
  return std::nullopt;
}

std::optional<Bound> Intake::no_room_to_hold(const Line& line, std::size_t bytes) const {
  if (line.held.size() >= bounds_.held_per_session) return Bound::held_per_session;
  if (held_count_ >= bounds_.held_commands) return Bound::held_commands;
  if (held_bytes_ + bytes > bounds_.held_bytes) return Bound::held_bytes;
  return std::nullopt;
}

Intake::Taken Intake::take(paxos::Time now, const paxos::Bytes& bytes, const CommandView& view) {
  const Ticket ticket = ticket_of(view);
  if (under_way_.contains(ticket)) return Taken::under_way;
  if (const auto bound = no_room(bytes.size())) {
    reached_(*bound);
    return Taken::full;
  }
  if (ticket.session.none()) {
    push(bytes, ticket, nullptr);
    return Taken::queued;
  }
  const auto session = machine_.session(view.session);
  const auto at = lines_.try_emplace(view.session).first;
  Line& line = at->second;
  if (session) line.last = std::max(line.last, session->last_seq);
  // A session that is unknown here may have been opened in a slot that is not applied here yet, or be gone.
  // Only the log says which.
  if (!session || view.seq <= line.last + 1) {
    line.last = std::max(line.last, view.seq);
    push(bytes, ticket, &line);
    release(line);
    return Taken::queued;
  }
  if (line.held.contains(view.seq)) return Taken::held_back;
  if (const auto bound = no_room_to_hold(line, bytes.size())) {
    reached_(*bound);
    if (line.held.empty() && line.under_way == 0) lines_.erase(at);
    return Taken::full;
  }
  if (line.held.empty()) line.held_since = now;
  // A copy: a slice would keep the whole datagram for as long as this waits.
  line.held.emplace(view.seq, paxos::Bytes::copy_of(bytes.span()));
  ++held_count_;
  held_bytes_ += bytes.size();
  return Taken::held_back;
}

void Intake::release(Line& line) {
  while (!line.held.empty() && line.held.begin()->first <= line.last + 1) {
    auto node = line.held.extract(line.held.begin());
    --held_count_;
    held_bytes_ -= node.mapped().size();
    line.last = std::max(line.last, node.key());
    const auto view = view_command(node.mapped().span());
    PAXOS_ASSERT(view);  // as when it was taken
    const Ticket ticket = ticket_of(*view);
    if (!under_way_.contains(ticket)) push(std::move(node.mapped()), ticket, &line);
  }
}

void Intake::push(paxos::Bytes bytes, const Ticket& ticket, Line* line) {
  under_way_.insert(ticket);
  if (line != nullptr) ++line->under_way;
  queue_bytes_ += bytes.size();
  queue_.push_back(std::move(bytes));
}

std::optional<paxos::Decree> Intake::next_batch(std::int64_t time_ms) {
  if (queue_.empty()) return std::nullopt;
  std::vector<paxos::Bytes> commands;
  std::size_t bytes = 0;
  while (!queue_.empty()) {
    if (commands.size() == bounds_.batch_commands) {
      reached_(Bound::batch_commands);
      break;
    }
    const std::size_t size = queue_.front().size();
    if (!commands.empty() && decree_bytes(commands.size() + 1, bytes + size) > bounds_.batch_bytes) {
      reached_(Bound::batch_bytes);
      break;
    }
    bytes += size;
    commands.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queue_bytes_ -= bytes;
  return make_decree(time_ms, commands);
}

void Intake::drop(std::map<std::uint64_t, paxos::Bytes>& held) {
  held_count_ -= held.size();
  for (const auto& [seq, bytes] : held) held_bytes_ -= bytes.size();
  held.clear();
}

void Intake::on_applied(const Applied& applied) {
  if (under_way_.empty() && lines_.empty()) return;  // as on every follower
  for (const CommandView& command : applied.commands) {
    const bool ours = under_way_.erase(ticket_of(command)) != 0;
    if (command.session.none()) continue;
    const auto at = lines_.find(command.session);
    if (at == lines_.end()) continue;
    Line& line = at->second;
    if (ours) {
      PAXOS_ASSERT(line.under_way > 0);
      --line.under_way;
    }
    const auto session = machine_.session(command.session);
    if (!session) {
      // What is held can never run; its repeats hear so from the log.
      drop(line.held);
    } else {
      // With nothing under way the log alone counts: what was sent in a good order may have been refused.
      line.last = line.under_way == 0 ? session->last_seq : std::max(line.last, session->last_seq);
      release(line);
    }
    if (line.held.empty() && line.under_way == 0) lines_.erase(at);
  }
}

bool Intake::has(const Ticket& ticket) const {
  if (under_way_.contains(ticket)) return true;
  const auto at = lines_.find(ticket.session);
  return at != lines_.end() && at->second.held.contains(ticket.seq);
}

void Intake::forget_held(paxos::Time time) {
  if (held_count_ == 0) return;
  for (auto at = lines_.begin(); at != lines_.end();) {
    if (!at->second.held.empty() && at->second.held_since < time) drop(at->second.held);
    at = at->second.held.empty() && at->second.under_way == 0 ? lines_.erase(at) : std::next(at);
  }
}

void Intake::let_go() {
  for (const paxos::Bytes& bytes : queue_) {
    const auto view = view_command(bytes.span());
    PAXOS_ASSERT(view);  // as when it was taken
    // (One that was applied meanwhile, as another leader proposed it, is not counted any more.)
    if (under_way_.erase(ticket_of(*view)) == 0 || view->session.none()) continue;
    const auto at = lines_.find(view->session);
    PAXOS_ASSERT(at != lines_.end() && at->second.under_way > 0);
    --at->second.under_way;
    // What comes next is this one again.
    at->second.last = std::min(at->second.last, view->seq - 1);
  }
  queue_.clear();
  queue_bytes_ = 0;
  for (auto at = lines_.begin(); at != lines_.end();) {
    drop(at->second.held);
    at = at->second.under_way == 0 ? lines_.erase(at) : std::next(at);
  }
}

void Intake::clear() {
  // With their memory: a queue of a million, once, is no reason to keep its tables for ever.
  queue_ = std::deque<paxos::Bytes>();
  queue_bytes_ = 0;
  under_way_ = std::unordered_set<Ticket, TicketHash>();
  lines_ = Lines();
  held_count_ = 0;
  held_bytes_ = 0;
}

}  // namespace chat
