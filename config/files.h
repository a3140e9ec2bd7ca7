#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>

/// Small files, read and written whole.
namespace config {

/// The bytes of a file (or a pipe), or why not (errno). Never more than `bytes_max + 1`: whoever names
/// /dev/zero gets a refusal, not an empty memory.
[[nodiscard]] tl::expected<std::string, int> read_bounded(const std::filesystem::path& file,
                                                          std::size_t bytes_max);
/// Written and synced under a name of its own, which put_in_place() takes away; the error is a sentence,
/// empty: it is there.
[[nodiscard]] std::string write_beside(const std::filesystem::path& beside, const std::string& text,
                                       mode_t mode);
/// Gives it its name, whole or not at all; without `force` refused where there is such a file.
[[nodiscard]] std::string put_in_place(const std::filesystem::path& beside, const std::filesystem::path& file,
                                       bool force);

}  // namespace config
