#include "chat/desk.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "chat/access.h"
#include "chat/intake.h"
#include "chat/lookups.h"
#include "chat/presence.h"
#include "chat/ticket.h"

namespace chat {

const char* to_string(WaitReason reason) {
  switch (reason) {
    case WaitReason::no_quorum:
      return "no quorum: this replica does not hear enough of the others";
    case WaitReason::no_leader:
      return "no leader: an election is under way";
    case WaitReason::hole:
      return "a skipped slot holds the log up until the leader changes";
    case WaitReason::catching_up:
      return "this replica is catching up";
    case WaitReason::not_voting:
      return "this replica does not vote";
    case WaitReason::overloaded:
      return "this replica has too much to do";
    case WaitReason::disks_full:
      return "too many disks are full";
  }
  return "unknown";
}

std::string disks_full_text(const std::vector<paxos::ReplicaId>& full) {
  std::string out = full.size() == 1 ? "disk of replica " : "disks of replicas ";
  for (std::size_t i = 0; i < full.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(full[i].n);
  return out + (full.size() == 1 ? " is full" : " are full");
}

namespace {

constexpr paxos::Duration patience{std::chrono::seconds{30}};
/// How often old entries are looked for: all tables are walked then.
constexpr paxos::Duration sweep_every{std::chrono::seconds{5}};

}  // namespace

struct Desk::State {
  const Machine& machine;
  Options options;
  BoundsReached reached;
  DeskOutput out;
  std::map<ClientAddress, std::vector<Receipt>> receipts;  ///< of this turn, packed per client
  Intake intake;
  Lookups lookups;
  Presence presence;
  std::uint64_t leadership = 0;  ///< that `intake` belongs to

  /// Who waits for which receipt: the last that asked.
  struct Waiter {
    ClientAddress address;
    paxos::Time since{};
  };
  std::unordered_map<Ticket, Waiter, TicketHash> waiters;  ///< never iterated but to erase
  struct Noticed {
    std::optional<paxos::Time> at;  ///< when it was last sent a notice
    paxos::Time refused_since{};    ///< when its refusals began to be counted
    unsigned refused = 0;
  };
  std::map<ClientAddress, Noticed> noticed;
  paxos::Time next_sweep = paxos::time_never;

  State(const Machine& m, Options o)
      : machine(m), options(o), intake(m, options.bounds, reached), lookups(m, out, options.bounds, reached) {
    options.bounds.check();
  }

  void reply(const ClientAddress& to, ClientReply message) {
    out.replies.push_back({to, std::move(message)});
  }
  enum class Taken : std::uint8_t { no, in_part, yes };  ///< of the client's commands
  void notice(paxos::Time now, const ClientAddress& to, const Standing& standing, Taken taken = Taken::no);
  void refuse(paxos::Time now, const ClientAddress& to, const CommandView& command, std::string why);
  Noticed& noticed_of(paxos::Time now, const ClientAddress& to);
  void follow_leadership(const Standing& standing);
  void on_commands(paxos::Time now, const ClientAddress& from, const Credential& whose,
                   const ClientCommands& m, const Standing& standing);
  /// Whether a command may come under that key: this replica can't know yet, or why not; empty: it may.
  struct Grant {
    bool unknown = false;
    std::string refused;
  };
  [[nodiscard]] Grant granted(const Credential& whose, const CommandView& command) const;
  bool wait(paxos::Time now, const ClientAddress& from, const Ticket& ticket, bool held_back);
  void on_who(paxos::Time now, const ClientAddress& from, const Credential& whose, const WhoRequest& request);
  [[nodiscard]] std::string fault_in(const CommandView& command) const;
  [[nodiscard]] std::optional<FirstSender> first_of(const CommandView& command, const Outcome& outcome) const;
  void sweep(paxos::Time now);
};

Desk::Desk(const Machine& machine, Options options) : state_(std::make_unique<State>(machine, options)) {}
Desk::~Desk() = default;

void Desk::on_message(paxos::Time now, const ClientAddress& from, const Credential& whose,
                      const ClientMessage& message, const Standing& standing) {
  State& s = *state_;
  if (const auto* commands = std::get_if<ClientCommands>(&message))
    return s.on_commands(now, from, whose, *commands, standing);
  if (std::string why = s.machine.access().why_not_live(whose); !why.empty())
    return s.lookups.refuse(from, message, std::move(why));
  if (const auto* history = std::get_if<HistoryRequest>(&message))
    s.lookups.on_history(now, from, *history, standing);
  else if (const auto* rooms = std::get_if<RoomsRequest>(&message))
    s.lookups.on_rooms(now, from, *rooms, standing);
  else if (const auto* who = std::get_if<WhoRequest>(&message))
    s.on_who(now, from, whose, *who);
  else
    s.lookups.on_follow(now, from, std::get<FollowRequest>(message), standing);
}

/// Nothing that anybody relies on: what is out of range is not worth a word.
void Desk::State::on_who(paxos::Time now, const ClientAddress& from, const Credential& whose,
                         const WhoRequest& request) {
  if (!validate_room(request.room).empty()) return;
  switch (request.what) {
    case Whereabouts::ask:
      return reply(from, WhoReply{.id = request.id, .present = presence.in(now, request.room)});
    case Whereabouts::here:
      if (!request.name.empty() && validate_name(request.name).empty() &&
          validate_visible_name(request.name).empty() && whose.may_post() &&
          machine.access().may_call_itself(whose, request.name) == Verdict::done)
        presence.here(now, from, request.room, request.name);
      return;
    case Whereabouts::gone:
      return presence.gone(from, request.room);
  }
}

// --- commands ---

/// What an earlier leadership took may be lost; its clients repeat it.
void Desk::State::follow_leadership(const Standing& standing) {
  if (standing.leadership == leadership) return;
  leadership = standing.leadership;
  intake.clear();
}

/// What the log would refuse is refused here: it costs no slot.
std::string Desk::State::fault_in(const CommandView& command) const {
  std::string fault = validate(command, machine.rules());
  if (!fault.empty() || machine.rules() < 2) return fault;
  const auto* post = std::get_if<PostView>(&command.operation);
  if (post != nullptr && machine.room_head(post->room) == 0) return validate_new_room(post->room);
  return {};
}

/// The log has the last word. What is refused here it would refuse, too, now and in any later slot, and costs
/// none. Of what ran before, or may have, only the log says what became of it.
Desk::State::Grant Desk::State::granted(const Credential& whose, const CommandView& command) const {
  const auto refused = [](std::string why) { return Grant{.unknown = false, .refused = std::move(why)}; };
  const AccessTable& access = machine.access();
  if (!whose.may_post()) return refused(to_string(whose) + " only reads");
  if (const auto* open = std::get_if<Open>(&command.operation)) {
    if (open->whose != whose) return refused("a session is opened under another key than it names");
    if (whose.is_secret()) return {};
    const AccessKey* key = access.find(whose.id);
    if (key != nullptr && key->whose == whose && key->revoked()) return refused(access.why_not_live(whose));
    // One that is not known is in a slot to come, or was never issued: it is not for everybody to fill the
    // log.
    return {.unknown = !access.live(whose), .refused = {}};
  }
  if (whose.is_secret() && access.size() == 0) return {};
  const auto session = machine.session(command.session);
  const bool revoked = !whose.is_secret() && !access.live(whose);
  if (!session) {
    // Gone for ever, or of a slot that is not applied here yet.
    if (revoked && command.session.slot <= machine.applied()) return refused(access.why_not_live(whose));
    return {.unknown = !whose.is_secret() && command.session.slot > machine.applied(), .refused = {}};
  }
  // Whoever has the secret is a replica, or could be one.
  if (!whose.is_secret() && session->whose != whose) return refused(std::string(session_of_another_key));
  if (command.seq <= session->last_seq) {
    // Under a revoked key what ran is told, and nothing else costs a slot.
    if (revoked && machine.answered_content(command.session, command.seq) != content_of(command))
      return refused(access.why_not_live(whose));
    return {};
  }
  const Verdict verdict = machine.access_verdict(session->whose, command);
  // Whether open names are allowed may change back before it runs.
  if (verdict == Verdict::done || verdict == Verdict::names_closed) return {};
  return refused(to_string(verdict));
}

Desk::State::Noticed& Desk::State::noticed_of(paxos::Time now, const ClientAddress& to) {
  next_sweep = std::min(next_sweep, now + sweep_every);
  if (noticed.size() >= options.bounds.noticed) {
    reached(Bound::noticed);
    noticed.clear();
  }
  return noticed[to];
}

/// A pack of thousands of bad commands is not answered by thousands of refusals; who repeats the rest hears
/// the rest.
void Desk::State::refuse(paxos::Time now, const ClientAddress& to, const CommandView& command,
                         std::string why) {
  Noticed& told = noticed_of(now, to);
  if (now - told.refused_since >= options.notice_every) {
    told.refused_since = now;
    told.refused = 0;
  }
  if (told.refused++ >= options.refusals_max) return;
  reply(to, CommandRefused{command.session, command.seq, std::move(why)});
}

/// At most one in `notice_every` for each client, so that a storm of repeats is not answered by another.
void Desk::State::notice(paxos::Time now, const ClientAddress& to, const Standing& standing, Taken taken) {
  Noticed& told = noticed_of(now, to);
  if (told.at && now - *told.at < options.notice_every) return;
  told.at = now;
  if (!standing.leading && standing.leader && taken != Taken::yes)
    return reply(to, Redirect{standing.leader});
  Waiting waiting;
  waiting.missing = standing.missing;
  if (!standing.voting) {
    waiting.reason = WaitReason::not_voting;
  } else if (standing.blocked) {
    // Programs of rules 1 don't know the one.
    waiting.reason = machine.rules() < 2 ? WaitReason::overloaded : WaitReason::disks_full;
    waiting.missing = standing.full;
  } else if (standing.hole) {
    waiting.reason = WaitReason::hole;
    waiting.slot = *standing.hole;
  } else if (!standing.quorum_connected || standing.short_of_room) {
    waiting.reason = WaitReason::no_quorum;
  } else if (taken == Taken::in_part) {
    waiting.reason = WaitReason::overloaded;
  } else if (standing.behind) {
    waiting.reason = WaitReason::catching_up;
  } else {
    waiting.reason = WaitReason::no_leader;
  }
  reply(to, std::move(waiting));
}

/// False when too many wait already. What is held back may stand there for as long as it is repeated: half of
/// the table is for what is under way, which leaves it soon.
bool Desk::State::wait(paxos::Time now, const ClientAddress& from, const Ticket& ticket, bool held_back) {
  const auto known = waiters.find(ticket);
  if (known != waiters.end()) {
    known->second = {from, now};
  } else if (waiters.size() < (held_back ? options.bounds.waiters / 2 : options.bounds.waiters)) {
    waiters.emplace(ticket, Waiter{from, now});
  } else {
    reached(Bound::waiters);
    return false;
  }
  next_sweep = std::min(next_sweep, now + sweep_every);
  return true;
}

void Desk::State::on_commands(paxos::Time now, const ClientAddress& from, const Credential& whose,
                              const ClientCommands& m, const Standing& standing) {
  follow_leadership(standing);
  const bool pass_on = !standing.leading && m.forward && standing.leader;
  if (!standing.leading && !pass_on) return notice(now, from, standing);
  // Nobody takes it. (What was proposed before is on its way, and answered when it is there.)
  if (pass_on && standing.blocked) return notice(now, from, standing, Taken::yes);

  // Its state is not the cluster's: a rule that is in force may be unknown to it, and a room that there is.
  const bool stale = standing.behind || !standing.voting;
  std::vector<paxos::Bytes> passed;
  bool overloaded = false;
  bool blocked = false;
  bool unjudged = false;
  for (const paxos::Bytes& bytes : m.commands) {
    const auto command = view_command(bytes.span());
    if (!command) {
      refuse(now, from, {}, command.error());
      continue;
    }
    if (std::string fault = fault_in(*command); !fault.empty()) {
      if (stale && validate(*command, UINT16_MAX).empty()) {
        unjudged = true;
        continue;
      }
      refuse(now, from, *command, std::move(fault));
      continue;
    }
    Grant grant = granted(whose, *command);
    if (!grant.refused.empty()) {
      refuse(now, from, *command, std::move(grant.refused));
      continue;
    }
    if (grant.unknown) {  // once the slot is applied here in which its session was opened
      overloaded = true;
      continue;
    }
    // A command is taken whether or not there is room for one more who waits: those that wait already may be
    // its successors, which run only after it. Its receipt comes with a repeat then. What is not taken has
    // nobody waiting for it.
    if (!pass_on && standing.blocked && !intake.has(ticket_of(*command))) {
      blocked = true;
      continue;
    }
    const Intake::Taken taken = pass_on ? Intake::Taken::queued : intake.take(now, bytes, *command);
    if (taken == Intake::Taken::full) {
      overloaded = true;
      continue;
    }
    if (!wait(now, from, ticket_of(*command), taken == Intake::Taken::held_back)) overloaded = true;
    if (pass_on) {
      passed.push_back(bytes);
      if (passed.size() == options.bounds.forward_commands) {
        reached(Bound::forward_commands);
        out.forward.push_back(std::exchange(passed, {}));
      }
    }
  }
  if (!passed.empty()) out.forward.push_back(std::move(passed));
  // What was passed on is answered when it is applied here, which may take a while where this replica is
  // behind.
  const bool held_up = standing.leading
                           ? standing.hole || !standing.quorum_connected || standing.short_of_room
                           : standing.behind;
  if (overloaded || blocked || held_up || unjudged)
    notice(now, from, standing, overloaded ? Taken::in_part : Taken::yes);
}

void Desk::on_forwarded(paxos::Time now, const std::vector<paxos::Bytes>& commands,
                        const Standing& standing) {
  State& s = *state_;
  s.follow_leadership(standing);
  if (!standing.leading || standing.blocked) return;  // who passed them on hears of full disks, too
  for (const paxos::Bytes& bytes : commands) {
    const auto command = view_command(bytes.span());
    if (command && s.fault_in(*command).empty()) s.intake.take(now, bytes, *command);
  }
  s.next_sweep = std::min(s.next_sweep, now + sweep_every);
}

std::optional<paxos::Decree> Desk::next_batch(paxos::Time, std::int64_t time_ms, const Standing& standing) {
  State& s = *state_;
  s.follow_leadership(standing);
  if (!standing.leading || !standing.can_propose) return std::nullopt;
  return s.intake.next_batch(time_ms);
}

void Desk::follow_room(const Standing& standing) {
  State& s = *state_;
  if (standing.blocked) s.intake.let_go();
  if (standing.stands_still) s.lookups.send_away(standing);
}

void Desk::leadership_ended() {
  if (std::exchange(state_->leadership, 0) != 0) state_->intake.clear();
}

bool Desk::may_have_batch(std::uint64_t leadership) const {
  return state_->leadership != leadership || state_->intake.queued();
}

/// Whose message it is that stands under the key of a repeat.
std::optional<FirstSender> Desk::State::first_of(const CommandView& command, const Outcome& outcome) const {
  const auto* post = std::get_if<PostView>(&command.operation);
  if (outcome.verdict != Verdict::repeat || post == nullptr || post->key.empty()) return std::nullopt;
  const KeyedMessage* first = machine.keyed(post->room, post->key);
  // Forgotten since, or another one's by now: the place alone is true.
  if (first == nullptr || first->slot != outcome.slot || first->index != outcome.index) return std::nullopt;
  return FirstSender{.session = first->session, .client_seq = first->client_seq, .name = first->name};
}

void Desk::on_applied(paxos::Time, const Applied& applied) {
  State& s = *state_;
  s.intake.on_applied(applied);
  if (!s.waiters.empty()) {
    for (std::size_t i = 0; i < applied.commands.size(); ++i) {
      const Ticket ticket = ticket_of(applied.commands[i]);
      const auto waiter = s.waiters.find(ticket);
      if (waiter == s.waiters.end()) continue;
      // An early one changed nothing and will run yet: no answer. Unless it is here once more, only its
      // repeat makes it run, and brings somebody who waits: until then it must not keep its predecessors'
      // receipts from being waited for.
      if (applied.outcomes[i].verdict == Verdict::early) {
        if (!s.intake.has(ticket)) s.waiters.erase(waiter);
        continue;
      }
      s.receipts[waiter->second.address].push_back(
          {applied.outcomes[i], ticket.nonce, s.first_of(applied.commands[i], applied.outcomes[i])});
      s.waiters.erase(waiter);
    }
  }
  s.lookups.on_applied(applied);
}

// --- reads ---

void Desk::read_index(std::uint64_t id, paxos::Slot index) { state_->lookups.read_index(id, index); }

void Desk::read_failed(std::uint64_t id, const Standing& standing) {
  state_->lookups.read_failed(id, standing);
}

void Desk::fail_reads(const Standing& standing) { state_->lookups.fail_reads(standing); }

void Desk::history_read(paxos::Time, std::uint64_t token, tl::expected<Page, std::string> page) {
  state_->lookups.history_read(token, std::move(page));
}

// --- time ---

/// Clients that went away; those that still want an answer have repeated their command since.
void Desk::State::sweep(paxos::Time now) {
  std::erase_if(waiters, [&](const auto& w) { return now - w.second.since >= patience; });
  std::erase_if(noticed, [&](const auto& n) {
    return now - std::max(n.second.at.value_or(paxos::Time{}), n.second.refused_since) >=
           options.notice_every;
  });
  intake.forget_held(now - patience);
  const bool idle = waiters.empty() && noticed.empty() && intake.waiting() == 0;
  next_sweep = idle ? paxos::time_never : now + sweep_every;
}

void Desk::tick(paxos::Time now, const Standing& standing) {
  State& s = *state_;
  if (now >= s.next_sweep) s.sweep(now);
  s.lookups.tick(now, standing);
}

paxos::Time Desk::deadline() const { return std::min(state_->next_sweep, state_->lookups.deadline()); }

bool Desk::has_output() const {
  const State& s = *state_;
  return !s.receipts.empty() || !s.out.replies.empty() || !s.out.history.empty() || !s.out.reads.empty() ||
         !s.out.forward.empty();
}

DeskOutput Desk::take_output() {
  State& s = *state_;
  for (auto& [address, receipts] : s.receipts) {
    const std::size_t most = s.options.bounds.receipts_per_reply;
    if (receipts.size() <= most) {
      s.out.replies.push_back({address, Receipts{std::move(receipts)}});
      continue;
    }
    s.reached(Bound::receipts_per_reply);
    for (std::size_t at = 0; at < receipts.size(); at += most) {
      const auto begin = receipts.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end = receipts.begin() + static_cast<std::ptrdiff_t>(std::min(at + most, receipts.size()));
      s.out.replies.push_back({address, Receipts{{begin, end}}});
    }
  }
  s.receipts.clear();
  return std::exchange(s.out, {});
}

BoundsReached& Desk::bounds_reached() { return state_->reached; }
const BoundsReached& Desk::bounds_reached() const { return state_->reached; }

Desk::Figures Desk::figures() const {
  const State& s = *state_;
  return {.waiting_receipts = s.waiters.size(),
          .queued_commands = s.intake.waiting(),
          .polls = s.lookups.polls(),
          .reads = s.lookups.reads()};
}

}  // namespace chat
