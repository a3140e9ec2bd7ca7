#pragma once

#include <list>

#include "paxos/types.h"

namespace chat {

/// Things in the order in which they were last touched, cut in two: the older part has rows of its own in the
/// state store, the younger part stands only in the journal (docs/ROWS.md). Holds pointers: what it points
/// at must not move. T has `paxos::Slot active_slot` and `TouchOrder<T>::Place place`.
///
/// Always: `active_slot` never falls along the list; `young_` is the first in the journal, or the end.
template <class T>
class TouchOrder {
 public:
  using Place = typename std::list<T*>::iterator;

  TouchOrder() = default;
  TouchOrder(const TouchOrder&) = delete;
  TouchOrder& operator=(const TouchOrder&) = delete;

  /// `thing` is new: now the youngest.
  void add(T& thing) {
    thing.place = list_.insert(list_.end(), &thing);
    if (young_ == list_.end()) young_ = thing.place;
  }
  void touch(T& thing) {
    if (young_ == thing.place) ++young_;
    list_.splice(list_.end(), list_, thing.place);
    if (young_ == list_.end()) young_ = thing.place;
  }
  void remove(T& thing) {
    if (young_ == thing.place) ++young_;
    list_.erase(thing.place);
  }
  [[nodiscard]] T* oldest() const { return list_.empty() ? nullptr : list_.front(); }

  /// The oldest in the journal if it was last touched at or before `slot`; it then counts as old.
  T* pop_young(paxos::Slot slot) {
    if (young_ == list_.end() || (*young_)->active_slot > slot) return nullptr;
    return *young_++;
  }

 private:
  std::list<T*> list_;
  Place young_ = list_.end();
};

}  // namespace chat
