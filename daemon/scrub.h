#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "paxos/types.h"
#include "storage/stores.h"

namespace paxosd {

/// Reads all that a running replica has on its disk, once every so often, so that damage is found while
/// others have what stood there. A page at a time on the state thread, which serves others between two of
/// them; what does not read is told by the storage as to every other reader. Loop thread only, but for
/// read_page().
class Scrub {
 public:
  static constexpr std::size_t page_bytes = 128 * 1024;
  static constexpr std::uint64_t bytes_per_second = 4u << 20;

  /// How far a pass is.
  struct Place {
    enum class Part : std::uint8_t { own, log, state, end };
    Part part = Part::own;
    paxos::Slot slot{1};  ///< of the log: the next one
    std::string row;      ///< of the state: the next one begins here or behind
  };
  struct Page {
    Place next;
    std::size_t bytes = 0;
  };
  /// Reads the page that begins at `from`; the log has votes up to `accepted`. Throws what the reader throws.
  [[nodiscard]] static Page read_page(const storage::Storage::Reader& reader, Place from,
                                      paxos::Slot accepted);

  /// `last`: how long ago the last pass ended; nothing: it is not known, and one is due after `every`.
  void begin(paxos::Time now, std::optional<std::chrono::seconds> last, std::chrono::seconds every);
  void set_every(paxos::Time now, std::chrono::seconds every);
  /// Where the next page begins, if it is time for one; answer with page_read().
  [[nodiscard]] std::optional<Place> due(paxos::Time now);
  /// True: that was the last one of this pass.
  bool page_read(paxos::Time now, Page page);

  struct Figures {
    bool under_way = false;
    std::uint64_t bytes = 0;   ///< read in this pass, or in the last one
    std::uint64_t passes = 0;  ///< that ended in this life
  };
  [[nodiscard]] Figures figures() const {
    return {.under_way = place_.has_value(), .bytes = bytes_, .passes = passes_};
  }
  /// The page that is due is the first one of a pass.
  [[nodiscard]] bool begins() const { return place_ && place_->part == Place::Part::own; }

 private:
  std::chrono::seconds every_{0};  ///< 0: never
  paxos::Time next_ = paxos::time_never;
  paxos::Time counts_from_{};  ///< when the last pass ended, or what stands for it
  std::optional<Place> place_;
  bool reading_ = false;
  std::uint64_t bytes_ = 0;
  std::uint64_t passes_ = 0;
};

/// When the last pass ended is the time of an empty file in the data directory. Both block.
[[nodiscard]] std::optional<std::chrono::seconds> since_last_scrub(const std::filesystem::path& directory);
void note_scrub(const std::filesystem::path& directory);

}  // namespace paxosd
