#include "net/udp.h"

#include <fmt/format.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>

namespace net {

namespace {

constexpr std::size_t name_bytes = 32;     // a multiple of 8 that holds any sockaddr we use
constexpr std::size_t control_bytes = 64;  // a multiple of 8, or the control header is misaligned
constexpr std::size_t payload_bytes = 65536;
constexpr std::size_t buffer_bytes =
    sizeof(io_uring_recvmsg_out) + name_bytes + control_bytes + payload_bytes;
constexpr std::size_t segments_max = 64;

/// What one call may hand over to be cut: the whole is a UDP packet first, however small its segments.
constexpr std::size_t packet_bytes_max = 65'507;
std::size_t bundle_bytes(std::size_t segment) {
  return segment * std::clamp<std::size_t>(packet_bytes_max / segment, 1, segments_max);
}

/// What the kernel says to a buffer that it should cut and can't for this path: each datagram by itself may
/// pass.
bool may_pass_singly(int error) { return error == EMSGSIZE || error == EINVAL || error == EIO; }

constexpr std::size_t refusals_max = 256;

using Control = char[CMSG_SPACE(sizeof(std::uint16_t))];

/// Everything that sendmsg needs, pointing into the other arguments.
void fill(msghdr& header, sockaddr_storage& name, iovec& iov, Control& control, const Address& to,
          const paxos::Bytes& data, std::size_t segment) {
  iov = {const_cast<std::byte*>(data.data()), data.size()};
  header = {};
  header.msg_name = &name;
  header.msg_namelen = to.to_sockaddr(name);
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  if (segment == 0 || segment >= data.size()) return;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = SOL_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
  const auto value = static_cast<std::uint16_t>(segment);
  std::memcpy(CMSG_DATA(c), &value, sizeof value);
}

}  // namespace

struct UdpSocket::Impl {
  struct Receive final : Operation {
    explicit Receive(Impl& i) : impl(i) {}
    void completed(int result, unsigned flags) override { impl.received(result, flags); }
    Impl& impl;
  };
  struct Send final : Operation {
    explicit Send(Impl& i) : impl(i) {}
    void completed(int result, unsigned) override { impl.sent(*this, result); }
    Impl& impl;
    Address to;
    paxos::Bytes data;
    std::size_t segment = 0;
    sockaddr_storage name{};
    iovec iov{};
    msghdr header{};
    alignas(cmsghdr) Control control{};
  };

  Impl(Loop& l, Options o) : loop(l), options(o), receive(*this) {}
  ~Impl() {
    stop();
    loop.undefer(this);
    while (sends_in_flight > 0)
      for (auto& send : sends) loop.cancel_and_wait(*send);
    if (ring != nullptr) {
      io_uring_unregister_buf_ring(&loop.ring(), buffer_group);
      munmap(ring, ring_bytes());
    }
    if (memory != nullptr) munmap(memory, options.buffers * buffer_bytes);
    if (fd >= 0) ::close(fd);
  }

  [[nodiscard]] std::size_t ring_bytes() const { return options.buffers * sizeof(io_uring_buf); }
  std::byte* buffer(unsigned id) { return memory + id * buffer_bytes; }

  void arm() {
    if (stopped || receive.under_way()) return;
    if (armed) ++figures.rearms;
    armed = true;
    message = {};
    message.msg_namelen = name_bytes;
    message.msg_controllen = control_bytes;
    io_uring_sqe* sqe = loop.prepare(receive);
    io_uring_prep_recvmsg_multishot(sqe, fd, &message, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
    io_uring_sqe_set_data(sqe, static_cast<Operation*>(&receive));
  }

  void received(int result, unsigned flags) {
    if (result == -ENOBUFS) ++figures.out_of_buffers;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
      const unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
      incoming_buffers.push_back(id);
      if (result >= 0) unpack(id, result);
    }
    // Anything may end a multishot receive: no buffers, an empty datagram from anyone, an error of the
    // socket.
    if (!receive.under_way() && !stopped) rearm = true;
    if ((rearm || !incoming.empty()) && !woken && (waiting || rearm)) {
      woken = true;
      loop.defer(this, [this] {
        woken = false;
        // With no buffer free, receiving would end at once again: the reader gives them back first.
        if (rearm) {
          if (incoming.empty()) recycle(incoming_buffers);
          if (incoming_buffers.size() + current_buffers.size() < options.buffers) {
            rearm = false;
            arm();
          }
        }
        if (!incoming.empty() && waiting) std::exchange(waiting, {}).resume();
      });
    }
  }

  void unpack(unsigned id, int result) {
    io_uring_recvmsg_out* out = io_uring_recvmsg_validate(buffer(id), result, &message);
    if (out == nullptr) return;
    if ((out->flags & MSG_TRUNC) != 0) {
      ++figures.truncated;
      return;
    }
    const auto* name = static_cast<const sockaddr*>(io_uring_recvmsg_name(out));
    const Address from = Address::from_sockaddr(name, std::min<socklen_t>(out->namelen, name_bytes));
    const auto* data = static_cast<const std::byte*>(io_uring_recvmsg_payload(out, &message));
    const std::size_t size = io_uring_recvmsg_payload_length(out, result, &message);
    std::size_t segment = size;
    for (cmsghdr* c = io_uring_recvmsg_cmsg_firsthdr(out, &message); c != nullptr;
         c = io_uring_recvmsg_cmsg_nexthdr(out, &message, c)) {
      if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
        int value = 0;
        std::memcpy(&value, CMSG_DATA(c), sizeof value);
        if (value > 0) segment = static_cast<std::size_t>(value);
      }
    }
    for (std::size_t at = 0; at < size; at += segment) {
      ++figures.received;
      incoming.push_back({from, {data + at, std::min(segment, size - at)}});
    }
  }

  void recycle(std::vector<unsigned>& ids) {
    if (ids.empty()) return;
    const int mask = io_uring_buf_ring_mask(options.buffers);
    int offset = 0;
    for (unsigned id : ids)
      io_uring_buf_ring_add(ring, buffer(id), buffer_bytes, static_cast<unsigned short>(id), mask, offset++);
    io_uring_buf_ring_advance(ring, offset);
    ids.clear();
  }

  void stop() {
    if (stopped) return;
    stopped = true;
    loop.cancel_and_wait(receive);
    if (waiting) loop.schedule(std::exchange(waiting, {}));
  }

  void sent(Send& send, int result) {
    const paxos::Bytes data = std::exchange(send.data, {});
    free_sends.push_back(&send);
    --sends_in_flight;
    if (result >= 0) return;
    const Refusal refusal{.to = send.to,
                          .error = -result,
                          .bytes = send.segment == 0 ? data.size() : send.segment,
                          .segmented = send.segment != 0};
    note(refusal);
    if (stopped || !refusal.segmented || !may_pass_singly(refusal.error)) return;
    for (std::size_t at = 0; at < data.size(); at += refusal.bytes) {
      ++figures.sent_singly;
      give(refusal.to, data.slice(at, std::min(refusal.bytes, data.size() - at)), 0);
    }
  }

  /// Any thread.
  void note(const Refusal& refusal) {
    const std::lock_guard lock(refusals_mutex);
    ++errors[refusal.error];
    // What says something about the path is not pushed out by what doesn't.
    const bool useful = may_pass_singly(refusal.error);
    if (refusals.size() >= (useful ? refusals_max : refusals_max / 2)) return;
    refusals.push_back(refusal);
  }

  /// Into the ring; `data` is one bundle at most.
  void give(const Address& to, paxos::Bytes data, std::size_t segment) {
    if (free_sends.empty()) {
      if (sends.size() >= options.sends_max) {
        ++figures.dropped_sends;
        return;
      }
      sends.push_back(std::make_unique<Send>(*this));
      free_sends.push_back(sends.back().get());
    }
    Send& s = *free_sends.back();
    free_sends.pop_back();
    ++sends_in_flight;
    s.to = to;
    s.data = std::move(data);
    s.segment = segment < s.data.size() ? segment : 0;
    fill(s.header, s.name, s.iov, s.control, to, s.data, segment);
    figures.sent += s.segment == 0 ? 1 : (s.data.size() + s.segment - 1) / s.segment;
    io_uring_sqe* sqe = loop.prepare(s);
    io_uring_prep_sendmsg(sqe, fd, &s.header, MSG_DONTWAIT);
    io_uring_sqe_set_data(sqe, static_cast<Operation*>(&s));
  }

  /// A plain system call; 0 or an errno. Any thread.
  int call(const Address& to, const paxos::Bytes& data, std::size_t segment) {
    msghdr header{};
    sockaddr_storage name{};
    iovec iov{};
    alignas(cmsghdr) Control control{};
    fill(header, name, iov, control, to, data, segment);
    if (::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    const int error = errno;
    const bool segmented = segment != 0 && segment < data.size();
    note({.to = to, .error = error, .bytes = segmented ? segment : data.size(), .segmented = segmented});
    return error;
  }

  Loop& loop;
  Options options;
  unsigned short buffer_group = 0;
  int fd = -1;
  std::byte* memory = nullptr;
  io_uring_buf_ring* ring = nullptr;
  msghdr message{};
  Receive receive;
  std::vector<Datagram> incoming, current;
  std::vector<unsigned> incoming_buffers, current_buffers;
  std::coroutine_handle<> waiting;
  bool woken = false;
  bool rearm = false;
  bool armed = false;  ///< once at least
  bool stopped = false;
  std::vector<std::unique_ptr<Send>> sends;
  std::vector<Send*> free_sends;
  std::size_t sends_in_flight = 0;
  Figures figures;
  std::mutex refusals_mutex;
  std::vector<Refusal> refusals;        ///< guarded by refusals_mutex
  std::map<int, std::uint64_t> errors;  ///< guarded by refusals_mutex
};

UdpSocket::UdpSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UdpSocket::UdpSocket(UdpSocket&&) noexcept = default;
UdpSocket::~UdpSocket() = default;

tl::expected<UdpSocket, UdpSocket::Refused> UdpSocket::try_open(Loop& loop, const Address& local,
                                                                Options options) {
  auto impl = std::make_unique<Impl>(loop, options);
  const auto fail = [&](const std::string& why, int error = 0) {
    return tl::make_unexpected(Refused{fmt::format("can't listen on {}: {}", local.to_string(), why), error});
  };
  impl->fd = ::socket(local.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (impl->fd < 0) return fail(std::strerror(errno));
  const int bytes = static_cast<int>(options.socket_bytes);
  for (const auto& [force, plain] :
       {std::pair{SO_RCVBUFFORCE, SO_RCVBUF}, std::pair{SO_SNDBUFFORCE, SO_SNDBUF}})
    if (setsockopt(impl->fd, SOL_SOCKET, force, &bytes, sizeof bytes) != 0)
      setsockopt(impl->fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
  sockaddr_storage name{};
  const socklen_t size = local.to_sockaddr(name);
  if (::bind(impl->fd, reinterpret_cast<sockaddr*>(&name), size) != 0) {
    const int error = errno;
    if (error == EADDRINUSE)
      return fail("the port is in use; is this replica (or another program) running there already?", error);
    if (error == EADDRNOTAVAIL)
      return fail(
          "this machine does not have that address; if it never will, mend `address` in the config, or set "
          "`listen`",
          error);
    if (error == EACCES) return fail("not allowed to use that port; ports below 1024 need privileges", error);
    return fail(std::strerror(error), error);
  }
  // Not before: the kernel rewrites its own code when the first socket asks for it and when the last one goes
  // (some 2 ms).
  const int on = 1;
  setsockopt(impl->fd, SOL_UDP, UDP_GRO, &on, sizeof on);
  void* memory = mmap(nullptr, options.buffers * buffer_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail("no memory for its buffers");
  impl->memory = static_cast<std::byte*>(memory);
  void* ring = mmap(nullptr, impl->ring_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ring == MAP_FAILED) return fail("no memory for its buffers");
  // Not before: an address that is waited for is tried thousands of times, and these numbers are not given
  // back.
  impl->buffer_group = loop.next_buffer_group();
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(ring);
  registration.ring_entries = options.buffers;
  registration.bgid = impl->buffer_group;
  if (const int error = io_uring_register_buf_ring(&loop.ring(), &registration, 0); error != 0) {
    munmap(ring, impl->ring_bytes());
    return fail(error == -ENOMEM
                    ? "the receive buffers can't be locked; raise `ulimit -l` (LimitMEMLOCK= in the unit)"
                    : fmt::format("no provided buffers on this kernel ({}); Linux 6.1 or later is needed",
                                  std::strerror(-error)));
  }
  impl->ring = static_cast<io_uring_buf_ring*>(ring);
  io_uring_buf_ring_init(impl->ring);
  std::vector<unsigned> all(options.buffers);
  for (unsigned id = 0; id < options.buffers; ++id) all[id] = id;
  impl->recycle(all);
  impl->arm();
  return UdpSocket(std::move(impl));
}

Address UdpSocket::local_address() const {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  getsockname(impl_->fd, reinterpret_cast<sockaddr*>(&name), &size);
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), size);
}

bool UdpSocket::ready() const { return impl_->stopped || !impl_->incoming.empty(); }

void UdpSocket::suspend(std::coroutine_handle<> handle) {
  PAXOS_ASSERT(!impl_->waiting);
  // The last batch is done with, and so are its buffers.
  impl_->recycle(impl_->current_buffers);
  impl_->current.clear();
  if (impl_->rearm) {
    impl_->rearm = false;
    impl_->arm();
  }
  impl_->waiting = handle;
}

std::span<const Datagram> UdpSocket::take() {
  impl_->recycle(impl_->current_buffers);
  if (impl_->rearm) {
    impl_->rearm = false;
    impl_->arm();
  }
  impl_->current.clear();
  if (impl_->stopped) return {};
  std::swap(impl_->current, impl_->incoming);
  std::swap(impl_->current_buffers, impl_->incoming_buffers);
  return impl_->current;
}

void UdpSocket::send(const Address& to, paxos::Bytes data, std::size_t segment) {
  if (data.empty() || to.empty()) return;
  if (segment != 0 && data.size() > bundle_bytes(segment)) {
    const std::size_t bundle = bundle_bytes(segment);
    for (std::size_t at = 0; at < data.size(); at += bundle)
      send(to, data.slice(at, std::min(bundle, data.size() - at)), segment);
    return;
  }
  impl_->give(to, std::move(data), segment);
}

void UdpSocket::send_now(const Address& to, const paxos::Bytes& data, std::size_t segment) const {
  const std::size_t bundle = segment == 0 ? data.size() : bundle_bytes(segment);
  for (std::size_t at = 0; at < data.size(); at += bundle) {
    const paxos::Bytes part = data.slice(at, std::min(bundle, data.size() - at));
    const int error = impl_->call(to, part, segment);
    if (segment == 0 || segment >= part.size() || !may_pass_singly(error)) continue;
    // What does not leave is lost, as datagrams are: it will be asked for again.
    for (std::size_t one = 0; one < part.size(); one += segment)
      (void)impl_->call(to, part.slice(one, std::min(segment, part.size() - one)), 0);
  }
}

std::vector<Refusal> UdpSocket::take_refusals() {
  const std::lock_guard lock(impl_->refusals_mutex);
  return std::exchange(impl_->refusals, {});
}

std::map<int, std::uint64_t> UdpSocket::errors() const {
  const std::lock_guard lock(impl_->refusals_mutex);
  return impl_->errors;
}

bool UdpSocket::idle() const { return impl_->sends_in_flight == 0; }
void UdpSocket::stop() { impl_->stop(); }
const UdpSocket::Figures& UdpSocket::figures() const {
  std::uint64_t all = 0;
  for (const auto& [error, count] : errors()) all += count;
  impl_->figures.send_errors = all;
  return impl_->figures;
}

std::size_t UdpSocket::receive_buffer() const {
  int bytes = 0;
  socklen_t size = sizeof bytes;
  // The kernel tells twice what was asked for: half of it is for its own bookkeeping (socket(7)).
  return ::getsockopt(impl_->fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) == 0
             ? static_cast<std::size_t>(bytes) / 2
             : 0;
}

}  // namespace net
