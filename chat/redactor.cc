#include "chat/redactor.h"

#include <algorithm>
#include <tuple>

#include "chat/rows.h"
#include "paxos/invariant.h"

namespace chat {

namespace {
constexpr paxos::Duration retry_after = std::chrono::seconds{10};
}  // namespace

Redactor::Redactor(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const auto message = message_in(row.key);
    const auto mark = row.value ? decode_erasure(*row.value) : std::nullopt;
    if (!message) continue;
    if (mark && mark->place) know(*message, *mark->place, mark->content);
    // What does not read is done once more.
    if (!mark || !mark->done) queue(*message, {});
  }
}

void Redactor::queue(const MessageName& message, paxos::Slot scan_from) {
  if (waiting_.size() >= limits::erasures_known_max) return;  // its row says so: the next start takes it
  const auto [at, fresh] = waiting_.try_emplace(message, scan_from);
  if (fresh)
    order_.push_back(message);
  else
    at->second = std::min(at->second, scan_from);
}

void Redactor::know(const MessageName& message, const MessagePlace& place, std::uint64_t content) {
  if (place.slot.none()) return;  // it was forgotten before
  const Ticket ticket{place.session, place.client_seq};
  const Place at{place.slot, place.index};
  if (!by_place_.insert_or_assign(at, message).second) return;
  by_ticket_.insert_or_assign(ticket, message);
  if (content != 0) by_content_.insert_or_assign(content, message);
  by_message_.insert_or_assign(message, std::pair(place, content));
  known_.push_back({message, ticket, at, content});
  if (known_.size() <= limits::erasures_known_max) return;
  by_ticket_.erase(known_.front().ticket);
  by_place_.erase(known_.front().place);
  by_content_.erase(known_.front().content);
  by_message_.erase(known_.front().message);
  known_.pop_front();
}

void Redactor::on_applied(Applied& applied) {
  for (const MessageName& message : applied.redactions) queue(message, {});
  if (known_.empty()) return;
  for (std::size_t i = 0; i < applied.commands.size(); ++i) {
    const Outcome& outcome = applied.outcomes[i];
    const auto* post = std::get_if<PostView>(&applied.commands[i].operation);
    if (outcome.verdict == Verdict::done || post == nullptr || post->redacted) continue;
    const MessageName* message = nullptr;
    if (const auto at = by_ticket_.find({outcome.session, outcome.client_seq}); at != by_ticket_.end())
      message = &at->second;
    if (outcome.verdict == Verdict::repeat)
      if (const auto at = by_place_.find({outcome.slot, outcome.index}); at != by_place_.end())
        message = &at->second;
    if (message == nullptr && came_in_vain(outcome.verdict))
      if (const auto at = by_content_.find(content_of(applied.commands[i])); at != by_content_.end())
        message = &at->second;
    if (message == nullptr) continue;
    queue(*message, applied.slot);
    applied.rows.push_back({rows::erasure(message->room, message->seq), encode_erasure({})});
  }
}

std::optional<ErasePlan> Redactor::next_plan(paxos::Time now) {
  if (stage_ != Stage::idle || order_.empty() || now < not_before_) return std::nullopt;
  ErasePlan plan;
  plan.token = ++last_token_;
  while (!order_.empty() && plan.targets.size() < at_once_) {
    const auto at = waiting_.find(order_.front());
    ErasePlan::Target target{.message = at->first, .scan_from = at->second, .place = {}};
    if (const auto known = by_message_.find(at->first); known != by_message_.end())
      std::tie(target.place, target.content) = known->second;
    plan.targets.push_back(std::move(target));
    waiting_.erase(at);
    order_.pop_front();
  }
  plan_ = plan;
  stage_ = Stage::planning;
  return plan;
}

std::optional<ErasePlan> Redactor::planned(paxos::Time now, ErasePlan plan, paxos::Slot applied) {
  if (stage_ != Stage::planning || plan.token != last_token_) return std::nullopt;
  if (!plan.fault.empty()) {
    failed(now, std::move(plan.fault));
    return std::nullopt;
  }
  PAXOS_ASSERT(plan.complete);
  bool fresh = false;
  for (const ErasePlan::Target& target : plan.targets) {
    fresh =
        fresh || (!target.place.slot.none() && !by_place_.contains({target.place.slot, target.place.index}));
    know(target.message, target.place, target.content);
  }
  if (fresh && plan.scanned < applied) {
    plan.complete = false;
    return plan;
  }
  plan_ = std::move(plan);
  stage_ = Stage::placing;
  return std::nullopt;
}

void Redactor::placed(std::uint64_t group) {
  PAXOS_ASSERT(stage_ == Stage::placing);
  group_ = group;
  stage_ = Stage::syncing;
}

void Redactor::synced(std::uint64_t group) {
  if (stage_ == Stage::syncing && group >= group_) stage_ = Stage::erasing_due;
}

std::optional<Erasure> Redactor::next_erasure() {
  if (stage_ != Stage::erasing_due) return std::nullopt;
  stage_ = Stage::erasing;
  return Erasure{.token = plan_.token, .rows = std::move(plan_.rows), .slots = std::move(plan_.slots)};
}

Redactor::Erased Redactor::erased(paxos::Time now, std::uint64_t token, const std::string& fault) {
  Erased out;
  if (stage_ != Stage::erasing || token != plan_.token) return out;
  if (!fault.empty()) {
    failed(now, fault);
    return out;
  }
  for (const ErasePlan::Target& target : plan_.targets) {
    ++done_;
    out.messages.push_back(target.message);
    // It came again meanwhile: its row has to go on saying so.
    if (waiting_.contains(target.message)) continue;
    ErasureMark mark{.done = true, .place = {}, .content = target.content};
    if (!target.place.slot.none()) mark.place = target.place;
    out.rows.push_back({rows::erasure(target.message.room, target.message.seq), encode_erasure(mark)});
  }
  fault_.clear();
  at_once_ = limits::erasures_at_once;
  plan_ = {};
  stage_ = Stage::idle;
  return out;
}

/// One at a time from now on, the others first: one that can't be carried out must not hold up the rest.
void Redactor::failed(paxos::Time now, std::string fault) {
  for (const ErasePlan::Target& target : plan_.targets) queue(target.message, {});
  fault_ = std::move(fault);
  at_once_ = 1;
  not_before_ = now + retry_after;
  plan_ = {};
  stage_ = Stage::idle;
}

paxos::Time Redactor::deadline() const {
  return stage_ == Stage::idle && !order_.empty() ? not_before_ : paxos::time_never;
}

std::uint64_t Redactor::first_waiting(const std::string& room) const {
  // Some may be known to their rows alone.
  if (waiting_.size() >= limits::erasures_known_max) return 0;
  std::uint64_t first = UINT64_MAX;
  if (const auto at = waiting_.lower_bound({room, 0}); at != waiting_.end() && at->first.room == room)
    first = at->first.seq;
  for (const ErasePlan::Target& target : plan_.targets)
    if (target.message.room == room) first = std::min(first, target.message.seq);
  return first;
}

Redactor::Figures Redactor::figures() const {
  return {.pending = waiting_.size() + plan_.targets.size(), .done = done_, .fault = fault_};
}

}  // namespace chat
