#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "chat/machine.h"
#include "paxos/bytes.h"
#include "paxos/types.h"

/// Snapshots: one replica's state at one slot, for another one that the log can't bring there any more. What
/// replicas say to each other about them (docs/WIRE.md), and the bytes that are said. Pure.
namespace chat {

namespace limits {
/// Of the stream of rows, in one message; about so many bytes of it are in flight to one puller.
inline constexpr std::size_t snapshot_chunk_bytes = 64 * 1024;
inline constexpr std::size_t snapshot_window_bytes = 8 * snapshot_chunk_bytes;
/// The longest key of a row and the largest row that can be carried.
inline constexpr std::size_t snapshot_key_bytes_max = 512;
inline constexpr std::size_t snapshot_row_bytes_max = 64u << 20;
inline constexpr std::size_t snapshot_pullers = 2;
/// Of any word that is said about snapshots.
inline constexpr std::size_t snapshot_word_bytes_max = 2 * snapshot_chunk_bytes;
}  // namespace limits

/// One snapshot, by who made it and in which state it was made. `number` is random: a source that loses its
/// disk and makes another one of the same slot is not taken for the same.
struct SnapshotId {
  paxos::Incarnation source;
  std::uint64_t number = 0;
  paxos::Slot slot;  ///< applied: it stands at this slot
  paxos::Hash hash;  ///< of the chain there
  friend auto operator<=>(const SnapshotId&, const SnapshotId&) = default;
};

/// Where a stream of rows goes on: `skip` bytes into the first row whose key is not below `key`. The stream
/// is all rows in the order of their keys, each one as its key and its value, both sized.
struct SnapshotPlace {
  std::uint64_t offset = 0;  ///< bytes of the stream before it
  std::string key;
  std::uint64_t skip = 0;
  friend bool operator==(const SnapshotPlace&, const SnapshotPlace&) = default;
};

/// What a whole snapshot comes to: XXH3-128 over the stream without the replica's own rows.
struct SnapshotSum {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;  ///< of the whole stream, own rows included
  paxos::Hash sum;
  friend bool operator==(const SnapshotSum&, const SnapshotSum&) = default;
};

// --- what is said ---

/// "Which snapshot have you of a slot above this one?"
struct SnapshotAsk {
  std::uint64_t nonce = 0;
  paxos::Slot above;
  /// The one that the asker has a part of, if any: it is kept for it.
  std::optional<SnapshotId> begun = {};
  friend bool operator==(const SnapshotAsk&, const SnapshotAsk&) = default;
};
enum class SnapshotAnswer : std::uint8_t {
  offered = 1,
  making = 2,  ///< ask again
  busy = 3,    ///< it serves as many as it can
  none = 4,    ///< its state is not above that slot, or not to be trusted
};
struct SnapshotOffer {
  std::uint64_t nonce = 0;
  SnapshotAnswer answer = SnapshotAnswer::none;
  SnapshotId id;            ///< if offered
  std::uint64_t bytes = 0;  ///< about so many will come
  friend bool operator==(const SnapshotOffer&, const SnapshotOffer&) = default;
};
/// "I have everything up to `from`; send on until `from.offset` + `window`." With `again`: what was sent
/// behind `from` was lost.
struct SnapshotPull {
  SnapshotId id;
  SnapshotPlace from;
  std::uint32_t window = 0;
  bool again = false;
  friend bool operator==(const SnapshotPull&, const SnapshotPull&) = default;
};
struct SnapshotChunk {
  SnapshotId id;
  std::uint64_t offset = 0;
  SnapshotPlace next;  ///< its offset is that of the first byte behind this chunk
  bool last = false;
  std::uint64_t checksum = 0;  ///< snapshot_checksum()
  paxos::Bytes bytes;
  friend bool operator==(const SnapshotChunk&, const SnapshotChunk&) = default;
};
/// "What does all of it come to?"
struct SnapshotSumAsk {
  SnapshotId id;
  friend bool operator==(const SnapshotSumAsk&, const SnapshotSumAsk&) = default;
};
struct SnapshotSummed {
  SnapshotId id;
  std::optional<SnapshotSum> sum;  ///< nothing: it is still being counted
  friend bool operator==(const SnapshotSummed&, const SnapshotSummed&) = default;
};
/// The sender has this snapshot no more.
struct SnapshotGone {
  SnapshotId id;
  friend bool operator==(const SnapshotGone&, const SnapshotGone&) = default;
};
/// "What is the hash of your chain at this slot?" The answer, if it is known there.
struct SnapshotHashAsk {
  std::uint64_t nonce = 0;
  paxos::Slot slot;
  friend bool operator==(const SnapshotHashAsk&, const SnapshotHashAsk&) = default;
};
struct SnapshotHash {
  std::uint64_t nonce = 0;
  paxos::Slot slot;
  std::optional<paxos::Hash> hash;
  friend bool operator==(const SnapshotHash&, const SnapshotHash&) = default;
};

/// Persistent numbers of the types: their place here, from 1 on. New ones go to the end.
using SnapshotWord = std::variant<SnapshotAsk, SnapshotOffer, SnapshotPull, SnapshotChunk, SnapshotSumAsk,
                                  SnapshotSummed, SnapshotGone, SnapshotHashAsk, SnapshotHash>;

void encode(std::string& out, const SnapshotWord& word);
/// Decodes exactly all of `bytes`, or says why not; every size is bounded. A chunk's bytes are a slice.
[[nodiscard]] tl::expected<SnapshotWord, const char*> decode_snapshot_word(const paxos::Bytes& bytes);

// --- the stream ---

/// Of a chunk: covers which snapshot it belongs to, where it stands, and where it goes on.
[[nodiscard]] std::uint64_t snapshot_checksum(const SnapshotChunk& chunk);

/// The next at most `bytes_max` bytes of the stream; its checksum is set.
[[nodiscard]] SnapshotChunk read_snapshot(const RowReader& rows, const SnapshotId& id,
                                          const SnapshotPlace& from, std::size_t bytes_max);

/// Visits all rows that a snapshot has, in order, from the first one not below `from` on, until `visit` says
/// false.
void each_snapshot_row(const RowReader& rows, std::string_view from,
                       const std::function<bool(std::string_view key, std::string_view value)>& visit);

/// Counts a snapshot's rows, some at a time. Copying it is cheap enough for a test only.
class SnapshotCount {
 public:
  SnapshotCount();
  ~SnapshotCount();
  SnapshotCount(SnapshotCount&&) noexcept;
  SnapshotCount& operator=(SnapshotCount&&) noexcept;
  /// Goes on for about `bytes_max` bytes. True: that was all.
  bool advance(const RowReader& rows, std::size_t bytes_max);
  /// The row that follows in the stream, for who has no reader of them.
  void add(std::string_view key, std::string_view value);
  [[nodiscard]] SnapshotSum sum() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Cuts a stream into rows again.
class SnapshotRows {
 public:
  /// Takes the bytes that follow. The rows that are whole now are appended, as the receiver keeps them: what
  /// a replica has carried out of its redactions, the receiver has not. False: these are no rows in order.
  [[nodiscard]] bool take(std::string_view bytes, std::vector<Row>& out);
  /// Bytes of a row that is not whole yet.
  [[nodiscard]] std::size_t held() const { return rest_.size(); }
  /// The last whole row's key; empty: none yet.
  [[nodiscard]] const std::string& last_key() const { return last_key_; }
  /// Forgets what is held and goes on behind that key.
  void resume(std::string last_key);

 private:
  std::string rest_;
  std::string last_key_;
};

/// Progress of who pulls one, as it stands beside the rows that it has: they move together. The row's key is
/// rows::progress().
struct SnapshotProgress {
  SnapshotId id;
  SnapshotPlace place;  ///< between two rows
  std::uint64_t bytes_about = 0;
  bool complete = false;  ///< all rows are here, and come to what the source says
  friend bool operator==(const SnapshotProgress&, const SnapshotProgress&) = default;
};
[[nodiscard]] std::string encode_progress(const SnapshotProgress& progress);
[[nodiscard]] std::optional<SnapshotProgress> decode_progress(std::string_view value);

}  // namespace chat
