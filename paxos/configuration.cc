#include "paxos/configuration.h"

#include <utility>

#include "paxos/coding.h"

namespace paxos {

namespace {

constexpr std::uint8_t value_version = 1;
constexpr unsigned by_hand_bit = 128;  ///< beside the role

void put(ByteWriter& w, const Configuration& configuration) {
  w.fixed(value_version);
  w.fixed(configuration.number);
  w.varint(configuration.members.size());
  for (const Member& member : configuration.members) {
    w.raw(member.incarnation.bytes);
    w.fixed(
        static_cast<std::uint8_t>(static_cast<unsigned>(member.role) | (member.by_hand ? by_hand_bit : 0)));
    w.sized(member.address);
  }
}

Configuration get(ByteReader& r) {
  Configuration out;
  if (r.fixed<std::uint8_t>() != value_version) r.fail();
  out.number = r.fixed<std::uint32_t>();
  if (out.number < 2) r.fail();  // the first one is in no decree
  for (auto n = r.varint_max(limits::replicas_max); n > 0 && r.ok(); --n) {
    Member member;
    member.incarnation.bytes = r.array<16>();
    const unsigned role = r.fixed<std::uint8_t>();
    member.by_hand = (role & by_hand_bit) != 0;
    member.role = static_cast<MemberRole>(role & ~by_hand_bit);
    if (member.role < MemberRole::voter || member.role > MemberRole::removed) r.fail();
    if (member.by_hand && member.role != MemberRole::learner) r.fail();
    member.address = r.sized_view(limits::address_bytes_max);
    if (member.role != MemberRole::removed && member.incarnation.none()) r.fail();
    out.members.push_back(std::move(member));
  }
  if (out.voters().size() == 0) r.fail();
  return out;
}

}  // namespace

const char* to_string(MemberRole role) {
  switch (role) {
    case MemberRole::voter:
      return "voter";
    case MemberRole::learner:
      return "learner";
    case MemberRole::removed:
      return "removed";
  }
  return "removed";
}

const char* to_string(MemberChange::Kind kind) {
  switch (kind) {
    case MemberChange::Kind::replace:
      return "replace";
    case MemberChange::Kind::add:
      return "add";
    case MemberChange::Kind::promote:
      return "promote";
    case MemberChange::Kind::remove:
      return "remove";
    case MemberChange::Kind::set_address:
      return "set-address";
  }
  return "replace";
}

Configuration Configuration::of_birth(const std::vector<Incarnation>& incarnations) {
  Configuration out;
  for (const Incarnation& incarnation : incarnations)
    out.members.push_back({.incarnation = incarnation, .role = MemberRole::voter, .address = {}});
  return out;
}

ReplicaSet Configuration::voters() const {
  ReplicaSet out;
  for (std::size_t id = 0; id < members.size(); ++id)
    if (members[id].role == MemberRole::voter) out.insert(ReplicaId{static_cast<std::uint8_t>(id)});
  return out;
}

bool Configuration::is_quorum(const ReplicaSet& set) const { return (voters() & set).size() >= quorum(); }

Configuration Configuration::with(ReplicaId id, Member member) const {
  Configuration next = *this;
  ++next.number;
  next.begins = {};
  if (next.members.size() <= id.n) next.members.resize(id.n + 1U);
  next.members[id.n] = std::move(member);
  return next;
}

Configuration Configuration::with_incarnation(ReplicaId id, const Incarnation& incarnation) const {
  Member member = members.at(id.n);
  member.incarnation = incarnation;
  return with(id, std::move(member));
}

Decree make_configuration_decree(const Configuration& next) {
  std::string out;
  ByteWriter w(out);
  put(w, next);
  return {DecreeKind::configuration, Bytes::from(std::move(out))};
}

std::optional<Configuration> configuration_in(const Decree& decree) {
  if (decree.kind != DecreeKind::configuration) return std::nullopt;
  ByteReader r(decree.value.view());
  Configuration out = get(r);
  out.begins = {};
  if (!r.done()) return std::nullopt;
  return out;
}

std::optional<Configuration> configuration_after(std::uint32_t number, Slot slot, const Decree& decree) {
  auto next = configuration_in(decree);
  if (!next || next->number != number + 1) return std::nullopt;
  next->begins = slot + 1;
  return next;
}

std::string encode_configuration(const Configuration& configuration) {
  std::string out;
  ByteWriter w(out);
  put(w, configuration);
  w.fixed(configuration.begins.n);
  return out;
}

std::optional<Configuration> decode_configuration(std::string_view bytes) {
  ByteReader r(bytes);
  Configuration out = get(r);
  out.begins.n = r.fixed<std::uint64_t>();
  if (!r.done() || out.begins.n < 2) return std::nullopt;
  return out;
}

}  // namespace paxos
