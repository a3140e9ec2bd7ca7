#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>

/// Whose a replica's directory is, before storage/ opens it.
namespace paxosd {

struct DataDirectory {
  std::size_t tightened = 0;  ///< files and folders that others could reach, and can't any more
  std::size_t left_open = 0;  ///< those of which the file system did not let it
};

/// Looks through a directory that may not exist yet (a link to one is as good): everything in it must belong
/// to the user that this runs as, or be open to it. A root that would leave files behind which the
/// directory's user can't open is refused. What is this user's own and open to others is made 0700 and 0600.
/// Errors: one sentence that says what to do.
[[nodiscard]] tl::expected<DataDirectory, std::string> take_data_directory(
    const std::filesystem::path& directory);

/// What else is to be said about an error that `error` is the sentence of, of opening `directory`: a file
/// system that may only be read, for one, is what a service's confinement looks like. Empty where nothing is.
[[nodiscard]] std::string opening_hint(const std::string& error, const std::filesystem::path& directory);

/// What to tell of a directory that is not the one in the config: empty when they are the same. `fresh`: this
/// is its first start.
[[nodiscard]] std::string elsewhere_note(const std::filesystem::path& used,
                                         const std::filesystem::path& in_config, bool fresh);

}  // namespace paxosd
