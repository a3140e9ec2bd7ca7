#pragma once

#include <string>
#include <vector>

namespace client {

/// Rows as a table for people: each column as wide as what is in it, two blanks between, nothing at a line's
/// end. Pure. A row with fewer cells than `align` ends with a remark, which counts for no column's width.
/// `align`: '<' or '>' for each column. Cells: printable text.
[[nodiscard]] std::string table_text(const std::vector<std::vector<std::string>>& rows,
                                     const std::string& align);

}  // namespace client
