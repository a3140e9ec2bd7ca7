#pragma once

#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "chat/machine.h"
#include "client/session/outbox.h"
#include "tests/chat/map_rows.h"

/// A cluster as a client sees it, around one real chat::Machine: replicas share one log, one of them leads.
/// Time is virtual; a seed decides what is lost, doubled and delayed.
namespace client::test {

using namespace std::chrono_literals;
using paxos::Duration;
using paxos::ReplicaId;
using paxos::Time;

class FakeCluster {
 public:
  explicit FakeCluster(std::uint64_t seed = 1) : random_(seed) {}

  // What a test may set at any time.
  double loss = 0;
  double doubled = 0;
  std::optional<std::uint8_t> leader = 0;
  std::set<std::uint8_t> down;                        ///< take nothing, say nothing
  std::set<std::uint8_t> unreachable;                 ///< for the client; other replicas reach them
  std::optional<chat::WaitReason> waiting;            ///< said by replicas that do not lead, when nobody does
  std::vector<ReplicaId> full;                        ///< their disks are, and the leader takes nothing
  std::function<bool(const chat::Command&)> swallow;  ///< drops commands before the log
  std::function<std::string(const chat::Command&)> refuse;  ///< a replica of another version
  bool apply = true;                                        ///< false: takes commands, never answers
  bool loss_of_replies = false;                             ///< all of them
  bool reads_keys = true;                                   ///< false: replicas of version 0.1.0

  Time now{};

  void attach(Outbox& outbox) { outbox_ = &outbox; }
  void detach() { outbox_ = nullptr; }
  std::vector<Delivery> delivered;
  std::vector<LedgerEvent> events;
  std::vector<chat::Message> log;  ///< every post that ran, in order
  std::size_t commands_seen = 0;
  std::set<std::uint8_t> asked;  ///< replicas that a datagram was sent to

  /// One turn of the client: what it wants sent goes on its way.
  void turn() {
    if (outbox_ == nullptr) return;
    OutboxOutput out = outbox_->take_output(now);
    for (auto& e : out.events) events.push_back(std::move(e));
    for (auto& s : out.sends) {
      asked.insert(s.to.n);
      send([this, s] { arrive(s); });
    }
    for (auto& d : out.deliveries) {
      events.emplace_back(Answered{d.ticket});
      delivered.push_back(std::move(d));
    }
  }

  /// Runs until `done`, or until `limit` of virtual time passed; true when done.
  bool run(const std::function<bool()>& done, Duration limit = 60s) {
    const Time until = now + limit;
    turn();
    while (!done()) {
      Time next = until;
      if (!queue_.empty()) next = std::min(next, queue_.begin()->first);
      if (outbox_ != nullptr) next = std::min(next, outbox_->deadline());
      if (next >= until) {
        now = until;
        return false;
      }
      now = std::max(now, next);
      if (outbox_ != nullptr && outbox_->deadline() <= now) {
        outbox_->tick(now);
        turn();
      }
      while (!queue_.empty() && queue_.begin()->first <= now) {
        auto work = std::move(queue_.begin()->second);
        queue_.erase(queue_.begin());
        work();
        turn();
      }
    }
    return true;
  }

  void raise_rules() { rows_.write(machine_.apply(machine_.applied() + 1, chat::make_rules_decree(2)).rows); }
  void expire_all_sessions() {
    // The session clock walks 60 s a slot: a day's worth of slots.
    for (int i = 0; i < 3000 && machine_.sessions() > 0; ++i) pass_a_minute();
  }
  /// A batch without commands has no stamp.
  void pass_a_minute() {
    const chat::Command nothing{
        .session = {paxos::Slot{1ULL << 40}, 0}, .seq = 1, .answered_below = 0, .operation = chat::Close{}};
    wall_ahead_ms_ += chat::limits::clock_step_max_ms;
    (void)apply_batch({nothing}, time_ms());
  }
  [[nodiscard]] const chat::Machine& machine() const { return machine_; }
  std::vector<chat::Outcome> apply_batch(const std::vector<chat::Command>& commands, std::int64_t stamp) {
    std::vector<paxos::Bytes> encoded;
    for (const auto& c : commands) encoded.push_back(chat::encode(c));
    chat::Applied applied = machine_.apply(machine_.applied() + 1, chat::make_decree(stamp, encoded));
    rows_.write(applied.rows);
    for (std::size_t i = 0; i < commands.size(); ++i) {
      const auto* post = std::get_if<chat::Post>(&commands[i].operation);
      const chat::Outcome& o = applied.outcomes[i];
      if (post != nullptr && o.verdict == chat::Verdict::done)
        log.push_back({.room = post->room,
                       .seq = o.room_seq,
                       .slot = o.slot,
                       .index = o.index,
                       .name = post->name,
                       .session = o.session,
                       .client_seq = o.client_seq,
                       .time_ms = o.time_ms,
                       .text = post->text,
                       .written_ms = post->written_ms});
    }
    return applied.outcomes;
  }
  std::int64_t time_ms() const {
    return wall_ahead_ms_ + 1'700'000'000'000 + now.time_since_epoch().count() / 1'000'000;
  }

 private:
  void send(std::function<void()> work) {
    std::uniform_real_distribution<double> share(0, 1);
    const int copies = share(random_) < doubled ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      if (share(random_) < loss) continue;
      const Duration delay =
          std::chrono::microseconds{std::uniform_int_distribution<int>(200, 8000)(random_)};
      queue_.emplace(now + delay, work);
    }
  }
  void reply(ReplicaId from, chat::ClientReply message) {
    if (loss_of_replies) return;
    send([this, from, message = std::move(message)] {
      if (outbox_ != nullptr) outbox_->on_reply(now, from, message);
    });
  }

  void arrive(const Sending& s) {
    if (down.contains(s.to.n) || unreachable.contains(s.to.n)) return;
    if (const auto* history = std::get_if<chat::HistoryRequest>(&s.message))
      return on_history(s.to, *history);
    const auto* commands = std::get_if<chat::ClientCommands>(&s.message);
    if (commands == nullptr) return;
    commands_seen += commands->commands.size();
    if (!leader || (*leader != s.to.n && !commands->forward)) {
      if (!leader)
        reply(s.to, chat::Waiting{
                        .reason = waiting.value_or(chat::WaitReason::no_leader), .slot = {}, .missing = {}});
      else
        reply(s.to, chat::Redirect{ReplicaId{*leader}});
      return;
    }
    if (down.contains(*leader)) return;  // forwarded into nothing
    if (!full.empty())
      return reply(s.to, chat::Waiting{.reason = chat::WaitReason::disks_full, .slot = {}, .missing = full});
    std::vector<chat::Command> batch;
    for (const paxos::Bytes& bytes : commands->commands) {
      const auto command = chat::decode_command(bytes.span());
      if (!command) continue;
      if (const auto* post = std::get_if<chat::Post>(&command->operation);
          post != nullptr && (!post->key.empty() || post->written_ms != 0) && !reads_keys) {
        reply(s.to,
              chat::CommandRefused{{}, 0, "an operation of unknown number"});  // as version 0.1.0 says it
        continue;
      }
      if (swallow && swallow(*command)) continue;
      if (refuse && !std::holds_alternative<chat::Close>(command->operation)) {
        if (const std::string why = refuse(*command); !why.empty()) {
          reply(s.to, chat::CommandRefused{command->session, command->seq, why});
          continue;
        }
      }
      // As the desk does: early ones are not proposed.
      if (const auto session = machine_.session(command->session))
        if (command->seq > session->last_seq + 1 + batch_ahead(batch, command->session)) continue;
      batch.push_back(*command);
    }
    if (batch.empty() || !apply) return;
    const auto outcomes = apply_batch(batch, time_ms());
    chat::Receipts receipts;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (outcomes[i].verdict == chat::Verdict::early) continue;
      chat::Receipt receipt{.outcome = outcomes[i]};
      if (const auto* open = std::get_if<chat::Open>(&batch[i].operation)) receipt.nonce = open->nonce;
      if (const auto* post = std::get_if<chat::Post>(&batch[i].operation);
          post != nullptr && !post->key.empty())
        if (const chat::KeyedMessage* first = machine_.keyed(post->room, post->key);
            first != nullptr && outcomes[i].verdict == chat::Verdict::repeat)
          receipt.first = chat::FirstSender{
              .session = first->session, .client_seq = first->client_seq, .name = first->name};
      receipts.receipts.push_back(receipt);
    }
    if (!receipts.receipts.empty()) reply(s.to, std::move(receipts));
  }

  static std::uint64_t batch_ahead(const std::vector<chat::Command>& batch, const chat::SessionId& id) {
    std::uint64_t n = 0;
    for (const auto& c : batch)
      if (c.session == id && !std::holds_alternative<chat::Open>(c.operation)) ++n;
    return n;
  }

  void on_history(ReplicaId at, const chat::HistoryRequest& m) {
    std::uint64_t from = m.from;
    if (m.last != 0) {
      const std::uint64_t head = machine_.room_head(m.room);
      from = head >= m.last ? head - m.last + 1 : 1;
    }
    auto page = chat::read_history(rows_, m.room, from, m.limit & ~chat::limit_wants_stamps);
    if (page && (m.limit & chat::limit_wants_stamps) == 0) page->first = 1;
    chat::HistoryReply answer{.id = m.id, .refused = {}, .page = {}, .applied = machine_.applied()};
    if (std::string fault = chat::validate_room(m.room); !fault.empty())
      answer.refused = std::move(fault);
    else if (page)
      answer.page = std::move(*page);
    else
      answer.refused = page.error();
    reply(at, std::move(answer));
  }

  std::int64_t wall_ahead_ms_ = 0;
  std::mt19937_64 random_;
  chat::Machine machine_;
  chat::test::MapRows rows_;
  Outbox* outbox_ = nullptr;
  std::multimap<Time, std::function<void()>> queue_;
};

}  // namespace client::test
