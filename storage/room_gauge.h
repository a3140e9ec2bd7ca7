#pragma once

#include <algorithm>
#include <cstdint>

#include "paxos/types.h"

/// What free bytes mean to a replica. Pure: the simulator links it as the programs do.
namespace storage {

inline constexpr std::uint64_t reserve_bytes_default = 64u << 20;
inline constexpr std::uint64_t reserve_share = 20;  ///< of the volume, at most one part in so many

/// The reserve of a volume of so many bytes, where nobody has said another.
[[nodiscard]] constexpr std::uint64_t default_reserve(std::uint64_t volume_bytes) {
  return std::min(reserve_bytes_default, volume_bytes / reserve_share);
}

/// Judges what is available, which is what the volume has free and what the reserve holds:
///
/// | available, in reserves | judged      | after that again                |
/// | ---------------------- | ----------- | ------------------------------- |
/// | below 1.25             | reserve     | enough from 1.5 on              |
/// | below 0.5              | none        | reserve from 0.75 on            |
///
/// So what is under way can take three quarters of a reserve, and half of one is left for promises, starts
/// and what RocksDB writes in the background. The two bounds of each lie apart, or a full disk would be full
/// and not full in turns.
class RoomGauge {
 public:
  /// `reserve`: 0: none is kept, and there is always enough.
  paxos::DiskRoom judge(std::uint64_t available, std::uint64_t reserve) {
    using paxos::DiskRoom;
    const bool was_full = room_ != DiskRoom::enough;
    const bool was_out = room_ == DiskRoom::none;
    if (reserve == 0 || available >= reserve + (was_full ? reserve / 2 : reserve / 4))
      room_ = DiskRoom::enough;
    else
      room_ = available < (was_out ? reserve / 4 * 3 : reserve / 2) ? DiskRoom::none : DiskRoom::reserve;
    return room_;
  }
  [[nodiscard]] paxos::DiskRoom room() const { return room_; }

  /// How much of the reserve is to be held. While the disk is full it only gets smaller, by what is written:
  /// whatever is given up sooner, somebody else may take.
  [[nodiscard]] static std::uint64_t to_hold(paxos::DiskRoom room, std::uint64_t held,
                                             std::uint64_t reserve) {
    return room == paxos::DiskRoom::enough ? reserve : std::min(held, reserve);
  }

 private:
  paxos::DiskRoom room_ = paxos::DiskRoom::enough;
};

}  // namespace storage
