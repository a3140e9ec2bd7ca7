#include "chat/desk.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "paxos/invariant.h"

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
  }
  return "unknown";
}

namespace {

constexpr std::size_t receipts_waiting_max = 200'000;
constexpr std::size_t queue_commands_max = 65'536;
constexpr std::size_t queue_bytes_max = 32 * 1024 * 1024;
constexpr std::size_t early_max = 65'536;
constexpr std::size_t polls_max = 65'536;
constexpr std::size_t reads_max = 65'536;
constexpr std::size_t fetches_max = 4'096;  ///< each holds up to a page when it is done
constexpr std::size_t noticed_max = 65'536;
constexpr std::size_t in_line_max = 2 * limits::sessions_max;
constexpr paxos::Duration receipt_patience{std::chrono::seconds{30}};
constexpr paxos::Duration read_patience{std::chrono::seconds{5}};
constexpr std::uint32_t poll_ms_max = 30'000;
constexpr std::size_t receipts_per_reply = 512;

/// A command's name for those who wait for it: its session and seq, or an open's nonce.
struct Ticket {
  SessionId session;
  std::uint64_t seq = 0;
  Nonce nonce{};
  friend bool operator==(const Ticket&, const Ticket&) = default;
};
struct TicketHash {
  std::size_t operator()(const Ticket& t) const {
    std::uint64_t h = t.session.slot.n * 0x9e3779b97f4a7c15ULL + t.session.index;
    h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9ULL + t.seq;
    for (std::size_t i = 0; i < 8; ++i) h ^= static_cast<std::uint64_t>(t.nonce[i]) << (8 * i);
    return static_cast<std::size_t>(h ^ (h >> 32));
  }
};
Ticket ticket_of(const Command& c) {
  if (const auto* open = std::get_if<Open>(&c.operation))
    return {.session = {}, .seq = 0, .nonce = open->nonce};
  return {.session = c.session, .seq = c.seq, .nonce = {}};
}

struct SessionHash {
  std::size_t operator()(const SessionId& id) const {
    return static_cast<std::size_t>(id.slot.n * 0x9e3779b97f4a7c15ULL + id.index);
  }
};

}  // namespace

struct Desk::State {
  const Machine& machine;
  Options options;
  DeskOutput out;

  // Commands that wait to be proposed (leader), in arrival order.
  struct Queued {
    paxos::Bytes bytes;
    Ticket ticket;
  };
  std::deque<Queued> queue;
  std::size_t queue_bytes = 0;
  std::uint64_t leadership = 0;
  /// What this leadership has taken for proposing: per session the highest seq in line, and every ticket
  /// under way.
  std::unordered_map<SessionId, std::uint64_t, SessionHash> in_line;
  std::unordered_map<Ticket, bool, TicketHash> under_way;
  std::map<SessionId, std::map<std::uint64_t, paxos::Bytes>>
      early;  ///< held back until their predecessors came
  std::size_t early_count = 0;

  // Who waits for which receipt.
  struct Waiter {
    ClientAddress address;
    paxos::Time since{};
  };
  std::unordered_map<Ticket, Waiter, TicketHash> waiters;
  paxos::Time next_sweep = paxos::time_never;

  // Notices (Waiting, Redirect), rate-limited per client.
  std::map<ClientAddress, paxos::Time> noticed;

  // Reads.
  struct Read {
    ClientAddress address;
    HistoryRequest request;
    bool confirmed = false;  ///< has its index
    paxos::Slot index;
    paxos::Time since{};
  };
  std::map<std::uint64_t, Read> reads;
  std::set<std::pair<paxos::Slot, std::uint64_t>> by_index;  ///< confirmed reads that wait for applying
  std::uint64_t next_read = 1;
  struct Fetch {
    ClientAddress address;
    std::uint64_t id = 0;
    std::string room;
  };
  std::map<std::uint64_t, Fetch> fetches;  ///< history wishes under way, by token
  std::uint64_t next_token = 1;

  // Long polls, by room.
  struct Poll {
    std::uint64_t id = 0;
    std::uint64_t from = 0;
    paxos::Time until{};
  };
  std::map<std::string, std::map<ClientAddress, Poll>, std::less<>> polls;
  std::size_t poll_count = 0;
  std::map<ClientAddress, std::vector<Receipt>> receipts;  ///< of this turn, packed per client

  State(const Machine& m, Options o) : machine(m), options(o) {}

  void reply(const ClientAddress& to, ClientReply message) {
    out.replies.push_back({to, std::move(message)});
  }
  void notice(paxos::Time now, const ClientAddress& to, const Standing& standing);
  void new_leadership(const Standing& standing);
  void take(const ClientAddress* from, paxos::Time now, const paxos::Bytes& bytes, const Standing& standing);
  void line_up(paxos::Bytes bytes, const Command& command);
  void push(paxos::Bytes bytes, const Ticket& ticket);
  void release_early(const SessionId& session);
  void on_commands(paxos::Time now, const ClientAddress& from, const ClientCommands& m,
                   const Standing& standing);
  void on_history(paxos::Time now, const ClientAddress& from, const HistoryRequest& m,
                  const Standing& standing);
  void on_follow(paxos::Time now, const ClientAddress& from, const FollowRequest& m);
  void fetch(const ClientAddress& to, std::uint64_t id, std::string room, std::uint64_t from,
             std::uint32_t limit);
  void serve(std::uint64_t id);
  void serve_ready();
};

Desk::Desk(const Machine& machine, Options options) : state_(std::make_unique<State>(machine, options)) {}
Desk::~Desk() = default;

// --- commands ---

void Desk::on_message(paxos::Time now, const ClientAddress& from, const ClientMessage& message,
                      const Standing& standing) {
  if (const auto* commands = std::get_if<ClientCommands>(&message))
    state_->on_commands(now, from, *commands, standing);
  else if (const auto* history = std::get_if<HistoryRequest>(&message))
    state_->on_history(now, from, *history, standing);
  else
    state_->on_follow(now, from, std::get<FollowRequest>(message));
}

void Desk::State::notice(paxos::Time now, const ClientAddress& to, const Standing& standing) {
  if (noticed.size() >= noticed_max) noticed.clear();
  auto [at, fresh] = noticed.try_emplace(to, now);
  if (!fresh) {
    if (now - at->second < options.notice_every) return;
    at->second = now;
  }
  if (!standing.leading && standing.leader) {
    reply(to, Redirect{standing.leader});
    return;
  }
  Waiting waiting;
  waiting.missing = standing.missing;
  if (!standing.voting) {
    waiting.reason = WaitReason::not_voting;
  } else if (standing.hole) {
    waiting.reason = WaitReason::hole;
    waiting.slot = *standing.hole;
  } else if (!standing.quorum_connected) {
    waiting.reason = WaitReason::no_quorum;
  } else if (!standing.leading) {
    waiting.reason = WaitReason::no_leader;
  } else {
    waiting.reason = WaitReason::overloaded;
  }
  reply(to, std::move(waiting));
}

/// What an earlier leadership took is no longer known to be under way; clients repeat it.
void Desk::State::new_leadership(const Standing& standing) {
  if (standing.leadership == leadership) return;
  leadership = standing.leadership;
  in_line.clear();
  under_way.clear();
  early.clear();
  early_count = 0;
  queue.clear();
  queue_bytes = 0;
}

void Desk::State::on_commands(paxos::Time now, const ClientAddress& from, const ClientCommands& m,
                              const Standing& standing) {
  new_leadership(standing);
  if (standing.leading) {
    for (const paxos::Bytes& bytes : m.commands) take(&from, now, bytes, standing);
    if (standing.hole) notice(now, from, standing);
    return;
  }
  if (!m.forward || !standing.leader) {
    notice(now, from, standing);
    return;
  }
  // Passed on; whoever applies them here will find this client waiting.
  std::vector<paxos::Bytes> pass;
  for (const paxos::Bytes& bytes : m.commands) {
    const auto command = decode_command(bytes.span());
    if (!command) continue;
    if (std::string fault = validate(*command); !fault.empty()) {
      reply(from, CommandRefused{command->session, command->seq, std::move(fault)});
      continue;
    }
    if (waiters.size() < receipts_waiting_max) waiters[ticket_of(*command)] = {from, now};
    pass.push_back(bytes);
    if (pass.size() == paxos::limits::forward_commands_max) out.forward.push_back(std::exchange(pass, {}));
  }
  if (!pass.empty()) out.forward.push_back(std::move(pass));
  next_sweep = std::min(next_sweep, now + receipt_patience);
}

void Desk::on_forwarded(paxos::Time now, const std::vector<paxos::Bytes>& commands,
                        const Standing& standing) {
  state_->new_leadership(standing);
  if (!standing.leading) return;
  for (const paxos::Bytes& bytes : commands) state_->take(nullptr, now, bytes, standing);
}

void Desk::State::take(const ClientAddress* from, paxos::Time now, const paxos::Bytes& bytes,
                       const Standing& standing) {
  const auto command = decode_command(bytes.span());
  if (!command) return;  // not even a name to answer to
  if (std::string fault = validate(*command); !fault.empty()) {
    if (from != nullptr) reply(*from, CommandRefused{command->session, command->seq, std::move(fault)});
    return;
  }
  const Ticket ticket = ticket_of(*command);
  if (from != nullptr) {
    const auto known = waiters.find(ticket);
    if (known != waiters.end())
      known->second = {*from, now};
    else if (waiters.size() < receipts_waiting_max)
      waiters.emplace(ticket, Waiter{*from, now});
    else
      return notice(now, *from, standing);
    next_sweep = std::min(next_sweep, now + receipt_patience);
  }
  if (under_way.contains(ticket)) return;
  if (queue.size() >= queue_commands_max || queue_bytes + bytes.size() > queue_bytes_max) {
    if (from != nullptr) notice(now, *from, standing);
    return;
  }
  line_up(bytes, *command);
}

/// Session order: a command goes into the queue when its predecessors are applied or in line before it.
void Desk::State::line_up(paxos::Bytes bytes, const Command& command) {
  const Ticket ticket = ticket_of(command);
  if (ticket.session.none()) return push(std::move(bytes), ticket);
  const auto session = machine.session(command.session);
  if (in_line.size() >= in_line_max) in_line.clear();  // applied sessions know their own last seq
  std::uint64_t& last = in_line[command.session];
  if (session) last = std::max(last, session->last_seq);
  // An unknown session may have been opened in a slot that is not applied yet, or be gone: the log says
  // which.
  if (!session || command.seq <= last) return push(std::move(bytes), ticket);
  if (command.seq == last + 1) {
    last = command.seq;
    push(std::move(bytes), ticket);
    release_early(command.session);
    return;
  }
  auto& held = early[command.session];
  if (held.size() >= limits::outstanding_max || early_count >= early_max) return;  // it comes again
  if (held.emplace(command.seq, std::move(bytes)).second) ++early_count;
}

void Desk::State::release_early(const SessionId& session) {
  const auto held = early.find(session);
  if (held == early.end()) return;
  std::uint64_t& last = in_line[session];
  while (!held->second.empty() && held->second.begin()->first <= last + 1) {
    auto node = held->second.extract(held->second.begin());
    --early_count;
    last = std::max(last, node.key());
    const Ticket ticket{.session = session, .seq = node.key(), .nonce = {}};
    if (!under_way.contains(ticket)) push(std::move(node.mapped()), ticket);
  }
  if (held->second.empty()) early.erase(held);
}

void Desk::State::push(paxos::Bytes bytes, const Ticket& ticket) {
  under_way.emplace(ticket, true);
  queue_bytes += bytes.size();
  queue.push_back({std::move(bytes), ticket});
}

std::optional<paxos::Decree> Desk::next_batch(paxos::Time, std::int64_t time_ms, const Standing& standing) {
  State& s = *state_;
  s.new_leadership(standing);
  if (!standing.leading || s.queue.empty()) return std::nullopt;
  std::vector<paxos::Bytes> commands;
  std::size_t bytes = 0;
  while (!s.queue.empty() && commands.size() < limits::commands_per_decree_max) {
    const std::size_t size = s.queue.front().bytes.size();
    if (!commands.empty() &&
        decree_bytes(commands.size() + 1, bytes + size) > paxos::limits::decree_bytes_max)
      break;
    bytes += size;
    s.queue_bytes -= size;
    commands.push_back(std::move(s.queue.front().bytes));
    s.queue.pop_front();
  }
  return make_decree(time_ms, commands);
}

void Desk::on_applied(paxos::Time, const Applied& applied) {
  State& s = *state_;
  std::map<std::string_view, std::vector<std::size_t>> rooms;  // posts that ran now, by room
  for (std::size_t i = 0; i < applied.commands.size(); ++i) {
    const Command& command = applied.commands[i];
    const Outcome& outcome = applied.outcomes[i];
    const Ticket ticket = ticket_of(command);
    s.under_way.erase(ticket);
    if (outcome.verdict == Verdict::done)
      if (const auto* post = std::get_if<Post>(&command.operation); post != nullptr && !s.polls.empty())
        if (s.polls.contains(post->room)) rooms[post->room].push_back(i);
    if (std::holds_alternative<Close>(command.operation)) s.in_line.erase(command.session);
    const auto waiter = s.waiters.find(ticket);
    if (waiter == s.waiters.end() || outcome.verdict == Verdict::early) continue;
    s.receipts[waiter->second.address].push_back({outcome, ticket.nonce});
    s.waiters.erase(waiter);
  }
  for (const auto& [room, posts] : rooms) {
    const auto waiting = s.polls.find(room);
    const std::uint64_t head = s.machine.room_head(room);
    for (const auto& [address, poll] : waiting->second) {
      HistoryReply reply{.id = poll.id, .refused = {}, .page = {}, .applied = applied.slot};
      reply.page.head = head;
      std::size_t bytes = 0;
      for (std::size_t i : posts) {
        const auto& post = std::get<Post>(applied.commands[i].operation);
        const Outcome& o = applied.outcomes[i];
        if (o.room_seq < poll.from) continue;
        bytes += post.text.size() + post.name.size() + post.room.size() + 64;
        if (!reply.page.messages.empty() &&
            (bytes > limits::page_bytes_max || reply.page.messages.size() == limits::page_messages_max)) {
          reply.page.next = o.room_seq;
          break;
        }
        reply.page.messages.push_back({.room = post.room,
                                       .seq = o.room_seq,
                                       .slot = o.slot,
                                       .index = o.index,
                                       .name = post.name,
                                       .session = o.session,
                                       .client_seq = o.client_seq,
                                       .time_ms = o.time_ms,
                                       .text = post.text});
      }
      s.reply(address, std::move(reply));
    }
    s.poll_count -= waiting->second.size();
    s.polls.erase(waiting);
  }
  s.serve_ready();
}

// --- history ---

void Desk::State::on_history(paxos::Time now, const ClientAddress& from, const HistoryRequest& m,
                             const Standing& standing) {
  const auto refuse = [&](std::string why) {
    reply(from,
          HistoryReply{.id = m.id, .refused = std::move(why), .page = {}, .applied = machine.applied()});
  };
  if (std::string fault = validate_room(m.room); !fault.empty()) return refuse(std::move(fault));
  if (!m.local && !standing.voting)
    return refuse(
        "this replica does not vote, so it can't confirm that it is current; ask another, or use --local");
  if (reads.size() >= reads_max)
    return refuse("too many reads are waiting here; try again, or another replica");
  const std::uint64_t id = next_read++;
  Read& read = reads[id];
  read.address = from;
  read.request = m;
  read.since = now;
  if (m.local) {
    serve(id);
    return;
  }
  next_sweep = std::min(next_sweep, now + read_patience);
  out.reads.push_back(id);
}

void Desk::read_index(std::uint64_t id, paxos::Slot index) {
  State& s = *state_;
  const auto at = s.reads.find(id);
  if (at == s.reads.end() || at->second.confirmed) return;
  at->second.confirmed = true;
  at->second.index = index;
  if (s.machine.applied() >= index)
    s.serve(id);
  else
    s.by_index.emplace(index, id);
}

void Desk::read_failed(std::uint64_t id, const Standing& standing) {
  State& s = *state_;
  const auto at = s.reads.find(id);
  if (at == s.reads.end()) return;
  std::string why = !standing.voting ? "this replica does not vote"
                    : !standing.quorum_connected
                        ? "no quorum: this replica does not hear enough of the others"
                        : "no leader confirmed the read; an election may be under way";
  s.reply(at->second.address, HistoryReply{.id = at->second.request.id,
                                           .refused = why + " (--local reads what is applied here)",
                                           .page = {},
                                           .applied = s.machine.applied()});
  s.reads.erase(at);
}

void Desk::State::serve_ready() {
  while (!by_index.empty() && by_index.begin()->first <= machine.applied()) {
    const std::uint64_t id = by_index.begin()->second;
    by_index.erase(by_index.begin());
    serve(id);
  }
}

void Desk::State::serve(std::uint64_t id) {
  const auto at = reads.find(id);
  if (at == reads.end()) return;
  const Read read = std::move(at->second);
  reads.erase(at);
  std::uint64_t from = std::max<std::uint64_t>(read.request.from, 1);
  if (read.request.last != 0) {
    const std::uint64_t head = machine.room_head(read.request.room);
    from = head >= read.request.last ? head - read.request.last + 1 : 1;
  }
  fetch(read.address, read.request.id, read.request.room, from, read.request.limit);
}

void Desk::State::fetch(const ClientAddress& to, std::uint64_t id, std::string room, std::uint64_t from,
                        std::uint32_t limit) {
  const std::uint64_t head = machine.room_head(room);
  if (from > head) {
    HistoryReply answer{.id = id, .refused = {}, .page = {}, .applied = machine.applied()};
    answer.page.head = head;
    reply(to, std::move(answer));
    return;
  }
  if (fetches.size() >= fetches_max) {
    reply(to, HistoryReply{.id = id,
                           .refused = "too many pages are being read here; try again, or another replica",
                           .page = {},
                           .applied = machine.applied()});
    return;
  }
  const std::uint64_t token = next_token++;
  fetches.emplace(token, Fetch{to, id, room});
  out.history.push_back({token, std::move(room), from, limit});
}

void Desk::history_read(paxos::Time, std::uint64_t token, tl::expected<HistoryPage, std::string> page) {
  State& s = *state_;
  const auto at = s.fetches.find(token);
  if (at == s.fetches.end()) return;
  HistoryReply reply{.id = at->second.id, .refused = {}, .page = {}, .applied = s.machine.applied()};
  if (page)
    reply.page = std::move(*page);
  else
    reply.refused = "this replica cannot read its history: " + page.error();
  s.reply(at->second.address, std::move(reply));
  s.fetches.erase(at);
}

void Desk::State::on_follow(paxos::Time now, const ClientAddress& from, const FollowRequest& m) {
  if (std::string fault = validate_room(m.room); !fault.empty()) {
    reply(from,
          HistoryReply{.id = m.id, .refused = std::move(fault), .page = {}, .applied = machine.applied()});
    return;
  }
  const std::uint64_t head = machine.room_head(m.room);
  if (m.from == 0) {
    HistoryReply answer{.id = m.id, .refused = {}, .page = {}, .applied = machine.applied()};
    answer.page.head = head;
    reply(from, std::move(answer));
    return;
  }
  if (m.from <= head) {
    fetch(from, m.id, m.room, m.from, 0);
    return;
  }
  auto& room = polls[m.room];
  if (!room.contains(from)) {
    if (poll_count >= polls_max) return;  // it asks again
    ++poll_count;
  }
  room[from] = {m.id, m.from, now + std::chrono::milliseconds{std::min(m.wait_ms, poll_ms_max)}};
  next_sweep = std::min(next_sweep, room[from].until);
}

// --- time ---

void Desk::tick(paxos::Time now, const Standing& standing) {
  State& s = *state_;
  if (now < s.next_sweep) return;
  paxos::Time next = paxos::time_never;
  for (auto room = s.polls.begin(); room != s.polls.end();) {
    for (auto poll = room->second.begin(); poll != room->second.end();) {
      if (poll->second.until > now) {
        next = std::min(next, poll->second.until);
        ++poll;
        continue;
      }
      HistoryReply empty{.id = poll->second.id, .refused = {}, .page = {}, .applied = s.machine.applied()};
      empty.page.head = s.machine.room_head(room->first);
      s.reply(poll->first, std::move(empty));
      poll = room->second.erase(poll);
      --s.poll_count;
    }
    room = room->second.empty() ? s.polls.erase(room) : std::next(room);
  }
  std::vector<std::uint64_t> stale;
  for (const auto& [id, read] : s.reads) {
    if (now - read.since >= read_patience)
      stale.push_back(id);
    else
      next = std::min(next, read.since + read_patience);
  }
  for (std::uint64_t id : stale) {
    s.by_index.erase({s.reads[id].index, id});
    read_failed(id, standing);
  }
  // Clients that went away; those that still want an answer have repeated their command since.
  const bool sweep = std::any_of(s.waiters.begin(), s.waiters.end(),
                                 [&](const auto& w) { return now - w.second.since >= receipt_patience; });
  if (sweep)
    std::erase_if(s.waiters, [&](const auto& w) { return now - w.second.since >= receipt_patience; });
  if (!s.waiters.empty()) next = std::min(next, now + receipt_patience);
  std::erase_if(s.noticed, [&](const auto& n) { return now - n.second >= s.options.notice_every; });
  s.next_sweep = next;
}

paxos::Time Desk::deadline() const { return state_->next_sweep; }

bool Desk::has_output() const {
  const State& s = *state_;
  return !s.receipts.empty() || !s.out.replies.empty() || !s.out.history.empty() || !s.out.reads.empty() ||
         !s.out.forward.empty();
}

DeskOutput Desk::take_output() {
  State& s = *state_;
  for (auto& [address, receipts] : s.receipts) {
    for (std::size_t at = 0; at < receipts.size(); at += receipts_per_reply) {
      const auto begin = receipts.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end =
          receipts.begin() + static_cast<std::ptrdiff_t>(std::min(at + receipts_per_reply, receipts.size()));
      s.out.replies.push_back({address, Receipts{{begin, end}}});
    }
  }
  s.receipts.clear();
  return std::exchange(s.out, {});
}

Desk::Figures Desk::figures() const {
  const State& s = *state_;
  return {.waiting_receipts = s.waiters.size(),
          .queued_commands = s.queue.size() + s.early_count,
          .polls = s.poll_count,
          .reads = s.reads.size()};
}

}  // namespace chat
