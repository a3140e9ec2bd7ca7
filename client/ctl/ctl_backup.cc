#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "chat/backup.h"
#include "client/ctl/ctl.h"
#include "client/ctl/daemon_binary.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// backup: everything that the cluster keeps, as one of its replicas has applied it, in one file; restore: a
/// new cluster out of that.
namespace client {

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const std::string backup_program = "paxosctl backup";
constexpr std::chrono::milliseconds backup_word_timeout = 10s;
constexpr std::chrono::milliseconds backup_hash_timeout = 2s;
constexpr paxos::Duration backup_ask_again = 100ms;
constexpr paxos::Duration show_backup_every = 200ms;
constexpr double backup_rules = 2;

struct BackupFlags {
  std::string file;
  std::optional<paxos::ReplicaId> replica;
  bool local = false;
  bool force = false;
  bool json = false;
  std::chrono::milliseconds timeout{60'000};
};

/// Where a backup goes: a file that is there when it is whole, or standard output.
class BackupOut {
 public:
  ~BackupOut() {
    if (fd_ < 0 || fd_ == STDOUT_FILENO) return;
    ::close(fd_);
    ::unlink(beside_.c_str());
  }
  /// What is wrong, or nothing; so for the others.
  std::string open(const std::string& file, bool force) {
    if (file == "-") {
      fd_ = STDOUT_FILENO;
      return {};
    }
    file_ = file;
    std::error_code error;
    if (!force && fs::exists(file_, error)) return file + ": is there already; --force overwrites it";
    beside_ = file + ".partial";
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd_ < 0 ? failed() : std::string();
  }
  std::string write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed();
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }
  /// All of it is on the disk, under its name.
  std::string finish() {
    if (fd_ == STDOUT_FILENO) return {};
    if (::fsync(fd_) != 0) return failed();
    ::close(std::exchange(fd_, -1));
    if (::rename(beside_.c_str(), file_.c_str()) != 0) return failed();
    const fs::path folder = file_.has_parent_path() ? file_.parent_path() : fs::path(".");
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = fd >= 0 && ::fsync(fd) == 0;
    const std::string why = synced ? std::string() : failed();
    if (fd >= 0) ::close(fd);
    return why;
  }

 private:
  [[nodiscard]] std::string failed() const {
    return fmt::format("{}: {}", fd_ == STDOUT_FILENO ? "standard output" : beside_.string(),
                       std::strerror(errno));
  }
  fs::path file_, beside_;
  int fd_ = -1;
};

class Backup {
 public:
  Backup(Connection& connection, BackupFlags flags)
      : c_(connection), flags_(std::move(flags)), until_(c_.loop().now() + flags_.timeout) {}

  net::Task<int> run() {
    if (const std::string why = out_.open(flags_.file, flags_.force); !why.empty()) co_return refuse(why);
    if (const auto code = co_await choose()) co_return *code;
    if (const auto code = co_await ask()) co_return *code;
    if (const auto code = co_await confirm()) co_return *code;
    if (const auto code = co_await pull()) co_return *code;
    if (const auto code = co_await finish()) co_return *code;
    done();
    co_return config::exit_fine;
  }

 private:
  int refuse(const std::string& why) {
    progress_done();
    return complain(backup_program, why + ". Nothing was backed up", config::exit_refused);
  }
  int unknown(const std::string& why) {
    progress_done();
    return complain(backup_program, why + ". Nothing was backed up", config::exit_unknown);
  }

  /// Whom to ask, and which slot has to be in it: whatever was acknowledged before this began was voted for
  /// by a quorum, so one of any quorum that answers knows of it.
  net::Task<std::optional<int>> choose() {
    const auto replicas = co_await ask_all(c_, status_timeout);
    std::size_t answered = 0;
    std::optional<unsigned> leader;
    std::vector<unsigned> old;
    const ReplicaStatus* best = nullptr;
    for (const ReplicaStatus& r : replicas) {
      if (!r.json) continue;
      ++answered;
      if (r.json->value("rules", 1.0) < backup_rules) old.push_back(r.id.n);
      needed_ = std::max(needed_, r.json->value("accepted", std::uint64_t{0}));
      const bool leads = r.json->value("role", "") == "leader";
      // A follower has more time for it.
      const auto better = [&](const ReplicaStatus& other) {
        const auto rank = [](const ReplicaStatus& s) {
          return std::pair(s.json->value("voting", false) && s.json->value("role", "") != "leader",
                           s.json->value("applied", std::uint64_t{0}));
        };
        return rank(r) > rank(other);
      };
      if (leads) leader = r.id.n;
      if (flags_.replica ? r.id == *flags_.replica : best == nullptr || better(*best)) best = &r;
    }
    if (answered == 0) co_return unknown("no replica answers. See `paxosctl status`");
    if (best == nullptr)
      co_return unknown(fmt::format("replica {} does not answer. See `paxosctl status`", flags_.replica->n));
    if (!old.empty())
      co_return refuse(fmt::format(
          "{} {} still by rules 1, under which there are no snapshots. They are raised once every "
          "replica runs this version and there is a quorum: see `paxosctl status`",
          replicas_text(old), old.size() == 1 ? "goes" : "go"));
    from_ = best->id;
    rules_ = static_cast<std::uint16_t>(best->json->value("rules", 0));
    if (flags_.local) {
      needed_ = best->json->value("applied", std::uint64_t{0});
    } else if (answered < c_.config().quorum() || !leader) {
      co_return unknown(fmt::format(
          "{} of {} replicas answer{} and {}, so nobody can tell what the last acknowledged message is; with "
          "--local a replica gives what it has",
          answered, replicas.size(), answered == 1 ? "s" : "",
          leader ? "a quorum is more" : "none of them leads"));
    }
    if (needed_ == 0) co_return refuse("this cluster has nothing yet");
    co_return std::nullopt;
  }

  /// Says it until a word of the kind comes that answers it.
  template <class Answer, class Word>
  net::Task<std::optional<Answer>> say_word(Word word) {
    const auto answer =
        co_await c_.ask(from_, chat::SnapshotRequest{std::move(word)}, {}, backup_word_timeout);
    const auto* reply = answer ? std::get_if<chat::SnapshotReply>(&*answer) : nullptr;
    if (reply == nullptr) co_return std::nullopt;
    if (const auto* given = std::get_if<Answer>(&reply->word)) co_return *given;
    gone_ = std::holds_alternative<chat::SnapshotGone>(reply->word);
    co_return std::nullopt;
  }
  [[nodiscard]] std::string silent() const {
    return gone_ ? fmt::format("replica {} has that snapshot no more: say it again", from_.n)
                 : fmt::format("replica {} does not answer any more", from_.n);
  }

  net::Task<std::optional<int>> ask() {
    const std::uint64_t nonce = c_.random();
    for (;;) {
      const auto offer =
          co_await say_word<chat::SnapshotOffer>(chat::SnapshotAsk{.nonce = nonce, .above = {needed_ - 1}});
      if (!offer) co_return unknown(silent());
      if (offer->answer == chat::SnapshotAnswer::offered) {
        head_ = {
            .cluster = c_.config().cluster,
            .cluster_id = c_.config().id,
            .id = offer->id,
            .rules = rules_,
            .time_ms = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                                      std::chrono::system_clock::now().time_since_epoch())
                                                      .count()),
            .bytes_about = offer->bytes};
        co_return std::nullopt;
      }
      if (c_.loop().now() >= until_)
        co_return unknown(
            offer->answer == chat::SnapshotAnswer::busy
                ? fmt::format("replica {} gives snapshots to others; try --replica with another one", from_.n)
            : offer->answer == chat::SnapshotAnswer::making
                ? fmt::format("replica {} is not done with making a snapshot after {:g} s", from_.n,
                              static_cast<double>(flags_.timeout.count()) / 1000)
                : fmt::format("replica {} has not applied slot {}, or its state is not to be trusted. See "
                              "`paxosctl status`",
                              from_.n, needed_));
      co_await c_.loop().sleep(backup_ask_again);
    }
  }

  /// What one replica computed alone is no backup of the cluster.
  net::Task<std::optional<int>> confirm() {
    if (flags_.local) co_return std::nullopt;
    std::vector<bool> agrees(c_.config().replicas.size());
    agrees[from_.n] = true;
    for (;;) {
      for (const config::ReplicaConfig& r : c_.config().replicas) {
        if (agrees[r.id.n]) continue;
        const auto answer = co_await c_.ask(r.id, chat::HashRequest{head_.id.slot}, {}, backup_hash_timeout);
        const auto* hash = answer ? std::get_if<chat::HashReply>(&*answer) : nullptr;
        if (hash == nullptr || !hash->hash) continue;
        if (*hash->hash != head_.id.hash)
          co_return refuse(
              fmt::format("replicas {} and {} do not agree at slot {}: one of them went astray. See "
                          "`paxosctl verify`",
                          from_.n, r.id.n, head_.id.slot.n));
        agrees[r.id.n] = true;
      }
      const auto count = static_cast<std::size_t>(std::count(agrees.begin(), agrees.end(), true));
      if (count >= c_.config().quorum()) co_return std::nullopt;
      if (c_.loop().now() >= until_)
        co_return unknown(
            fmt::format("{} of {} replicas have the hash of slot {}, a quorum is {}; with --local a replica "
                        "gives what it has",
                        count, agrees.size(), head_.id.slot.n, c_.config().quorum()));
      co_await c_.loop().sleep(backup_ask_again);
    }
  }

  net::Task<std::optional<int>> pull() {
    if (const std::string why = out_.write(writer_.head(head_)); !why.empty()) co_return refuse(why);
    chat::SnapshotRows rows;
    std::vector<chat::Row> whole;
    for (chat::SnapshotPlace at; !ended_;) {
      const auto chunk = co_await say_word<chat::SnapshotChunk>(
          chat::SnapshotPull{.id = head_.id, .from = at, .window = 1, .again = true});
      if (!chunk) co_return unknown(silent());
      const std::string_view bytes(reinterpret_cast<const char*>(chunk->bytes.data()), chunk->bytes.size());
      if (chunk->id != head_.id || chunk->offset != at.offset ||
          chunk->next.offset != at.offset + bytes.size() || (bytes.empty() && !chunk->last) ||
          chat::snapshot_checksum(*chunk) != chunk->checksum || !rows.take(bytes, whole))
        co_return refuse(fmt::format("replica {} sent something that is not its snapshot", from_.n));
      for (const chat::Row& row : whole) count_.add(row.key, *row.value);
      whole.clear();
      if (!bytes.empty())
        if (const std::string why = out_.write(writer_.rows(bytes)); !why.empty()) co_return refuse(why);
      at = chunk->next;
      ended_ = chunk->last;
      bytes_ = at.offset;
      progress();
    }
    if (rows.held() > 0) co_return refuse(fmt::format("the snapshot of replica {} ends in a row", from_.n));
    co_return std::nullopt;
  }

  net::Task<std::optional<int>> finish() {
    until_ = c_.loop().now() + flags_.timeout;
    std::optional<chat::SnapshotSum> sum;
    while (!sum) {
      const auto summed = co_await say_word<chat::SnapshotSummed>(chat::SnapshotSumAsk{head_.id});
      if (!summed) co_return unknown(silent());
      sum = summed->sum;
      if (!sum && c_.loop().now() >= until_)
        co_return unknown(fmt::format("replica {} does not say what its snapshot comes to", from_.n));
      if (!sum) co_await c_.loop().sleep(backup_ask_again);
    }
    const chat::SnapshotSum ours = count_.sum();
    if (sum->sum != ours.sum || sum->rows != ours.rows || sum->bytes != bytes_)
      co_return refuse(
          fmt::format("what came is not what replica {} counts: {} rows and {} bytes, not {} and {}", from_.n,
                      ours.rows, bytes_, sum->rows, sum->bytes));
    rows_ = sum->rows;
    if (const std::string why = out_.write(writer_.end(*sum)); !why.empty()) co_return refuse(why);
    if (const std::string why = out_.finish(); !why.empty()) co_return refuse(why);
    co_return std::nullopt;
  }

  void progress() {
    if (!on_terminal_ || c_.loop().now() < show_at_) return;
    show_at_ = c_.loop().now() + show_backup_every;
    shown_ = true;
    say(stderr, "{}", Own{"\r\x1b[K"});
    say(stderr, "{} of about {} MiB, from replica {}", bytes_ >> 20,
        std::max(bytes_, head_.bytes_about) >> 20, from_.n);
    std::fflush(stderr);
  }
  void progress_done() {
    if (shown_) say(stderr, "{}", Own{"\r\x1b[K"});
    shown_ = false;
  }

  void done() {
    progress_done();
    if (flags_.json && flags_.file != "-")
      return print_json({{"file", flags_.file},
                         {"cluster", head_.cluster},
                         {"cluster_id", head_.cluster_id},
                         {"slot", head_.id.slot.n},
                         {"hash", paxos::to_string(head_.id.hash)},
                         {"rules", head_.rules},
                         {"replica", from_.n},
                         {"rows", rows_},
                         {"bytes", bytes_}});
    say(flags_.file == "-" ? stderr : stdout,
        "{} of cluster {} up to slot {}, hash {}, from replica {}: {}\n",
        flags_.file == "-" ? "backup" : "wrote " + flags_.file, printable(head_.cluster), head_.id.slot.n,
        paxos::to_string(head_.id.hash), from_.n, counted(bytes_, "byte"));
  }

  Connection& c_;
  BackupFlags flags_;
  paxos::Time until_;
  BackupOut out_;
  chat::BackupWriter writer_;
  chat::BackupHead head_;
  chat::SnapshotCount count_;
  paxos::ReplicaId from_;
  std::uint64_t needed_ = 0;
  std::uint16_t rules_ = 0;
  std::uint64_t bytes_ = 0, rows_ = 0;
  bool ended_ = false, gone_ = false;
  const bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  paxos::Time show_at_{};
};

net::Task<int> take_backup(Connection& c, BackupFlags flags) {
  Backup backup(c, std::move(flags));
  co_return co_await backup.run();
}

}  // namespace

int ctl_backup(const Words& words) {
  VerbFlags flags(
      backup_program, "PAXOSCTL",
      "Everything that the cluster keeps, in one file, while it runs: what was acknowledged before "
      "is in it. `paxosctl restore` makes a new cluster of it.");
  flags.value("replica", "ID", "take it from this one (default: a follower)");
  flags.flag("local", "what that replica has, without asking a quorum: may be old");
  flags.flag("force", "overwrite FILE");
  flags.value("timeout", "TIME",
              "give up when a snapshot is not begun, or not counted, after so long (default: 60s)");
  flags.flag("json", "one JSON object at the end (not with FILE -)");
  flags.arguments_help("FILE   `-`: standard output. It is of its user alone: it holds every message");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("give FILE, or - for standard output");
  const auto timeout = flags.timeout(60s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  const std::string& file = flags.arguments().front();
  if (file.empty()) return flags.wrong_usage("FILE is empty");
  if (file == "-" && ::isatty(STDOUT_FILENO) == 1)
    return flags.wrong_usage("standard output is a terminal: give a FILE, or a pipe");
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto replica = flags.replica(*config);
  if (!replica) return flags.wrong_usage(replica.error());
  return flags.with_cluster([&](Connection& c) {
    return take_backup(c, {.file = file,
                           .replica = *replica,
                           .local = flags.has("local"),
                           .force = flags.has("force"),
                           .json = flags.has("json"),
                           .timeout = *timeout});
  });
}

/// What it makes are directories of replicas, which is paxosd's trade.
int ctl_restore(const Words& words) {
  const fs::path paxosd = daemon_binary();
  std::vector<std::string> all{paxosd.string(), "restore"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fflush(stdout);
  ::execvp(argv[0], argv.data());
  return complain(
      "paxosctl restore",
      fmt::format("it makes the replicas' directories, for which it runs {}: {}. Say it where paxosd "
                  "is installed",
                  paxosd.string(), std::strerror(errno)),
      config::exit_refused);
}

}  // namespace client
