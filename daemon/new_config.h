#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "config/cluster_config.h"
#include "storage/new_cluster.h"

namespace paxosd {

/// The config and the key of a cluster whose directories are made with them. The config gets its name last: a
/// cluster that is started with it before its directories are there would be a new one, without a message.
class NewConfig {
 public:
  /// `verb`: as people call what this is for, "restore".
  NewConfig(std::string verb, config::GenerateOptions options);
  /// Unless it is finished, or its files were there before, they go.
  ~NewConfig();
  NewConfig(const NewConfig&) = delete;
  NewConfig& operator=(const NewConfig&) = delete;

  /// Whether something is in the way; what is wrong, or nothing, as for the others.
  [[nodiscard]] std::string check() const;
  /// Both files are there, the config under another name. After check().
  [[nodiscard]] std::string begin();
  /// After begin().
  [[nodiscard]] const config::ClusterConfig& config() const { return *config_; }
  /// The cluster that it names, with fresh incarnations.
  [[nodiscard]] storage::NewCluster::Options members(std::uint16_t rules_known) const;
  /// The config has its name. Where it can't get it, all else stays.
  [[nodiscard]] std::string finish();

  [[nodiscard]] const std::filesystem::path& file() const { return options_.output; }

 private:
  [[nodiscard]] std::filesystem::path key_file() const;
  std::string verb_;
  config::GenerateOptions options_;
  std::optional<config::ClusterConfig> config_;
  bool ours_ = false;
};

/// From the operating system.
void random_bytes(void* out, std::size_t size);

}  // namespace paxosd
