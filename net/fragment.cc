#include "net/fragment.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace net {

namespace {
/// Parts are sent in one go: a gap of this length says that the rest of them is lost, whatever the path is
/// like.
constexpr paxos::Duration quiet_min{std::chrono::milliseconds{3}};
constexpr paxos::Duration quiet_max{std::chrono::milliseconds{50}};
constexpr unsigned backoff_doublings_max = 4;
/// Who got no new part for so long gives way to those that wait for its room: times of asking that a lost
/// question or answer may cost, and bounds of that.
constexpr unsigned stalled_timeouts = 3;
constexpr paxos::Duration stalled_min{std::chrono::milliseconds{100}};
constexpr paxos::Duration stalled_max{std::chrono::seconds{1}};
/// A room that comes free looks for no more of those that wait than so many.
constexpr std::size_t admissions_max = 16;
/// What an entry takes beyond its bytes, so that many tiny ones are bounded, too.
constexpr std::size_t entry_overhead = 512;
}  // namespace

// --- formats ---

bool FragmentHeader::is_valid() const {
  if (message == 0 || count < 2 || count > fragments_max || index >= count) return false;
  if (total < count || total > fragmented_bytes_max) return false;
  return (count - 1U) * part_bytes() < total;  // the last part is not empty
}

void encode(std::string& out, const FragmentHeader& h) {
  paxos::ByteWriter w(out);
  w.fixed(h.message);
  w.fixed(h.total);
  w.fixed(h.index);
  w.fixed(h.count);
}

std::optional<FragmentHeader> decode_fragment_header(std::span<const std::byte> part) {
  paxos::ByteReader r(part);
  FragmentHeader h;
  h.message = r.fixed<std::uint64_t>();
  h.total = r.fixed<std::uint32_t>();
  h.index = r.fixed<std::uint16_t>();
  h.count = r.fixed<std::uint16_t>();
  if (!r.ok() || !h.is_valid() || r.remaining() != h.size()) return std::nullopt;
  return h;
}

std::uint16_t fragment_count(std::size_t total, std::size_t part_bytes_max) {
  const std::size_t count = (total + part_bytes_max - 1) / part_bytes_max;
  PAXOS_ASSERT(count >= 2 && count <= fragments_max);
  return static_cast<std::uint16_t>(count);
}

std::string encode(const FragmentNeed& need) {
  std::string out;
  paxos::ByteWriter w(out);
  w.raw(need.incarnation.bytes);
  w.fixed(need.boot);
  w.fixed(need.message);
  w.fixed(need.count);
  std::string bitmap((need.count + 7U) / 8, '\0');
  for (std::uint16_t index : need.missing) {
    PAXOS_ASSERT(index < need.count);
    bitmap[index / 8] = static_cast<char>(bitmap[index / 8] | 1 << (index % 8));
  }
  w.raw(bitmap);
  return out;
}

std::optional<FragmentNeed> decode_need(std::span<const std::byte> bytes) {
  paxos::ByteReader r(bytes);
  FragmentNeed need;
  need.incarnation.bytes = r.array<16>();
  need.boot = r.fixed<std::uint64_t>();
  need.message = r.fixed<std::uint64_t>();
  need.count = r.fixed<std::uint16_t>();
  if (!r.ok() || need.count < 2 || need.count > fragments_max) return std::nullopt;
  const auto bitmap = r.raw((need.count + 7U) / 8);
  if (!r.done()) return std::nullopt;
  for (std::size_t index = 0; index < bitmap.size() * 8; ++index) {
    if ((static_cast<unsigned>(bitmap[index / 8]) >> (index % 8) & 1U) == 0) continue;
    if (index >= need.count) return std::nullopt;
    need.missing.push_back(static_cast<std::uint16_t>(index));
  }
  if (need.missing.empty()) return std::nullopt;
  return need;
}

// --- receiver ---

Reassembly::Reassembly() : Reassembly(ReassemblyBounds{}) {}
Reassembly::Reassembly(const ReassemblyBounds& bounds)
    : memory_max_(bounds.memory),
      replica_share_(bounds.replica_share),
      client_share_(bounds.client_share),
      clients_share_(bounds.clients_share),
      partials_max_(bounds.partials),
      partials_per_sender_(bounds.partials_per_sender),
      complete_bytes_max_(bounds.complete_bytes),
      complete_max_(bounds.complete) {
  PAXOS_ASSERT(partials_max_ > 0 && partials_per_sender_ > 0 && complete_max_ > 0);
}

paxos::RttEstimator& Reassembly::rtt(const Identity& sender) {
  return rtt_[sender.is_client() ? paxos::limits::replicas_max : sender.sender];
}

paxos::Duration Reassembly::quiet(const Identity& sender) {
  return std::clamp(rtt(sender).timeout() / 4, quiet_min, quiet_max);
}

Reassembly::Result Reassembly::add(paxos::Time now, const Identity& sender, const Address& from,
                                   std::span<const std::byte> part, bool probe, paxos::Bytes& whole) {
  const auto header = decode_fragment_header(part);
  if (!header) return Result::refused;
  FragmentHeader shape = *header;
  shape.index = 0;
  const Key key{sender, header->message};

  if (const auto done = complete_.find(key); done != complete_.end()) {
    if (done->second.shape != shape) return Result::refused;
    if (!probe) return Result::incomplete;  // a late or repeated part
    if (!done->second.whole.empty()) {
      whole = done->second.whole;
      return Result::complete;
    }
    forget(key);  // its bytes are gone: collect them once more
  }

  auto at = partials_.find(key);
  const bool fresh = at == partials_.end();
  if (fresh) {
    if (!keep_within(now, true, sender, 0)) {
      ++crowded_;
      return Result::incomplete;
    }
    Partial p;
    p.shape = shape;
    p.order = ++order_;
    at = partials_.emplace(key, std::move(p)).first;
    ++waiting_;
  }
  Partial& p = at->second;
  if (p.shape != shape) return Result::refused;
  p.from = from;
  if (p.waits()) {
    p.progress_at = now;
    admit_waiting(now, &sender);
    if (p.waits()) {
      if (fresh) ++crowded_;
      return Result::incomplete;
    }
  }
  if (!p.have[header->index]) {
    std::memcpy(p.buffer.get() + header->offset(), part.data() + fragment_header_bytes, header->size());
    p.have[header->index] = true;
    ++p.have_count;
    // Karn's rule: only an answer to the one time of asking is a measurement.
    if (p.asked == 1) rtt(sender).measured(now - p.asked_at);
    p.asked = 0;
    p.progress_at = now;
    p.ask_at = now + quiet(sender);
  }
  if (p.have_count == p.have.size()) return finish(now, at, whole);
  if (probe) {
    // The sender said all of it once and waits for an answer: what isn't here is lost, or will be here in a
    // moment.
    p.asked = 0;
    p.ask_at = fresh ? now : std::min(p.ask_at, now + quiet(sender));
  }
  return Result::incomplete;
}

Reassembly::Result Reassembly::finish(paxos::Time now, Partials::iterator at, paxos::Bytes& whole) {
  const Key key = at->first;
  const FragmentHeader shape = at->second.shape;
  auto buffer = at->second.buffer;
  drop(at);
  const std::byte* data = buffer.get();
  whole = paxos::Bytes(std::move(buffer), data, shape.total);
  admit_waiting(now);
  while (complete_.size() >= complete_max_) forget(Key(complete_order_.front()));
  const auto place = complete_order_.insert(complete_order_.end(), key);
  complete_.emplace(key,
                    Complete{.shape = shape, .whole = whole, .until = now + complete_kept, .place = place});
  complete_bytes_ += whole.size();
  trim_complete();
  return Result::complete;
}

void Reassembly::forget(const Key& key) {
  const auto at = complete_.find(key);
  complete_bytes_ -= at->second.whole.size();
  complete_order_.erase(at->second.place);
  complete_.erase(at);
}

void Reassembly::trim_complete() {
  for (auto place = complete_order_.begin(); complete_bytes_ > complete_bytes_max_; ++place) {
    Complete& c = complete_.at(*place);
    complete_bytes_ -= c.whole.size();
    c.whole = {};
  }
}

void Reassembly::drop(Partials::iterator at) {
  if (at->second.waits())
    --waiting_;
  else
    memory_ -= at->second.charge();
  partials_.erase(at);
}

bool Reassembly::gives_way(paxos::Time now, Partials::const_iterator at) {
  const Partial& p = at->second;
  const paxos::Duration stalled =
      std::clamp(rtt(at->first.first).timeout() * stalled_timeouts, stalled_min, stalled_max);
  return now - p.progress_at >= stalled || (!p.waits() && now - p.begun_at >= in_the_way_max);
}

// Linear searches: partials_max_ is small, and this runs once a fragmented message, or once a part where
// there is no room.
template <class Counts>
bool Reassembly::keep_within(paxos::Time now, bool waiting, std::size_t number, std::size_t share,
                             std::size_t bytes, Counts counts) {
  while (true) {
    std::size_t found = 0, used = 0;
    auto oldest = partials_.end();
    for (auto at = partials_.begin(); at != partials_.end(); ++at) {
      if (at->second.waits() != waiting || !counts(at->first.first)) continue;
      ++found;
      used += at->second.charge();
      if (gives_way(now, at) &&
          (oldest == partials_.end() || at->second.progress_at < oldest->second.progress_at))
        oldest = at;
    }
    // One that has all of a share for itself may be larger than that.
    if (found == 0 || (found < number && used + bytes <= share)) return true;
    if (oldest == partials_.end()) return false;
    drop(oldest);
    ++crowded_;
  }
}

bool Reassembly::keep_within(paxos::Time now, bool waiting, const Identity& sender, std::size_t bytes) {
  const auto within = [&](std::size_t number, std::size_t share, auto counts) {
    return keep_within(now, waiting, number, waiting ? SIZE_MAX : share, bytes, counts);
  };
  const bool own =
      sender.is_client()
          ? within(partials_per_sender_, client_share_, [&](const Identity& i) { return i == sender; }) &&
                within(partials_max_ / 2, clients_share_, [](const Identity& i) { return i.is_client(); })
          : within(partials_per_sender_, replica_share_,
                   [&](const Identity& i) { return i.sender == sender.sender; });
  return own && within(partials_max_, memory_max_, [](const Identity&) { return true; });
}

bool Reassembly::admit(paxos::Time now, Partials::iterator one) {
  if (!keep_within(now, false, one->first.first, one->second.charge())) return false;
  Partial& p = one->second;
  p.have.resize(p.shape.count);
  p.buffer = std::make_shared_for_overwrite<std::byte[]>(p.shape.total);
  p.begun_at = p.progress_at = p.ask_at = now;
  memory_ += p.charge();
  --waiting_;
  return true;
}

void Reassembly::admit_waiting(paxos::Time now, const Identity* only) {
  if (waiting_ == 0) return;
  std::vector<Partials::iterator> waiting;
  for (auto at = partials_.begin(); at != partials_.end(); ++at)
    if (at->second.waits() && (only == nullptr || at->first.first == *only)) waiting.push_back(at);
  std::sort(waiting.begin(), waiting.end(),
            [](const auto& a, const auto& b) { return a->second.order < b->second.order; });
  std::vector<Identity> refused;
  std::size_t tried = 0;
  for (const auto& at : waiting) {
    const Identity& sender = at->first.first;
    if (std::find(refused.begin(), refused.end(), sender) != refused.end()) continue;
    if (tried++ == admissions_max) return;
    if (!admit(now, at)) refused.push_back(sender);
  }
}

std::vector<Reassembly::Ask> Reassembly::tick(paxos::Time now) {
  std::vector<Ask> asks;
  bool freed = false;
  for (auto at = partials_.begin(); at != partials_.end();) {
    const auto each = at++;
    if (now - each->second.progress_at < give_up) continue;
    if (!each->second.waits()) ++timed_out_;
    drop(each);
    freed = true;
  }
  if (freed) admit_waiting(now);
  for (auto at = partials_.begin(); at != partials_.end(); ++at) {
    Partial& p = at->second;
    if (p.ask_at <= now) {
      const Identity& sender = at->first.first;
      Ask ask{.to = p.from,
              .need = {.incarnation = sender.incarnation,
                       .boot = sender.boot,
                       .message = at->first.second,
                       .count = p.shape.count,
                       .missing = {}}};
      for (std::size_t i = 0; i < p.have.size(); ++i)
        if (!p.have[i]) ask.need.missing.push_back(static_cast<std::uint16_t>(i));
      p.ask_at = now + rtt(sender).timeout() * (1U << std::min(p.asked, backoff_doublings_max));
      p.asked_at = now;
      ++p.asked;
      asks.push_back(std::move(ask));
    }
  }
  while (!complete_order_.empty() && complete_.at(complete_order_.front()).until <= now)
    forget(Key(complete_order_.front()));
  return asks;
}

paxos::Time Reassembly::deadline() const {
  paxos::Time at = complete_order_.empty() ? paxos::time_never : complete_.at(complete_order_.front()).until;
  for (const auto& [key, p] : partials_) at = std::min({at, p.ask_at, p.progress_at + give_up});
  return at;
}

Reassembly::Figures Reassembly::figures() const {
  return {.memory = memory_,
          .partials = partials_.size() - waiting_,
          .waiting = waiting_,
          .complete_bytes = complete_bytes_,
          .crowded = crowded_,
          .timed_out = timed_out_};
}

// --- sender ---

bool FragmentCache::Entry::was_sent_to(const Address& to) const {
  return std::find(sent_to.begin(), sent_to.end(), to) != sent_to.end();
}

void FragmentCache::Entry::note_sent_to(const Address& to) {
  if (was_sent_to(to)) return;
  if (sent_to.size() == addresses_max) sent_to.erase(sent_to.begin());
  sent_to.push_back(to);
}

FragmentCache::Entry& FragmentCache::touch(paxos::Time now, List::iterator at) {
  at->used_at = now;
  entries_.splice(entries_.end(), entries_, at);
  return *at;
}

FragmentCache::Entry& FragmentCache::put(paxos::Time now, std::string message, std::size_t stable_bytes,
                                         std::size_t part_bytes_max, const Owner& owner) {
  PAXOS_ASSERT(stable_bytes <= message.size() && message.size() <= fragmented_bytes_max);
  const std::uint64_t digest = XXH3_64bits(message.data(), stable_bytes);
  const std::string_view stable(message.data(), stable_bytes);
  const auto [begin, end] = by_digest_.equal_range(digest);
  for (auto at = begin; at != end; ++at) {
    // Whoever writes the text could make two messages with one digest; the bytes decide.
    const Entry& e = *at->second;
    if (e.owner == owner && e.stable_bytes == stable_bytes && e.part_bytes_max == part_bytes_max &&
        e.message.view().substr(0, stable_bytes) == stable)
      return touch(now, at->second);
  }
  while (!entries_.empty() && memory_ + message.size() + entry_overhead > memory_max) drop_oldest();
  Entry entry;
  entry.shape = {.message = next_id_++,
                 .total = static_cast<std::uint32_t>(message.size()),
                 .index = 0,
                 .count = fragment_count(message.size(), part_bytes_max)};
  entry.owner = owner;
  entry.message = paxos::Bytes::from(std::move(message));
  entry.part_bytes_max = part_bytes_max;
  entry.stable_bytes = stable_bytes;
  entry.digest = digest;
  entry.used_at = now;
  memory_ += entry.message.size() + entry_overhead;
  const auto at = entries_.insert(entries_.end(), std::move(entry));
  by_id_.emplace(at->shape.message, at);
  by_digest_.emplace(digest, at);
  return *at;
}

FragmentCache::Entry* FragmentCache::find(paxos::Time now, std::uint64_t id, const Owner& owner) {
  const auto at = by_id_.find(id);
  return at == by_id_.end() || at->second->owner != owner ? nullptr : &touch(now, at->second);
}

void FragmentCache::drop_oldest() {
  const auto oldest = entries_.begin();
  memory_ -= oldest->message.size() + entry_overhead;
  by_id_.erase(oldest->shape.message);
  const auto [begin, end] = by_digest_.equal_range(oldest->digest);
  by_digest_.erase(std::find_if(begin, end, [&](const auto& known) { return known.second == oldest; }));
  entries_.erase(oldest);
}

void FragmentCache::tick(paxos::Time now) {
  while (!entries_.empty() && entries_.front().used_at + kept <= now) drop_oldest();
}

paxos::Time FragmentCache::deadline() const {
  return entries_.empty() ? paxos::time_never : entries_.front().used_at + kept;
}

}  // namespace net
