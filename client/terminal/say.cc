#include "client/terminal/say.h"

namespace client::detail {

void put(std::FILE* to, std::string_view text) { std::fwrite(text.data(), 1, text.size(), to); }

}  // namespace client::detail
