#include <cstdio>
#include <string>

#include "chat/rows.h"
#include "storage/families.h"
#include "storage/state_store.h"

/// paxosd-astray DIRECTORY: leads the state of a stopped replica astray, as a bug or damaged memory would:
/// the hash chain at its applied slot is another, and no checksum tells. For tests; never installed.
int main(int argc, char** argv) {
  constexpr std::size_t hash_at = 1 + 1 + 8;  // docs/ROWS.md, meta
  if (argc != 2) {
    std::fputs("usage: paxosd-astray DIRECTORY\n", stderr);
    return 2;
  }
  const auto fail = [](const char* what, const rocksdb::Status& status) {
    std::fprintf(stderr, "paxosd-astray: %s: %s\n", what, status.ToString().c_str());
    return 1;
  };
  storage::Families state;
  if (const auto status = state.open(storage::database_options(nullptr), std::string(argv[1]) + "/state",
                                     storage::state_families());
      !status.ok())
    return fail("open", status);
  const std::string key = chat::rows::meta();
  const storage::Family family = storage::family_of_row(key);
  std::string meta;
  if (const auto status = state.get({}, family, key, meta); !status.ok()) return fail("no meta row", status);
  if (meta.size() < hash_at + 16) {
    std::fputs("paxosd-astray: the meta row is short\n", stderr);
    return 1;
  }
  meta[hash_at] = static_cast<char>(meta[hash_at] ^ 1);
  rocksdb::WriteBatch batch;
  state.put(batch, family, key, meta);
  rocksdb::WriteOptions without_log;
  without_log.disableWAL = true;
  if (const auto status = state.db().Write(without_log, &batch); !status.ok()) return fail("write", status);
  if (const auto status = state.flush(); !status.ok()) return fail("flush", status);
  return 0;
}
