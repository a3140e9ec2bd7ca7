#include "storage/state_folder.h"

#include <rocksdb/write_batch.h>

#include <utility>

#include "storage/database_figures.h"
#include "storage/state_store.h"

namespace storage {

tl::expected<std::unique_ptr<StateFolder>, std::string> StateFolder::open(const std::filesystem::path& folder,
                                                                          Mode mode, void* env) {
  std::unique_ptr<StateFolder> out(new StateFolder(folder));
  const rocksdb::DBOptions options = database_options(static_cast<rocksdb::Env*>(env));
  rocksdb::Status status;
  if (mode == Mode::read_only) {
    status = out->families_.open_read_only(options, folder.string(), state_families());
  } else {
    status = out->families_.open(options, folder.string(), state_families());
    // Snapshots are said in a datagram format whose rules have them.
    if (status.ok() && !out->families_.split()) status = out->families_.make();
  }
  if (!status.ok()) return tl::make_unexpected(folder.string() + ": " + status.ToString());
  return out;
}

StateFolder::~StateFolder() = default;

void StateFolder::with_reader(const std::function<void(const chat::RowReader&)>& use) const {
  read_state(families_, use);
}

std::string StateFolder::write(const std::vector<chat::Row>& rows) {
  rocksdb::WriteBatch batch;
  for (const chat::Row& row : rows) {
    const Family family = family_of_row(row.key);
    if (row.value)
      families_.put(batch, family, row.key, *row.value);
    else
      families_.remove(batch, family, row.key);
  }
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  const rocksdb::Status status = families_.db().Write(options, &batch);
  return status.ok() ? std::string() : status.ToString();
}

std::string StateFolder::flush() {
  const rocksdb::Status status = families_.flush();
  return status.ok() ? std::string() : status.ToString();
}

std::uint64_t StateFolder::bytes() const { return figures_of(families_, folder_).sst_bytes; }

}  // namespace storage
