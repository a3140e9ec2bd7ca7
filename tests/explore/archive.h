#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "paxos/bounds.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"
#include "paxos/types.h"

/// One description of a state for both directions: a field that is saved is loaded, in the same order.
namespace explore {

using paxos::Ballot;
using paxos::ByteReader;
using paxos::Bytes;
using paxos::ByteWriter;
using paxos::Decree;
using paxos::DecreeKind;
using paxos::ReplicaId;
using paxos::ReplicaSet;
using paxos::Slot;

class Saver {
 public:
  static constexpr bool loading = false;
  explicit Saver(std::string& out) : writer_(out) {}
  void number(std::uint64_t& value) { writer_.varint(value); }
  void bytes(Bytes& value) { writer_.sized(value.span()); }

 private:
  ByteWriter writer_;
};

class Loader {
 public:
  static constexpr bool loading = true;
  explicit Loader(std::string_view bytes) : reader_(bytes) {}
  void number(std::uint64_t& value) { value = reader_.varint(); }
  void bytes(Bytes& value) { value = Bytes::copy_of(reader_.sized(paxos::limits::decree_bytes_max)); }
  [[nodiscard]] bool done() const { return reader_.done(); }

 private:
  ByteReader reader_;
};

template <class A, class T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>)
void field(A& archive, T& value) {
  auto n = static_cast<std::uint64_t>(value);
  archive.number(n);
  if constexpr (A::loading) value = static_cast<T>(n);
}
template <class A>
void field(A& archive, Slot& slot) {
  archive.number(slot.n);
}
template <class A>
void field(A& archive, ReplicaId& id) {
  field(archive, id.n);
}
template <class A>
void field(A& archive, Ballot& ballot) {
  archive.number(ballot.round);
  field(archive, ballot.replica);
  field(archive, ballot.configuration);
}
template <class A>
void field(A& archive, Decree& decree) {
  field(archive, decree.kind);
  archive.bytes(decree.value);
}
template <class A>
void field(A& archive, ReplicaSet& set) {
  std::uint64_t bits = 0;
  for (std::uint8_t id = 0; id < paxos::limits::replicas_max; ++id)
    if (set.contains({id})) bits |= std::uint64_t{1} << id;
  archive.number(bits);
  if constexpr (A::loading) {
    set.clear();
    for (std::uint8_t id = 0; id < paxos::limits::replicas_max; ++id)
      if ((bits >> id & 1) != 0) set.insert({id});
  }
}
template <class A, class T>
void field(A& archive, std::optional<T>& value) {
  bool present = value.has_value();
  field(archive, present);
  if (!present) {
    value.reset();
    return;
  }
  if constexpr (A::loading) value.emplace();
  field(archive, *value);
}

template <class A>
void field(A& archive, paxos::Incarnation& incarnation) {
  for (std::uint8_t& byte : incarnation.bytes) field(archive, byte);
}

/// A vector or deque; `each` saves or loads one element.
template <class A, class Sequence, class Each>
void sequence(A& archive, Sequence& values, Each&& each) {
  std::uint64_t size = values.size();
  archive.number(size);
  if constexpr (A::loading) {
    values.clear();
    values.resize(size);
  }
  for (auto& value : values) each(value);
}

}  // namespace explore
