#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/machine.h"

/// The state store as an ordered map: what storage/ does with RocksDB, for tests and the simulator.
namespace chat::test {

class MapRows final : public RowReader {
 public:
  void write(const std::vector<Row>& rows) {
    for (const Row& row : rows)
      if (row.value)
        rows_[row.key] = *row.value;
      else
        rows_.erase(row.key);
  }

  void scan(std::string_view from, std::string_view to,
            const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    for (auto at = rows_.lower_bound(from); at != rows_.end() && at->first < to; ++at)
      if (!visit(at->first, at->second)) return;
  }
  void scan_back(std::string_view from, std::string_view to,
                 const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    for (auto at = rows_.lower_bound(to); at != rows_.begin();) {
      --at;
      if (at->first < from || !visit(at->first, at->second)) return;
    }
  }
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
    const auto at = rows_.find(key);
    if (at == rows_.end()) return std::nullopt;
    return at->second;
  }

  [[nodiscard]] const std::map<std::string, std::string, std::less<>>& rows() const { return rows_; }
  [[nodiscard]] std::map<std::string, std::string, std::less<>>& rows() { return rows_; }
  friend bool operator==(const MapRows& a, const MapRows& b) { return a.rows_ == b.rows_; }

 private:
  std::map<std::string, std::string, std::less<>> rows_;
};

}  // namespace chat::test
