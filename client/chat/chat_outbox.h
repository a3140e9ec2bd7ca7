#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "client/session/state_file.h"

/// Where a person's chat keeps what was typed and is not delivered yet: a state file like that of `send
/// --state`, and the line that is being written, one a cluster and key, under the user's state folder.
namespace client {

/// $XDG_STATE_HOME/paxoschat, else ~/.local/state/paxoschat; nothing where neither is known. `variable`: of
/// the environment.
[[nodiscard]] std::optional<std::filesystem::path> chat_state_folder(
    const std::function<std::string(const char*)>& variable);
/// The name of the `number`th (1, 2, …) outbox of a cluster and key, without an ending. It tells nothing
/// about the key.
[[nodiscard]] std::string chat_outbox_name(std::string_view cluster_id, std::string_view key,
                                           unsigned number);

/// The line that is being written, on the disk with every key: a killed chat leaves it. Loop thread only.
class DraftFile {
 public:
  struct Draft {
    std::string room;
    std::string text;
  };
  explicit DraftFile(std::filesystem::path path) : path_(std::move(path)) {}

  /// What an earlier chat left; nothing: no draft, or not one of ours.
  [[nodiscard]] std::optional<Draft> left() const;
  /// Replaces it by rename; an empty text takes it away. Not synced. What can't be written is not worth a
  /// chat: false.
  bool keep(const Draft& draft);
  /// Makes what was kept survive a power cut. For a pause in the typing.
  void sync();
  /// Takes away what an earlier chat left.
  void forget();

 private:
  std::filesystem::path path_;
  std::optional<std::string> kept_;  ///< nothing: not known what the file has
  bool synced_ = true;
};

/// The outboxes of one chat, all of them locked by it: its own, and those that other chats left with
/// something in them.
struct ChatOutbox {
  struct Place {
    std::unique_ptr<StateFile> state;
    std::filesystem::path file;
    DraftFile draft;
  };
  std::optional<Place> own;  ///< nothing: what is typed is kept in memory alone
  std::vector<Place> left;
  std::vector<std::string> notes;  ///< for the person: what is in use, damaged or not possible

  static constexpr unsigned places_max = 16;
  /// Makes the folder (0700) where it is missing.
  [[nodiscard]] static ChatOutbox open(const std::optional<std::filesystem::path>& folder,
                                       const std::string& cluster_id, std::string_view key);
};

}  // namespace client
