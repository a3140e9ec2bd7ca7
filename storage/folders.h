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

/// Renames, and syncs the folder in which it is: both names are to be in the same one. What is wrong, or
/// nothing.
[[nodiscard]] std::string move_folder(const std::filesystem::path& from, const std::filesystem::path& to);
/// Removes it with all that is in it, if it is there. What is wrong, or nothing.
[[nodiscard]] std::string clear_away(const std::filesystem::path& path);

/// A state that does not read, out of the way of the one that is made in its place. What is wrong, or
/// nothing.
///
/// It is deleted only once the new one has all that it had: until then it may be all that is left of what the
/// log has no more. So where one is there already, that one stays, and `state/`, a part of what it had, goes.
[[nodiscard]] std::string put_state_aside(const std::filesystem::path& directory);
/// Notes in the folder of a state that it does not read, for a start that would not see it. Best effort:
/// without it the same is met again.
void mark_damaged(const std::filesystem::path& state, const std::string& why);
/// What was noted; empty: nothing.
[[nodiscard]] std::string marked_damaged(const std::filesystem::path& state);
[[nodiscard]] bool has_put_aside(const std::filesystem::path& directory);
/// Removes it, if it is there. What is wrong, or nothing.
[[nodiscard]] std::string drop_put_aside(const std::filesystem::path& directory);

}  // namespace storage
