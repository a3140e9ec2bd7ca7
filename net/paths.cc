#include "net/paths.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace net {

namespace {

/// What ways usually carry, largest first: jumbo frames (9,000 bytes), 4 KiB, Ethernet with PPPoE (1,492),
/// WireGuard (1,420), the least of IPv6 (1,280), room for one more tunnel, the least of IPv4. With IPv6's and
/// UDP's headers each.
constexpr std::array<std::size_t, 7> rungs{
    8952, 4000, 1444, 1372, default_datagram_bytes, 1000, datagram_bytes_least};

/// The next smaller size worth trying; 0: there is none.
std::size_t below(std::size_t bytes) {
  const auto at = std::find_if(rungs.begin(), rungs.end(), [&](std::size_t rung) { return rung < bytes; });
  return at == rungs.end() ? 0 : *at;
}

}  // namespace

std::size_t Paths::first_bytes(const Address& to) const {
  return is_exempt(to) ? options_.loopback_bytes : std::min(options_.datagram_bytes, default_datagram_bytes);
}

bool Paths::is_peer(const Address& to) const {
  return std::find(peers_.begin(), peers_.end(), to) != peers_.end();
}

std::size_t Paths::most(const Address& to, const Path& p) const {
  const std::size_t wanted = is_exempt(to) ? options_.loopback_bytes : options_.datagram_bytes;
  return p.refused_at == 0 ? wanted : std::min(wanted, std::max(below(p.refused_at), datagram_bytes_least));
}

std::size_t Paths::datagram_bytes(const Address& to) const {
  if (paths_.empty()) return first_bytes(to);
  const auto at = paths_.find(to);
  return at == paths_.end() ? first_bytes(to) : at->second.bytes;
}

bool Paths::segments(const Address& to) const {
  if (paths_.empty()) return true;
  const auto at = paths_.find(to);
  return at == paths_.end() || at->second.segments;
}

Paths::Path& Paths::path(paxos::Time now, const Address& to) {
  auto at = paths_.find(to);
  if (at == paths_.end()) {
    if (paths_.size() >= others_max + paxos::limits::replicas_max) {
      auto oldest = paths_.end();
      for (auto each = paths_.begin(); each != paths_.end(); ++each)
        if (!is_peer(each->first) &&
            (oldest == paths_.end() || each->second.touched_at < oldest->second.touched_at))
          oldest = each;
      if (oldest != paths_.end()) paths_.erase(oldest);
    }
    at = paths_.emplace(to, Path{}).first;
    at->second.bytes = at->second.told = first_bytes(to);
  }
  at->second.touched_at = now;
  return at->second;
}

void Paths::set_datagram_bytes(std::size_t bytes) {
  options_.datagram_bytes = bytes;
  for (auto& [to, p] : paths_) {
    if (is_exempt(to)) continue;
    p.bytes = std::min(p.bytes, bytes);
    p.told = std::min(p.told, bytes);
    p.resume = 0;
    end(p);
    if (is_peer(to)) p.search_at = paxos::Time{};
  }
  wake(paxos::Time{});
}

void Paths::set_peers(std::vector<Address> peers) {
  if (peers == peers_) return;
  peers_ = std::move(peers);
  for (const Address& to : peers_) {
    if (is_exempt(to)) continue;
    Path& p = path({}, to);
    if (p.bytes < most(to, p)) p.search_at = paxos::Time{};
    wake(p.search_at);
  }
}

void Paths::changed(paxos::Time now, Path& p) {
  p.tell_at = p.bytes == p.told && p.segments == p.told_segments ? paxos::time_never : now + settled_after;
  wake(p.tell_at);
}

// --- refused ---

void Paths::refused(paxos::Time now, const Refusal& r) {
  // EINVAL and EIO say something about a size, or about cutting, only where cutting was asked for.
  if (r.error != EMSGSIZE && !(r.segmented && (r.error == EINVAL || r.error == EIO))) return;
  Path& p = path(now, r.to);
  if (r.bytes > p.bytes) return;  // cut before this was known
  const std::size_t lower = below(r.bytes);
  if (r.error == EIO || (r.segmented && lower == 0)) {
    // The device cuts nothing, whatever the size (no checksums, IPsec): one by one, and the kernel fragments
    // them.
    if (!p.segments) return;
    p.segments = false;
    if (lower == 0) {
      p.bytes = first_bytes(r.to);
      p.refused_at = 0;
    }
  } else {
    if (lower == 0) return;
    p.bytes = lower;
    p.refused_at = r.bytes;
    p.swallowed = false;
  }
  end(p);
  p.forget_at = now + forget_after;
  wake(p.forget_at);
  changed(now, p);
}

// --- swallowed ---

void Paths::begin(paxos::Time now, Path& p, std::size_t bytes) {
  p.probe = ++last_probe_;
  p.probed = bytes;
  p.pairs = 0;
  p.small_back = 0;
  p.pair_at = now;
  wake(now);
}

void Paths::end(Path& p) {
  p.probe = 0;
  p.pair_at = paxos::time_never;
  wake(p.search_at);
}

/// The size in use comes first: a search for more gives way, and goes on where it was.
void Paths::confirm(paxos::Time now, Path& p, paxos::Duration every) {
  if (p.confirmed_at > now - every || below(p.bytes) == 0) return;
  if (p.probe != 0) {
    if (p.probed <= p.bytes) return;
    p.resume = p.probed;
    p.search_at = now;
  }
  begin(now, p, p.bytes);
}

void Paths::doubt(paxos::Time now, const Address& to) {
  if (is_exempt(to)) return;
  confirm(now, path(now, to), doubt_every);
}

void Paths::used(paxos::Time now, const Address& to, std::size_t bytes) {
  if (paths_.empty() || !is_peer(to)) return;
  const auto at = paths_.find(to);
  if (at == paths_.end() || is_exempt(to)) return;
  Path& p = at->second;
  // Whatever is above the least may be what is swallowed, also far below the size in use.
  if (bytes > datagram_bytes_least) confirm(now, p, confirm_every);
}

void Paths::answered(paxos::Time now, std::uint64_t probe, std::size_t bytes) {
  const auto at = std::find_if(paths_.begin(), paths_.end(),
                               [&](const auto& each) { return each.second.probe == probe; });
  if (probe == 0 || at == paths_.end()) return;
  Path& p = at->second;
  if (bytes >= p.probed) return passes(now, at->first, p);
  if (++p.small_back == small_back_min) p.small_back_at = now;
}

void Paths::passes(paxos::Time now, const Address& to, Path& p) {
  end(p);
  p.confirmed_at = now;
  if (p.probed <= p.bytes) return;
  // The search began at the largest size: nothing above this one passes.
  p.bytes = p.probed;
  p.swallowed = p.bytes < most(to, p);
  p.search_at = p.swallowed ? now + raise_after : paxos::time_never;
  wake(p.search_at);
  changed(now, p);
}

void Paths::fails(paxos::Time now, const Address& to, Path& p) {
  const bool in_use = p.probed <= p.bytes;
  // Nothing gets through meanwhile: straight down to what nearly all carry. What lies between is looked for
  // later.
  const std::size_t lower =
      in_use && p.probed > default_datagram_bytes ? default_datagram_bytes : below(p.probed);
  end(p);
  if (in_use && lower != 0) {
    p.bytes = lower;
    p.resume = 0;
    p.swallowed = true;
    changed(now, p);
  }
  // A size that is taken into use for want of another is looked at, too; above it, only what may pass.
  if (lower != 0 && (in_use || lower > p.bytes)) begin(now, p, lower);
  if (is_peer(to) || in_use) {
    p.search_at = now + raise_after;
    wake(p.search_at);
  }
}

std::vector<Paths::Probe> Paths::tick(paxos::Time now) {
  std::vector<Probe> out;
  paxos::Time next = paxos::time_never;
  for (auto& [to, p] : paths_) {
    if (p.forget_at <= now) {
      p.forget_at = paxos::time_never;
      p.refused_at = 0;
      p.segments = true;
      if (is_peer(to) && !is_exempt(to))
        p.search_at = now;
      else
        p.bytes = std::max(p.bytes, first_bytes(to));
      changed(now, p);
    }
    if (p.search_at <= now && p.probe == 0) {
      p.search_at = paxos::time_never;
      const std::size_t wanted = is_peer(to) ? most(to, p) : std::min(first_bytes(to), most(to, p));
      const std::size_t from = p.resume == 0 ? wanted : std::min(wanted, p.resume);
      p.resume = 0;
      if (from > p.bytes) begin(now, p, from);
    }
    if (p.pair_at <= now) {
      if (p.small_back >= small_back_min && p.small_back_at + pair_every <= now) fails(now, to, p);
      if (p.probe != 0 && p.pairs == pairs_max) {
        if (p.probed > p.bytes) p.search_at = now + raise_after;
        end(p);
      }
      if (p.probe != 0 && p.pair_at <= now) {
        ++p.pairs;
        p.pair_at = now + pair_every;
        out.push_back({to, p.probe, 0});
        out.push_back({to, p.probe, p.probed});
      }
    }
    if (p.tell_at <= now) {
      p.tell_at = paxos::time_never;
      if (changes_.size() < others_max) changes_.push_back({to, p.told, p.bytes, p.segments, p.swallowed});
      p.told = p.bytes;
      p.told_segments = p.segments;
    }
    // A search waits for the probe that is under way: end() says when.
    next =
        std::min({next, p.forget_at, p.probe == 0 ? p.search_at : paxos::time_never, p.pair_at, p.tell_at});
  }
  deadline_ = next;
  return out;
}

std::vector<Paths::Change> Paths::take_changes() {
  std::vector<Change> out;
  out.swap(changes_);
  return out;
}

}  // namespace net
