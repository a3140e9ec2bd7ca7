#include <rocksdb/db.h>

#include <cstdio>
#include <memory>
#include <string>

#include "chat/rows.h"

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
  rocksdb::DB* opened = nullptr;
  if (const auto status = rocksdb::DB::Open({}, std::string(argv[1]) + "/state", &opened); !status.ok())
    return fail("open", status);
  const std::unique_ptr<rocksdb::DB> db(opened);
  std::string meta;
  if (const auto status = db->Get({}, chat::rows::meta(), &meta); !status.ok())
    return fail("no meta row", status);
  if (meta.size() < hash_at + 16) {
    std::fputs("paxosd-astray: the meta row is short\n", stderr);
    return 1;
  }
  meta[hash_at] = static_cast<char>(meta[hash_at] ^ 1);
  rocksdb::WriteOptions without_log;
  without_log.disableWAL = true;
  if (const auto status = db->Put(without_log, chat::rows::meta(), meta); !status.ok())
    return fail("write", status);
  if (const auto status = db->Flush({}); !status.ok()) return fail("flush", status);
  return 0;
}
