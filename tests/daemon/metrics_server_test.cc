#include "daemon/metrics_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using paxosd::MetricsServer;

std::unique_ptr<MetricsServer> listen(MetricsServer::Options options = {}) {
  auto server = MetricsServer::open(net::Address::loopback(0), options);
  EXPECT_TRUE(server) << server.error();
  return std::move(*server);
}

/// A client with plain system calls.
class Client {
 public:
  explicit Client(const MetricsServer& server) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_storage name{};
    const socklen_t size = server.local_address().to_sockaddr(name);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&name), size), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  void say(const std::string& text) const {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  /// Everything until the server closes.
  [[nodiscard]] std::string hear() const {
    std::string out;
    char piece[4096];
    for (ssize_t got = 0; (got = ::recv(fd_, piece, sizeof piece, 0)) > 0;)
      out.append(piece, static_cast<std::size_t>(got));
    return out;
  }

 private:
  int fd_;
};

std::string ask(const MetricsServer& server, const std::string& request) {
  const Client client(server);
  client.say(request);
  return client.hear();
}

const std::string get = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(MetricsServer, AnswersAsHttpHasIt) {
  const auto server = listen();
  server->start([](const auto& reply) {
    reply([](const MetricsServer::Figures& figures) {
      return "after " + std::to_string(figures.responses.size()) + "\n";
    });
  });
  const std::string good = ask(*server, get);
  EXPECT_TRUE(good.starts_with("HTTP/1.1 200 ")) << good;
  EXPECT_NE(good.find("Content-Type: text/plain; version=0.0.4"), std::string::npos) << good;
  EXPECT_NE(good.find("Connection: close"), std::string::npos) << good;
  EXPECT_TRUE(good.ends_with("\r\n\r\nafter 0\n")) << good;
  EXPECT_TRUE(ask(*server, "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(ask(*server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 404 "));
  const std::string post = ask(*server, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_TRUE(post.starts_with("HTTP/1.1 405 ")) << post;
  EXPECT_NE(post.find("Allow: GET"), std::string::npos) << post;
  EXPECT_TRUE(ask(*server, "junk\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(ask(*server, "GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n")
                  .starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(ask(*server, get).ends_with("after 5\n")) << "every answer is counted";
}

TEST(MetricsServer, ALoopThatGivesNoAnswerIsA503AndIsAskedOnce) {
  const auto server = listen({.answer_max = 50ms});
  std::mutex mutex;
  std::vector<std::function<void(MetricsServer::Render)>> owed;
  server->start([&](auto reply) {
    const std::lock_guard lock(mutex);
    owed.push_back(std::move(reply));
  });
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ask(*server, get).starts_with("HTTP/1.1 503 "));
  {
    const std::lock_guard lock(mutex);
    ASSERT_EQ(owed.size(), 1u) << "a loop that stands still does not find a heap of questions";
    owed.front()([](const auto&) { return std::string("late"); });
    owed.clear();
  }
  // The late answer was nobody's; the next question gets its own.
  const std::string body = "fresh\n";
  std::atomic<bool> done{false};
  std::thread loop([&] {
    while (!done) {
      {
        const std::lock_guard lock(mutex);
        for (const auto& reply : owed) reply([&](const auto&) { return body; });
        owed.clear();
      }
      std::this_thread::sleep_for(1ms);
    }
  });
  std::string last;
  for (int i = 0; i < 100 && !last.ends_with(body); ++i) last = ask(*server, get);
  EXPECT_TRUE(last.ends_with(body)) << last;
  done = true;
  loop.join();
}

TEST(MetricsServer, SlowClientsAreCutOffAndKeepNobodyElseWaiting) {
  const auto server = listen({.connections_max = 2, .request_max = 200ms});
  server->start([](const auto& reply) { reply([](const auto&) { return std::string("ok\n"); }); });
  const Client slow(*server);
  slow.say("GET /metr");
  EXPECT_TRUE(ask(*server, get).ends_with("ok\n"));
  EXPECT_EQ(slow.hear(), "") << "closed without an answer";
}

TEST(MetricsServer, ConnectionsAboveTheBoundAreClosed) {
  const auto server = listen({.connections_max = 1, .request_max = 20'000ms});
  server->start([](const auto& reply) { reply([](const auto&) { return std::string("ok\n"); }); });
  const Client first(*server);
  first.say("GET /metrics HTTP/1.1\r\n");
  // Nothing is said on it, so that the close is no reset.
  EXPECT_EQ(Client(*server).hear(), "");
  first.say("\r\n");
  EXPECT_TRUE(first.hear().ends_with("ok\n"));
}

TEST(MetricsServer, EndsWithQuestionsOpenAndAnswersThatComeTooLate) {
  std::function<void(MetricsServer::Render)> owed;
  std::promise<void> asked;
  auto server = listen();
  server->start([&](auto reply) {
    owed = std::move(reply);
    asked.set_value();
  });
  const Client client(*server);
  client.say(get);
  ASSERT_EQ(asked.get_future().wait_for(30s), std::future_status::ready);
  server.reset();
  EXPECT_EQ(client.hear(), "");
  owed([](const auto&) { return std::string(); });
}

TEST(MetricsServer, APortInUseNamesTheKey) {
  const auto server = listen();
  const auto other = MetricsServer::open(server->local_address());
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().find("key 'metrics'"), std::string::npos) << other.error();
  EXPECT_NE(other.error().find("in use"), std::string::npos) << other.error();
}

}  // namespace
