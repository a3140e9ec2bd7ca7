#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/machine.h"

namespace sim {

/// Rows of every applied slot, kept once for all replicas: the observer demands that each replica's rows of a
/// slot are equal, byte for byte, so a replica's state store is (these rows, the slot it stands at).
class VersionedRows {
 public:
  /// Rows of the next slot.
  void append(std::vector<chat::Row> rows) { slots_.push_back(std::move(rows)); }

  /// The store as it stands when `slot` was the last one written.
  class View final : public chat::RowReader {
   public:
    View(VersionedRows& rows, paxos::Slot slot) : rows_(rows), slot_(slot) { rows.index_up_to(slot.n); }
    void scan(std::string_view from, std::string_view to,
              const std::function<bool(std::string_view, std::string_view)>& visit) const override {
      for (auto at = rows_.index_.lower_bound(from); at != rows_.index_.end() && at->first < to; ++at) {
        const std::string* value = current(at->second);
        if (value != nullptr && !visit(at->first, *value)) return;
      }
    }
    void scan_back(std::string_view from, std::string_view to,
                   const std::function<bool(std::string_view, std::string_view)>& visit) const override {
      for (auto at = rows_.index_.lower_bound(to); at != rows_.index_.begin();) {
        --at;
        if (at->first < from) return;
        const std::string* value = current(at->second);
        if (value != nullptr && !visit(at->first, *value)) return;
      }
    }
    [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
      const auto at = rows_.index_.find(key);
      const std::string* value = at == rows_.index_.end() ? nullptr : current(at->second);
      if (value == nullptr) return std::nullopt;
      return *value;
    }

   private:
    using Versions = std::vector<std::pair<std::uint64_t, const std::optional<std::string>*>>;
    [[nodiscard]] const std::string* current(const Versions& versions) const {
      const auto above = std::upper_bound(versions.begin(), versions.end(), slot_.n,
                                          [](std::uint64_t slot, const auto& version) { return slot < version.first; });
      if (above == versions.begin()) return nullptr;
      const std::optional<std::string>& value = *std::prev(above)->second;
      return value ? &*value : nullptr;
    }
    VersionedRows& rows_;
    paxos::Slot slot_;
  };

 private:
  void index_up_to(std::uint64_t slot) {
    for (; indexed_ < slot; ++indexed_)
      for (const chat::Row& row : slots_[indexed_]) {
        // Most keys are the same as the last one of their family, or the next behind it.
        std::optional<Index::iterator>& last = last_[static_cast<unsigned char>(row.key.at(0))];
        if (!last)
          last = index_.try_emplace(row.key).first;
        else if ((*last)->first != row.key)
          last = index_.try_emplace(std::next(*last), row.key);
        (*last)->second.emplace_back(indexed_ + 1, &row.value);
      }
  }
  using Index = std::map<std::string_view, std::vector<std::pair<std::uint64_t, const std::optional<std::string>*>>>;
  std::vector<std::vector<chat::Row>> slots_;  ///< a slot's rows never move: the index points into them
  std::uint64_t indexed_ = 0;
  Index index_;
  std::array<std::optional<Index::iterator>, 256> last_{};  ///< by the first byte of the key
};

}  // namespace sim
