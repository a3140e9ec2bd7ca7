#include "daemon/metrics_server.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/log.h"
#include "paxos/invariant.h"

namespace paxosd {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t request_bytes_max = 8192;
/// What a client goes on sending after its answer is read and thrown away up to here, so that the close does
/// not reset the connection under the answer.
constexpr std::size_t leftover_bytes_max = 64 * 1024;
constexpr std::chrono::seconds accept_pause{1};

}  // namespace

struct MetricsServer::Impl {
  class Session;

  /// Answers reach the server through this, and find nothing once it is gone.
  struct Gate {
    std::mutex mutex;
    Impl* impl = nullptr;  ///< guarded by mutex
  };

  explicit Impl(Options o) : options(o), acceptor(io), pause(io) {}
  ~Impl() {
    {
      const std::lock_guard lock(gate->mutex);
      gate->impl = nullptr;
    }
    io.stop();
    if (thread.joinable()) thread.join();
  }

  void run();
  void accept();
  void ask_for(const std::shared_ptr<Session>& session);
  void answered(const Render& render);
  http::response<http::string_body> response(http::status status, std::string body) {
    ++figures.responses[static_cast<unsigned>(status)];
    http::response<http::string_body> out{status, 11};
    out.set(http::field::content_type, status == http::status::ok ? "text/plain; version=0.0.4; charset=utf-8"
                                                                  : "text/plain; charset=utf-8");
    out.set(http::field::cache_control, "no-store");
    out.keep_alive(false);
    out.body() = std::move(body);
    out.prepare_payload();
    return out;
  }

  const Options options;
  Ask ask;
  Figures figures;  // from here to `waiting`: server's thread only
  std::size_t connections = 0;
  bool asked = false;                           ///< the loop owes an answer
  std::vector<std::weak_ptr<Session>> waiting;  ///< for it
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  asio::io_context io{1};  ///< goes before what the sessions in it count in
  tcp::acceptor acceptor;
  asio::steady_timer pause;
  std::thread thread;
};

/// One connection: one request, one answer. Server's thread only.
class MetricsServer::Impl::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Impl& impl, tcp::socket socket)
      : impl_(impl), stream_(std::move(socket)), buffer_(request_bytes_max), patience_(impl.io) {
    ++impl_.connections;
    parser_.header_limit(request_bytes_max);
  }
  ~Session() { --impl_.connections; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start() {
    stream_.expires_after(impl_.options.request_max);
    http::async_read_header(
        stream_, buffer_, parser_, [self = shared_from_this()](error_code error, std::size_t) {
          if (!error)
            self->requested();
          else if (error == http::error::header_limit || error == http::error::buffer_overflow)
            self->answer(
                self->impl_.response(http::status::request_header_fields_too_large, "too large a request\n"));
          else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
                   error != http::error::end_of_stream && error != http::error::partial_message)
            self->answer(self->impl_.response(http::status::bad_request, "no HTTP request\n"));
        });
  }

  void answer_metrics(std::string text) {
    if (!std::exchange(waits_, false)) return;
    patience_.cancel();
    answer(impl_.response(http::status::ok, std::move(text)));
  }

 private:
  void requested() {
    const auto& request = parser_.get();
    const auto target = request.target().substr(0, request.target().find('?'));
    if (target != "/metrics") {
      answer(impl_.response(http::status::not_found, "only /metrics is here\n"));
      return;
    }
    if (request.method() != http::verb::get) {
      auto refusal = impl_.response(http::status::method_not_allowed, "only GET\n");
      refusal.set(http::field::allow, "GET");
      answer(std::move(refusal));
      return;
    }
    waits_ = true;
    patience_.expires_after(impl_.options.answer_max);
    patience_.async_wait([self = shared_from_this()](error_code) {
      if (!std::exchange(self->waits_, false)) return;
      self->answer(self->impl_.response(http::status::service_unavailable,
                                        fmt::format("the replica's event loop gave no answer within {} ms\n",
                                                    self->impl_.options.answer_max.count())));
    });
    impl_.ask_for(shared_from_this());
  }

  void answer(http::response<http::string_body> response) {
    response_ = std::move(response);
    stream_.expires_after(impl_.options.request_max);
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return;
      error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
      self->stream_.expires_after(std::chrono::seconds{1});
      self->drain();
    });
  }

  void drain() {
    stream_.async_read_some(asio::buffer(leftover_),
                            [self = shared_from_this()](error_code error, std::size_t size) {
                              self->drained_ += size;
                              if (!error && self->drained_ < leftover_bytes_max) self->drain();
                            });
  }

  Impl& impl_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  asio::steady_timer patience_;
  std::array<char, 4096> leftover_{};
  std::size_t drained_ = 0;
  bool waits_ = false;  ///< for the loop's answer
};

void MetricsServer::Impl::run() {
  pthread_setname_np(pthread_self(), "metrics");
  for (;;) {
    try {
      io.run();
      return;
    } catch (const std::exception& error) {
      // Of one connection; the replica does not go down with it.
      daemon_log::warning("metrics: {}", error.what());
    }
  }
}

void MetricsServer::Impl::accept() {
  acceptor.async_accept([this](error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors, say: it would fail again at once.
      pause.expires_after(accept_pause);
      pause.async_wait([this](error_code) { accept(); });
      return;
    }
    if (connections < options.connections_max)
      std::make_shared<Session>(*this, std::move(socket))->start();
    else
      ++figures.refused;
    accept();
  });
}

void MetricsServer::Impl::ask_for(const std::shared_ptr<Session>& session) {
  std::erase_if(waiting, [](const auto& one) { return one.expired(); });
  waiting.push_back(session);
  // One question at a time, however many ask: a loop that stands still does not find a heap of them.
  if (std::exchange(asked, true)) return;
  ask([gate = gate](Render render) {
    const std::lock_guard lock(gate->mutex);
    if (gate->impl == nullptr) return;
    asio::post(gate->impl->io, [impl = gate->impl, render = std::move(render)] { impl->answered(render); });
  });
}

void MetricsServer::Impl::answered(const Render& render) {
  asked = false;
  const auto whoever = std::exchange(waiting, {});
  std::optional<std::string> text;
  for (const auto& one : whoever) {
    const auto session = one.lock();
    if (!session) continue;
    if (!text) text = render(figures);
    session->answer_metrics(*text);
  }
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() = default;

tl::expected<std::unique_ptr<MetricsServer>, std::string> MetricsServer::open(const net::Address& local,
                                                                              Options options) {
  const auto fail = [&](std::string_view why) {
    return tl::make_unexpected(
        fmt::format("can't serve metrics on {} (key 'metrics' of this replica in the config): {}",
                    local.to_string(), why));
  };
  const int fd = ::socket(local.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(std::strerror(errno));
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // connections of an earlier boot may linger
  sockaddr_storage name{};
  const socklen_t size = local.to_sockaddr(name);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&name), size) != 0 || ::listen(fd, 16) != 0) {
    const int why = errno;
    ::close(fd);
    if (why == EADDRINUSE) return fail("the port is in use; is another program running there?");
    if (why == EADDRNOTAVAIL) return fail("this machine does not have that address");
    if (why == EACCES) return fail("not allowed to use that port; ports below 1024 need privileges");
    return fail(std::strerror(why));
  }
  auto impl = std::make_unique<Impl>(options);
  impl->acceptor.assign(local.family() == AF_INET6 ? tcp::v6() : tcp::v4(), fd);
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

void MetricsServer::start(Ask ask) {
  PAXOS_ASSERT(!impl_->thread.joinable());
  impl_->ask = std::move(ask);
  impl_->gate->impl = impl_.get();
  impl_->accept();
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

net::Address MetricsServer::local_address() const {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  getsockname(impl_->acceptor.native_handle(), reinterpret_cast<sockaddr*>(&name), &size);
  return net::Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), size);
}

}  // namespace paxosd
