#include "tests/explore/members.h"

namespace explore {

using namespace paxos;

namespace {

std::vector<Incarnation> incarnations(std::size_t count) {
  std::vector<Incarnation> out;
  for (std::size_t d = 0; d < count; ++d) out.push_back(Members::incarnation(static_cast<std::uint8_t>(d)));
  return out;
}

MemberChange::Kind kind_of(Change change) {
  switch (change) {
    case Change::add:
      return MemberChange::Kind::promote;
    case Change::remove:
      return MemberChange::Kind::remove;
    case Change::replace:
    case Change::none:
      break;
  }
  return MemberChange::Kind::replace;
}

}  // namespace

Members::Members(const Config& c)
    : config(c), wish{.kind = kind_of(c.change), .id = {c.changed()}, .address = {}} {
  const ReplicaId id = wish.id;
  first = Configuration::of_birth(incarnations(c.change == Change::add ? c.replicas - 1U : c.replicas));
  if (c.change == Change::add) {
    // By hand, or the core would make it a voter by itself: when that happens is the search's choice.
    first = first.with(
        id, {.incarnation = incarnation(id.n), .role = MemberRole::learner, .address = {}, .by_hand = true});
    first.begins = {2};
    given = make_configuration_decree(first);
  }
  next = first;
  if (c.change == Change::none) return;
  Member member = first.members[id.n];
  switch (c.change) {
    case Change::add:
      member.role = MemberRole::voter;
      member.by_hand = false;
      break;
    case Change::remove:
      member = {};
      break;
    case Change::replace:
    case Change::none:
      member.incarnation = incarnation(c.replicas);
      break;
  }
  next = first.with(id, member);
  change = make_configuration_decree(next);
}

Incarnation Members::incarnation(std::uint8_t directory) {
  Incarnation out;
  out.bytes[0] = static_cast<std::uint8_t>(directory + 1);
  return out;
}

BirthRecord Members::birth(std::uint8_t directory) const {
  // Whoever came later was told by a member in which configuration it is. The directory that takes a lost
  // one's place knows so from the start of the search on, before that is decided: until it has learned the
  // log up to there it can do nothing with it.
  const bool late =
      directory >= config.replicas || (config.change == Change::add && directory == config.changed());
  if (!late) {
    const std::size_t born = config.change == Change::add ? config.replicas - 1U : config.replicas;
    return {.members = incarnations(born), .born = true};
  }
  const Configuration& joined = config.change == Change::add ? first : next;
  BirthRecord out{.members = {}, .born = true, .configuration = joined.number};
  for (const Member& member : joined.members) out.members.push_back(member.incarnation);
  return out;
}

bool Members::member(std::uint8_t directory, std::uint32_t configuration) const {
  const auto has = [&](const Configuration& c) {
    return c.number == configuration && c.member(id(directory), incarnation(directory));
  };
  return has(first) || has(next);
}

bool Members::votes(std::uint8_t directory, std::uint32_t configuration) const {
  const auto voter = [&](const Configuration& c) {
    return c.number == configuration && c.voter(id(directory), incarnation(directory));
  };
  return voter(first) || voter(next);
}

std::string Members::name(std::uint8_t directory) const {
  return std::to_string(id(directory).n) + (directory < config.replicas ? "" : "'");
}

}  // namespace explore
