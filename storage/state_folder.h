#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"
#include "storage/families.h"

namespace storage {

/// A state's rows in a folder that is no replica's present state: a snapshot that is served, or one that is
/// being put together. One thread at a time.
class StateFolder {
 public:
  enum class Mode : std::uint8_t { read_only, filled };
  /// `env`: as in OpenOptions. Filled: made where there is none.
  [[nodiscard]] static tl::expected<std::unique_ptr<StateFolder>, std::string> open(
      const std::filesystem::path& folder, Mode mode, void* env);
  ~StateFolder();

  /// Calls `use` with a reader of what is there now. Throws StateDamage.
  void with_reader(const std::function<void(const chat::RowReader&)>& use) const;
  /// Not on the disk yet; all of one call, and of those before, get there together.
  [[nodiscard]] std::string write(const std::vector<chat::Row>& rows);
  /// They are, when it returns with nothing.
  [[nodiscard]] std::string flush();
  /// Of its tables.
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  explicit StateFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
  Families families_;
};

}  // namespace storage
