#include "client/session/history_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace client {

using namespace std::chrono_literals;

namespace {
/// One replica's time for one page before the next is asked, to begin with; a page read from disk takes a few
/// ms.
constexpr std::chrono::milliseconds history_page_patience = 800ms;
/// After a refusal or a silence everywhere.
constexpr std::chrono::milliseconds history_pause = 100ms;

}  // namespace

HistoryReader::HistoryReader(Connection& connection, Options options)
    : connection_(connection),
      options_(std::move(options)),
      from_(options_.from),
      patience_(history_page_patience) {
  target_ = options_.first.value_or(connection_.config().some_member(connection_.random()));
}

net::Task<tl::expected<chat::HistoryPage, std::string>> HistoryReader::next(std::uint32_t limit) {
  const bool forever = options_.timeout == std::chrono::milliseconds::max();
  net::Loop& loop = connection_.loop();
  const paxos::Time until = forever ? paxos::time_never : loop.now() + options_.timeout;
  const std::size_t replicas = connection_.config().members();
  for (;;) {
    chat::HistoryRequest request{.id = 0,
                                 .room = options_.room,
                                 .from = from_,
                                 .last = 0,
                                 .limit = limit | chat::limit_wants_stamps,
                                 .local = options_.local};
    if (!started_) request.last = options_.last;
    const auto left =
        forever ? patience_.now() : std::chrono::duration_cast<std::chrono::milliseconds>(until - loop.now());
    const paxos::Time asked = loop.now();
    auto reply = co_await connection_.history(
        target_, std::move(request), options_.pinned && !forever ? left : std::min(left, patience_.now()));
    if (reply)
      patience_.answered(loop.now() - asked);
    else
      patience_.silent(options_.pinned ? 1 : replicas);
    if (reply && reply->refused.empty()) {
      trouble_.clear();
      started_ = true;
      from_ = reply->page.next;
      done_ = from_ == 0;
      // A replica that does not know what else the limit says gives a whole page.
      if (auto& messages = reply->page.messages; limit != 0 && messages.size() > limit) {
        from_ = reply->page.next = messages[limit].seq;
        done_ = false;
        messages.resize(limit);
      }
      co_return std::move(reply->page);
    }
    // What a living replica says tells more than a dead one's silence.
    if (reply)
      trouble_ = fmt::format("replica {}: {}", target_.n, reply->refused);
    else if (trouble_.empty())
      trouble_ = fmt::format("replica {} does not answer", target_.n);
    // Also when this page's time is over: whoever asks for it again must not find a dead replica once more,
    // with patience for all of it.
    if (!options_.pinned) target_ = connection_.config().next_member(target_);
    if (connection_.given_up() || loop.now() + history_pause >= until)
      co_return tl::make_unexpected(trouble_);
    if (reply) co_await loop.sleep(history_pause);
  }
}

}  // namespace client
