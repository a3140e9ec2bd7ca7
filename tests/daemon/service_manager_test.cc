#include "daemon/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

/// A service manager's end of the socket.
class Manager {
 public:
  explicit Manager(bool abstract) {
    std::string name = (std::filesystem::temp_directory_path() / "notify-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    const std::string path =
        abstract ? "@paxosd-test-" + std::to_string(::getpid()) : (folder_ / "socket").string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    if (abstract) address.sun_path[0] = '\0';
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size())) != 0)
      std::abort();
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~Manager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::close(fd_);
    std::filesystem::remove_all(folder_);
  }
  std::vector<std::string> heard() {
    std::vector<std::string> out;
    char text[4096];
    for (ssize_t got = 0; (got = ::recv(fd_, text, sizeof text, 0)) >= 0;)
      out.emplace_back(text, static_cast<std::size_t>(got));
    return out;
  }

 private:
  std::filesystem::path folder_;
  int fd_ = -1;
};

TEST(ServiceManager, IsHeardUnderEitherKindOfName) {
  for (const bool abstract : {false, true}) {
    Manager manager(abstract);
    paxosd::ServiceManager told;
    told.ready();
    told.status("leads");
    told.status("leads");
    told.alive();
    told.stopping();
    EXPECT_EQ(manager.heard(),
              (std::vector<std::string>{"READY=1", "STATUS=leads", "WATCHDOG=1", "STOPPING=1"}));
  }
}

TEST(ServiceManager, OneThatHangsHoldsNobodyUpAndHearsWhatMattersLater) {
  Manager manager(false);
  paxosd::ServiceManager told;
  // Until its queue is full, and far beyond: with a socket that blocks, this never ends.
  for (int i = 0; i < 5000; ++i) told.status("line " + std::to_string(i));
  told.ready();
  told.status("the last line");
  told.stopping();
  for (const std::string& text : manager.heard()) EXPECT_TRUE(text.starts_with("STATUS=line ")) << text;
  told.status("the last line");
  EXPECT_EQ(manager.heard(), std::vector<std::string>{"STATUS=the last line"})
      << "not taken for said when it was not";
  told.flush();
  EXPECT_EQ(manager.heard(), (std::vector<std::string>{"READY=1", "STOPPING=1"}));
}

TEST(ServiceManager, NobodyThereIsNoTrouble) {
  ::unsetenv("NOTIFY_SOCKET");
  paxosd::ServiceManager told;
  EXPECT_FALSE(paxosd::ServiceManager::present());
  told.ready();
  ::setenv("NOTIFY_SOCKET", "/nowhere/socket", 1);
  paxosd::ServiceManager gone;
  gone.ready();
  gone.flush();
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
