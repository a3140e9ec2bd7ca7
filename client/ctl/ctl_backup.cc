#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "chat/backup.h"
#include "client/ctl/ctl.h"
#include "client/ctl/daemon_binary.h"
#include "client/ctl/progress_line.h"
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
    if (!placed_) ::unlink(beside_.c_str());
    ::close(fd_);
  }
  /// What is wrong, or nothing; so for the others.
  std::string open(const std::string& file, bool force) {
    if (file == "-") {
      fd_ = STDOUT_FILENO;
      return {};
    }
    file_ = file;
    force_ = force;
    std::error_code error;
    const fs::file_status there = fs::status(file_, error);
    if (!file_.has_filename() || fs::is_directory(there)) return file + ": is a folder; name a file in it";
    if (fs::exists(there) && !fs::is_regular_file(there))
      return file + ": is no regular file; `-` and a pipe write to such";
    if (fs::exists(there) && !force) return file + ": is there already; --force overwrites it";
    beside_ = file + ".partial";
    // What an interrupted run left is used again; what another one writes is locked.
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) return failed(beside_);
    struct stat ours{}, named{};
    placed_ = true;  // nobody else's is removed
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 || ::fstat(fd_, &ours) != 0 ||
        ::lstat(beside_.c_str(), &named) != 0 || ours.st_ino != named.st_ino)
      return beside_.string() + ": another backup is being written there";
    if (ours.st_uid != ::geteuid())
      return beside_.string() + ": belongs to somebody else: remove it, an earlier backup left it";
    placed_ = false;
    return ::fchmod(fd_, 0600) != 0 || ::ftruncate(fd_, 0) != 0 ? failed(beside_) : std::string();
  }
  std::string write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed(fd_ == STDOUT_FILENO ? "standard output" : beside_);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }
  /// All of it is on the disk, under its name.
  std::string finish() {
    if (fd_ == STDOUT_FILENO) return {};
    if (::fsync(fd_) != 0) return failed(beside_);
    int done = ::renameat2(AT_FDCWD, beside_.c_str(), AT_FDCWD, file_.c_str(), force_ ? 0 : RENAME_NOREPLACE);
    // A file system that can't tell.
    if (done != 0 && errno == EINVAL) done = ::rename(beside_.c_str(), file_.c_str());
    if (done != 0)
      return errno == EEXIST ? file_.string() + ": came to be there meanwhile; --force overwrites it"
                             : failed(file_);
    placed_ = true;
    const fs::path folder = file_.has_parent_path() ? file_.parent_path() : fs::path(".");
    // One that can be passed but not read is left out.
    if (const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
      (void)::fsync(fd);
      ::close(fd);
    }
    return {};
  }

 private:
  [[nodiscard]] static std::string failed(const fs::path& path) {
    return fmt::format("{}: {}", path.string(), std::strerror(errno));
  }
  fs::path file_, beside_;
  int fd_ = -1;
  bool force_ = false;
  bool placed_ = false;  ///< nothing is left beside it that is ours
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
    progress_.clear();
    return complain(backup_program, why + ". Nothing was backed up", config::exit_refused);
  }
  int unknown(const std::string& why) {
    progress_.clear();
    return complain(backup_program, why + ". Nothing was backed up", config::exit_unknown);
  }

  /// Whom to ask, and which slot has to be in it. Whatever was acknowledged before this began was voted for
  /// by a quorum of the voters: so by as many of those that answer as a quorum has more than there are
  /// others.
  net::Task<std::optional<int>> choose() {
    const auto replicas = co_await ask_all(c_, status_timeout);
    std::vector<std::uint64_t> accepted;
    bool led = false;
    const ReplicaStatus* best = nullptr;
    const auto number = [](const ReplicaStatus& r, const char* what) {
      return static_cast<std::uint64_t>(number_in(*r.json, what).value_or(0));
    };
    // A follower has more time for it.
    const auto rank = [&](const ReplicaStatus& r) {
      return std::pair(r.json->value("voting", false) && r.json->value("role", "") != "leader",
                       number(r, "applied"));
    };
    for (const ReplicaStatus& r : replicas) {
      if (!r.json) continue;
      // One that lost its disk has forgotten for what it voted.
      if (r.json->value("voting", false)) {
        accepted.push_back(number(r, "accepted"));
        needed_ = std::max(needed_, number(r, "applied"));
        led = led || r.json->value("role", "") == "leader";
      }
      if (flags_.replica ? r.id == *flags_.replica : best == nullptr || rank(r) > rank(*best)) best = &r;
    }
    if (best == nullptr)
      co_return unknown(
          flags_.replica ? fmt::format("replica {} does not answer. See `paxosctl status`", flags_.replica->n)
                         : "no replica answers. See `paxosctl status`");
    from_ = best->id;
    rules_ = static_cast<std::uint16_t>(number(*best, "rules"));
    if (rules_ < backup_rules)
      co_return refuse(
          fmt::format("replica {} goes by rules 1, under which there are no snapshots. They are raised once "
                      "every replica "
                      "runs this version and there is a quorum: see `paxosctl status`",
                      from_.n));
    if (flags_.local) {
      needed_ = number(*best, "applied");
    } else if (accepted.size() < c_.config().quorum() || !led) {
      co_return unknown(fmt::format(
          "{} of {} replicas answer and vote, and {}, so nobody can tell what the last "
          "acknowledged message is; "
          "with --local a replica gives what it has",
          accepted.size(), c_.config().voters(), led ? "a quorum is more" : "none of them leads"));
    } else {
      std::sort(accepted.rbegin(), accepted.rend());
      const std::size_t silent = std::max(c_.config().voters(), accepted.size()) - accepted.size();
      needed_ = std::max(needed_, accepted.at(c_.config().quorum() - silent - 1));
    }
    if (needed_ == 0) co_return refuse("this cluster has nothing yet");
    co_return std::nullopt;
  }

  /// Says it until a word of the kind comes that answers it.
  template <class Answer, class Word>
  net::Task<std::optional<Answer>> say_word(Word word) {
    const paxos::Time until = c_.loop().now() + backup_word_timeout;
    do {
      const auto answer = co_await c_.ask(from_, chat::SnapshotRequest{word}, {}, backup_word_timeout);
      const auto* reply = answer ? std::get_if<chat::SnapshotReply>(&*answer) : nullptr;
      if (reply == nullptr) co_return std::nullopt;
      if (const auto* given = std::get_if<Answer>(&reply->word)) co_return *given;
      gone_ = std::holds_alternative<chat::SnapshotGone>(reply->word);
      if (!gone_) co_await c_.loop().sleep(backup_ask_again);  // the answer to somebody else's word
    } while (!gone_ && c_.loop().now() < until);
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
                : fmt::format(
                      "replica {} has not applied slot {} yet (whatever is posted moves it on), or its state "
                      "is not to be trusted, or no snapshot could be made of it (its log says why). See "
                      "`paxosctl status`, or try --replica with another one",
                      from_.n, needed_));
      co_await c_.loop().sleep(backup_ask_again);
    }
  }

  /// What one replica computed alone is no backup of the cluster.
  net::Task<std::optional<int>> confirm() {
    if (flags_.local) co_return std::nullopt;
    const std::size_t n = c_.config().replicas.size(), quorum = c_.config().quorum();
    std::vector<std::optional<bool>> agrees(n);
    agrees[from_.n] = true;
    const auto count = [&](bool what) {
      std::size_t out = 0;
      for (std::size_t id = 0; id < n; ++id)
        out += agrees[id] == std::optional(what) && c_.config().replicas[id].votes ? 1 : 0;
      return out;
    };
    while (count(true) < quorum) {
      for (std::uint8_t id = 0; id < n; ++id) {
        const config::ReplicaConfig r = c_.config().replicas[id];
        if (agrees[id] || !r.member) continue;
        const auto answer = co_await c_.ask(r.id, chat::HashRequest{head_.id.slot}, {}, backup_hash_timeout);
        const auto* hash = answer ? std::get_if<chat::HashReply>(&*answer) : nullptr;
        if (hash == nullptr || !hash->hash) continue;
        agrees[r.id.n] = *hash->hash == head_.id.hash;
        if (!*agrees[r.id.n])
          complain(backup_program,
                   fmt::format("warning: replicas {} and {} do not agree at slot {}. See `paxosctl verify`",
                               from_.n, r.id.n, head_.id.slot.n),
                   0);
        if (count(true) >= quorum) co_return std::nullopt;
      }
      if (count(false) > n - quorum)
        co_return refuse(fmt::format(
            "replica {} went astray: no quorum has its hash; try --replica with another one", from_.n));
      if (count(true) < quorum && c_.loop().now() >= until_)
        co_return unknown(
            fmt::format("{} of {} replicas have the hash of slot {}, a quorum is {}; with --local a replica "
                        "gives what it has",
                        count(true), n, head_.id.slot.n, quorum));
      co_await c_.loop().sleep(backup_ask_again);
    }
    co_return std::nullopt;
  }

  net::Task<std::optional<int>> pull() {
    if (const std::string why = out_.write(writer_.head(head_)); !why.empty()) co_return refuse(why);
    chat::SnapshotRows rows;
    std::vector<chat::Row> whole;
    for (chat::SnapshotPlace at; !ended_;) {
      const auto chunk =
          co_await say_word<chat::SnapshotChunk>(chat::SnapshotPull{.id = head_.id, .from = at});
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
      show();
    }
    if (rows.held() > 0) co_return refuse(fmt::format("the snapshot of replica {} ends in a row", from_.n));
    co_return std::nullopt;
  }

  /// However long it counts, as long as it answers.
  net::Task<std::optional<int>> finish() {
    std::optional<chat::SnapshotSum> sum;
    while (!sum) {
      const auto summed = co_await say_word<chat::SnapshotSummed>(chat::SnapshotSumAsk{head_.id});
      if (!summed) co_return unknown(silent());
      sum = summed->sum;
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

  void show() {
    progress_.show(c_.loop().now(), "{} of about {} MiB, from replica {}", bytes_ >> 20,
                   std::max(bytes_, head_.bytes_about) >> 20, from_.n);
  }

  void done() {
    progress_.clear();
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
  ProgressLine progress_;
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
  flags.value("timeout", "TIME", "give up when the snapshot is not begun after so long (default: 60s)");
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
