/// How long a message takes from struct to sealed datagram, and back. Not a test: run it in a release build.
#include <chrono>
#include <cstdio>

#include "net/transport.h"

namespace {

using Clock = std::chrono::steady_clock;

void run(const char* what, std::size_t decree_bytes, std::size_t per_turn, std::size_t datagram_bytes) {
  const net::ClusterKey key{net::cipher::Key{1}};
  const auto at = net::Address::loopback(1);
  const auto make = [&](std::uint8_t id) {
    return net::Transport::Options{.self = {.sender = id, .incarnation = {{id, 1}}, .boot = 1},
                                   .key = key,
                                   .datagram_bytes = datagram_bytes,
                                   .replicas = 3};
  };
  net::Transport a(make(0)), b(make(1));
  const paxos::Bytes value = paxos::Bytes::copy_of(std::string(decree_bytes, 'x'));
  std::chrono::nanoseconds out_time{}, in_time{};
  std::size_t sent = 0, received = 0, datagrams = 0;
  paxos::Time now{};
  std::vector<net::Received> got;
  const auto until = Clock::now() + std::chrono::milliseconds{500};
  while (Clock::now() < until) {
    const auto t0 = Clock::now();
    for (std::size_t n = 0; n < per_turn; ++n)
      a.send(
          now, at,
          paxos::PeerMessage(paxos::Accept{{1, {0}}, {++sent}, {1}, {paxos::DecreeKind::commands, value}}));
    a.flush(now);
    const auto packets = a.take_outgoing();
    const auto t1 = Clock::now();
    for (const auto& p : packets) {
      const std::size_t step = p.segment == 0 ? p.data.size() : p.segment;
      for (std::size_t from = 0; from < p.data.size(); from += step, ++datagrams)
        b.receive(now, at, p.data.span().subspan(from, std::min(step, p.data.size() - from)), got);
    }
    const auto t2 = Clock::now();
    received += got.size();
    got.clear();
    out_time += t1 - t0;
    in_time += t2 - t1;
    now += std::chrono::milliseconds{1};
    b.tick(now);
  }
  if (received != sent) std::printf("LOST %zu of %zu\n", sent - received, sent);
  const auto each = [&](std::chrono::nanoseconds t) {
    return static_cast<double>(t.count()) / static_cast<double>(sent) / 1000;
  };
  std::printf("%-44s encode+seal %8.2f us   open+decode %8.2f us   %6.2f datagrams each\n", what,
              each(out_time), each(in_time), static_cast<double>(datagrams) / static_cast<double>(sent));
}

}  // namespace

int main() {
  run("Accept of 100 B, one a turn, 1,400", 100, 1, 1400);
  run("Accept of 100 B, 64 a turn, 1,400", 100, 64, 1400);
  run("Accept of 100 B, 64 a turn, 60 KiB", 100, 64, 60 * 1024);
  run("Accept of 1,000 B, one a turn, 1,400", 1000, 1, 1400);
  run("Accept of 50,000 B, one a turn, 60 KiB", 50'000, 1, 60 * 1024);
  run("Accept of 64 KiB, one a turn, 60 KiB", 65'536, 1, 60 * 1024);
  run("Accept of 64 KiB, one a turn, 1,400", 65'536, 1, 1400);
  run("Accept of 256 KiB, one a turn, 60 KiB", 262'144, 1, 60 * 1024);
}
