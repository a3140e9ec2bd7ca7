#include "config/generate_flags.h"

namespace config {

void add_generate_flags(Flags& flags) {
  flags.value("failures", "F", "crashes to survive: 2F+1 replicas", 'f');
  flags.value("output", "FILE", "the config (default: cluster.yaml)", 'o');
  flags.list("host", "H",
             "a machine's address: once for all replicas, or 2F+1 times, one a machine (default: 127.0.0.1)");
  flags.value("base-port", "PORT", "first port (default: 7400)");
  flags.value("metrics-base-port", "PORT",
              "each replica serves metrics over HTTP on 127.0.0.1, from this port on (default: none does)");
  flags.value("data-root", "DIR", "where the data directories go (default: data, beside the config)");
  flags.value("loss", "SHARE", "share of datagrams each process drops on receipt");
  flags.flag("production", "without fault injection");
}

tl::expected<GenerateOptions, int> generate_options(const Flags& flags, const std::string& cluster,
                                                    std::optional<std::uint64_t> failures) {
  if (!flags.has("failures") && !failures)
    return tl::make_unexpected(flags.wrong_usage(
        "-f F is missing: how many crashes shall it survive? -f 1 makes 3 replicas, -f 2 makes 5"));
  const auto f = flags.number("failures", 0, 4, failures);
  const auto port = flags.number("base-port", 1, 65535, 7400);
  const auto metrics = flags.number("metrics-base-port", 1, 65535, 0);
  const auto loss = flags.share("loss", 0);
  if (const auto code = flags.first_fault(f, port, metrics, loss)) return tl::make_unexpected(*code);
  GenerateOptions o;
  o.f = static_cast<unsigned>(*f);
  o.base_port = static_cast<std::uint16_t>(*port);
  o.metrics_base_port = static_cast<std::uint16_t>(*metrics);
  o.loss = *loss;
  o.output = flags.get("output").value_or("cluster.yaml");
  o.hosts = flags.all("host");
  o.data_root = flags.get("data-root").value_or("data");
  o.cluster = flags.get("cluster").value_or(cluster);
  o.production = flags.has("production");
  if (const std::string why = wrong_options(o); !why.empty())
    return tl::make_unexpected(flags.wrong_usage(why));
  return o;
}

}  // namespace config
