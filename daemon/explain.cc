#include <algorithm>
#include <chrono>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// What this replica knows of one slot: its flight recorder and its log.
namespace paxosd {

namespace {
std::int64_t unix_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
}
}  // namespace

void Host::prepare_flight_recorder() {
  const std::filesystem::path folder = crash_folder();
  FlightRecorder::keep_newest(folder, options_.config.crash_dumps_kept);
  if (const auto dumps = FlightRecorder::dumps(folder); !dumps.empty())
    daemon_log::warning("an earlier run crashed and left its flight recorder: `paxosctl explain --dump {}` shows it{}; "
                        "remove it when it is understood",
                        dumps.back().string(), dumps.size() == 1 ? "" : fmt::format(" ({} more beside it)", dumps.size() - 1));
  if (const auto problem = flight_.dump_on_crash(folder, options_.self, boot_)) daemon_log::warning("{}", *problem);
}

void Host::answer_explain(const net::Address& to, std::uint64_t id, paxos::Slot slot) {
  const paxos::Status status = node_.status();
  flight_.take_syncs();
  const std::vector<chat::FlightEntry> all = flight_.all();
  // By today's wall clock: one that was set meanwhile shifts all records of this replica alike.
  const std::int64_t wall = unix_ns();
  const std::int64_t offset = wall - loop_.now().time_since_epoch().count();
  chat::FlightOfSlot found = chat::flight_of_slot(all, slot, chat::ExplainReply::records_max);
  for (chat::FlightEntry& entry : found.entries) entry.ns += offset;
  chat::ExplainReply reply{.boot = boot_,
                           .now_ns = wall,
                           .started_ns = started_.time_since_epoch().count() + offset,
                           .oldest_ns = (all.empty() ? started_.time_since_epoch().count() : all.front().ns) + offset,
                           .first_slot = status.first_slot,
                           .chosen = status.chosen,
                           .applied = status.applied,
                           .accepted = status.accepted,
                           .damage = {},
                           .held = {},
                           .left_out = found.left_out,
                           .records = std::move(found.entries)};
  const auto ahead = node_.chosen_ahead();
  const auto known = std::find_if(ahead.begin(), ahead.end(), [&](const auto& one) { return one.first == slot; });
  const auto chosen_under = known == ahead.end() ? std::nullopt : std::optional(known->second);
  read_for_operator(to, id, [slot, chosen_under, kept = std::move(reply)](const storage::Storage::Reader& reader) -> chat::OperatorAnswer {
    chat::ExplainReply reply = kept;
    if (slot.none()) return reply;
    const auto entries = reader.log(slot, slot, 1);
    if (!entries) {
      reply.damage = entries.error();
    } else if (!entries->empty() && entries->front().slot == slot) {
      const paxos::LogEntry& entry = entries->front();
      reply.held = {.chosen = entry.chosen || slot <= reply.chosen || chosen_under == entry.ballot,
                    .ballot = entry.ballot,
                    .kind = entry.decree.kind,
                    .commands = 0,
                    .bytes = static_cast<std::uint32_t>(entry.decree.value.size())};
      if (entry.decree.kind == paxos::DecreeKind::commands)
        if (const auto batch = chat::decode_batch(entry.decree))
          reply.held->commands = static_cast<std::uint32_t>(batch->commands.size());
    }
    return reply;
  });
}

}  // namespace paxosd
