#include "client/person.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <vector>

#include "chat/command.h"

namespace client {

std::string person(const Surroundings& around) {
  std::vector<std::string> names;
  if (around.root) {
    names.push_back(around.variable("SUDO_USER"));
    names.push_back(around.variable("DOAS_USER"));
    names.push_back(around.session);  // su leaves neither of the two, but this
  }
  names.push_back(around.variable("LOGNAME"));
  names.push_back(around.variable("USER"));
  names.push_back(around.account);  // services and cron jobs have no variable
  for (const std::string& name : names)
    if (!name.empty() && name != "root" && chat::validate_name(name).empty() &&
        chat::validate_visible_name(name).empty())
      return name;
  return {};
}

namespace {

std::string account_of(uid_t user) {
  const passwd* entry = ::getpwuid(user);
  return entry != nullptr ? entry->pw_name : "";
}

/// Who logged in, whatever su and sudo made of it since.
std::string session_account() {
  std::ifstream file("/proc/self/loginuid");
  unsigned long user = 0;
  constexpr unsigned long nobody_logged_in = 4'294'967'295UL;
  return file >> user && user != nobody_logged_in ? account_of(static_cast<uid_t>(user)) : "";
}

}  // namespace

std::string person_here() {
  return person({.variable =
                     [](const char* name) {
                       const char* value = std::getenv(name);
                       return std::string(value != nullptr ? value : "");
                     },
                 .root = ::getuid() == 0,
                 .session = session_account(),
                 .account = account_of(::getuid())});
}

}  // namespace client
