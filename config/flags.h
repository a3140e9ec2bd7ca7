#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace config {

/// Exit codes of all programs (CLI.md).
enum ExitCode : int { exit_fine = 0, exit_refused = 1, exit_usage = 2, exit_unknown = 3 };

/// The command line of one program or verb: Boost.Program_options behind a small face. Each long flag is
/// mirrored in the environment: --client-timeout of prefix PAXOSCTL is $PAXOSCTL_CLIENT_TIMEOUT. The command
/// line wins.
class Flags {
 public:
  /// `name`: as people call it ("paxosctl status"). `about`: one line for --help.
  Flags(std::string name, std::string prefix, std::string about);

  void value(const std::string& flag, const std::string& meta, const std::string& help, char letter = 0);
  void flag(const std::string& flag, const std::string& help);
  /// May be given several times.
  void list(const std::string& flag, const std::string& meta, const std::string& help);
  void arguments_help(std::string text) { arguments_help_ = std::move(text); }

  /// An exit code when the program is to end now (--help, --version, wrong usage); what is to be said was
  /// printed.
  [[nodiscard]] std::optional<int> parse(int argc, const char* const* argv);
  [[nodiscard]] std::optional<int> parse(const std::vector<std::string>& words);

  [[nodiscard]] std::optional<std::string> get(const std::string& flag) const;
  [[nodiscard]] std::vector<std::string> all(const std::string& flag) const;
  [[nodiscard]] bool has(const std::string& flag) const;
  [[nodiscard]] const std::vector<std::string>& arguments() const { return arguments_; }

  /// A value that was given, or `fallback`; errors name the flag and what is allowed.
  [[nodiscard]] tl::expected<std::uint64_t, std::string> number(
      const std::string& flag, std::uint64_t min, std::uint64_t max,
      std::optional<std::uint64_t> fallback = {}) const;
  [[nodiscard]] tl::expected<std::chrono::milliseconds, std::string> duration(
      const std::string& flag, std::chrono::milliseconds fallback) const;
  [[nodiscard]] tl::expected<double, std::string> share(const std::string& flag, double fallback) const;

  /// Prints the sentence and how to get help; gives exit_usage.
  [[nodiscard]] int wrong_usage(const std::string& sentence) const;
  /// wrong_usage() of the first of these that has no value; nothing when all have one.
  template <class... Values>
  [[nodiscard]] std::optional<int> first_fault(const Values&... values) const {
    std::optional<int> code;
    ((code || values ? void() : void(code = wrong_usage(values.error()))), ...);
    return code;
  }
  /// As people call it: "paxosctl status".
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct Spec {
    std::string name;
    std::string meta;
    std::string help;
    char letter = 0;
    bool takes_value = false;
    bool many = false;
  };
  void print_help() const;
  [[nodiscard]] const Spec* find(const std::string& name) const;

  std::string name_, prefix_, about_, arguments_help_;
  std::vector<Spec> specs_;
  std::vector<std::pair<std::string, std::string>> values_;
  std::vector<std::string> arguments_;
};

/// "10s", "250ms", "5m", "1h", "90d"; a plain number is seconds.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
/// "0.1" or "10%", from 0 to 1.
[[nodiscard]] std::optional<double> parse_share(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
/// The word that `text` was probably meant to be; empty when none is near.
[[nodiscard]] std::string nearest(std::string_view text, const std::vector<std::string>& words);

}  // namespace config
