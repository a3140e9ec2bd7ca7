#include "storage/survivor.h"

#include <fmt/format.h>

#include <algorithm>

#include "chat/command.h"
#include "chat/rows.h"
#include "chat/snapshot.h"
#include "storage/log_format.h"
#include "storage/read_only.h"
#include "storage/state_store.h"

namespace storage {

namespace fs = std::filesystem;

namespace {

/// So many records are looked at for a batch with a time.
constexpr unsigned said_records_max = 4096;

std::unique_ptr<ReadOnlyDatabase> open_part(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "CURRENT", error)) return nullptr;
  auto opened = ReadOnlyDatabase::open(folder);
  return opened ? std::move(*opened) : nullptr;
}

/// Of the replica itself; nothing where there is none, or it does not read.
std::optional<std::string> own_record(const ReadOnlyDatabase& log, std::string_view key) {
  try {
    const auto stored = log.get(key);
    const auto value = stored ? open_value(key, *stored) : std::nullopt;
    if (value) return std::string(*value);
  } catch (const StateDamage&) {
  }
  return std::nullopt;
}

std::uint64_t own_number(const ReadOnlyDatabase& log, std::string_view key) {
  const auto value = own_record(log, key);
  return value ? decode_number(*value).value_or(0) : 0;
}

/// Where these rows stand; nothing where there are none. Throws StateDamage.
std::optional<chat::AppliedMark> stands_at(const ReadOnlyDatabase& rows) {
  if (!rows.get(chat::rows::meta())) return std::nullopt;
  const auto mark = chat::read_applied(rows);
  if (!mark) throw StateDamage(mark.error());
  return *mark;
}

/// A pulled snapshot that waits for the next start to put it in place.
bool is_whole_snapshot(const ReadOnlyDatabase& rows, const chat::AppliedMark& mark) {
  const auto row = rows.get(chat::rows::progress());
  const auto progress = row ? chat::decode_progress(*row) : std::nullopt;
  return progress && progress->complete && progress->id.slot == mark.slot;
}

}  // namespace

Survivor::Survivor(fs::path directory) : directory_(std::move(directory)) {}
Survivor::~Survivor() = default;

std::string Survivor::lock() { return lock_.take(directory_); }

std::optional<std::size_t> Survivor::members() const {
  const auto log = open_part(directory_ / "log");
  const auto value = log ? own_record(*log, log_key::birth) : std::nullopt;
  const auto birth = value ? decode_birth(*value) : std::nullopt;
  return birth && !birth->members.empty() ? std::optional(birth->members.size()) : std::nullopt;
}

std::optional<paxos::Configuration> Survivor::configuration() const {
  const auto row = state_ ? state_->get(chat::rows::configuration()) : std::nullopt;
  return row && !row->empty() ? paxos::decode_configuration(std::string_view(*row).substr(1)) : std::nullopt;
}

std::string Survivor::examine(std::uint16_t rules_known) {
  auto found = inspect(directory_, rules_known);
  if (!found) return std::move(found.error());
  inspection_ = std::move(*found);
  return {};
}

const Finding* Survivor::state_damage() const {
  for (const Finding& finding : inspection_.findings)
    if (finding.where.starts_with("state/")) return &finding;
  return nullptr;
}

std::string Survivor::load() {
  log_ = open_part(directory_ / "log");
  if (log_) {
    standing_.first_slot.n = std::max<std::uint64_t>(own_number(*log_, log_key::first_slot), 1);
    standing_.chosen.n = own_number(*log_, log_key::chosen_prefix);
    standing_.last = inspection_.last_slot;
  }
  // As a start would put them in place (storage/snapshot_files.h): a whole snapshot that came, and what stood
  // there before it.
  try {
    for (const char* part : {"state", "install", "state-old"}) {
      auto rows = open_part(directory_ / part);
      if (!rows) continue;
      const auto mark = stands_at(*rows);
      if (!mark || (state_ && mark->slot <= standing_.applied)) continue;
      if (std::string_view(part) == "install" && !is_whole_snapshot(*rows, *mark)) continue;
      standing_.applied = mark->slot;
      hash_ = mark->hash;
      rules_ = mark->rules;
      state_ = std::move(rows);
    }
  } catch (const StateDamage& damage) {
    return fmt::format("{}: {}", directory_.string(), damage.what());
  }
  standing_.chosen = std::max({standing_.chosen, standing_.applied, paxos::Slot{standing_.first_slot.n - 1}});
  return {};
}

const chat::RowReader* Survivor::rows() const { return state_.get(); }

std::vector<paxos::LogEntry> Survivor::page(paxos::Slot from, std::size_t bytes_max) const {
  std::vector<paxos::LogEntry> out;
  if (!log_) return out;
  std::size_t bytes = 0;
  log_->each_slot(
      std::max(from, standing_.first_slot),
      [&](paxos::Slot slot, std::string_view stored) {
        const auto value = open_value(log_key::slot(slot), stored);
        auto entry = value ? decode_slot(slot, *value) : std::nullopt;
        if (!entry) return true;
        entry->chosen = entry->chosen || slot <= standing_.chosen;
        out.push_back(std::move(*entry));
        bytes += stored.size() + sizeof(paxos::LogEntry);
        return bytes < bytes_max;
      },
      [](paxos::Slot, paxos::Slot, const std::string&) {});
  return out;
}

std::optional<std::int64_t> Survivor::last_said(paxos::Slot slot) const {
  std::optional<std::int64_t> said;
  if (!log_) return said;
  unsigned looked = 0;
  try {
    log_->scan_back(log_key::slot(standing_.first_slot), log_key::slot(slot + 1),
                    [&](std::string_view key, std::string_view stored) {
                      const auto at = log_key::parse_slot(key);
                      const auto value = open_value(key, stored);
                      const auto entry = at && value ? decode_slot(*at, *value) : std::nullopt;
                      if (entry && entry->decree.kind == paxos::DecreeKind::commands)
                        if (const auto batch = chat::view_batch(entry->decree)) said = batch->time_ms;
                      return !said && ++looked < said_records_max;
                    });
  } catch (const StateDamage&) {
  }
  return said;
}

}  // namespace storage
