#include "net/address_book.h"

#include <algorithm>

#include "paxos/invariant.h"

namespace net {

namespace {
bool holds(const std::vector<Address>& all, const Address& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}
}  // namespace

AddressBook::AddressBook(Options options, paxos::Time now)
    : options_(std::move(options)), peers_(options_.names.size()), random_(options_.seed) {
  PAXOS_ASSERT(options_.names.size() == options_.literals.size());
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    Peer& p = peers_[id];
    if (const auto& literal = options_.literals[id]) {
      p.known = {*literal};
      p.at = *literal;
    } else {
      p.lookup_at = options_.names[id].empty() ? paxos::time_never : now;
    }
  }
}

void AddressBook::suggest(std::size_t id, const Address& address) {
  Peer& p = peers_[id];
  if (holds(p.known, address)) return;
  p.remembered = address;
  if (p.at.empty()) p.at = address;
  ++revision_;
}

void AddressBook::rename(paxos::Time now, std::size_t id, std::string name) {
  if (options_.names[id] == name) return;
  Peer& p = peers_[id];
  options_.names[id] = std::move(name);
  options_.literals[id] = Address::literal(options_.names[id]);
  p.known.clear();
  p.remembered.reset();
  p.fault.clear();
  p.complained = false;
  p.answered_once = false;
  p.lookup_wait = lookup_min;
  p.other_probe_at = now;
  p.renamed = p.lookup_under_way;
  p.lookup_at = is_name(id) ? now : paxos::time_never;
  if (options_.names[id].empty()) {
    p.at = {};
    p.heard_at.reset();
  } else if (const auto& literal = options_.literals[id]) {
    p.known = {*literal};
    if (p.at.empty() || !p.heard_at) p.at = *literal;
  }
  ++revision_;
}

void AddressBook::remember(std::size_t id, const Address& address) {
  Peer& p = peers_[id];
  p.remembered = address;
  if (!p.at.empty() && !options_.literals[id]) return;
  // A replica whose address in the config is no name, and who was heard elsewhere: it is there still, or its
  // datagrams tell.
  p.at = address;
  ++revision_;
}

bool AddressBook::silent(const Peer& p, paxos::Time now) const {
  return p.at.empty() || p.searching || (p.asked_since && now - *p.asked_since >= silence);
}

std::vector<Address> AddressBook::candidates(const Peer& p) const {
  std::vector<Address> out = p.known;
  if (p.remembered && !holds(out, *p.remembered)) out.push_back(*p.remembered);
  return out;
}

void AddressBook::move(std::size_t id, const Address& to, Event::Kind kind) {
  Peer& p = peers_[id];
  if (p.at == to) return;
  events_.push_back({.kind = kind, .id = id, .from = p.at, .to = to, .text = {}});
  p.at = to;
  p.stray.reset();
  p.asked_since.reset();
  p.heard_at.reset();
  ++revision_;
}

// --- names ---

std::vector<std::size_t> AddressBook::take_lookups(paxos::Time now) {
  std::vector<std::size_t> out;
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    Peer& p = peers_[id];
    if (p.lookup_under_way || p.lookup_at > now) continue;
    p.lookup_under_way = true;
    p.looked_at = now;
    out.push_back(id);
  }
  return out;
}

void AddressBook::plan_lookup(Peer& p, paxos::Time now) {
  const bool settled = p.heard_at && !silent(p, now);
  if (settled && p.fault.empty()) {
    p.lookup_wait = lookup_min;
    p.lookup_at = now + lookup_settled;
    return;
  }
  // What resolves and is silent: its machine is down more often than its name is wrong.
  p.lookup_at = now + (p.fault.empty() ? lookup_max : p.lookup_wait);
  p.lookup_wait = std::min(p.lookup_wait * 2, lookup_max);
}

void AddressBook::looked_up(paxos::Time now, std::size_t id, Answer answer) {
  Peer& p = peers_[id];
  p.lookup_under_way = false;
  if (std::exchange(p.renamed, false))
    return;  // that is of the name before; the one now is looked up by itself
  if (!answer) {
    p.fault = std::move(answer.error());
    if (!std::exchange(p.complained, true))
      events_.push_back({.kind = Event::Kind::unresolved, .id = id, .from = {}, .to = p.at, .text = p.fault});
    plan_lookup(p, now);
    return;
  }
  PAXOS_ASSERT(!answer->empty());
  if (answer->size() > known_max) answer->resize(known_max);
  p.fault.clear();
  if (std::exchange(p.complained, false))
    events_.push_back(
        {.kind = Event::Kind::resolved, .id = id, .from = {}, .to = answer->front(), .text = {}});
  if (p.known != *answer) {
    p.known = std::move(*answer);
    p.other_probe_at = now;
    ++revision_;
  }
  const bool first = !std::exchange(p.answered_once, true);
  if (!asked(id)) {
    if (p.at.empty()) p.at = p.known.front();
  } else if (p.at.empty()) {
    p.at = p.known.front();
    p.next_try = now + silence;
    ++revision_;
  } else if (!holds(p.known, p.at) && !p.heard_at && (first || !options_.probes || silent(p, now))) {
    // Nobody was heard there in this life: what the name says now is better than what is remembered.
    move(id, p.known.front(), Event::Kind::tried);
    p.next_try = now + silence;
  }
  plan_lookup(p, now);
}

// --- datagrams ---

void AddressBook::sent(paxos::Time now, std::size_t id) {
  Peer& p = peers_[id];
  if (asked(id) && !p.asked_since) p.asked_since = now;
}

void AddressBook::heard(paxos::Time now, std::size_t id, const Address& from, const Identity& sender,
                        bool newest) {
  Peer& p = peers_[id];
  if (!asked(id)) return;
  if (from == p.at) {
    p.heard_at = now;
    p.searching = false;
    p.asked_since.reset();
    p.who = sender.incarnation;
    // It speaks from here later than from there.
    if (newest && p.stray) {
      p.stray.reset();
      ++revision_;
    }
    return;
  }
  if (!newest || !options_.probes) return;
  if (p.stray != from) {
    p.stray = from;
    ++revision_;
    p.stray_probe_at = std::max(p.stray_probe_at, now);
  }
  p.stray_until = now + stray_kept;
}

std::vector<AddressBook::Probe> AddressBook::take_probes(paxos::Time now) {
  std::vector<Probe> out;
  if (!options_.probes) return out;
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    if (!asked(id)) continue;
    Peer& p = peers_[id];
    std::erase_if(p.probes, [&](const Sent& s) { return now - s.when > probe_kept; });
    const auto probe = [&](const Address& to) {
      if (p.probes.size() >= probes_max) p.probes.erase(p.probes.begin());
      p.probes.push_back({.to = to, .nonce = random_.next(), .when = now});
      out.push_back({.id = id, .to = to, .nonce = p.probes.back().nonce});
    };
    if (p.stray && now >= p.stray_until) {
      p.stray.reset();
      ++revision_;
    }
    if (p.stray && now >= p.stray_probe_at) {
      p.stray_probe_at = now + probe_stray;
      probe(*p.stray);
    }
    if (now < p.other_probe_at) continue;
    p.other_probe_at = now + probe_other;
    // Where its name points and it isn't; and all that is known while it is silent.
    if (silent(p, now) || !holds(p.known, p.at))
      for (const Address& other : candidates(p))
        if (other != p.at && other != p.stray && (silent(p, now) || holds(p.known, other))) probe(other);
  }
  return out;
}

void AddressBook::proved(paxos::Time now, std::size_t id, const Address& from, const Identity& sender,
                         std::uint64_t nonce) {
  Peer& p = peers_[id];
  const auto at = std::find_if(p.probes.begin(), p.probes.end(),
                               [&](const Sent& s) { return s.nonce == nonce && s.to == from; });
  if (at == p.probes.end()) return;
  p.probes.erase(at);
  // A second process with this replica's id, on another directory, takes nothing away from the one that
  // answers.
  if (p.who && *p.who != sender.incarnation && p.heard_at && !silent(p, now)) return;
  move(id, from, Event::Kind::moved);
  p.heard_at = now;
  p.searching = false;
  p.asked_since.reset();
  p.who = sender.incarnation;
}

void AddressBook::listens(paxos::Time now, const Address& local) {
  Peer& p = peers_[*options_.self];
  p.heard_at = now;
  p.at = local;
}

void AddressBook::tick(paxos::Time now) {
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    Peer& p = peers_[id];
    if (!asked(id)) continue;
    if (!silent(p, now)) continue;
    // A name that may have changed is not left alone for minutes.
    if (p.lookup_at != paxos::time_never && !p.lookup_under_way)
      p.lookup_at = std::min(p.lookup_at, std::max(now, p.looked_at + lookup_max));
    p.searching = true;
    const std::vector<Address> all = candidates(p);
    if (all.empty() || now < p.next_try) continue;
    p.next_try = now + silence;
    const auto here = std::find(all.begin(), all.end(), p.at);
    const Address& next = here == all.end() || here + 1 == all.end() ? all.front() : *(here + 1);
    if (next == p.at) continue;
    move(id, next, Event::Kind::tried);
  }
}

paxos::Time AddressBook::deadline() const {
  paxos::Time out = paxos::time_never;
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    const Peer& p = peers_[id];
    if (!p.lookup_under_way) out = std::min(out, p.lookup_at);
    if (!asked(id)) continue;
    const std::size_t choices = candidates(p).size();
    if (choices > 1 && p.searching) out = std::min(out, p.next_try);
    if (!p.searching && p.asked_since) out = std::min(out, *p.asked_since + silence);
    if (!options_.probes) continue;
    if (p.stray) out = std::min(out, std::min(p.stray_until, p.stray_probe_at));
    if (choices > 1 || (choices == 1 && !holds(p.known, p.at))) out = std::min(out, p.other_probe_at);
  }
  return out;
}

// --- what comes of it ---

bool AddressBook::moved(std::size_t id) const {
  const Peer& p = peers_[id];
  return !p.at.empty() && !p.known.empty() && !holds(p.known, p.at);
}

std::vector<std::pair<Address, std::uint8_t>> AddressBook::owners() const {
  std::vector<std::pair<Address, std::uint8_t>> out;
  // Where each one is comes first: two that were at one address at different times are told apart by it.
  for (std::size_t id = 0; id < peers_.size(); ++id)
    if (!peers_[id].at.empty()) out.emplace_back(peers_[id].at, static_cast<std::uint8_t>(id));
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    for (const Address& other : candidates(peers_[id]))
      if (other != peers_[id].at) out.emplace_back(other, static_cast<std::uint8_t>(id));
    if (peers_[id].stray) out.emplace_back(*peers_[id].stray, static_cast<std::uint8_t>(id));
  }
  return out;
}

std::vector<AddressBook::Remembered> AddressBook::worth_remembering() const {
  std::vector<Remembered> out;
  for (std::size_t id = 0; id < peers_.size(); ++id) {
    const Peer& p = peers_[id];
    const auto& literal = options_.literals[id];
    if (options_.names[id].empty() || (!asked(id) && literal)) continue;
    const std::optional<Address> last = p.heard_at ? std::optional(p.at) : p.remembered;
    if (!last || (literal && *literal == *last)) continue;
    out.push_back({.id = id, .name = options_.names[id], .address = *last});
  }
  return out;
}

}  // namespace net
