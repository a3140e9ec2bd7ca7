#include "client/chat/waiting_text.h"

#include <fmt/format.h>

#include "client/chat/message_text.h"
#include "client/terminal/printable.h"

namespace client {

namespace {
constexpr std::size_t row_columns = 200;  ///< the terminal cuts it to its width
}

std::vector<std::string> waiting_lines(const std::vector<Outbox::Unfinished>& oldest, std::size_t total,
                                       std::string_view room, paxos::Time now) {
  std::vector<std::string> out;
  for (const Outbox::Unfinished& message : oldest) {
    if (now - message.queued < shown_as_waiting) break;
    if (out.size() == standing_max) {
      out.push_back(fmt::format("waiting: {} more", total - standing_max));
      break;
    }
    const std::string where =
        message.room == room ? "" : fmt::format(" for {}", printable_name(message.room));
    out.push_back(fmt::format("waiting{}: {}", where, on_one_row(message.text, row_columns)));
  }
  return out;
}

std::vector<std::string> farewell_lines(const std::vector<std::string>& delivered,
                                        const std::vector<Outbox::Unfinished>& left, std::size_t total,
                                        const std::string& kept_in) {
  std::vector<std::string> out;
  for (const std::string& text : delivered) out.push_back("delivered: " + on_one_row(text, row_columns));
  for (const Outbox::Unfinished& message : left)
    out.push_back(fmt::format("{}, for {}: {}",
                              message.perhaps ? "unknown (sent, no answer)" : "waiting (not sent)",
                              printable_name(message.room), on_one_row(message.text, row_columns)));
  if (total > left.size()) out.push_back(fmt::format("and {} more", total - left.size()));
  const std::string these = total == 1 ? "1 message" : fmt::format("{} messages", total);
  if (kept_in.empty())
    out.push_back(these +
                  " without a receipt, perhaps delivered where it says unknown: look with `paxoschat history "
                  "--room ROOM`");
  else
    out.push_back(fmt::format(
        "{} kept in {}: paxoschat delivers what is left, once, when it is started again", these, kept_in));
  return out;
}

}  // namespace client
