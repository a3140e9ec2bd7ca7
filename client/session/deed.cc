#include "client/session/deed.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "client/session/cluster_view.h"

namespace client {

namespace {
using namespace std::chrono_literals;
constexpr paxos::Duration close_patience = 1s;
constexpr std::chrono::milliseconds outage_timeout = 500ms;
}  // namespace

net::Task<Deed> carry_deed(Connection& c, std::function<void(HubSession&)> begin,
                           std::chrono::milliseconds timeout, std::string perhaps, std::string nothing) {
  const paxos::Time until = c.loop().now() + timeout;
  Hub hub(c);
  std::optional<Delivery> outcome;
  HubSession& session = hub.add(c.config().some_member(c.random()),
                                [&](Delivery&& delivery) { outcome = std::move(delivery); });
  begin(session);
  while (!outcome && hub.failure().empty() && c.loop().now() < until)
    (void)co_await hub.progress().wait_until(std::min(until, c.loop().now() + 500ms));
  if (!hub.failure().empty())
    co_return Deed{.fate = Deed::Fate::refused, .why = hub.failure(), .message = {}};
  if (!outcome) {
    const Outage outage = co_await look_for_outage(c, outage_timeout);
    const std::string trouble = outage.over() ? session.outbox().trouble() : outage.sentence();
    co_return Deed{
        .fate = Deed::Fate::unknown,
        .why = fmt::format("no answer after {:g} s{}{}; {}. To ask again does no harm. See `paxosctl status`",
                           static_cast<double>(timeout.count()) / 1000, trouble.empty() ? "" : ": ", trouble,
                           hub.sent_commands() ? perhaps : nothing),
        .message = {}};
  }
  session.close();
  const paxos::Time closed_by = c.loop().now() + close_patience;
  while (!session.outbox().closed() && c.loop().now() < closed_by)
    (void)co_await hub.progress().wait_until(closed_by);
  if (outcome->unknown)
    co_return Deed{
        .fate = Deed::Fate::unknown, .why = outcome->refused + "; before that, " + perhaps, .message = {}};
  if (!outcome->refused.empty())
    co_return Deed{.fate = Deed::Fate::refused, .why = std::move(outcome->refused), .message = {}};
  co_return Deed{.fate = Deed::Fate::done, .why = {}, .message = std::move(outcome->message)};
}

}  // namespace client
