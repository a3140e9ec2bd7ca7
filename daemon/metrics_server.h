#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "net/address.h"

namespace paxosd {

/// Serves `GET /metrics` over HTTP, from a thread of its own: neither a slow reader nor a flood of them costs
/// the loop more than one question at a time. Bounded in connections, request size and time; one request a
/// connection. A loop that gives no answer in time is 503 to whoever asks: that too is worth knowing.
class MetricsServer {
 public:
  struct Options {
    std::size_t connections_max = 8;              ///< more are closed at once
    std::chrono::milliseconds request_max{5000};  ///< for the whole request to come, and for the answer to go
    std::chrono::milliseconds answer_max{1000};   ///< for the loop to answer
  };
  /// Makes the text; runs in the server's thread, so it may take its time. Given the server's own figures.
  struct Figures {
    std::map<unsigned, std::uint64_t> responses;  ///< by HTTP status
    std::uint64_t refused = 0;                    ///< connections above the bound
  };
  using Render = std::function<std::string(const Figures&)>;
  /// Asks for what to render: called in the server's thread; to be answered from any thread, once.
  using Ask = std::function<void(std::function<void(Render)>)>;

  /// Listens. Errors are a sentence for the operator that names the config's key.
  [[nodiscard]] static tl::expected<std::unique_ptr<MetricsServer>, std::string> open(
      const net::Address& local, Options options);
  [[nodiscard]] static tl::expected<std::unique_ptr<MetricsServer>, std::string> open(
      const net::Address& local) {
    return open(local, Options{});
  }
  /// Joins the thread. What is answered after that goes nowhere.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// Starts the thread; to be called once.
  void start(Ask ask);
  [[nodiscard]] net::Address local_address() const;

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace paxosd
