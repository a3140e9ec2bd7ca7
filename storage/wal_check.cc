#include "storage/wal_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cstddef>

#include "paxos/coding.h"

namespace storage {

namespace {

constexpr std::size_t record_block_bytes = 32768;
constexpr std::size_t record_header_bytes = 7;
constexpr std::size_t record_recycled_header_bytes = 11;  ///< with the file's number behind the type

enum Type : std::uint8_t {
  fragment_zero = 0,
  fragment_full = 1,
  fragment_first = 2,
  fragment_middle = 3,
  fragment_last = 4,
  fragment_recycled = 5,
  fragment_recycled_last = 8
};

std::uint32_t masked_checksum(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const std::uint32_t sum = crc.checksum();
  return ((sum >> 15) | (sum << 17)) + 0xa282ead8U;
}

bool only_zeros(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == 0; });
}

struct Physical {
  std::string fault;
  bool nothing = false;  ///< zeros, or too few bytes for a record: on with the next block
  std::uint8_t type = 0;
  std::size_t size = 0;
};

/// The record that begins at the front of `block`, the rest of one.
Physical read_one(std::string_view block) {
  Physical out;
  if (block.size() < record_header_bytes || only_zeros(block.substr(0, record_header_bytes))) {
    out.nothing = true;
    return out;
  }
  paxos::ByteReader r(block);
  const auto sum = r.fixed<std::uint32_t>();
  const std::size_t length = r.fixed<std::uint16_t>();
  const std::uint8_t type = r.fixed<std::uint8_t>();
  const bool long_header = type >= fragment_recycled && type <= fragment_recycled_last;
  const std::size_t header = long_header ? record_recycled_header_bytes : record_header_bytes;
  if (header + length > block.size()) {
    out.fault = fmt::format("a record of {} bytes, of which {} are there", header + length, block.size());
    return out;
  }
  // The checksum covers the type and all behind it.
  if (masked_checksum(block.substr(6, header + length - 6)) != sum) {
    out.fault = "a record's checksum";
    return out;
  }
  out.type = long_header ? static_cast<std::uint8_t>(type - 4) : type;
  out.size = header + length;
  return out;
}

}  // namespace

RecordFile check_records(std::string_view bytes) {
  RecordFile out;
  bool inside = false;  ///< of a record in several fragments
  std::size_t at = 0;
  while (at < bytes.size() && out.fault.empty()) {
    const std::size_t block_end = std::min(bytes.size(), at - at % record_block_bytes + record_block_bytes);
    const Physical record = read_one(bytes.substr(at, block_end - at));
    if (record.nothing) {
      if (inside && !only_zeros(bytes.substr(at))) {
        // A tail of a block that is too short for a header is no hole.
        if (block_end - at >= record_header_bytes) {
          out.fault = "zeros in the middle of a record";
          out.fault_at = at;
          break;
        }
      }
      at = block_end;
      continue;
    }
    if (!record.fault.empty()) {
      out.fault = record.fault;
      out.fault_at = at;
      break;
    }
    const bool begins = record.type == fragment_full || record.type == fragment_first;
    const bool ends = record.type == fragment_full || record.type == fragment_last;
    if (begins == inside) {
      out.fault = inside ? "a record without its end" : "a record without its begin";
      out.fault_at = at;
      break;
    }
    at += record.size;
    inside = !ends;
    if (ends) {
      ++out.records;
      out.end = at;
    }
  }
  if (out.fault.empty()) {
    if (inside || (out.end < bytes.size() && !only_zeros(bytes.substr(out.end)))) {
      out.fault = inside ? "a record without its end" : "bytes that are no record";
      out.fault_at = out.end;
    }
    return out;
  }
  for (std::size_t block = out.fault_at - out.fault_at % record_block_bytes + record_block_bytes;
       block < bytes.size(); block += record_block_bytes)
    for (std::size_t p = block, end = std::min(bytes.size(), block + record_block_bytes); p < end;) {
      const Physical record = read_one(bytes.substr(p, end - p));
      if (record.nothing || !record.fault.empty()) break;
      if (record.type == fragment_full || record.type == fragment_first) {
        out.whole_behind = true;
        return out;
      }
      p += record.size;
    }
  return out;
}

}  // namespace storage
