#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "client/session/ledger.h"
#include "client/session/state_format.h"

namespace client {

/// `--state FILE`: the ledger of one session, on disk. One program at a time (flock). A crash at any moment
/// loses at most what was not synced; a torn end is cut off. Damage is an error that is never guessed around:
/// the file stays as it is, and what is whole is put beside it as FILE.whole, a JSON object a message.
///
/// Its bytes: client/session/state_format. Compacted into a snapshot by rename. One of version 0.1.0 is read,
/// and written anew.
class StateFile {
 public:
  /// Opens or makes it. Errors are a sentence for people; nothing is changed then.
  [[nodiscard]] static tl::expected<std::unique_ptr<StateFile>, std::string> open(
      const std::filesystem::path& path, std::string cluster_id);
  /// Whether a program has it open now.
  [[nodiscard]] static bool in_use(const std::filesystem::path& path);
  ~StateFile();
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  [[nodiscard]] const Ledger& ledger() const { return ledger_; }

  /// With `sync`, durable on return, and so is everything before. After an error nothing more may be sent:
  /// what the file holds is not known.
  [[nodiscard]] tl::expected<void, std::string> append(std::span<const LedgerEvent> events, bool sync);

  static constexpr std::size_t bytes_max = state_format::bytes_max;
  static constexpr std::size_t compact_above = 256 * 1024;

 private:
  StateFile(std::filesystem::path path, std::string cluster_id, int fd);
  [[nodiscard]] tl::expected<void, std::string> load();
  [[nodiscard]] tl::expected<void, std::string> write_all(std::string_view bytes);
  [[nodiscard]] tl::expected<void, std::string> compact();
  void note_synced();
  [[nodiscard]] std::string damaged(const state_format::Contents& contents) const;
  [[nodiscard]] std::string fault(const std::string& what) const;

  std::filesystem::path path_;
  std::string cluster_id_;
  int fd_ = -1;
  std::size_t bytes_ = 0;
  std::size_t compact_at_ = compact_above;
  bool failed_ = false;
  bool first_format_ = false;  ///< of version 0.1.0, and not yet written anew
  Ledger ledger_;
};

}  // namespace client
