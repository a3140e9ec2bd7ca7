#include "client/terminal/table.h"

#include <algorithm>
#include <cstddef>

#include "client/terminal/line_editor.h"

namespace client {

std::string table_text(const std::vector<std::vector<std::string>>& rows, const std::string& align) {
  std::vector<std::size_t> widths(align.size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      if (i + 1 < row.size() || row.size() == align.size())
        widths[i] = std::max(widths[i], columns_of(row[i]));
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::size_t width = columns_of(row[i]);
      const std::string gap(widths[i] > width ? widths[i] - width : 0, ' ');
      const bool remark = i + 1 == row.size() && row.size() < align.size();
      if (i > 0) line += "  ";
      line += remark || align[i] == '<' ? row[i] + gap : gap + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace client
