#include "tests/fuzz/wire_entry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  wire_fuzz::terms(std::as_bytes(std::span{data, size}));
  return 0;
}
