#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "chat/client_messages.h"
#include "paxos/ballot_coding.h"
#include "paxos/coding.h"

/// The fields of which messages to and from replicas are made: docs/WIRE.md.
namespace chat::wire {

using paxos::ByteReader;
using paxos::Bytes;
using paxos::ByteWriter;
using paxos::Slot;

inline constexpr std::size_t commands_max = 4096;
inline constexpr std::size_t receipts_max = 4096;
inline constexpr std::size_t reason_bytes_max = 4096;
inline constexpr std::size_t json_bytes_max = 256 * 1024;
inline constexpr std::size_t slots_max = 4096;
inline constexpr std::size_t log_slots_max = 65536;

class Writer {
 public:
  explicit Writer(std::string& out) : w_(out) {}
  void number(std::uint64_t n) { w_.varint(n); }
  void byte(std::uint8_t n) { w_.fixed(n); }
  void flag(bool f) { w_.fixed(static_cast<std::uint8_t>(f ? 1 : 0)); }
  void fixed(std::uint64_t n) { w_.fixed(n); }
  void ballot(const paxos::Ballot& b) { paxos::put_ballot(w_, b); }
  void text(std::string_view t) { w_.sized(t); }
  /// For people: cut between two characters where it is longer than a reader takes.
  void sentence(std::string_view t) {
    if (t.size() > reason_bytes_max) {
      std::size_t end = reason_bytes_max;
      while (end > 0 && (static_cast<unsigned char>(t[end]) & 0xc0) == 0x80) --end;
      t = t.substr(0, end);
    }
    w_.sized(t);
  }
  void bytes(const Bytes& b) { w_.sized(b.span()); }
  template <std::size_t N>
  void raw(const std::array<std::uint8_t, N>& a) {
    w_.raw(a);
  }
  void credential(const Credential& c) {
    byte(static_cast<std::uint8_t>(c.role));
    number(c.id);
  }
  void session(const SessionId& s) {
    number(s.slot.n);
    number(s.index);
  }
  void outcome(const Outcome& o) {
    byte(static_cast<std::uint8_t>(o.verdict));
    session(o.session);
    number(o.client_seq);
    number(o.slot.n);
    number(o.index);
    number(o.room_seq);
    fixed(static_cast<std::uint64_t>(o.time_ms));
  }
  void slots(const std::vector<Slot>& slots) {
    number(slots.size());
    for (Slot s : slots) number(s.n);
  }

 private:
  ByteWriter w_;
};

class Reader {
 public:
  explicit Reader(const Bytes& whole) : whole_(whole), r_(whole.span()) {}
  std::uint64_t number() { return r_.varint(); }
  std::uint32_t number32() { return static_cast<std::uint32_t>(r_.varint_max(UINT32_MAX)); }
  std::uint8_t byte() { return r_.fixed<std::uint8_t>(); }
  bool flag() {
    const auto value = byte();
    if (value > 1) r_.fail();
    return value == 1;
  }
  std::uint64_t fixed() { return r_.fixed<std::uint64_t>(); }
  paxos::Ballot ballot() { return paxos::get_ballot(r_); }
  std::string text(std::size_t max) { return std::string(r_.sized_view(max)); }
  Bytes bytes(std::size_t max) {
    const auto span = r_.sized(max);
    if (span.empty()) return {};
    return whole_.slice(static_cast<std::size_t>(span.data() - whole_.data()), span.size());
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    return r_.array<N>();
  }
  Credential credential() {
    Credential c;
    c.role = static_cast<Role>(byte());
    c.id = number32();
    if (!c.valid()) r_.fail();
    return c;
  }
  SessionId session() {
    SessionId s;
    s.slot.n = number();
    s.index = number32();
    return s;
  }
  Outcome outcome() {
    Outcome o;
    const auto verdict = byte();
    if (verdict < 1 || verdict >= verdicts_end) r_.fail();
    o.verdict = static_cast<Verdict>(verdict);
    o.session = session();
    o.client_seq = number();
    o.slot.n = number();
    o.index = number32();
    o.room_seq = number();
    o.time_ms = static_cast<std::int64_t>(fixed());
    return o;
  }
  std::size_t count(std::size_t max) { return static_cast<std::size_t>(r_.varint_max(max)); }
  std::vector<Slot> slots() {
    std::vector<Slot> out;
    for (std::size_t n = count(slots_max); n > 0 && ok(); --n) out.push_back({number()});
    return out;
  }
  paxos::ReplicaId replica() {
    const auto id = byte();
    if (id >= paxos::limits::replicas_max) return r_.failed<paxos::ReplicaId>();
    return {id};
  }
  void fail() { r_.fail(); }
  [[nodiscard]] bool ok() const { return r_.ok(); }
  [[nodiscard]] bool done() const { return r_.done(); }

 private:
  const Bytes& whole_;
  ByteReader r_;
};

template <class T, class F>
tl::expected<T, const char*> decode(const Bytes& bytes, F&& get) {
  Reader r(bytes);
  T message = get(r);
  if (!r.done()) return tl::make_unexpected("a message that is cut short, out of range, or of unknown type");
  return message;
}

}  // namespace chat::wire
