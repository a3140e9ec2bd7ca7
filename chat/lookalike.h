#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Names that people take for each other. Who owns a name owns all that look the same: in other case or
/// width, with characters that nobody sees, or with letters of another script (Unicode's "confusables").
namespace chat {

/// Two names look alike when any key of the one is any key of the other. It takes two, since case and shape
/// disagree about I: `folded` says that "ALI" is "ali", and `shape` that "biIl" is "bill"; with one key for
/// both, "ali" would be "all".
///
/// Both are UTF-8 in NFKD, without what nobody sees, marks ordered by combining class and code point, any
/// blanks as one space and none at the ends. Each is its own key, `folded` and `shape`, again. Both are empty
/// where there is nothing to see, which is no name to own.
struct LookalikeKeys {
  /// The same for names of which NFKC_Casefold, of their NFKD, is the same.
  std::string folded;
  /// The same for names that have one skeleton (Unicode Technical Standard #39); folded, like the other.
  std::string shape;
};

/// Bytes of a key for each byte of its name, at most: 640 for a name of 64.
inline constexpr std::size_t lookalike_growth_max = 10;

/// Requires: valid UTF-8; any other byte counts as U+FFFD.
/// Ensures: neither key has more than `lookalike_growth_max` times the name's bytes.
/// The same for ever: its tables are the project's own (Unicode 15.0.0), and other tables would be other
/// rules (chat/versions.h). Takes time linear in the name, but for its marks, which are sorted.
///
/// Source: UTS #39, section 4, "Confusable Detection", MA table. Departures: what its prototypes have of
/// compatibility characters and capitals is decomposed and folded, and they are taken again until nothing
/// changes; a dot above is dropped from i and j, which have one; and U+2800, U+FFF9 to U+FFFB, U+16FE4 and
/// U+1D159 count as blank or unseen, since fonts show nothing for them.
[[nodiscard]] LookalikeKeys lookalike_keys(std::string_view name);

}  // namespace chat
