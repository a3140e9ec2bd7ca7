// Closed-loop writers against an etcd member, speaking gRPC over HTTP/2 directly, so that the peer is
// measured through a client that costs as little as ours: one process, N outstanding puts, latency per put.
//
//   etcd-load HOST PORT CLIENTS SECONDS WARMUP_SECONDS VALUE_BYTES     prints one JSON object
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Client {
  int number = 0;
  std::uint64_t sent = 0;
  Clock::time_point since;
  std::string body;
  std::size_t offset = 0;
  bool ok = false;
};

struct Connection {
  int fd = -1;
  nghttp2_session* session = nullptr;
  std::vector<std::unique_ptr<Client>> clients;
};

Clock::time_point measure_from;
Clock::time_point stop_at;
std::vector<std::uint32_t> latencies_us;
std::uint64_t errors = 0;
std::string authority;
std::size_t value_bytes = 100;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "etcd-load: %s\n", what.c_str());
  std::exit(1);
}

nghttp2_nv header(const char* name, const std::string& value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name)),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), std::strlen(name), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

ssize_t read_body(nghttp2_session*, int32_t, std::uint8_t* out, size_t size, uint32_t* flags,
                  nghttp2_data_source* source, void*) {
  auto* client = static_cast<Client*>(source->ptr);
  const std::size_t count = std::min(size, client->body.size() - client->offset);
  std::memcpy(out, client->body.data() + client->offset, count);
  client->offset += count;
  if (client->offset == client->body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(count);
}

void submit(Connection& connection, Client& client) {
  // etcdserverpb.PutRequest: 1 = key, 2 = value.
  const std::string key = "bench/" + std::to_string(client.number) + "/" + std::to_string(client.sent++);
  std::string message;
  message += '\x0a';
  message += static_cast<char>(key.size());
  message += key;
  message += '\x12';
  for (std::size_t n = value_bytes;; n >>= 7) {
    message += static_cast<char>((n & 0x7f) | (n >= 0x80 ? 0x80 : 0));
    if (n < 0x80) break;
  }
  message.append(value_bytes, 'x');
  client.body.assign(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8)
    client.body += static_cast<char>(message.size() >> shift & 0xff);
  client.body += message;
  client.offset = 0;
  client.ok = false;
  client.since = Clock::now();
  static const std::string post = "POST", http = "http", path = "/etcdserverpb.KV/Put",
                           type = "application/grpc", trailers = "trailers";
  const nghttp2_nv headers[] = {header(":method", post),      header(":scheme", http),
                                header(":path", path),        header(":authority", authority),
                                header("content-type", type), header("te", trailers)};
  nghttp2_data_provider body{};
  body.source.ptr = &client;
  body.read_callback = read_body;
  if (nghttp2_submit_request(connection.session, nullptr, headers, 6, &body, &client) < 0)
    fail("cannot submit");
}

int on_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
              size_t name_size, const std::uint8_t* value, size_t value_size, std::uint8_t, void*) {
  auto* client = static_cast<Client*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
  if (client == nullptr) return 0;
  if (std::string_view(reinterpret_cast<const char*>(name), name_size) == "grpc-status")
    client->ok = std::string_view(reinterpret_cast<const char*>(value), value_size) == "0";
  return 0;
}

int on_close(nghttp2_session* session, int32_t stream, uint32_t, void* user) {
  auto* client = static_cast<Client*>(nghttp2_session_get_stream_user_data(session, stream));
  if (client == nullptr) return 0;
  const auto now = Clock::now();
  if (!client->ok)
    ++errors;
  else if (now >= measure_from && now < stop_at)
    latencies_us.push_back(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - client->since).count()));
  if (now < stop_at) submit(*static_cast<Connection*>(user), *client);
  return 0;
}

ssize_t on_send(nghttp2_session*, const std::uint8_t* data, size_t size, int, void* user) {
  const ssize_t sent = ::send(static_cast<Connection*>(user)->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
  return sent;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) fail("usage: etcd-load HOST PORT CLIENTS SECONDS WARMUP_SECONDS VALUE_BYTES");
  const int clients = std::atoi(argv[3]);
  const double seconds = std::atof(argv[4]);
  const double warmup = std::atof(argv[5]);
  value_bytes = static_cast<std::size_t>(std::atoi(argv[6]));
  authority = std::string(argv[1]) + ":" + argv[2];
  // etcd allows 100 streams a connection or so; several connections also spread its own work.
  const int count = std::clamp(clients / 16, 1, 16);
  std::vector<Connection> connections(static_cast<std::size_t>(count));
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
  for (Connection& c : connections) {
    c.fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) fail("bad host");
    if (::connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
    const int one = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    nghttp2_session_client_new(&c.session, callbacks, &c);
    nghttp2_submit_settings(c.session, NGHTTP2_FLAG_NONE, nullptr, 0);
    nghttp2_session_set_local_window_size(c.session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
  }
  const auto begin = Clock::now();
  const auto span = [](double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  };
  measure_from = begin + span(warmup);
  stop_at = measure_from + span(seconds);
  for (int i = 0; i < clients; ++i) {
    Connection& c = connections[static_cast<std::size_t>(i % count)];
    c.clients.push_back(std::make_unique<Client>());
    c.clients.back()->number = i;
    submit(c, *c.clients.back());
  }
  std::vector<pollfd> fds(connections.size());
  while (Clock::now() < stop_at) {
    for (std::size_t i = 0; i < connections.size(); ++i) {
      if (nghttp2_session_send(connections[i].session) != 0) fail("send");
      fds[i] = {
          connections[i].fd,
          static_cast<short>(POLLIN | (nghttp2_session_want_write(connections[i].session) ? POLLOUT : 0)), 0};
    }
    if (::poll(fds.data(), fds.size(), 100) < 0) fail("poll");
    for (std::size_t i = 0; i < connections.size(); ++i) {
      if ((fds[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      std::uint8_t buffer[65536];
      const ssize_t got = ::recv(connections[i].fd, buffer, sizeof buffer, 0);
      if (got == 0) fail("etcd closed the connection");
      if (got < 0) continue;
      if (nghttp2_session_mem_recv(connections[i].session, buffer, static_cast<size_t>(got)) < 0)
        fail("protocol");
    }
  }
  std::sort(latencies_us.begin(), latencies_us.end());
  const auto at = [&](double q) {
    return latencies_us.empty()
               ? 0U
               : latencies_us[std::min(
                     latencies_us.size() - 1,
                     static_cast<std::size_t>(q * static_cast<double>(latencies_us.size())))];
  };
  std::printf(
      "{\"clients\":%d,\"size\":%zu,\"seconds\":%.1f,\"messages\":%zu,\"errors\":%llu,\"throughput\":%.1f,"
      "\"latency_us\":{\"p50\":%u,\"p99\":%u,\"p999\":%u,\"max\":%u}}\n",
      clients, value_bytes, seconds, latencies_us.size(), static_cast<unsigned long long>(errors),
      static_cast<double>(latencies_us.size()) / seconds, at(0.5), at(0.99), at(0.999), at(1.0));
  return latencies_us.empty() ? 1 : 0;
}
