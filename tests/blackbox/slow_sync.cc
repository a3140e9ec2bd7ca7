#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

/// Preloaded into a replica by test_memory.py: while the file that SLOW_SYNC_WHILE names exists, syncs of
/// files under a folder whose path contains SLOW_SYNC_PART do not come back. As a disk that hangs, and then
/// goes on.
namespace {

void wait_while_slow(int fd) {
  const char* file = std::getenv("SLOW_SYNC_WHILE");
  const char* part = std::getenv("SLOW_SYNC_PART");
  if (file == nullptr || part == nullptr) return;
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  char path[1024];
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return;
  path[size] = '\0';
  if (std::strstr(path, part) == nullptr) return;
  while (access(file, F_OK) == 0) usleep(10'000);
}

template <class Call>
Call next(const char* name) {
  return reinterpret_cast<Call>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {
int fsync(int fd) {
  static const auto call = next<int (*)(int)>("fsync");
  wait_while_slow(fd);
  return call(fd);
}
int fdatasync(int fd) {
  static const auto call = next<int (*)(int)>("fdatasync");
  wait_while_slow(fd);
  return call(fd);
}
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags) {
  static const auto call = next<int (*)(int, off64_t, off64_t, unsigned)>("sync_file_range");
  wait_while_slow(fd);
  return call(fd, offset, bytes, flags);
}
}
