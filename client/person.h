#pragma once

#include <functional>
#include <string>

/// Who types, where nobody said it with --name.
namespace client {

struct Surroundings {
  std::function<std::string(const char*)> variable;  ///< of the environment; empty: not there
  bool root = false;                                 ///< this process is root's
  std::string session;  ///< account that the login session began with, as the kernel keeps it
  std::string account;  ///< of this process' user
};

/// The person's name, or nothing: whoever is root by sudo, doas or su is a person all the same, and *root*
/// says nothing to anybody. Only names that the log takes. Pure.
[[nodiscard]] std::string person(const Surroundings& around);
/// Of this process.
[[nodiscard]] std::string person_here();

}  // namespace client
