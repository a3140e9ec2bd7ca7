/// A wall clock that a test makes run faster: preloaded, it reads PAXOSD_TEST_CLOCK, "SINCE SPEED", seconds
/// since 1970 and how many times faster than real time it has run since then. Monotonic clocks are as they
/// are.
#include <dlfcn.h>
#include <time.h>

#include <cstdlib>

extern "C" int clock_gettime(clockid_t id, struct timespec* out) {
  using Function = int (*)(clockid_t, struct timespec*);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  static const char* const said = std::getenv("PAXOSD_TEST_CLOCK");
  const int done = real(id, out);
  if (done != 0 || said == nullptr || id != CLOCK_REALTIME) return done;
  char* end = nullptr;
  const double since = std::strtod(said, &end);
  const double speed = std::strtod(end, nullptr);
  const double now = static_cast<double>(out->tv_sec) + static_cast<double>(out->tv_nsec) / 1e9;
  const double shown = since + (now - since) * speed;
  out->tv_sec = static_cast<time_t>(shown);
  out->tv_nsec = static_cast<long>((shown - static_cast<double>(out->tv_sec)) * 1e9);
  return 0;
}
