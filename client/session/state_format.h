#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "client/session/ledger.h"

/// Bytes of a `--state` file, pure: docs/DISK.md, "The client's state file". What a crash can leave is told
/// from damage here.
///
/// A crash leaves every synced byte as it was. Of what was appended after the last sync it leaves any prefix,
/// and pieces of whole sectors as zeros; never other bytes. So: what does not read, below the mark of the
/// last sync, is damage; above it, it is a torn end only where the file ends inside of the record or one of
/// its sectors is zeros. Everything else was changed by somebody else.
namespace client::state_format {

inline constexpr std::size_t sector = 512;
inline constexpr std::size_t mark_offset =
    sector;  ///< the mark has a sector of its own, written over after each sync
inline constexpr std::size_t records_offset = 2 * sector;  ///< the header's and the mark's
inline constexpr std::size_t record_header_bytes = 24;
inline constexpr std::size_t bytes_max = 64u << 20;

/// The first two sectors, with the mark at `synced`. Requires a cluster id of at most 256 bytes.
[[nodiscard]] std::string head(std::string_view cluster_id, std::uint64_t synced);
/// The mark alone, for mark_offset: bytes up to `synced` are on the disk.
[[nodiscard]] std::string mark(std::uint64_t synced);
/// A record of these events, for this place in the file.
[[nodiscard]] std::string record(std::uint64_t at, std::span<const LedgerEvent> events);
[[nodiscard]] std::string snapshot_record(std::uint64_t at, const Ledger& ledger);

/// A message found in a damaged file.
struct Found {
  std::uint64_t ticket = 0;
  chat::Post post;
  bool answered = false;  ///< a record that is whole says that its fate was told
};

struct Contents {
  Ledger ledger;
  std::size_t end = 0;        ///< bytes that count; what is behind them is a torn end
  bool first_format = false;  ///< of version 0.1.0: to be written anew
  bool fresh = false;         ///< empty, or its making was cut short: nothing can have been sent
  std::string damage;         ///< what is wrong and where; empty when nothing is
  std::vector<Found> found;   ///< where there is damage: what is whole, from all of the file, by ticket
};
/// Errors: not a state file, another cluster's, a later format. Damage is no error here: it is in the
/// contents.
[[nodiscard]] tl::expected<Contents, std::string> read(std::string_view bytes, std::string_view cluster_id);

}  // namespace client::state_format
