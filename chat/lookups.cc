#include "chat/lookups.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "paxos/invariant.h"

namespace chat {

namespace {

constexpr paxos::Duration read_patience{std::chrono::seconds{5}};
constexpr std::uint32_t poll_ms_max = 30'000;

std::string why_not_serving(const Standing& standing) {
  if (standing.diverged) return "this replica disagrees with the others and has stopped serving; ask another";
  if (!standing.voting) return "this replica does not vote; ask another";
  if (standing.stands_still)
    return "this replica's disk is full, and it stands still while the others go on; ask another";
  return {};
}

/// Somebody's history is wrong, and this replica can't tell whose.
std::string dispute(const Standing& standing) {
  std::string peers;
  for (const paxos::ReplicaId id : standing.disagreeing)
    peers += (peers.empty() ? "" : ", ") + std::to_string(id.n);
  return "replicas disagree: replica " + peers + " and this one have computed different states by slot " +
         std::to_string(standing.disagrees_since.n) +
         ", and no quorum tells which is right; an operator looks at `paxosctl verify`";
}

}  // namespace

void Lookups::answer(const ClientAddress& to, std::uint64_t id, HistoryPage page, bool stamps) {
  if (!stamps)
    for (Message& message : page.messages) {
      message.written_ms = 0;
      if (message.redacted) message.text = redacted_text;
      message.redacted.reset();
      message.key = 0;
      message.proven = false;
    }
  if (!stamps) page.first = 1;  // it reads no such reply
  out_.replies.push_back(
      {to, HistoryReply{.id = id, .refused = {}, .page = std::move(page), .applied = machine_.applied()}});
}

void Lookups::refuse(const ClientAddress& to, std::uint64_t id, std::string why, About about) {
  if (about == About::rooms)
    out_.replies.push_back(
        {to, RoomsReply{.id = id, .refused = std::move(why), .page = {}, .applied = machine_.applied()}});
  else
    out_.replies.push_back(
        {to, HistoryReply{.id = id, .refused = std::move(why), .page = {}, .applied = machine_.applied()}});
}

void Lookups::refuse(const ClientAddress& to, const ClientMessage& request, std::string why) {
  if (const auto* history = std::get_if<HistoryRequest>(&request))
    return refuse(to, history->id, std::move(why));
  if (const auto* follow = std::get_if<FollowRequest>(&request))
    return refuse(to, follow->id, std::move(why));
  if (const auto* rooms = std::get_if<RoomsRequest>(&request))
    return refuse(to, rooms->id, std::move(why), About::rooms);
}

void Lookups::answer_head(const ClientAddress& to, std::uint64_t id, std::string_view room, bool stamps) {
  HistoryPage page;
  page.head = machine_.room_head(room);
  page.first = machine_.room_first(room);
  answer(to, id, std::move(page), stamps);
}

// --- history ---

void Lookups::on_history(paxos::Time now, const ClientAddress& from, const HistoryRequest& request,
                         const Standing& standing) {
  if (std::string fault = validate_room(request.room); !fault.empty())
    return refuse(from, request.id, std::move(fault));
  on_read(now, from, {.request = request, .about = About::room}, standing);
}

void Lookups::on_rooms(paxos::Time now, const ClientAddress& from, const RoomsRequest& request,
                       const Standing& standing) {
  on_read(now, from,
          {.request = {.id = request.id,
                       .room = request.from,
                       .from = 0,
                       .last = 0,
                       .limit = request.limit,
                       .local = request.local},
           .about = About::rooms},
          standing);
}

void Lookups::on_read(paxos::Time now, const ClientAddress& from, Wanted wanted, const Standing& standing) {
  const HistoryRequest& request = wanted.request;
  const auto refused = [&](std::string why) { refuse(from, request.id, std::move(why), wanted.about); };
  if (standing.diverged) return refused(why_not_serving(standing));
  if (request.local) return serve(from, wanted);
  if (!standing.voting)
    return refused(
        "this replica does not vote, so it can't confirm that it is current; ask another, or read "
        "what is applied here with --local");
  if (standing.disputed)
    return refused(dispute(standing) + ", or read what is applied here, right or wrong, with --local");
  if (standing.stands_still)
    return refused(why_not_serving(standing) + ", or read what is applied here with --local");
  if (read_of_.contains({from, request.id})) return;
  if (reads_.size() >= bounds_.reads) {
    reached_(Bound::reads);
    return refused("too many reads are waiting here; try again, or another replica");
  }
  const std::uint64_t number = ++last_read_;
  read_of_.emplace(std::pair(from, request.id), number);
  reads_.emplace(number, Read{.address = from, .wanted = std::move(wanted), .index = {}, .since = now});
  out_.reads.push_back(number);
}

void Lookups::erase_read(std::map<std::uint64_t, Read>::iterator at) {
  read_of_.erase({at->second.address, at->second.wanted.request.id});
  if (at->second.confirmed) by_index_.erase({at->second.index, at->first});
  reads_.erase(at);
}

void Lookups::read_index(std::uint64_t id, paxos::Slot index) {
  const auto at = reads_.find(id);
  if (at == reads_.end() || at->second.confirmed) return;
  if (machine_.applied() >= index) {
    serve(at->second.address, at->second.wanted);
    erase_read(at);
    return;
  }
  at->second.confirmed = true;
  at->second.index = index;
  by_index_.emplace(index, id);
}

void Lookups::read_failed(std::uint64_t id, const Standing& standing) {
  const auto at = reads_.find(id);
  if (at == reads_.end()) return;
  std::string why;
  if (standing.disputed)
    why = dispute(standing);
  else if (standing.stands_still)
    why = why_not_serving(standing);
  else if (!standing.voting)
    why = "this replica does not vote";
  else if (!standing.quorum_connected)
    why = "no quorum: this replica does not hear enough of the others";
  else if (at->second.confirmed && standing.hole)
    why = "skipped slot " + std::to_string(standing.hole->n) + " holds the log up until the leader changes";
  else if (at->second.confirmed)
    why = "this replica is behind: it has applied slot " + std::to_string(machine_.applied().n) +
          " and needs slot " + std::to_string(at->second.index.n);
  else
    why = "no leader confirmed the read; an election may be under way";
  refuse(at->second.address, at->second.wanted.request.id,
         why + "; try again, or read what is applied here with --local", at->second.wanted.about);
  erase_read(at);
}

void Lookups::fail_reads(const Standing& standing) {
  while (!reads_.empty()) read_failed(reads_.begin()->first, standing);
}

void Lookups::send_away(const Standing& standing) {
  fail_reads(standing);
  while (!polls_.empty()) {
    refuse(polls_.begin()->second.address, polls_.begin()->second.id, why_not_serving(standing));
    erase_poll(polls_.begin());
  }
}

void Lookups::serve(const ClientAddress& to, const Wanted& wanted) {
  const HistoryRequest& request = wanted.request;
  if (wanted.about == About::rooms)
    return wish(to, request.id, wanted.about,
                {.token = 0, .room = request.room, .from = 0, .limit = request.limit, .rooms = true});
  std::uint64_t from = std::max<std::uint64_t>(request.from, 1);
  if (request.last != 0) {
    const std::uint64_t head = machine_.room_head(request.room);
    from = head > request.last ? head - request.last + 1 : 1;
  }
  fetch(to, request.id, request.room, from, request.limit & ~limit_wants_stamps,
        (request.limit & limit_wants_stamps) != 0);
}

void Lookups::fetch(const ClientAddress& to, std::uint64_t id, const std::string& room, std::uint64_t from,
                    std::uint32_t limit, bool stamps) {
  if (from > machine_.room_head(room)) return answer_head(to, id, room, stamps);
  wish(to, id, About::room, {.token = 0, .room = room, .from = from, .limit = limit}, stamps);
}

void Lookups::wish(const ClientAddress& to, std::uint64_t id, About about, HistoryWish wish, bool stamps) {
  if (fetches_.size() >= bounds_.fetches) {
    reached_(Bound::fetches);
    return refuse(to, id, "too many pages are being read here; try again, or another replica", about);
  }
  wish.token = ++last_token_;
  fetches_.emplace(wish.token, Fetch{to, id, about, stamps});
  out_.history.push_back(std::move(wish));
}

void Lookups::history_read(std::uint64_t token, tl::expected<Page, std::string> page) {
  const auto at = fetches_.find(token);
  if (at == fetches_.end()) return;
  const auto& [address, id, about, stamps] = at->second;
  if (!page)
    refuse(address, id, "this replica cannot read its history: " + page.error() + "; ask another", about);
  else if (auto* rooms = std::get_if<RoomsPage>(&*page))
    out_.replies.push_back(
        {address,
         RoomsReply{.id = id, .refused = {}, .page = std::move(*rooms), .applied = machine_.applied()}});
  else
    answer(address, id, std::get<HistoryPage>(std::move(*page)), stamps);
  fetches_.erase(at);
}

// --- follow ---

void Lookups::on_follow(paxos::Time now, const ClientAddress& from, const FollowRequest& request,
                        const Standing& standing) {
  if (std::string fault = validate_room(request.room); !fault.empty())
    return refuse(from, request.id, std::move(fault));
  if (std::string why = why_not_serving(standing); !why.empty())
    return refuse(from, request.id, std::move(why));
  auto room = polls_of_room_.find(request.room);
  if (room != polls_of_room_.end()) {
    if (const auto known = room->second.find(from); known != room->second.end()) {
      const auto poll = polls_.find(known->second);
      PAXOS_ASSERT(poll != polls_.end());
      // Said again, because the answer may have been lost: it ends when it was to end, or it never would.
      if (poll->second.id == request.id && poll->second.from == request.from) return;
      // The latest of a client wins; it no longer waits for an earlier one.
      erase_poll(poll);
    }
  }
  if (request.from == 0)
    return answer_head(from, request.id, request.room, (request.wait_ms & wait_wants_stamps) != 0);
  if (request.from <= machine_.room_head(request.room))
    return fetch(from, request.id, request.room, request.from, 0, (request.wait_ms & wait_wants_stamps) != 0);
  if (polls_.size() >= bounds_.polls) {
    reached_(Bound::polls);
    return refuse(from, request.id, "too many clients follow rooms here; try another replica");
  }
  const PollNumber number = ++last_poll_;
  Poll poll{.address = from,
            .room = request.room,
            .id = request.id,
            .from = request.from,
            .until = now + std::chrono::milliseconds{std::min(request.wait_ms, poll_ms_max)},
            .stamps = (request.wait_ms & wait_wants_stamps) != 0};
  poll_ends_.emplace(poll.until, number);
  polls_of_room_[poll.room].emplace(from, number);
  polls_.emplace(number, std::move(poll));
}

void Lookups::erase_poll(std::map<PollNumber, Poll>::iterator at) {
  poll_ends_.erase({at->second.until, at->first});
  const auto room = polls_of_room_.find(at->second.room);
  room->second.erase(at->second.address);
  if (room->second.empty()) polls_of_room_.erase(room);
  polls_.erase(at);
}

/// Straight from the slot's commands: the state store is not asked.
void Lookups::push(const Poll& poll, const Applied& applied, const std::vector<std::size_t>& posts) {
  HistoryPage page;
  page.head = machine_.room_head(poll.room);
  page.first = machine_.room_first(poll.room);
  std::size_t bytes = 0;
  for (const std::size_t i : posts) {
    const auto& post = std::get<PostView>(applied.commands[i].operation);
    const Outcome& o = applied.outcomes[i];
    if (o.room_seq < poll.from) continue;
    const std::size_t size = post.text.size() + post.name.size() + post.room.size() + 64;
    const bool full = page.messages.size() == bounds_.push_messages;
    if (full || (!page.messages.empty() && bytes + size > bounds_.push_bytes)) {
      reached_(full ? Bound::push_messages : Bound::push_bytes);
      page.next = o.room_seq;
      break;
    }
    bytes += size;
    page.messages.push_back({.room = std::string(post.room),
                             .seq = o.room_seq,
                             .slot = o.slot,
                             .index = o.index,
                             .name = std::string(post.name),
                             .session = o.session,
                             .client_seq = o.client_seq,
                             .time_ms = o.time_ms,
                             .text = std::string(post.text),
                             .written_ms = post.written_ms,
                             .redacted = post.redacted ? std::optional(Redaction{}) : std::nullopt,
                             .key = applied.posters.empty() ? 0 : applied.posters[i].key,
                             .proven = !applied.posters.empty() && applied.posters[i].proven});
  }
  answer(poll.address, poll.id, std::move(page), poll.stamps);
}

void Lookups::on_applied(const Applied& applied) {
  if (!polls_.empty()) {
    std::map<std::string_view, std::vector<std::size_t>> rooms;  // posts that ran now
    for (std::size_t i = 0; i < applied.commands.size(); ++i) {
      const auto* post = std::get_if<PostView>(&applied.commands[i].operation);
      if (post != nullptr && applied.outcomes[i].verdict == Verdict::done &&
          polls_of_room_.contains(post->room))
        rooms[post->room].push_back(i);
    }
    for (const auto& [room, posts] : rooms) {
      const std::uint64_t head = applied.outcomes[posts.back()].room_seq;
      std::vector<PollNumber> due;
      for (const auto& [address, number] : polls_of_room_.find(room)->second)
        if (polls_.at(number).from <= head) due.push_back(number);
      for (const PollNumber number : due) {
        const auto at = polls_.find(number);
        push(at->second, applied, posts);
        erase_poll(at);
      }
    }
  }
  while (!by_index_.empty() && by_index_.begin()->first <= machine_.applied()) {
    const auto at = reads_.find(by_index_.begin()->second);
    serve(at->second.address, at->second.wanted);
    erase_read(at);
  }
}

// --- time ---

void Lookups::tick(paxos::Time now, const Standing& standing) {
  while (!poll_ends_.empty() && poll_ends_.begin()->first <= now) {
    const auto at = polls_.find(poll_ends_.begin()->second);
    answer_head(at->second.address, at->second.id, at->second.room, at->second.stamps);
    erase_poll(at);
  }
  while (!reads_.empty() && now - reads_.begin()->second.since >= read_patience)
    read_failed(reads_.begin()->first, standing);
}

paxos::Time Lookups::deadline() const {
  paxos::Time at = paxos::time_never;
  if (!poll_ends_.empty()) at = std::min(at, poll_ends_.begin()->first);
  if (!reads_.empty()) at = std::min(at, reads_.begin()->second.since + read_patience);
  return at;
}

}  // namespace chat
