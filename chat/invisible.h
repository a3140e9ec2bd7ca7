#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Which characters nobody can see: Unicode's Default_Ignorable_Code_Point (zero-width space, soft hyphen,
/// byte order mark, word joiner, …) and the bidirectional controls. Two names that differ in one of them look
/// the same. A zero-width joiner between two pictographs, and a variation selector behind one (or in a
/// keycap), are part of an emoji and stay.
namespace chat {

/// One character at the front of a text.
struct Character {
  std::uint32_t point = 0;
  std::size_t bytes = 0;  ///< 0: not UTF-8
};
/// Requires: not empty.
[[nodiscard]] Character first_character(std::string_view text);

/// Walks a text; knows what stands before.
class InvisibleScan {
 public:
  explicit InvisibleScan(std::string_view text) : rest_(text) {}
  [[nodiscard]] bool done() const { return rest_.empty(); }
  /// The next character; what is no UTF-8 counts as visible, one byte of it.
  struct Step {
    Character character;
    bool invisible = false;
  };
  [[nodiscard]] Step next();

 private:
  std::string_view rest_;
  std::uint32_t base_ = 0;  ///< the character that modifiers would belong to
};

/// "U+200B", the first one; empty: there is none.
[[nodiscard]] std::string first_invisible(std::string_view text);
/// Whether it begins or ends with white space.
[[nodiscard]] bool has_blank_ends(std::string_view text);
/// Whether there is anything but white space and invisible characters.
[[nodiscard]] bool has_visible(std::string_view text);

}  // namespace chat
