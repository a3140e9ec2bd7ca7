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
#include "chat/rows.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace sim {

/// Rows of every applied slot, kept once for all replicas: the observer demands that each replica's rows of a
/// slot are equal, byte for byte, so a replica's state store is (these rows, the slot it stands at).
///
/// The two families of which every slot writes one row are found by the slot's number; all others by their
/// key.
class VersionedRows {
  using Versions = std::vector<std::pair<std::uint64_t, const std::optional<std::string>*>>;
  using Index = std::map<std::string_view, Versions>;
  struct NumberedRow {
    std::string_view key;
    std::string_view value;
  };
  struct Numbered {
    NumberedRow hash;
    NumberedRow journal;
  };
  static constexpr std::array numbered{chat::rows::family_hash, chat::rows::family_journal};

 public:
  /// `ring`: MachineBounds::journal_slots.
  explicit VersionedRows(std::uint64_t ring) : ring_(ring) {}
  /// Rows of the next slot.
  void append(std::vector<chat::Row> rows) { slots_.push_back(std::move(rows)); }

  [[nodiscard]] const std::vector<chat::Row>& of(paxos::Slot slot) const { return slots_.at(slot.n - 1); }

  /// The store as it stands when `slot` was the last one written.
  class View final : public chat::RowReader {
   public:
    using Visit = std::function<bool(std::string_view, std::string_view)>;
    View(VersionedRows& rows, paxos::Slot slot) : rows_(rows), slot_(slot) { rows.index_up_to(slot.n); }
    void scan(std::string_view from, std::string_view to, const Visit& visit) const override {
      std::string at(from);
      for (const char family : numbered) {
        const std::string begin = chat::rows::family_begin(family);
        const std::string end = chat::rows::family_end(family);
        if (at < begin) {
          if (!scan_keys(at, std::min<std::string_view>(to, begin), visit)) return;
          at = begin;
        }
        if (at < end && at < to) {
          const auto [first, last] = numbers(family, at, to);
          for (std::uint64_t n = first; n < last; ++n) {
            // Starts read thousands of them, each from memory that was last touched when its slot was
            // applied.
            if (n + ahead < last)
              if (const NumberedRow* row = numbered_row(family, n + ahead))
                __builtin_prefetch(row->value.data());
            if (const NumberedRow* row = numbered_row(family, n);
                row != nullptr && !visit(row->key, row->value))
              return;
          }
          at = end;
        }
      }
      if (at < to) scan_keys(at, to, visit);
    }
    void scan_back(std::string_view from, std::string_view to, const Visit& visit) const override {
      std::string at(to);
      for (auto family = numbered.rbegin(); family != numbered.rend(); ++family) {
        const std::string begin = chat::rows::family_begin(*family);
        const std::string end = chat::rows::family_end(*family);
        if (end < at) {
          if (!scan_keys_back(std::max<std::string_view>(from, end), at, visit)) return;
          at = end;
        }
        if (begin < at && from < at) {
          const auto [first, last] = numbers(*family, from, at);
          for (std::uint64_t n = last; n-- > first;)
            if (const NumberedRow* row = numbered_row(*family, n);
                row != nullptr && !visit(row->key, row->value))
              return;
          at = begin;
        }
      }
      if (from < at) scan_keys_back(from, at, visit);
    }
    [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
      if (is_numbered(key)) {
        const NumberedRow* row = key.size() == 9 ? numbered_row(key[0], first_number(key)) : nullptr;
        return row == nullptr ? std::nullopt : std::optional<std::string>(row->value);
      }
      const auto at = rows_.index_.find(key);
      const std::string* value = at == rows_.index_.end() ? nullptr : current(at->second);
      return value == nullptr ? std::nullopt : std::optional(*value);
    }

   private:
    bool scan_keys(std::string_view from, std::string_view to, const Visit& visit) const {
      for (auto at = rows_.index_.lower_bound(from); at != rows_.index_.end() && at->first < to; ++at) {
        const std::string* value = current(at->second);
        if (value != nullptr && !visit(at->first, *value)) return false;
      }
      return true;
    }
    bool scan_keys_back(std::string_view from, std::string_view to, const Visit& visit) const {
      for (auto at = rows_.index_.lower_bound(to); at != rows_.index_.begin();) {
        --at;
        if (at->first < from) return true;
        const std::string* value = current(at->second);
        if (value != nullptr && !visit(at->first, *value)) return false;
      }
      return true;
    }
    [[nodiscard]] const std::string* current(const Versions& versions) const {
      const auto above =
          std::upper_bound(versions.begin(), versions.end(), slot_.n,
                           [](std::uint64_t slot, const auto& version) { return slot < version.first; });
      if (above == versions.begin()) return nullptr;
      const std::optional<std::string>& value = *std::prev(above)->second;
      return value ? &*value : nullptr;
    }
    /// The numbers of a family's keys in [from, to).
    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> numbers(char family, std::string_view from,
                                                                  std::string_view to) const {
      std::uint64_t end = slot_.n + 1;
      if (family == chat::rows::family_journal) end = std::min(end, rows_.ring_);
      const std::uint64_t first = !from.empty() && from[0] == family ? first_number(from) : 0;
      if (to[0] == family) end = std::min(end, first_number(to));
      return {std::min(first, end), end};
    }
    /// Of the first key of its family that is not below `key`.
    [[nodiscard]] static std::uint64_t first_number(std::string_view key) {
      std::string number(key.substr(1, 8));
      number.resize(8);
      return paxos::ByteReader(std::string_view(number)).key64() + (key.size() > 9 ? 1 : 0);
    }
    [[nodiscard]] const NumberedRow* numbered_row(char family, std::uint64_t n) const {
      if (family == chat::rows::family_hash)
        return n == 0 || n > slot_.n ? nullptr : &rows_.rows_of_[n - 1].hash;
      if (n >= rows_.ring_) return nullptr;
      if (n > slot_.n) return nullptr;
      // The last slot of that place in the ring.
      const std::uint64_t back = (slot_.n - n) % rows_.ring_;
      return slot_.n <= back ? nullptr : &rows_.rows_of_[slot_.n - back - 1].journal;
    }
    static constexpr std::uint64_t ahead = 8;
    VersionedRows& rows_;
    paxos::Slot slot_;
  };

 private:
  [[nodiscard]] static bool is_numbered(std::string_view key) {
    return !key.empty() && (key[0] == numbered[0] || key[0] == numbered[1]);
  }

  void index_up_to(std::uint64_t slot) {
    for (; indexed_ < slot; ++indexed_) {
      Numbered own;
      for (const chat::Row& row : slots_[indexed_]) {
        if (is_numbered(row.key)) {
          const bool hash = row.key[0] == chat::rows::family_hash;
          const paxos::Slot at{indexed_ + 1};
          PAXOS_ASSERT(row.value &&
                       row.key == (hash ? chat::rows::hash(at) : chat::rows::journal(at, ring_)));
          (hash ? own.hash : own.journal) = {row.key, *row.value};
          continue;
        }
        // Most keys are the same as the last one of their family, or the next behind it.
        std::optional<Index::iterator>& last = last_[static_cast<unsigned char>(row.key.at(0))];
        if (!last)
          last = index_.try_emplace(row.key).first;
        else if ((*last)->first != row.key)
          last = index_.try_emplace(std::next(*last), row.key);
        (*last)->second.emplace_back(indexed_ + 1, &row.value);
      }
      PAXOS_ASSERT(!own.hash.key.empty() && !own.journal.key.empty());
      rows_of_.push_back(own);
    }
  }
  std::uint64_t ring_;
  std::vector<std::vector<chat::Row>> slots_;  ///< a slot's rows never move: the rest points into them
  std::uint64_t indexed_ = 0;
  std::vector<Numbered> rows_of_;                           ///< [i] is slot i + 1
  Index index_;                                             ///< of the other families
  std::array<std::optional<Index::iterator>, 256> last_{};  ///< by the first byte of the key
};

}  // namespace sim
