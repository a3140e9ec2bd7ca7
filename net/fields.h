#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "paxos/ballot_coding.h"
#include "paxos/coding.h"
#include "paxos/types.h"

/// Fields of the protocol's messages, written and read in one way only; the bytes stand in docs/WIRE.md.
/// Readers check ranges: what they return is fit for the core.
namespace net {

/// Slots, rounds and room sequences stay far from overflow, so that nobody has to think of it.
inline constexpr std::uint64_t slot_max = std::uint64_t{1} << 62;
inline constexpr std::uint64_t round_max = std::uint64_t{1} << 62;

enum class Round : std::uint8_t { may_be_zero, above_zero };

class FieldWriter : public paxos::ByteWriter {
 public:
  using paxos::ByteWriter::ByteWriter;
  void u8(std::uint8_t value) { fixed(value); }
  void flag(bool value) { u8(value ? 1 : 0); }
  void slot(paxos::Slot s) { varint(s.n); }
  void ballot(const paxos::Ballot& b) { paxos::put_ballot(*this, b); }
  void life(const paxos::Life& life) {
    varint(life.boot);
    fixed(life.number);
  }
  void decree(const paxos::Decree& d) {
    u8(static_cast<std::uint8_t>(d.kind));
    if (d.kind != paxos::DecreeKind::noop) sized(d.value.span());
  }
};

/// Reads one body. Byte strings come back as slices of `body`, which they keep alive.
class FieldReader : public paxos::ByteReader {
 public:
  explicit FieldReader(const paxos::Bytes& body) : paxos::ByteReader(body.span()), body_(body) {}

  std::uint8_t u8() { return fixed<std::uint8_t>(); }
  bool flag() {
    const std::uint8_t value = u8();
    if (value > 1) fail();
    return value == 1;
  }
  /// Slot 0 is "none": allowed where the field may be empty.
  paxos::Slot slot_or_none() { return {varint_max(slot_max)}; }
  paxos::Slot slot() {
    const paxos::Slot s = slot_or_none();
    if (s.none()) fail();
    return s;
  }
  paxos::ReplicaId replica() {
    const std::uint8_t id = u8();
    if (id >= paxos::limits::replicas_max) fail();
    return {ok() ? id : std::uint8_t{0}};
  }
  paxos::Ballot ballot(Round round) {
    const paxos::Ballot b = paxos::get_ballot(*this);
    if (b.round > round_max || (round == Round::above_zero && b.round == 0)) fail();
    return b;
  }
  /// The number of a configuration that is not the first one.
  std::uint32_t later() { return paxos::get_later_configuration(*this); }
  paxos::Life life() {
    paxos::Life life;
    life.boot = varint();
    life.number = fixed<std::uint64_t>();
    if (life.boot == 0 || life.number == 0) fail();
    return life;
  }
  paxos::Decree decree() {
    switch (static_cast<paxos::DecreeKind>(u8())) {
      case paxos::DecreeKind::noop:
        return {};
      case paxos::DecreeKind::commands:
        return {paxos::DecreeKind::commands, slice(paxos::limits::decree_bytes_max)};
      case paxos::DecreeKind::rules:
        return {paxos::DecreeKind::rules, slice(paxos::limits::decree_bytes_max)};
      case paxos::DecreeKind::configuration:
        return {paxos::DecreeKind::configuration, slice(paxos::limits::decree_bytes_max)};
    }
    fail();
    return {};
  }
  paxos::Bytes slice(std::size_t size_max) {
    const auto bytes = sized(size_max);
    if (bytes.empty()) return {};
    return body_.slice(static_cast<std::size_t>(bytes.data() - body_.data()), bytes.size());
  }
  std::string string(std::size_t size_max) { return std::string(sized_view(size_max)); }
  /// How many elements follow: never more than `max`, nor than the rest could hold at `bytes_min` each, so
  /// that a reader may reserve room for them.
  std::size_t count(std::size_t max, std::size_t bytes_min) {
    const auto n = static_cast<std::size_t>(varint_max(max));
    if (n > remaining() / bytes_min) return failed<std::size_t>();
    return n;
  }

 private:
  const paxos::Bytes& body_;
};

}  // namespace net
