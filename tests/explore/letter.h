#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "paxos/messages.h"
#include "tests/explore/archive.h"

namespace explore {

/// One message on its way between two replicas.
struct Letter {
  std::uint8_t from = 0;  ///< directories: see Members
  std::uint8_t to = 0;
  paxos::PeerMessage message;
};

/// Heartbeats, reads, birth and forwards are outside the search; no event makes a replica send them but
/// heartbeats, which the host drops.
template <class M>
constexpr bool searched = std::is_same_v<M, paxos::Prepare> || std::is_same_v<M, paxos::Promise> ||
                          std::is_same_v<M, paxos::Accept> || std::is_same_v<M, paxos::Accepted> ||
                          std::is_same_v<M, paxos::Nack> || std::is_same_v<M, paxos::Commit> ||
                          std::is_same_v<M, paxos::LearnRequest> || std::is_same_v<M, paxos::LearnReply>;

template <class A>
void fields(A& out, paxos::Prepare& m) {
  auto& [ballot, from] = m;
  field(out, ballot);
  field(out, from);
}
template <class A>
void fields(A& out, paxos::Promise& m) {
  auto& [ballot, from, chosen_prefix, entries, next] = m;
  field(out, ballot);
  field(out, from);
  field(out, chosen_prefix);
  sequence(out, entries, [&](paxos::PromiseEntry& entry) {
    auto& [slot, entry_ballot, chosen, decree] = entry;
    field(out, slot);
    field(out, entry_ballot);
    field(out, chosen);
    field(out, decree);
  });
  field(out, next);
}
template <class A>
void fields(A& out, paxos::Accept& m) {
  auto& [ballot, slot, chosen_prefix, decree] = m;
  field(out, ballot);
  field(out, slot);
  field(out, chosen_prefix);
  field(out, decree);
}
template <class A>
void fields(A& out, paxos::Accepted& m) {
  auto& [ballot, slots] = m;
  field(out, ballot);
  sequence(out, slots, [&](paxos::SlotRange& range) {
    auto& [first, last] = range;
    field(out, first);
    field(out, last);
  });
}
template <class A>
void fields(A& out, paxos::Nack& m) {
  auto& [refused, promised] = m;
  field(out, refused);
  field(out, promised);
}
template <class A>
void fields(A& out, paxos::Commit& m) {
  auto& [ballot, chosen_prefix] = m;
  field(out, ballot);
  field(out, chosen_prefix);
}
template <class A>
void fields(A& out, paxos::LearnRequest& m) {
  auto& [from, to] = m;
  field(out, from);
  field(out, to);
}
template <class A>
void fields(A& out, paxos::LearnReply& m) {
  auto& [decrees, first_slot, chosen_prefix] = m;
  sequence(out, decrees, [&](paxos::ChosenDecree& chosen) {
    auto& [slot, ballot, decree] = chosen;
    field(out, slot);
    field(out, ballot);
    field(out, decree);
  });
  field(out, first_slot);
  field(out, chosen_prefix);
}

template <class A, std::size_t... I>
void fields_of(A& archive, paxos::PeerMessage& message, std::size_t type, std::index_sequence<I...>) {
  const auto one = [&]<std::size_t N>() {
    using M = std::variant_alternative_t<N, paxos::PeerMessage>;
    if (type != N) return;
    if constexpr (A::loading) message.emplace<N>();
    if constexpr (searched<M>)
      fields(archive, std::get<N>(message));
    else
      PAXOS_ASSERT(searched<M>);
  };
  (one.template operator()<I>(), ...);
}
template <class A>
void field(A& archive, Letter& letter) {
  field(archive, letter.from);
  field(archive, letter.to);
  std::size_t type = letter.message.index();
  field(archive, type);
  fields_of(archive, letter.message, type,
            std::make_index_sequence<std::variant_size_v<paxos::PeerMessage>>{});
}

/// Equal bytes, equal letter.
[[nodiscard]] std::string canonical(Letter letter);
/// "Accept 1.0 slot 2 'a'": for transcripts.
[[nodiscard]] std::string to_text(const paxos::PeerMessage& message);
[[nodiscard]] std::string to_text(const paxos::Decree& decree);

}  // namespace explore
