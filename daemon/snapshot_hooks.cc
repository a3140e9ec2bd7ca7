#include "daemon/host.h"
#include "daemon/log.h"

/// Snapshots, as they reach the rest of the replica: daemon/snapshots.h.
namespace paxosd {

Snapshots::Hooks Host::snapshot_hooks() {
  return {
      .now = [this] { return loop_.now(); },
      .send =
          [this](std::optional<paxos::ReplicaId> to, const chat::SnapshotWord& word) {
            if (faults_.isolated(loop_.now())) return;
            if (!to) return transport_.broadcast(loop_.now(), addresses_.peers, net::Body{word});
            if (to->n >= addresses_.book.size()) return;
            if (const net::Address& at = addresses_.book.at(to->n); !at.empty())
              transport_.send(loop_.now(), at, net::Body{word});
          },
      .post = [this](std::function<void()> work) { mailbox_.push(std::move(work)); },
      .standing =
          [this] {
            const paxos::Status s = node_.status();
            return chat::SnapshotSource::Standing{
                .fit = !node_.diverged() && s.disagreeing.empty() && !snapshots_.pulls(),
                .applied = s.applied,
                .first_slot = s.first_slot};
          },
      .tell_hash =
          [this](paxos::ReplicaId to, const chat::SnapshotHashAsk& ask) {
            storage_->read([this, to, ask](const storage::Storage::Reader& reader) {
              mailbox_.push([this, to, ask, hash = chat::read_hash(reader.rows, ask.slot)] {
                snapshot_hooks().send(to, chat::SnapshotHash{ask.nonce, ask.slot, hash});
              });
            });
          },
      .hold_log =
          [this](paxos::Slot slot) {
            // One hold is enough for all: there is one snapshot.
            node_.hold_log(loop_.now(), self_.id, slot + 1, loop_.now() + std::chrono::seconds{10});
          },
      .installed = [this] { begin_anew(); },
      .failed =
          [this](const std::string& why) {
            daemon_log::error("storage failed: {}. Check the disk of {}, then start this replica again", why,
                              options_.directory.string());
            daemon_log::exit_now(1);
          },
  };
}

/// As a clean stop, after which the same process opens the directory again: a start is what puts a snapshot
/// in place.
void Host::begin_anew() {
  if (signals_ == nullptr || end_.exit_code != 0) return;  // it ends already; the next start installs it
  end_.exit_code = exit_reopen;
  signals_->cancel();
}

}  // namespace paxosd
