#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace storage {

/// Syncs a folder, so that the names in it survive a power cut. What is wrong, or nothing. One that this user
/// can pass but not read is left out: then its owner made what is in it.
[[nodiscard]] std::string sync_folder(const std::filesystem::path& folder);

/// Makes `folder` and those above it that are missing, and syncs each folder in which one was made, and the
/// one that holds `folder` in any case: an earlier start may have made it and ended before it came to that.
/// What is wrong, or nothing.
[[nodiscard]] std::string make_folder(
    const std::filesystem::path& folder,
    const std::function<std::string(const std::filesystem::path&)>& sync = sync_folder);

}  // namespace storage
