#include <algorithm>
#include <cerrno>
#include <tuple>

#include "tests/sim/world.h"

/// Paths of a small MTU, and black holes (net/paths.h). What is above them travels as datagrams of
/// net::Transport, so that it has a size; all of it is drawn from a generator of its own.
namespace sim {

void draw_narrow(Scenario& s) {
  Random r(s.seed ^ 0x6e61'7272'6f77'2e2eULL);
  if (!r.chance(125'000) || s.upgrades || s.replicas < 2) return;
  static constexpr std::size_t wanted[] = {600, 1232, 1232, 1400, 8900, 8900, 60 * 1024};
  static constexpr std::size_t carried[] = {520, 700, 1100, 1250, 1300, 1420, 4000};
  Narrowings narrow;
  s.datagram_bytes = wanted[r.below(std::size(wanted))];
  if (r.chance(500'000)) s.text_bytes_max = static_cast<std::size_t>(r.between(1'000, 16'000));
  narrow.swallow = r.chance(600'000);
  const Nanos every = s.safety_length / r.between(1, 12);
  for (Nanos at = r.chance(300'000) ? 0 : r.between(0, every); at < s.safety_length;
       at += r.between(0, 2 * every)) {
    Narrowing one;
    one.at = at;
    const bool client = r.chance(200'000);
    one.from = client ? net::client_sender : static_cast<std::uint8_t>(r.below(s.replicas));
    one.to = static_cast<std::uint8_t>(r.below(s.replicas));
    one.both = r.chance(700'000);
    one.kind =
        narrow.swallow && !client && r.chance(600'000) ? Narrow::swallow : static_cast<Narrow>(r.below(2));
    if (!r.chance(150'000)) one.bytes = carried[r.below(std::size(carried))];
    if (one.from != one.to) narrow.all.push_back(one);
  }
  // Everything behind one tunnel, as a change of routes makes it.
  if (r.chance(300'000)) {
    const Nanos at = r.between(0, s.safety_length);
    const std::size_t bytes = carried[r.below(std::size(carried))];
    const Narrow kind = narrow.swallow ? Narrow::swallow : static_cast<Narrow>(r.below(2));
    for (std::uint8_t a = 0; a < s.replicas; ++a)
      for (std::uint8_t b = 0; b < a; ++b)
        narrow.all.push_back({.at = at, .from = a, .to = b, .both = true, .bytes = bytes, .kind = kind});
  }
  std::sort(narrow.all.begin(), narrow.all.end(), [](const Narrowing& a, const Narrowing& b) {
    return std::tie(a.at, a.from, a.to) < std::tie(b.at, b.from, b.to);
  });
  s.narrow = std::move(narrow);
}

const Narrowing* World::narrow(std::uint8_t from, std::uint8_t to) {
  if (!scenario_.narrow) return nullptr;
  const auto& all = scenario_.narrow->all;
  for (; narrowed_ < all.size() && all[narrowed_].at <= now_; ++narrowed_) {
    const Narrowing& n = all[narrowed_];
    const auto side = [](std::uint8_t id) {
      return id == net::client_sender ? replicas_max : std::size_t{id};
    };
    links_[side(n.from)][side(n.to)] = &n;
    if (n.both) links_[side(n.to)][side(n.from)] = &n;
    if (saying())
      say("the path from " + std::to_string(n.from) + " to " + std::to_string(n.to) +
          (n.both ? " and back" : "") + " carries " +
          (n.bytes == SIZE_MAX
               ? std::string("whatever comes")
               : std::to_string(n.bytes) + " bytes and " +
                     (n.kind == Narrow::swallow ? "swallows what is above" : "refuses what is above")));
  }
  const auto side = [](std::uint8_t id) { return id == net::client_sender ? replicas_max : std::size_t{id}; };
  return links_[side(from)][side(to)];
}

bool World::passes(net::Transport& transport, paxos::Time now, std::uint8_t from, std::uint8_t to,
                   const net::Outgoing& out) {
  const Narrowing* link = narrow(from, to);
  const std::size_t bytes = out.segment == 0 ? out.data.size() : out.segment;
  if (link == nullptr || bytes <= link->bytes) return true;
  ++narrow_hits_;
  if (link->kind == Narrow::swallow) return false;
  // As net::UdpSocket does it: what could not be cut goes one by one.
  const auto refuse = [&](bool segmented) {
    transport.refused(now, {.to = out.to, .error = EMSGSIZE, .bytes = bytes, .segmented = segmented});
  };
  if (out.segment != 0) refuse(true);
  if (link->kind == Narrow::refuse_cut) return true;
  refuse(false);
  return false;
}

}  // namespace sim
