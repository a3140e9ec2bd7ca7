#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/refused.h"

/// Operator requests: each names its id and, where it acts, the boot that it means, so that a retransmitted
/// kill or skip acts once (DESIGN.md section 6). Whom it means is looked at here; each kind has a handler of
/// its own.
namespace paxosd {

namespace {
constexpr std::uint32_t duration_ms_max = 10 * 60 * 1000;
constexpr const char* too_long = "at most 10 minutes";
/// A replica that was taken out of the cluster, before it ends: what others have yet to learn, they learn of
/// it.
constexpr paxos::Duration lingers_at_least = std::chrono::seconds{2};
constexpr paxos::Duration lingers_at_most = std::chrono::hours{1};

bool acts(const chat::OperatorCommand& command) {
  return std::holds_alternative<chat::KillRequest>(command) ||
         std::holds_alternative<chat::SkipRequest>(command) ||
         std::holds_alternative<chat::LossRequest>(command) ||
         std::holds_alternative<chat::PauseRequest>(command) ||
         std::holds_alternative<chat::IsolateRequest>(command) ||
         std::holds_alternative<chat::RestartRequest>(command) ||
         std::holds_alternative<chat::MemberRequest>(command) ||
         std::holds_alternative<chat::TransferRequest>(command) ||
         std::holds_alternative<chat::AddSecretRequest>(command);
}

bool injects_a_fault(const chat::OperatorCommand& command) {
  return acts(command) && !std::holds_alternative<chat::RestartRequest>(command) &&
         !std::holds_alternative<chat::MemberRequest>(command) &&
         !std::holds_alternative<chat::TransferRequest>(command) &&
         !std::holds_alternative<chat::AddSecretRequest>(command);
}

/// What old programs show of it. Short, since it goes to an address that has proved nothing (tests hold it
/// below three times the shortest question).
constexpr const char* outdated_words =
    "it serves datagram format 2 only: install the newer paxosctl and paxoschat here";

/// The status of a replica that answers nothing else to programs of an earlier version.
nlohmann::json outdated_json() {
  return {{"ballot", nlohmann::json::object()}, {"voting", false}, {"reason", outdated_words}};
}
}  // namespace

std::optional<std::string> Host::faults_refused() const {
  if (options_.config.fault_injection) return std::nullopt;
  return "fault injection is off in this cluster's config; a test cluster has `fault_injection: true` in "
         "cluster.yaml "
         "(paxosctl config generate writes it, --production leaves it out)";
}

void Host::answer(const Asker& asker, chat::OperatorAnswer answer) {
  chat::OperatorReply reply{.id = asker.id, .answer = std::move(answer)};
  answers_.give(reply);
  if (transport_.taken_by_another(asker.at, asker.who)) return;
  transport_.send(loop_.now(), asker.at, net::Body{std::move(reply)});
}

/// A client of an earlier version, in whose datagrams nobody is named: a recording may ask for anything. So
/// it gets a word, the same for whatever it asks, and nothing is done. Its commands stay open, as they may
/// stand in the log already.
void Host::tell_outdated(const net::Received& received) {
  net::Body reply;
  if (const auto* request = std::get_if<chat::OperatorRequest>(&received.body)) {
    chat::OperatorReply told{.id = request->id, .answer = refused(outdated_words)};
    if (std::holds_alternative<chat::StatusRequest>(request->command))
      told.answer = chat::StatusReply{outdated_json().dump()};
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
      reply =
          chat::ClientReply{chat::Waiting{.reason = chat::WaitReason::not_voting, .slot = {}, .missing = {}}};
    }
  } else {
    return;
  }
  transport_.send(loop_.now(), received.from, reply);
}

/// Whatever acts names this very life; in the first datagram format that is the boot alone.
bool Host::means_us(const chat::OperatorRequest& request) const {
  const bool acting = acts(request.command);
  const chat::Target& target = request.target;
  const bool any = target.incarnation == paxos::Incarnation{};
  if (target.boot != 0 ? target.boot != self_.boot : acting) return false;
  return target.replica == net::any_destination ||
         (target.replica == self_.id.n && (any ? !acting : target.incarnation == self_.incarnation));
}

void Host::on_operator(const net::Received& received, const chat::OperatorRequest& request) {
  if (!means_us(request)) return;
  if (answers_.knows(request.id)) {
    // Else it is under way.
    if (const auto* given = answers_.given(request.id))
      transport_.send(loop_.now(), received.from, net::Body{*given});
    return;
  }
  const Asker asker{.at = received.from, .who = received.sender, .id = request.id};
  if (std::string why = chat::refused_to(received.sender.whose, node_.machine().access(), request.command);
      !why.empty())
    return answer(asker, refused(std::move(why)));
  if (acts(request.command)) answers_.begin(request.id);
  if (injects_a_fault(request.command))
    if (auto why = faults_refused()) return answer(asker, refused(std::move(*why)));
  std::visit([&](const auto& command) { on(asker, command); }, request.command);
}

/// As if the power failed: no flush, no farewell, not even an answer.
void Host::on(const Asker& /*asker*/, const chat::KillRequest& /*request*/) {
  daemon_log::warning("killed by the operator");
  daemon_log::finish();
  ::kill(::getpid(), SIGKILL);
}

void Host::on(const Asker& asker, const chat::SkipRequest& request) {
  constexpr std::size_t skips_max = SkipsUnderWay::skips_max;
  if (request.slots.size() > skips_max || request.next > skips_max || skips_.full())
    return answer(asker, refused("at most " + std::to_string(skips_max) + " slots at a time"));
  const paxos::Status status = node_.status();
  if (!node_.is_leader())
    return answer(
        asker, refused(status.leader ? "replica " + std::to_string(self_.id.n) + " does not lead; replica " +
                                           std::to_string(status.leader->n) + " does"
                                     : "no leader now; try again when `paxosctl status` shows one"));
  paxos::SkipResult result = request.slots.empty() ? node_.skip_next(loop_.now(), request.next)
                                                   : node_.skip(loop_.now(), request.slots);
  chat::DoneReply reply{
      .refused = std::move(result.refused), .slots = result.slots, .next_free = result.next_free};
  if (!reply.refused.empty()) return answer(asker, std::move(reply));
  flight_.skipped(loop_.now(), status.leader_ballot, result.slots);
  skips_.begin({.asker = asker, .reply = std::move(reply), .last = result.slots.back()});
}

/// A skip returns once each named slot has a chosen slot above it.
void Host::finish_skips() {
  if (skips_.none()) return;
  for (SkipsUnderWay::Skip& skip : skips_.take_done(node_.status().chosen_max))
    answer(skip.asker, std::move(skip.reply));
}

void Host::on(const Asker& asker, const chat::LossRequest& request) {
  if (!(request.share >= 0 && request.share <= 1))
    return answer(asker, refused("a share of loss lies between 0 and 1"));
  faults_.set_loss(request.share);
  daemon_log::warning("drops {} % of all datagrams from now on", request.share * 100);
  answer(asker, chat::DoneReply{});
}

void Host::on(const Asker& asker, const chat::PauseRequest& request) {
  if (request.duration_ms > duration_ms_max) return answer(asker, refused(too_long));
  daemon_log::warning("pauses for {} ms", request.duration_ms);
  answer(asker, chat::DoneReply{});
  pause_.begin(loop_.now() + std::chrono::milliseconds{request.duration_ms});
}

void Host::on(const Asker& asker, const chat::IsolateRequest& request) {
  if (request.duration_ms > duration_ms_max) return answer(asker, refused(too_long));
  daemon_log::warning("isolated for {} ms", request.duration_ms);
  faults_.isolate_until(loop_.now() + std::chrono::milliseconds{request.duration_ms});
  answer(asker, chat::DoneReply{});
}

void Host::on(const Asker& asker, const chat::RestartRequest& /*request*/) {
  if (!ServiceManager::present())
    return answer(asker,
                  refused("no service manager runs this replica: stop it and start it by hand, or name "
                          "the command that does it (--command)"));
  daemon_log::info("restarts, as the operator wishes");
  answer(asker, chat::DoneReply{});
  end_.exit_code = exit_restart;
  // As a clean stop; the service manager sees the exit code and starts the program that is installed now.
  ::kill(::getpid(), SIGTERM);
}

void Host::on(const Asker& asker, const chat::MemberRequest& request) {
  if (!request.change.address.empty())
    if (const std::string fault = config::address_fault(request.change.address); !fault.empty())
      return answer(asker, refused("address '" + request.change.address + "': " + fault));
  paxos::ChangeResult result = node_.change(loop_.now(), request.change);
  if (result.refused.empty())
    daemon_log::warning("{} replica {}, as the operator wishes: configuration {}",
                        paxos::to_string(request.change.kind), request.change.id.n, result.configuration);
  answer(asker,
         chat::DoneReply{.refused = std::move(result.refused), .slots = {result.slot}, .next_free = {}});
}

void Host::leave_when_removed(paxos::Time now) {
  if (!node_.removed()) return;
  if (end_.at && now >= *end_.at && !node_.may_leave() && now < *end_.at + lingers_at_most)
    return;  // looked at again at each of its questions to the others
  if (!end_.at) {
    end_.at = now + std::max<paxos::Duration>(lingers_at_least, 8 * options_.config.election_timeout);
    daemon_log::warning("{}. It ends in a moment, with exit code 0: its service is not started again",
                        node_.status().reason);
  }
  if (now < *end_.at || signals_ == nullptr || end_.exit_code != 0) return;
  signals_->cancel();
}

void Host::on(const Asker& asker, const chat::TransferRequest& request) {
  if (!node_.is_leader()) return answer(asker, refused("this replica does not lead"));
  if (!node_.hand_over(loop_.now(), request.to))
    return answer(asker,
                  refused(request.to == self_.id
                              ? "it leads already"
                              : "replica " + std::to_string(request.to.n) +
                                    " can't lead now: it is not there, not caught up, or its disk is slow"));
  answer(asker, chat::DoneReply{});
}

}  // namespace paxosd
