#include "config/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace config {

namespace po = boost::program_options;

Flags::Flags(std::string name, std::string prefix, std::string about)
    : name_(std::move(name)), prefix_(std::move(prefix)), about_(std::move(about)) {
  flag("help", "say this and exit");
  flag("version", "print the version and exit");
}

void Flags::value(const std::string& flag, const std::string& meta, const std::string& help, char letter) {
  specs_.push_back({flag, meta, help, letter, true, false});
}
void Flags::flag(const std::string& flag, const std::string& help) {
  specs_.push_back({flag, "", help, 0, false, false});
}
void Flags::list(const std::string& flag, const std::string& meta, const std::string& help) {
  specs_.push_back({flag, meta, help, 0, true, true});
}

const Flags::Spec* Flags::find(const std::string& name) const {
  const auto at = std::find_if(specs_.begin(), specs_.end(), [&](const Spec& s) { return s.name == name; });
  return at == specs_.end() ? nullptr : &*at;
}

std::optional<int> Flags::parse(int argc, const char* const* argv) {
  return parse(std::vector<std::string>(argv + 1, argv + argc));
}

std::optional<int> Flags::parse(const std::vector<std::string>& words) {
  po::options_description description;
  for (const Spec& s : specs_) {
    const std::string names = s.letter != 0 ? fmt::format("{},{}", s.name, s.letter) : s.name;
    if (!s.takes_value)
      description.add_options()(names.c_str(), "");
    else
      description.add_options()(names.c_str(), po::value<std::vector<std::string>>()->composing(), "");
  }
  description.add_options()("(arguments)", po::value<std::vector<std::string>>(), "");
  po::positional_options_description positional;
  positional.add("(arguments)", -1);
  using style = po::command_line_style::style_t;
  try {
    const auto parsed = po::command_line_parser(words)
                            .options(description)
                            .positional(positional)
                            .style(style::unix_style & ~style::allow_guessing)
                            .run();
    for (const auto& option : parsed.options) {
      const std::string key =
          option.string_key == "(arguments)" || option.string_key.empty() ? "" : option.string_key;
      if (key.empty()) {
        for (const std::string& value : option.value) arguments_.push_back(value);
        continue;
      }
      const Spec* spec = find(key);
      if (spec != nullptr && spec->takes_value && !spec->many && has(key))
        return wrong_usage(fmt::format("--{} is given twice", key));
      values_.emplace_back(key, option.value.empty() ? "" : option.value.front());
    }
  } catch (const po::unknown_option& error) {
    std::string name = error.get_option_name();
    if (name == "-h") {
      print_help();
      return exit_fine;
    }
    std::vector<std::string> known;
    for (const Spec& s : specs_) known.push_back("--" + s.name);
    const std::string near = nearest(name, known);
    return wrong_usage(fmt::format("there is no flag {}{}", name,
                                   near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  } catch (const po::error& error) {
    return wrong_usage(error.what());
  }
  for (const Spec& s : specs_) {
    if (has(s.name) || s.name == "help" || s.name == "version") continue;
    std::string variable = prefix_ + "_";
    for (char c : s.name)
      variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const char* set = std::getenv(variable.c_str());
    if (set == nullptr || *set == '\0') continue;
    const std::string text = set;
    if (!s.takes_value) {
      const auto is = [&](std::initializer_list<std::string_view> words) {
        return std::find(words.begin(), words.end(), text) != words.end();
      };
      if (is({"0", "false", "no", "off"})) continue;
      if (!is({"1", "true", "yes", "on"}))
        return wrong_usage(fmt::format("${} is '{}'; write 1 or 0", variable, text));
    }
    values_.emplace_back(s.name, text);
  }
  if (has("help")) {
    print_help();
    return exit_fine;
  }
  if (has("version")) {
    fmt::print("{} {}\n", name_.substr(0, name_.find(' ')), PAXOSD_VERSION);
    return exit_fine;
  }
  return std::nullopt;
}

void Flags::print_help() const {
  fmt::print("usage: {}{}{}\n\n{}\n\n", name_, specs_.empty() ? "" : " [flags]",
             arguments_help_.empty() ? "" : " " + arguments_help_, about_);
  for (const Spec& s : specs_) {
    const std::string left =
        fmt::format("{}--{}{}", s.letter != 0 ? fmt::format("-{}, ", s.letter) : std::string("    "), s.name,
                    s.takes_value ? " " + s.meta : "");
    fmt::print("  {:<30} {}\n", left, s.help);
  }
  fmt::print("\nEach --flag can also be given as ${}_FLAG in the environment.\n", prefix_);
}

int Flags::wrong_usage(const std::string& sentence) const {
  fmt::print(stderr, "{}: {}\nTry `{} --help`.\n", name_, sentence, name_);
  return exit_usage;
}

bool Flags::has(const std::string& flag) const {
  return std::any_of(values_.begin(), values_.end(), [&](const auto& v) { return v.first == flag; });
}
std::optional<std::string> Flags::get(const std::string& flag) const {
  for (const auto& [name, value] : values_)
    if (name == flag) return value;
  return std::nullopt;
}
std::vector<std::string> Flags::all(const std::string& flag) const {
  std::vector<std::string> out;
  for (const auto& [name, value] : values_)
    if (name == flag) out.push_back(value);
  return out;
}

tl::expected<std::uint64_t, std::string> Flags::number(const std::string& flag, std::uint64_t min,
                                                       std::uint64_t max,
                                                       std::optional<std::uint64_t> fallback) const {
  const auto text = get(flag);
  if (!text && fallback) return *fallback;
  const auto value = text ? parse_number(*text) : std::nullopt;
  if (!value || *value < min || *value > max)
    return tl::make_unexpected(
        fmt::format("--{} '{}' is no whole number from {} to {}", flag, text.value_or(""), min, max));
  return *value;
}

tl::expected<std::chrono::milliseconds, std::string> Flags::duration(
    const std::string& flag, std::chrono::milliseconds fallback) const {
  const auto text = get(flag);
  if (!text) return fallback;
  const auto value = parse_duration(*text);
  if (!value)
    return tl::make_unexpected(fmt::format("--{} '{}' is no time; write 10s, 250ms, 5m or 90d", flag, *text));
  return *value;
}

tl::expected<double, std::string> Flags::share(const std::string& flag, double fallback) const {
  const auto text = get(flag);
  if (!text) return fallback;
  const auto value = parse_share(*text);
  if (!value)
    return tl::make_unexpected(
        fmt::format("--{} '{}' is no share from 0 to 1; write 0.1 or 10%", flag, *text));
  return *value;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

namespace {
std::optional<double> parse_real(std::string_view text) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || !(value >= 0))
    return std::nullopt;
  return value;
}
}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  double scale = 1000;
  const auto ends = [&](std::string_view unit, double ms) {
    if (text.size() <= unit.size() || text.substr(text.size() - unit.size()) != unit) return false;
    text.remove_suffix(unit.size());
    scale = ms;
    return true;
  };
  (void)(ends("ms", 1) || ends("s", 1000) || ends("m", 60'000) || ends("h", 3'600'000) ||
         ends("d", 86'400'000));
  const auto value = parse_real(text);
  if (!value || *value * scale > 1e12) return std::nullopt;
  return std::chrono::milliseconds{static_cast<std::int64_t>(*value * scale + 0.5)};
}

std::optional<double> parse_share(std::string_view text) {
  double scale = 1;
  if (!text.empty() && text.back() == '%') {
    text.remove_suffix(1);
    scale = 0.01;
  }
  const auto value = parse_real(text);
  if (!value || *value * scale > 1) return std::nullopt;
  return *value * scale;
}

std::string nearest(std::string_view text, const std::vector<std::string>& words) {
  std::string best;
  std::size_t best_distance = 3;  // more typing errors than that are another word
  for (const std::string& word : words) {
    std::vector<std::size_t> row(word.size() + 1);
    for (std::size_t i = 0; i <= word.size(); ++i) row[i] = i;
    for (std::size_t i = 1; i <= text.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= word.size(); ++j) {
        const std::size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (text[i - 1] == word[j - 1] ? 0 : 1)});
        diagonal = above;
      }
    }
    if (row[word.size()] < best_distance) {
      best_distance = row[word.size()];
      best = word;
    }
  }
  return best;
}

}  // namespace config
