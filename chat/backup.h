#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "chat/snapshot.h"

/// A backup's file: one snapshot's stream of rows, with what it is of before it and what it comes to behind
/// it (docs/DISK.md). Pure.
namespace chat {

struct BackupHead {
  std::string cluster;     ///< its name
  std::string cluster_id;  ///< of the cluster that it was taken of
  SnapshotId id;
  std::uint16_t rules = 0;    ///< that were in force
  std::uint64_t time_ms = 0;  ///< Unix, when it was begun, by the clock of who took it
  std::uint64_t bytes_about = 0;
  friend bool operator==(const BackupHead&, const BackupHead&) = default;
};

/// Makes the file's bytes: one head, any number of rows(), one end. Each part's checksum goes on from the one
/// before, so that none can be missing, doubled or of another file.
class BackupWriter {
 public:
  [[nodiscard]] std::string head(const BackupHead& head);
  /// The next bytes of the stream, at most backup_part_bytes_max.
  [[nodiscard]] std::string rows(std::string_view bytes);
  [[nodiscard]] std::string end(const SnapshotSum& sum);

 private:
  std::uint64_t chain_ = 0;
};

inline constexpr std::size_t backup_part_bytes_max = 1u << 20;

/// Takes such a file apart, from its first byte on.
class BackupReader {
 public:
  BackupReader();
  struct Rows {
    std::string_view bytes;  ///< of what was taken
  };
  /// Nothing: it was the head of a part.
  using Part = std::variant<std::monostate, BackupHead, Rows, SnapshotSum>;
  /// So many bytes are to be given to take(), no fewer and no more; 0 after the end, where nothing may
  /// follow.
  [[nodiscard]] std::size_t wants() const { return wants_; }
  /// Errors: what is wrong with the file, half a sentence.
  [[nodiscard]] tl::expected<Part, std::string> take(std::string_view bytes);

 private:
  enum class Stage : std::uint8_t { magic, part, body, ended };
  [[nodiscard]] tl::expected<Part, std::string> body(std::string_view bytes);
  [[nodiscard]] std::string damaged() const;

  Stage stage_ = Stage::magic;
  std::size_t wants_;
  std::uint64_t at_ = 0;  ///< bytes of the file before what is wanted
  std::uint64_t chain_ = 0;
  std::uint8_t kind_ = 0;
  std::uint64_t checksum_ = 0;
  bool begun_ = false;
};

}  // namespace chat
