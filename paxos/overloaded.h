#pragma once

namespace paxos {

/// One lambda for each alternative of a variant, for std::visit.
template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace paxos
