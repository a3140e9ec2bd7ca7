#include "client/chat/chat_outbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "chat/bounds.h"

namespace client {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t draft_bytes_max = 4u << 20;  ///< as JSON

bool write_file(const fs::path& path, std::string_view bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return ::close(fd) == 0 && bytes.empty();
}

/// Makes the folder and those above it; why not, or nothing.
std::string make_folder(const fs::path& folder) {
  std::error_code error;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) == 0) return {};
  if (errno != EEXIST) return std::strerror(errno);
  struct stat there{};
  if (::stat(folder.c_str(), &there) != 0) return std::strerror(errno);
  if (!S_ISDIR(there.st_mode)) return "it is not a folder";
  if (there.st_uid != ::geteuid()) return "it belongs to somebody else";
  if ((there.st_mode & 077) != 0 && ::chmod(folder.c_str(), 0700) != 0) return std::strerror(errno);
  return {};
}

}  // namespace

std::optional<fs::path> chat_state_folder(const std::function<std::string(const char*)>& variable) {
  // The standard says that a relative one is not to be used.
  if (const fs::path state = variable("XDG_STATE_HOME"); state.is_absolute()) return state / "paxoschat";
  if (const fs::path home = variable("HOME"); home.is_absolute())
    return home / ".local" / "state" / "paxoschat";
  return std::nullopt;
}

std::string chat_outbox_name(std::string_view cluster_id, std::string_view key, unsigned number) {
  std::string id;
  for (const char c : cluster_id.substr(0, 64))
    id += (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ? c : '_';
  // 32 bits of 256 random ones tell two keys of a person apart, and say nothing that helps to guess one.
  const auto print = static_cast<std::uint32_t>(XXH3_64bits(key.data(), key.size()));
  return fmt::format("{}-{:08x}{}", id, print, number == 1 ? "" : fmt::format("-{}", number));
}

// --- the draft ---

std::optional<DraftFile::Draft> DraftFile::left() const {
  std::error_code error;
  const auto bytes = fs::file_size(path_, error);
  if (error || bytes == 0 || bytes > draft_bytes_max) return std::nullopt;
  std::ifstream file(path_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("room") || !json.contains("text") || !json["room"].is_string() ||
      !json["text"].is_string())
    return std::nullopt;
  Draft draft{.room = json["room"].get<std::string>(), .text = json["text"].get<std::string>()};
  return draft.text.empty() ? std::nullopt : std::optional(std::move(draft));
}

bool DraftFile::keep(const Draft& draft) {
  const std::string text = draft.text.empty()
                               ? ""
                               : nlohmann::json{{"room", draft.room}, {"text", draft.text}}.dump(
                                     -1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text == kept_) return true;
  kept_ = text;
  synced_ = text.empty();
  if (text.empty()) return ::unlink(path_.c_str()) == 0 || errno == ENOENT;
  const fs::path fresh = path_.string() + ".new";
  return write_file(fresh, text) && ::rename(fresh.c_str(), path_.c_str()) == 0;
}

void DraftFile::forget() {
  kept_ = "";
  ::unlink(path_.c_str());
}

void DraftFile::sync() {
  if (std::exchange(synced_, true)) return;
  for (const fs::path& path : {path_, path_.parent_path()}) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    (void)::fsync(fd);
    ::close(fd);
  }
}

// --- the outboxes ---

ChatOutbox ChatOutbox::open(const std::optional<fs::path>& folder, const std::string& cluster_id,
                            std::string_view key) {
  ChatOutbox out;
  const auto only_here = [&](const std::string& why) {
    out.notes.push_back(why + "; what you type is kept only as long as this chat is open");
    return std::move(out);
  };
  if (!folder) return only_here("neither XDG_STATE_HOME nor HOME names a folder for an outbox");
  if (const std::string why = make_folder(*folder); !why.empty())
    return only_here(fmt::format("no outbox in {}: {}", folder->string(), why));
  bool in_use = false;
  for (unsigned number = 1; number <= places_max; ++number) {
    const fs::path base = *folder / chat_outbox_name(cluster_id, key, number);
    const fs::path file = base.string() + ".state";
    std::error_code error;
    if (out.own && !fs::exists(file, error)) continue;
    auto state = StateFile::open(file, cluster_id);
    if (!state) {
      if (StateFile::in_use(file))
        in_use = true;
      else
        out.notes.push_back(state.error());
      continue;
    }
    Place place{.state = std::move(*state), .file = file, .draft = DraftFile(base.string() + ".draft")};
    if (!out.own)
      out.own = std::move(place);
    else if (!place.state->ledger().entries.empty() || place.draft.left())
      out.left.push_back(std::move(place));
  }
  if (!out.own) return only_here(fmt::format("no outbox in {} can be used", folder->string()));
  if (in_use)
    out.notes.push_back(fmt::format("another chat is open here: this one has an outbox of its own, {}",
                                    out.own->file.string()));
  // A session with nothing under way is of no use any more; it may have expired since, or been closed.
  if (const Ledger& ledger = out.own->state->ledger(); ledger.entries.empty() && !ledger.session.none()) {
    const LedgerEvent gone = Abandoned{};
    if (const auto stored = out.own->state->append({&gone, 1}, true); !stored) {
      out.own.reset();
      return only_here(stored.error());
    }
  }
  return out;
}

}  // namespace client
