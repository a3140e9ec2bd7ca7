#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// Entry points that libFuzzer and the unit tests share. Each takes any bytes, and aborts if a decoder
/// crashes, or if what it accepted does not encode to the very same bytes (one value, one encoding).
namespace wire_fuzz {

/// First byte: which decoder; the rest: its input.
void bodies(std::span<const std::byte> input);
/// Fragments and needs, as they come out of an opened datagram. First byte: which sender; then parts, each
/// behind a 16-bit length.
void fragments(std::span<const std::byte> input);
/// Sealed by somebody who holds the key, but whatever the input says: to a replica that gave no ticket, which
/// never answers with more than came and takes nothing, and to a client. Control bytes, then texts behind an
/// 8-bit length.
void terms(std::span<const std::byte> input);
/// A whole datagram from the network.
void datagram(std::span<const std::byte> input);

}  // namespace wire_fuzz
