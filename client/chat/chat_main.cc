#include <cstdio>

#include "client/chat/chat.h"

/// paxoschat: the chat client, for people and scripts.
int main(int argc, char** argv) {
  return client::run_program("paxoschat", [&] {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty() || words.front().empty() || words.front()[0] == '-')
      return client::chat_interactive(words);
    std::vector<std::string> rest(words.begin() + 1, words.end());
    std::string verb = words.front();
    if (verb == "help") {  // `help`, `help VERB`
      verb = rest.empty() ? "" : rest.front();
      rest = {"--help"};
      if (verb.empty()) return client::chat_interactive(rest);
    }
    if (verb == "send") return client::chat_send(rest);
    if (verb == "history") return client::chat_history(rest);
    if (verb == "follow") return client::chat_follow(rest);
    const std::string near = config::nearest(verb, {"send", "history", "follow"});
    return client::complain("paxoschat",
                            "there is no verb '" + client::printable(verb) + "'" +
                                (near.empty() ? "" : "; did you mean `" + near + "`?") +
                                "\nTry `paxoschat --help`.",
                            config::exit_usage);
  });
}
