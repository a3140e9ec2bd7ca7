#pragma once

#include "chat/machine.h"
#include "chat/rows.h"
#include "paxos/coding.h"
#include "tests/sim/disk.h"

namespace sim {

/// One replica's state: the rows that all have, and its own in their place. (Its own never have keys that no
/// other row has, and where there is nothing of its own, nothing is looked up.)
class OwnRows final : public chat::RowReader {
 public:
  using Visit = std::function<bool(std::string_view, std::string_view)>;
  OwnRows(const chat::RowReader& all, const Disk& disk)
      : all_(all), own_(disk.own), hashes_below_(disk.hashes_below), swept_(disk.swept) {}
  void scan(std::string_view from, std::string_view to, const Visit& visit) const override {
    if (untouched()) return all_.scan(from, to, visit);
    all_.scan(from, to, [&](std::string_view key, std::string_view value) {
      return dropped(key) || visit(key, mine(key, value));
    });
  }
  void scan_back(std::string_view from, std::string_view to, const Visit& visit) const override {
    if (untouched()) return all_.scan_back(from, to, visit);
    all_.scan_back(from, to, [&](std::string_view key, std::string_view value) {
      return dropped(key) || visit(key, mine(key, value));
    });
  }
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
    if (dropped(key)) return std::nullopt;
    auto value = all_.get(key);
    if (value) value = std::string(mine(key, *value));
    return value;
  }

 private:
  [[nodiscard]] std::string_view mine(std::string_view key, std::string_view value) const {
    const auto at = own_.find(key);
    return at == own_.end() ? value : std::string_view(at->second.value);
  }
  [[nodiscard]] bool untouched() const { return own_.empty() && hashes_below_.none() && swept_.empty(); }
  /// As storage::Storage::drop_hashes() and forget_messages() do it.
  [[nodiscard]] bool dropped(std::string_view key) const {
    if (!swept_.empty() && key.size() >= 10 &&
        (key[0] == chat::rows::family_message || key[0] == chat::rows::family_redaction)) {
      const auto room = swept_.find(key.substr(2, key.size() - 10));
      return room != swept_.end() && !room->second.empty() &&
             paxos::ByteReader(key.substr(key.size() - 8)).key64() < room->second.back().below;
    }
    if (key.empty() || key[0] != chat::rows::family_hash) return false;
    const std::uint64_t slot = paxos::ByteReader(key.substr(1)).key64();
    return slot < hashes_below_.n && slot % chat::rows::hash_stride != 0;
  }
  const chat::RowReader& all_;
  const std::map<std::string, Disk::OwnRow, std::less<>>& own_;
  paxos::Slot hashes_below_;
  const std::map<std::string, std::vector<Disk::Swept>, std::less<>>& swept_;
};

}  // namespace sim
