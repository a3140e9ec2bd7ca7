#pragma once

#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/address_book.h"

/// `addresses` in the data directory: where the other replicas were heard last (docs/DISK.md). A help at a
/// start without a name server and nothing else: what does not read as it was written is left out.
namespace paxosd {

using RememberedAddresses = std::vector<net::AddressBook::Remembered>;

[[nodiscard]] std::string address_file_text(const RememberedAddresses& addresses);
/// The error says what is wrong with the text.
[[nodiscard]] tl::expected<RememberedAddresses, std::string> parse_address_file(const std::string& text);

/// Blocks, as the next one. Nothing where there is no such file; the error is one sentence with its name.
[[nodiscard]] tl::expected<RememberedAddresses, std::string> read_address_file(
    const std::filesystem::path& directory);
/// Synced beside the old one, then put in its place (mode 0600). Empty, or why not.
[[nodiscard]] std::string write_address_file(const std::filesystem::path& directory,
                                             const RememberedAddresses& addresses);

}  // namespace paxosd
