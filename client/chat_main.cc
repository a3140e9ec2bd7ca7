#include <clocale>
#include <cstdio>
#include <exception>

#include "client/chat.h"

/// paxoschat: the chat client, for people and scripts.
int main(int argc, char** argv) {
  // Widths of characters; the texts themselves are UTF-8 whatever the locale.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX < 4) (void)std::setlocale(LC_CTYPE, "C.UTF-8");
  try {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (!words.empty()) {
      const std::vector<std::string> rest(words.begin() + 1, words.end());
      if (words.front() == "send") return client::chat_send(rest);
      if (words.front() == "history") return client::chat_history(rest);
      if (words.front() == "follow") return client::chat_follow(rest);
      if (!words.front().empty() && words.front()[0] != '-') {
        const std::string near = config::nearest(words.front(), {"send", "history", "follow"});
        return client::complain("paxoschat",
                                "there is no verb '" + client::printable(words.front()) + "'" +
                                    (near.empty() ? "" : "; did you mean `" + near + "`?") +
                                    " Try `paxoschat --help`.",
                                config::exit_usage);
      }
    }
    return client::chat_interactive(words);
  } catch (const std::exception& error) {
    return client::complain("paxoschat", error.what(), config::exit_refused);
  }
}
