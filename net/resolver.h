#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/address.h"
#include "net/loop.h"
#include "net/mailbox.h"

namespace net {

/// Looks names up beside the loop: getaddrinfo blocks, for seconds where a name server is dead. Each look-up
/// is a short-lived thread of its own, so that a name that hangs keeps no other one waiting. Loop thread
/// only.
class Resolver {
 public:
  using Answer = tl::expected<std::vector<Address>, std::string>;

  explicit Resolver(Loop& loop);
  /// Waits for nobody: what is still being looked up is told to no one.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Called in the loop thread, with the number that look_up() was given.
  void on_answer(std::function<void(std::size_t, Answer&)> handler) { handler_ = std::move(handler); }
  /// Address::resolve_all(text). Nothing new begins while the last one of this number is under way.
  void look_up(std::size_t number, const std::string& text);

 private:
  struct Found {
    std::size_t number = 0;
    Answer answer;
  };
  struct Gate {
    std::mutex mutex;
    Mailbox<Found>* mailbox = nullptr;  ///< guarded by mutex; null: nobody waits any more
  };
  Mailbox<Found> mailbox_;
  std::shared_ptr<Gate> gate_;
  std::set<std::size_t> under_way_;
  std::function<void(std::size_t, Answer&)> handler_;
};

/// All of them at once, for programs without a loop; what the name servers don't say within `patience` is an
/// error, too.
[[nodiscard]] std::vector<Resolver::Answer> resolve_within(const std::vector<std::string>& texts,
                                                           std::chrono::milliseconds patience);

}  // namespace net
