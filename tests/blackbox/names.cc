/// A resolver that a test controls: preloaded, it answers getaddrinfo from the file that PAXOSD_TEST_HOSTS
/// names, read anew each time. A line is a name and its addresses; `hangs` in their place is a name server
/// that does not answer. What is no name goes to the real one; a name that is not in the file does not exist.
#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** found) {
  using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  const char* file = std::getenv("PAXOSD_TEST_HOSTS");
  addrinfo numeric{};
  if (hints != nullptr) numeric = *hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  if (file == nullptr || node == nullptr || real(node, service, &numeric, found) == 0)
    return file == nullptr || node == nullptr ? real(node, service, hints, found) : 0;
  if (hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0) return EAI_NONAME;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    if (!(words >> name) || name != node) continue;
    *found = nullptr;
    for (std::string address; words >> address;) {
      if (address == "hangs") {
        ::sleep(600);
        return EAI_AGAIN;
      }
      addrinfo* one = nullptr;
      if (real(address.c_str(), service, &numeric, &one) != 0) continue;
      // In the order of the file; freeaddrinfo takes a chain of them.
      addrinfo** end = found;
      while (*end != nullptr) end = &(*end)->ai_next;
      *end = one;
    }
    return *found == nullptr ? EAI_NONAME : 0;
  }
  return EAI_NONAME;
}
