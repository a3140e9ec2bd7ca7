#include <gmock/gmock.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "net/udp.h"

namespace net {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// A plain socket on loopback: the other end.
class Peer {
 public:
  Peer() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const int bytes = 4 << 20;
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_storage name{};
    const socklen_t size = Address::loopback(0).to_sockaddr(name);
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&name), size) != 0) throw std::runtime_error("bind");
  }
  ~Peer() { ::close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  [[nodiscard]] Address address() const {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &size);
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), size);
  }
  void send(const Address& to, std::string_view text) const {
    sockaddr_storage name{};
    const socklen_t size = to.to_sockaddr(name);
    ASSERT_EQ(::sendto(fd_, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&name), size),
              static_cast<ssize_t>(text.size()));
  }
  /// One call, cut into datagrams of `segment` bytes by the kernel.
  void send_cut(const Address& to, std::string text, std::uint16_t segment) const {
    const int size_option = segment;
    ASSERT_EQ(setsockopt(fd_, SOL_UDP, UDP_SEGMENT, &size_option, sizeof size_option), 0);
    send(to, text);
    const int off = 0;
    setsockopt(fd_, SOL_UDP, UDP_SEGMENT, &off, sizeof off);
  }
  /// The next datagram; throws when none comes.
  [[nodiscard]] std::string receive() const {
    std::string out(65536, '\0');
    const ssize_t got = ::recv(fd_, out.data(), out.size(), 0);
    if (got < 0) throw std::runtime_error("no datagram came");
    out.resize(static_cast<std::size_t>(got));
    return out;
  }

 private:
  int fd_;
};

UdpSocket listen(Loop& loop, UdpSocket::Options options = {}) {
  auto socket = UdpSocket::open(loop, Address::loopback(0), options);
  if (!socket) throw std::runtime_error(socket.error());
  return std::move(*socket);
}
std::string text(const Datagram& d) { return {reinterpret_cast<const char*>(d.data.data()), d.data.size()}; }

/// The texts of the next `count` datagrams.
Task<std::vector<std::string>> collect(UdpSocket& socket, std::size_t count) {
  std::vector<std::string> out;
  while (out.size() < count) {
    const auto batch = co_await socket.receive();
    if (batch.empty()) break;
    for (const Datagram& d : batch) out.push_back(text(d));
  }
  co_return out;
}
Task<> settle(Loop& loop, const UdpSocket& socket) {
  while (!socket.idle()) co_await loop.sleep(100us);
}

TEST(Udp, ADatagramComesWithItsSender) {
  Loop loop;
  UdpSocket socket = listen(loop);
  const Peer peer;
  peer.send(socket.local_address(), "hello");
  loop.run([](UdpSocket& s, const Address& from) -> Task<> {
    const auto batch = co_await s.receive();
    EXPECT_EQ(batch.size(), 1u);
    EXPECT_EQ(text(batch[0]), "hello");
    EXPECT_EQ(batch[0].from, from);
  }(socket, peer.address()));
  EXPECT_EQ(socket.figures().received, 1u);
}

TEST(Udp, TwentyThousandDatagramsThroughEightBuffers) {
  Loop loop;
  UdpSocket socket = listen(loop, {.buffers = 8});
  const Peer peer;
  const Address to = socket.local_address();
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> expected;
    for (int n = 0; n < 100; ++n) {
      expected.push_back("datagram " + std::to_string(round * 100 + n));
      peer.send(to, expected.back());
    }
    ASSERT_EQ(loop.run(collect(socket, 100)), expected);
  }
  EXPECT_EQ(socket.figures().received, 20'000u);
  EXPECT_EQ(socket.figures().truncated, 0u);
  EXPECT_GT(socket.figures().out_of_buffers, 0u) << "100 at once don't fit 8: the case was tried";
}

TEST(Udp, EmptyDatagramsDoNotEndReceiving) {
  Loop loop;
  UdpSocket socket = listen(loop, {.buffers = 4});
  const Peer peer;
  const Address to = socket.local_address();
  for (int n = 0; n < 50; ++n) {
    for (int empty = 0; empty < 1 + n % 7; ++empty) peer.send(to, "");
    peer.send(to, std::to_string(n));
    ASSERT_EQ(loop.run(collect(socket, 1)), std::vector{std::to_string(n)});
  }
}

TEST(Udp, OnlyEmptyDatagramsHoldNoBuffers) {
  Loop loop;
  UdpSocket socket = listen(loop, {.buffers = 4});
  const Peer peer;
  for (int n = 0; n < 100; ++n) peer.send(socket.local_address(), "");
  loop.run([](Loop& l) -> Task<> { co_await l.sleep(2ms); }(loop));
  peer.send(socket.local_address(), "after");
  EXPECT_EQ(loop.run(collect(socket, 1)), std::vector<std::string>{"after"});
}

TEST(Udp, AReaderThatHoldsAllBuffersDoesNotKeepTheLoopSpinning) {
  Loop loop;
  UdpSocket socket = listen(loop, {.buffers = 4});
  const Peer peer;
  for (int n = 0; n < 20; ++n) peer.send(socket.local_address(), std::to_string(n));
  loop.run([](Loop& l, UdpSocket& s) -> Task<> {
    std::size_t got = 0;
    while (got < 20) {
      got += (co_await s.receive()).size();
      co_await l.sleep(5ms);  // the batch is still in use
    }
  }(loop, socket));
  EXPECT_LT(socket.figures().out_of_buffers, 50u);
}

TEST(Udp, TwoSocketsShareALoop) {
  Loop loop;
  UdpSocket one = listen(loop);
  UdpSocket two = listen(loop);
  one.send(two.local_address(), paxos::Bytes::copy_of(std::string_view("to two")));
  EXPECT_EQ(loop.run(collect(two, 1)), std::vector<std::string>{"to two"});
  two.send(one.local_address(), paxos::Bytes::copy_of(std::string_view("to one")));
  EXPECT_EQ(loop.run(collect(one, 1)), std::vector<std::string>{"to one"});
}

TEST(Udp, ABundleIsCutAgainIntoItsDatagrams) {
  Loop loop;
  UdpSocket socket = listen(loop);
  const Peer peer;
  std::string bundle;
  std::vector<std::string> expected;
  for (char c = 'a'; c < 'a' + 20; ++c) expected.emplace_back(1200, c);
  expected.emplace_back(77, 'z');
  for (const std::string& part : expected) bundle += part;
  peer.send_cut(socket.local_address(), bundle, 1200);
  EXPECT_EQ(loop.run(collect(socket, expected.size())), expected);
}

TEST(Udp, SendCutsIntoSegments) {
  Loop loop;
  UdpSocket socket = listen(loop);
  const Peer peer;
  std::string all;
  for (int n = 0; n < 10; ++n) all.append(1000, static_cast<char>('a' + n));
  all.append(10, 'z');
  socket.send(peer.address(), paxos::Bytes::copy_of(all), 1000);
  loop.run(settle(loop, socket));
  std::string got;
  for (int n = 0; n < 11; ++n) {
    const std::string part = peer.receive();
    EXPECT_EQ(part.size(), n < 10 ? 1000u : 10u);
    got += part;
  }
  EXPECT_EQ(got, all);
  EXPECT_EQ(socket.figures().sent, 11u);
  EXPECT_EQ(socket.figures().send_errors, 0u);
}

TEST(Udp, ALargestDecreeInSegmentsOfAnEthernetMtuLeavesWhole) {
  Loop loop;
  UdpSocket socket = listen(loop);
  const Peer peer;
  std::string all;
  for (std::size_t n = 0; all.size() < 256 * 1024; ++n) all += std::to_string(n) + ",";
  socket.send(peer.address(), paxos::Bytes::copy_of(all), 1400);
  loop.run(settle(loop, socket));
  EXPECT_EQ(socket.figures().send_errors, 0u) << "a bundle is at most 64 KiB, whatever its segments";
  std::string got;
  while (socket.figures().send_errors == 0 && got.size() < all.size()) got += peer.receive();
  EXPECT_TRUE(got == all) << got.size() << " bytes of " << all.size();
}

/// Its socket from now on refuses to cut anything (EINVAL), as a device without checksums does (EIO) or a
/// path of a smaller MTU (EMSGSIZE).
void refuse_to_cut(const Address& local) {
  for (int fd = 3; fd < 256; ++fd) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0 || name.ss_family != AF_INET ||
        Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), size) != local)
      continue;
    const int on = 1;
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
    return;
  }
  FAIL() << "no socket of " << local.to_string();
}

TEST(Udp, WhatTheKernelWillNotCutLeavesOneByOneAndIsToldOfBothWaysOfSending) {
  Loop loop;
  UdpSocket socket = listen(loop);
  const Peer peer;
  refuse_to_cut(socket.local_address());
  std::string all;
  for (std::size_t n = 0; all.size() < 150'000; ++n) all += std::to_string(n) + ",";
  for (const bool at_once : {false, true}) {
    if (at_once) {
      socket.send_now(peer.address(), paxos::Bytes::copy_of(all), 1200);
    } else {
      socket.send(peer.address(), paxos::Bytes::copy_of(all), 1200);
      loop.run(settle(loop, socket));
    }
    std::string got;
    while (got.size() < all.size()) got += peer.receive();
    EXPECT_TRUE(got == all) << got.size() << " bytes of " << all.size();
    const std::vector<Refusal> refusals = socket.take_refusals();
    ASSERT_EQ(refusals.size(), 3u) << "one for each bundle";
    for (const Refusal& refusal : refusals) {
      EXPECT_EQ(refusal.to, peer.address());
      EXPECT_EQ(refusal.error, EINVAL);
      EXPECT_EQ(refusal.bytes, 1200u);
      EXPECT_TRUE(refusal.segmented);
    }
    EXPECT_TRUE(socket.take_refusals().empty());
  }
  EXPECT_EQ(socket.errors(), (std::map<int, std::uint64_t>{{EINVAL, 6u}}));
  EXPECT_EQ(socket.figures().send_errors, 6u);
  // What may not leave by itself either is lost, and told.
  socket.send_now(peer.address(), paxos::Bytes::copy_of(std::string(70'000, 'x')));
  ASSERT_EQ(socket.take_refusals().size(), 1u);
  EXPECT_EQ(socket.errors().at(EMSGSIZE), 1u);
}

TEST(Udp, ADatagramOfAlmost64KiBPassesBothWays) {
  Loop loop;
  UdpSocket socket = listen(loop);
  const Peer peer;
  const std::string big(65'507, 'q');
  peer.send(socket.local_address(), big);
  EXPECT_EQ(loop.run(collect(socket, 1)), std::vector{big});
  socket.send(peer.address(), paxos::Bytes::copy_of(big));
  loop.run(settle(loop, socket));
  EXPECT_EQ(peer.receive(), big);
}

TEST(Udp, WhatANetworkDoesToADatagramIsLossNotAnError) {
  Loop loop;
  UdpSocket socket = listen(loop);
  Address nobody;
  {
    const Peer gone;
    nobody = gone.address();
  }
  const Peer peer;
  for (int n = 0; n < 20; ++n) {
    socket.send(nobody, paxos::Bytes::copy_of(std::string_view("anyone?")));
    loop.run(settle(loop, socket));
  }
  socket.send(peer.address(), paxos::Bytes::copy_of(std::string(70'000, 'x')));  // EMSGSIZE
  loop.run(settle(loop, socket));
  EXPECT_EQ(socket.figures().send_errors, 1u);
  peer.send(socket.local_address(), "still here");
  EXPECT_EQ(loop.run(collect(socket, 1)), std::vector<std::string>{"still here"});
}

TEST(Udp, SendsBeyondTheBoundAreDroppedAndCounted) {
  Loop loop;
  UdpSocket socket = listen(loop, {.sends_max = 10});
  const Peer peer;
  for (int n = 0; n < 25; ++n) socket.send(peer.address(), paxos::Bytes::copy_of(std::to_string(n)));
  EXPECT_EQ(socket.figures().dropped_sends, 15u);
  loop.run(settle(loop, socket));
  for (int n = 0; n < 10; ++n) EXPECT_EQ(peer.receive(), std::to_string(n));
  socket.send(peer.address(), paxos::Bytes::copy_of(std::string_view("again")));
  loop.run(settle(loop, socket));
  EXPECT_EQ(peer.receive(), "again");
}

TEST(Udp, StopEndsAReceiveThatIsUnderWay) {
  Loop loop;
  UdpSocket socket = listen(loop);
  loop.add_timer(loop.now() + 1ms, [&] { socket.stop(); });
  EXPECT_TRUE(loop.run(collect(socket, 1)).empty());
  EXPECT_TRUE(loop.run(collect(socket, 1)).empty()) << "and every later one";
  socket.stop();
}

TEST(Udp, GoesAwayWithDatagramsAndSendsUnderWay) {
  for (int round = 0; round < 20; ++round) {
    Loop loop;
    UdpSocket socket = listen(loop, {.buffers = 4});
    const Peer peer;
    for (int n = 0; n < 30; ++n) {
      peer.send(socket.local_address(), "unread");
      socket.send(peer.address(), paxos::Bytes::copy_of(std::string_view("unsent")));
    }
    if (round % 2 == 1) loop.run([](Loop& l) -> Task<> { co_await l.sleep(100us); }(loop));
  }
}

TEST(Udp, APortInUseIsASentence) {
  Loop loop;
  const Peer owner;
  const auto socket = UdpSocket::open(loop, owner.address());
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error(), AllOf(HasSubstr(owner.address().to_string()), HasSubstr("the port is in use"),
                                    HasSubstr("running there already")));
}

TEST(Udp, WhatMayPassIsToldApartAndCanBeTriedForDays) {
  Loop loop;
  const Peer owner;
  const auto busy = UdpSocket::try_open(loop, owner.address(), {});
  ASSERT_FALSE(busy);
  EXPECT_TRUE(busy.error().may_pass());
  // More often than there are numbers for rings of buffers.
  for (int n = 0; n < 70'000; ++n) {
    const auto absent = UdpSocket::try_open(loop, *Address::literal("192.0.2.1:7400"), {});
    ASSERT_FALSE(absent);
    ASSERT_TRUE(absent.error().may_pass());
  }
  EXPECT_TRUE(UdpSocket::open(loop, Address::loopback(0)));
}

TEST(Udp, AnAddressOfAnotherMachineIsASentence) {
  Loop loop;
  const auto elsewhere = Address::resolve("192.0.2.1:7400");  // a documentation address, nobody's
  ASSERT_TRUE(elsewhere);
  const auto socket = UdpSocket::open(loop, *elsewhere);
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error(), AllOf(HasSubstr("192.0.2.1:7400"), HasSubstr("does not have that address")));
}

}  // namespace
}  // namespace net
