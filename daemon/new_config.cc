#include "daemon/new_config.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "storage/folders.h"

namespace paxosd {

namespace fs = std::filesystem;

void random_bytes(void* out, std::size_t size) {
  if (::getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

NewConfig::NewConfig(std::string verb, config::GenerateOptions options)
    : verb_(std::move(verb)), options_(std::move(options)) {
  options_.config_as = options_.output.string() + ".restoring";
}

NewConfig::~NewConfig() {
  if (!ours_) return;
  std::error_code error;
  fs::remove(options_.config_as, error);
  fs::remove(key_file(), error);
}

fs::path NewConfig::key_file() const { return fs::path(options_.output).replace_extension(".key"); }

std::string NewConfig::check() const {
  std::error_code error;
  if (fs::exists(options_.config_as, error))
    return fmt::format(
        "{}: an earlier {} was broken off, or is under way; if it is not, remove that file and {}",
        options_.config_as.string(), verb_, key_file().string());
  for (const fs::path& file : {options_.output, key_file()})
    if (fs::exists(file, error))
      return fmt::format("{}: is there already: move it away, or give another -o", file.string());
  return {};
}

std::string NewConfig::begin() {
  if (const auto made = config::generate(options_); !made) return made.error();
  ours_ = true;  // made a moment ago: nobody else's
  auto loaded = config::load(options_.config_as);
  if (!loaded) return loaded.error();
  config_ = std::move(*loaded);
  return {};
}

storage::NewCluster::Options NewConfig::members(std::uint16_t rules_known) const {
  storage::NewCluster::Options out{
      .cluster_id = config_->id, .members = {}, .rules_known = rules_known, .life = 0};
  for (const config::ReplicaConfig& replica : config_->replicas) {
    out.members.push_back({.directory = replica.data_dir, .incarnation = {}});
    random_bytes(out.members.back().incarnation.bytes.data(), 16);
  }
  random_bytes(&out.life, sizeof out.life);
  return out;
}

std::string NewConfig::finish() {
  ours_ = false;
  if (::link(options_.config_as.c_str(), options_.output.c_str()) != 0)
    return fmt::format("{}: {}. All else is there: give {} that name", options_.output.string(),
                       std::strerror(errno), options_.config_as.string());
  std::error_code error;
  fs::remove(options_.config_as, error);
  (void)storage::sync_folder(options_.output.has_parent_path() ? options_.output.parent_path() : ".");
  return {};
}

}  // namespace paxosd
