#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// Operator requests: each names its id and, where it acts, the boot that it means, so that a retransmitted
/// kill or skip acts once (DESIGN.md section 6).
namespace paxosd {

namespace {
constexpr std::size_t answers_kept_max = 512;
constexpr std::uint32_t duration_ms_max = 10 * 60 * 1000;
constexpr std::size_t log_page_bytes = 128 * 1024;
constexpr std::size_t skips_max = 64;

bool acts(const chat::OperatorCommand& command) {
  return std::holds_alternative<chat::KillRequest>(command) ||
         std::holds_alternative<chat::SkipRequest>(command) ||
         std::holds_alternative<chat::LossRequest>(command) ||
         std::holds_alternative<chat::PauseRequest>(command) ||
         std::holds_alternative<chat::IsolateRequest>(command) ||
         std::holds_alternative<chat::RestartRequest>(command);
}

/// What old programs show of it. Short, since it goes to an address that has proved nothing (tests hold it below three times
/// the shortest question).
constexpr const char* outdated_words = "it serves datagram format 2 only: install the newer paxosctl and paxoschat here";

chat::OperatorAnswer refused(std::string why) {
  return chat::DoneReply{.refused = std::move(why), .slots = {}, .next_free = {}};
}
}  // namespace

std::optional<std::string> Host::faults_refused() const {
  if (options_.config.fault_injection) return std::nullopt;
  return "fault injection is off in this cluster's config; a test cluster has `fault_injection: true` in "
         "cluster.yaml "
         "(paxosctl config generate writes it, --production leaves it out)";
}

void Host::answer(const net::Address& to, std::uint64_t id, chat::OperatorAnswer answer) {
  chat::OperatorReply reply{.id = id, .answer = std::move(answer)};
  const auto kept = answered_.find(id);
  if (kept != answered_.end()) kept->second = reply;
  transport_.send(loop_.now(), to, net::Body{std::move(reply)});
}

/// A client of an earlier version, in whose datagrams nobody is named: a recording may ask for anything. So it gets a word, the
/// same for whatever it asks, and nothing is done. Its commands stay open, as they may stand in the log already.
void Host::tell_outdated(const net::Received& received) {
  net::Body reply;
  if (const auto* request = std::get_if<chat::OperatorRequest>(&received.body)) {
    chat::OperatorReply told{.id = request->id, .answer = refused(outdated_words)};
    if (std::holds_alternative<chat::StatusRequest>(request->command))
      told.answer = chat::StatusReply{
          nlohmann::json{{"ballot", nlohmann::json::object()}, {"voting", false}, {"reason", outdated_words}}.dump()};
    reply = std::move(told);
  } else if (const auto* client = std::get_if<chat::ClientMessage>(&received.body)) {
    chat::HistoryReply told{.id = 0, .refused = outdated_words, .page = {}, .applied = {}};
    if (const auto* history = std::get_if<chat::HistoryRequest>(client)) {
      told.id = history->id;
      reply = chat::ClientReply{std::move(told)};
    } else if (const auto* follow = std::get_if<chat::FollowRequest>(client)) {
      told.id = follow->id;
      reply = chat::ClientReply{std::move(told)};
    } else {
      reply = chat::ClientReply{chat::Waiting{.reason = chat::WaitReason::not_voting, .slot = {}, .missing = {}}};
    }
  } else {
    return;
  }
  transport_.send(loop_.now(), received.from, reply);
}

void Host::on_operator(const net::Address& from, const chat::OperatorRequest& request) {
  const bool acting = acts(request.command);
  // Whatever acts names this very life; in the first datagram format that is the boot alone.
  const chat::Target& target = request.target;
  const bool any = target.incarnation == paxos::Incarnation{};
  if (target.boot != 0 ? target.boot != boot_ : acting) return;
  if (target.replica != net::any_destination &&
      (target.replica != options_.self.n || (any ? acting : target.incarnation != incarnation_)))
    return;
  if (const auto kept = answered_.find(request.id); kept != answered_.end()) {
    if (kept->second) transport_.send(loop_.now(), from, net::Body{*kept->second});
    return;  // else it is under way
  }
  if (acting) {
    answered_.emplace(request.id, std::nullopt);
    answered_order_.push_back(request.id);
    if (answered_order_.size() > answers_kept_max) {
      answered_.erase(answered_order_.front());
      answered_order_.pop_front();
    }
    const bool fault = !std::holds_alternative<chat::RestartRequest>(request.command);
    if (auto why = fault ? faults_refused() : std::nullopt) {
      answer(from, request.id, refused(std::move(*why)));
      return;
    }
  }
  const paxos::Time now = loop_.now();
  std::visit(
      [&](const auto& command) {
        using C = std::decay_t<decltype(command)>;
        if constexpr (std::is_same_v<C, chat::StatusRequest>) {
          refresh_disk_figures();
          answer(from, request.id, chat::StatusReply{status_json()});
        } else if constexpr (std::is_same_v<C, chat::DoctorRequest>) {
          answer_doctor(from, request.id, command);
        } else if constexpr (std::is_same_v<C, chat::HashRequest>) {
          const paxos::Slot applied = node_.machine().applied();
          if (command.slot == applied || command.slot.none() || command.slot > applied) {
            chat::HashReply reply{.applied = applied, .hash = {}};
            if (command.slot == applied && !applied.none()) reply.hash = node_.machine().hash();
            answer(from, request.id, reply);
            return;
          }
          read_for_operator(
              from, request.id, [slot = command.slot, applied](const storage::Storage::Reader& reader) {
                return chat::HashReply{.applied = applied, .hash = chat::read_hash(reader.rows, slot)};
              });
        } else if constexpr (std::is_same_v<C, chat::ScrubRequest>) {
          const paxos::Slot last = node_.status().accepted;
          read_for_operator(
              from, request.id, [from_slot = command.from, last](const storage::Storage::Reader& reader) {
                chat::ScrubReply reply;
                const paxos::Slot first = std::max(from_slot, paxos::Slot{1});
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
                      reply.damage =
                          "the hash of slot " + std::to_string(entry.slot.n) + " is missing from the state";
                  }
                if (!entries->empty() && entries->back().slot < last) reply.next = entries->back().slot + 1;
                return reply;
              },
              [](const std::string& why) {
                chat::ScrubReply reply;
                reply.damage = why;
                return reply;
              });
        } else if constexpr (std::is_same_v<C, chat::LogRequest>) {
          const paxos::Status status = node_.status();
          const paxos::Slot first = std::max({command.from, status.first_slot, paxos::Slot{1}});
          const paxos::Slot last =
              command.to.none() ? status.accepted : std::min(command.to, status.accepted);
          read_for_operator(
              from, request.id,
              [first, last,
               chosen = status.chosen,
               ahead = node_.chosen_ahead()](const storage::Storage::Reader& reader) -> chat::OperatorAnswer {
                chat::LogReply reply;
                // Above a hole the disk may still hold an older vote than the decree that is known chosen.
                const auto known_chosen = [&](const paxos::LogEntry& entry) {
                  return entry.chosen || entry.slot <= chosen ||
                         std::binary_search(ahead.begin(), ahead.end(), std::pair(entry.slot, entry.ballot));
                };
                if (first > last) return reply;
                auto entries = reader.log(first, last, log_page_bytes);
                if (!entries) return refused(entries.error());
                paxos::Slot next = first;
                for (const paxos::LogEntry& entry : *entries) {
                  for (; next < entry.slot; ++next)
                    reply.slots.push_back({.slot = next,
                                           .empty = true,
                                           .chosen = false,
                                           .ballot = {},
                                           .decree = {},
                                           .outcomes = {}});
                  reply.slots.push_back({.slot = entry.slot,
                                         .empty = false,
                                         .chosen = known_chosen(entry),
                                         .ballot = entry.ballot,
                                         .decree = entry.decree,
                                         .outcomes = chat::read_outcomes(reader.rows, entry.slot)});
                  next = entry.slot + 1;
                }
                if (next <= last) reply.next = next;
                return reply;
              });
        } else if constexpr (std::is_same_v<C, chat::ExplainRequest>) {
          answer_explain(from, request.id, command.slot);
        } else if constexpr (std::is_same_v<C, chat::KillRequest>) {
          // As if the power failed: no flush, no farewell, not even an answer.
          daemon_log::warning("killed by the operator");
          daemon_log::finish();
          ::kill(::getpid(), SIGKILL);
        } else if constexpr (std::is_same_v<C, chat::SkipRequest>) {
          answer_skip(from, request.id, command);
        } else if constexpr (std::is_same_v<C, chat::LossRequest>) {
          if (!(command.share >= 0 && command.share <= 1)) {
            answer(from, request.id, refused("a share of loss lies between 0 and 1"));
            return;
          }
          faults_.set_loss(command.share);
          daemon_log::warning("drops {} % of all datagrams from now on", command.share * 100);
          answer(from, request.id, chat::DoneReply{});
        } else if constexpr (std::is_same_v<C, chat::PauseRequest>) {
          if (command.duration_ms > duration_ms_max) {
            answer(from, request.id, refused("at most 10 minutes"));
            return;
          }
          daemon_log::warning("pauses for {} ms", command.duration_ms);
          answer(from, request.id, chat::DoneReply{});
          pause_until_ = now + std::chrono::milliseconds{command.duration_ms};
        } else if constexpr (std::is_same_v<C, chat::RestartRequest>) {
          if (!ServiceManager::present()) {
            answer(from, request.id, refused("no service manager runs this replica: stop it and start it by hand, or name "
                                             "the command that does it (--command)"));
            return;
          }
          daemon_log::info("restarts, as the operator wishes");
          answer(from, request.id, chat::DoneReply{});
          exit_code_ = exit_restart;
          // As a clean stop; the service manager sees the exit code and starts the program that is installed now.
          ::kill(::getpid(), SIGTERM);
        } else {
          static_assert(std::is_same_v<C, chat::IsolateRequest>);
          if (command.duration_ms > duration_ms_max) {
            answer(from, request.id, refused("at most 10 minutes"));
            return;
          }
          daemon_log::warning("isolated for {} ms", command.duration_ms);
          faults_.isolate_until(now + std::chrono::milliseconds{command.duration_ms});
          answer(from, request.id, chat::DoneReply{});
        }
      },
      request.command);
}

void Host::answer_skip(const net::Address& to, std::uint64_t id, const chat::SkipRequest& request) {
  if (request.slots.size() > skips_max || request.next > skips_max || pending_skips_.size() >= skips_max) {
    answer(to, id, refused("at most " + std::to_string(skips_max) + " slots at a time"));
    return;
  }
  const paxos::Status status = node_.status();
  if (!node_.is_leader()) {
    answer(to, id,
           refused(status.leader ? "replica " + std::to_string(options_.self.n) + " does not lead; replica " +
                                       std::to_string(status.leader->n) + " does"
                                 : "no leader now; try again when `paxosctl status` shows one"));
    return;
  }
  paxos::SkipResult result = request.slots.empty() ? node_.skip_next(loop_.now(), request.next)
                                                   : node_.skip(loop_.now(), request.slots);
  chat::DoneReply reply{
      .refused = std::move(result.refused), .slots = result.slots, .next_free = result.next_free};
  if (!reply.refused.empty()) {
    answer(to, id, std::move(reply));
    return;
  }
  flight_.skipped(loop_.now(), status.leader_ballot, result.slots);
  const paxos::Slot last = result.slots.back();
  pending_skips_.push_back({to, id, std::move(reply), last});
}

/// A skip returns once each named slot has a chosen slot above it.
void Host::finish_skips() {
  if (pending_skips_.empty()) return;
  const paxos::Slot chosen_max = node_.status().chosen_max;
  std::erase_if(pending_skips_, [&](PendingSkip& skip) {
    if (chosen_max <= skip.last) return false;
    answer(skip.to, skip.id, std::move(skip.reply));
    return true;
  });
}

void Host::read_for_operator(const net::Address& to, std::uint64_t id,
                             std::function<chat::OperatorAnswer(const storage::Storage::Reader&)> job,
                             std::function<chat::OperatorAnswer(const std::string& why)> unread) {
  const auto post = [this, to, id](chat::OperatorAnswer result) {
    mailbox_.push([this, to, id, result = std::move(result)]() mutable { answer(to, id, std::move(result)); });
  };
  storage_->read([post, job = std::move(job)](const storage::Storage::Reader& reader) { post(job(reader)); },
                 [post, unread = std::move(unread)](const std::string& why) { post(unread ? unread(why) : refused(why)); });
}

std::string Host::status_json() const {
  const paxos::Status s = node_.status();
  const auto ballot = [](const paxos::Ballot& b) {
    return nlohmann::json{{"round", b.round}, {"replica", b.replica.n}};
  };
  const storage::Storage::Figures figures = storage_->figures();
  const chat::Desk::Figures desk = node_.desk_figures();
  nlohmann::json out{
      {"role", paxos::to_string(s.role)},
      {"voting", s.voting},
      // Of the leader that it names, whose quorum makes a cluster healthy: who restarted has not promised it yet.
      {"ballot", ballot(s.leader ? s.leader_ballot : s.ballot)},
      {"promised", ballot(s.ballot)},
      {"leader", s.leader ? nlohmann::json(s.leader->n) : nlohmann::json(nullptr)},
      {"leader_ballot", ballot(s.leader_ballot)},
      {"first_slot", s.first_slot.n},
      {"accepted", s.accepted.n},
      {"chosen", s.chosen.n},
      {"chosen_max", s.chosen_max.n},
      {"applied", s.applied.n},
      {"hash", paxos::to_string(node_.machine().hash())},
      {"incarnation", paxos::to_string(incarnation_)},
      {"boot", boot_},
      {"pid", ::getpid()},
      {"uptime_ms", std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - started_).count()},
      {"version", options_.version},
      {"rules", node_.machine().rules()},
      {"rules_known", options_.rules_known},
      {"inflight", s.inflight},
      {"leader_changes", s.leader_changes},
      {"retransmissions", s.retransmissions},
      {"sessions", node_.machine().sessions()},
      {"rooms", node_.machine().rooms()},
      {"waiting_receipts", desk.waiting_receipts},
      {"loss", faults_.loss()},
      {"syncs", figures.syncs},
      {"sync_us_mean", figures.syncs == 0 ? 0 : figures.sync_latency.sum_ns / figures.syncs / 1000},
      {"sync_us_max", figures.sync_ns_max / 1000},
      {"log_lines_lost", daemon_log::lines_lost()},
  };
  auto& connected = out["connected"] = nlohmann::json::array();
  for (paxos::ReplicaId id : s.connected) connected.push_back(id.n);
  add_vitals(out);
  if (!damages_.empty()) {
    auto& damage = out["damage"] = nlohmann::json::array();
    for (const storage::Damage& one : damages_)
      damage.push_back({{"store", one.store == storage::Damage::Store::log ? "log" : "state"}, {"text", one.what}});
    out["damaged_reads"] = damaged_log_reads_ + damaged_state_reads_;
  }
  // Not for a moment's queue: only where nobody seems to take them any more.
  if (const auto stuck = daemon_log::stuck_for(); stuck >= std::chrono::seconds{1}) out["log_stuck_ms"] = stuck.count();
  if (out.contains("paused_ms")) {
    // To whoever counts votes, this or any older program, it is not there.
    out["voting"] = false;
    out["leader"] = nullptr;
    out["reason"] = "it stands still by `paxosctl pause`, for " + std::to_string(out["paused_ms"].get<std::int64_t>()) + " ms more";
    return out.dump();
  }
  if (s.hole) out["hole"] = s.hole->n;
  if (s.waiting) {
    const auto age_ms = [&](paxos::Time since) {
      return std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - since).count());
    };
    out["waiting_slot"] = s.waiting->slot.n;
    out["waiting_ms"] = age_ms(s.waiting->since);
    out["standing_ms"] = age_ms(s.waiting->still);
  }
  if (!s.reason.empty()) out["reason"] = s.reason;
  if (!s.disagreeing.empty()) {
    auto& others = out["disagrees_with"] = nlohmann::json::array();
    for (paxos::ReplicaId id : s.disagreeing) others.push_back(id.n);
    out["disagrees_since"] = s.disagrees_since.n;
    out["disputed"] = s.disputed;
  }
  if (!s.missing_at_birth.empty()) {
    auto& missing = out["missing_at_birth"] = nlohmann::json::array();
    for (paxos::ReplicaId id : s.missing_at_birth) missing.push_back(id.n);
  }
  return out.dump();
}

}  // namespace paxosd
