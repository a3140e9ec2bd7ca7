#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/paxos/cluster.h"

/// Interaction scripts: commands and the full transcript of what they cause.
///
///     # prose, kept as it is
///     commands, one a line
///     ----
///     the transcript, up to an empty line
///
/// Commands (replicas are numbers, slots too):
///     replicas N [unborn] [leader=ID]   begins; every file starts with it. leader: elected quietly
///     propose ID "text" | big ID BYTES  proposes as leader ID
///     campaign ID | tick ID | advance MS | heartbeats
///     deliver [TYPE] [from=ID] [to=ID]  what is under way now and matches, in order
///     drop [TYPE] [from=ID] [to=ID]     loses it
///     hold [TYPE] [from=ID] [to=ID] | release   puts it aside; puts it back
///     stabilize                         delivers until nothing is under way
///     run MS                            lets time pass, letters in the order of their times
///     crash ID | restart ID | wipe ID | disk hold | disk go | sync ID
///     cut A B | heal                    a link, both ways
///     skip ID SLOT... | read ID | hand-over ID
///     show                              role, ballot, chosen, applied of every replica
///     quiet COMMAND                     carries it out and writes nothing down
///
/// Source of the form: etcd-io/raft testdata/ and cockroachdb/datadriven (re-written from its idea).
namespace interaction {

struct Block {
  std::vector<std::string> prose;  ///< comment and empty lines before
  std::vector<std::string> commands;
  std::string expected;  ///< transcript, lines ending in \n
};

[[nodiscard]] std::vector<Block> parse(const std::string& text);
[[nodiscard]] std::string format(const std::vector<Block>& blocks);

class Interpreter {
 public:
  /// Runs a block; the transcript it caused. An unknown command is answered with a line "error: …".
  [[nodiscard]] std::string run(const Block& block);
  [[nodiscard]] bool broken() const { return cluster_ && !cluster_->violations().empty(); }

 private:
  void command(const std::string& line);
  void begin(const std::vector<std::string>& words);
  void show();
  void watch();
  void note(const std::string& line);

  std::unique_ptr<paxos_test::Cluster> cluster_;
  std::vector<paxos_test::Letter> held_;
  std::string out_;
  bool quiet_ = false;
  std::uint64_t reads_ = 0;
};

}  // namespace interaction
