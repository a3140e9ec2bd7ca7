#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chat/access.h"
#include "chat/command.h"
#include "chat/flight.h"
#include "chat/machine.h"
#include "chat/rooms.h"
#include "chat/snapshot.h"
#include "paxos/types.h"

/// What clients and operators say to a replica, and its answers. One plain struct a message.
namespace chat {

/// Where an answer goes, and to whom: opaque here, compared and copied only. The daemon puts a socket address
/// and the client's incarnation, life and key in; the simulator a number.
struct ClientAddress {
  std::array<std::uint8_t, 56> bytes{};
  friend auto operator<=>(const ClientAddress&, const ClientAddress&) = default;
};

// --- client to replica ---

/// A pack of encoded commands, maybe of several sessions. With `forward` a replica that is not the
/// leader passes them on instead of answering Redirect, and answers when it has applied them.
struct ClientCommands {
  bool forward = false;
  std::vector<paxos::Bytes> commands;
  friend bool operator==(const ClientCommands&, const ClientCommands&) = default;
};

/// Set in HistoryRequest::limit and FollowRequest::wait_ms by clients that read when a message was written,
/// that one was redacted, and that some were forgotten. Older replicas take the one for a large limit, which
/// they cut, and the other for a millisecond; older clients never set them.
inline constexpr std::uint32_t limit_wants_stamps = 1U << 31;
inline constexpr std::uint32_t wait_wants_stamps = 1;
/// The others read this as the text of a message that was redacted.
inline constexpr std::string_view redacted_text = "(redacted)";

/// Messages of a room: seq >= from, or the last `last` when that is not 0.
struct HistoryRequest {
  std::uint64_t id = 0;
  std::string room;
  std::uint64_t from = 1;
  std::uint32_t last = 0;
  std::uint32_t limit = 0;  ///< 0: as many as a page holds
  bool local = false;       ///< the applied prefix will do
  friend bool operator==(const HistoryRequest&, const HistoryRequest&) = default;
};

/// Long poll: answered at once when the room has seq >= from, else when it gets one, else empty after
/// `wait_ms`. from = 0: only ask for the head (answered at once, no messages).
struct FollowRequest {
  std::uint64_t id = 0;
  std::string room;
  std::uint64_t from = 0;
  std::uint32_t wait_ms = 1000;
  friend bool operator==(const FollowRequest&, const FollowRequest&) = default;
};

/// A page of the list of rooms, from room `from` on (empty: the first).
struct RoomsRequest {
  std::uint64_t id = 0;
  std::string from;
  std::uint32_t limit = 0;  ///< 0: as many as a page holds
  bool local = false;       ///< the applied prefix will do
  friend bool operator==(const RoomsRequest&, const RoomsRequest&) = default;
};

/// Persisted in docs/WIRE.md.
enum class Whereabouts : std::uint8_t {
  ask = 1,   ///< who is there? Answered; the others are not
  here = 2,  ///< I am, under this name; said again every few seconds
  gone = 3,  ///< I am not any more
};
struct WhoRequest {
  std::uint64_t id = 0;
  Whereabouts what = Whereabouts::ask;
  std::string room;
  std::string name;
  friend bool operator==(const WhoRequest&, const WhoRequest&) = default;
};

/// An older replica drops what it does not know. Append only: wire.cc has the numbers.
using ClientMessage = std::variant<ClientCommands, HistoryRequest, FollowRequest, RoomsRequest, WhoRequest>;

// --- replica to client ---

/// Who sent the message that stands under a key.
struct FirstSender {
  SessionId session;
  std::uint64_t client_seq = 0;
  std::string name;
  friend bool operator==(const FirstSender&, const FirstSender&) = default;
};

/// Answer to one command. `session` and `client_seq` echo the command's (for an open: the session that
/// it opened, and `nonce` echoes).
struct Receipt {
  Outcome outcome;
  Nonce nonce{};
  std::optional<FirstSender> first = {};  ///< of a repeat by its key. Only to clients that use keys
  friend bool operator==(const Receipt&, const Receipt&) = default;
};
struct Receipts {
  std::vector<Receipt> receipts;
  friend bool operator==(const Receipts&, const Receipts&) = default;
};

/// Not the leader: ask `leader` if it is known. Names no commands: it holds for all sent here.
struct Redirect {
  std::optional<paxos::ReplicaId> leader;
  friend bool operator==(const Redirect&, const Redirect&) = default;
};

/// Persisted in docs/WIRE.md.
enum class WaitReason : std::uint8_t {
  no_quorum = 1,    ///< this replica is not connected to a quorum
  no_leader = 2,    ///< an election is under way
  hole = 3,         ///< a skipped slot stops applying until the leader changes
  catching_up = 4,  ///< this replica has to learn or apply first what it knows to be chosen
  not_voting = 5,   ///< unborn, dormant or diverged
  overloaded = 6,   ///< a bound is reached; sent again later it may go through
  disks_full = 7,   ///< those of so many replicas that nothing new is decided: it is not taken
};
[[nodiscard]] const char* to_string(WaitReason reason);
/// "disks of replicas 0, 2 are full"
[[nodiscard]] std::string disks_full_text(const std::vector<paxos::ReplicaId>& full);
/// What was asked is still open, and why. Sent at most once a heartbeat to a client.
struct Waiting {
  WaitReason reason = WaitReason::no_leader;
  paxos::Slot slot;                       ///< the hole, where that is the reason
  std::vector<paxos::ReplicaId> missing;  ///< replicas it does not hear, or whose disks are full
  friend bool operator==(const Waiting&, const Waiting&) = default;
};

/// A command whose content is not acceptable never reaches the log.
struct CommandRefused {
  SessionId session;
  std::uint64_t client_seq = 0;
  std::string reason;
  friend bool operator==(const CommandRefused&, const CommandRefused&) = default;
};

/// Answer to HistoryRequest and FollowRequest.
struct HistoryReply {
  std::uint64_t id = 0;
  std::string refused;  ///< why it cannot be answered here and now; empty when it is
  HistoryPage page;
  paxos::Slot applied;  ///< what the answer reflects at least
  friend bool operator==(const HistoryReply&, const HistoryReply&) = default;
};

/// Answer to RoomsRequest.
struct RoomsReply {
  std::uint64_t id = 0;
  std::string refused;
  RoomsPage page;
  paxos::Slot applied;
  friend bool operator==(const RoomsReply&, const RoomsReply&) = default;
};

struct Present {
  std::string name;
  std::uint64_t heard_ms = 0;  ///< ago
  friend bool operator==(const Present&, const Present&) = default;
};
/// Answer to a WhoRequest that asks: whom this replica heard of.
struct WhoReply {
  std::uint64_t id = 0;
  std::vector<Present> present;
  friend bool operator==(const WhoReply&, const WhoReply&) = default;
};

using ClientReply =
    std::variant<Receipts, Redirect, Waiting, CommandRefused, HistoryReply, RoomsReply, WhoReply>;

// --- operator to replica: each names the request, so that a repeat gets the first answer ---

struct StatusRequest {
  friend bool operator==(const StatusRequest&, const StatusRequest&) = default;
};
/// Hash chain at `slot`.
struct HashRequest {
  paxos::Slot slot;
  friend bool operator==(const HashRequest&, const HashRequest&) = default;
};
/// Reads back and checks stored records, slots from `from` on, a bounded slice a request.
struct ScrubRequest {
  paxos::Slot from;
  friend bool operator==(const ScrubRequest&, const ScrubRequest&) = default;
};
struct LogRequest {
  paxos::Slot from;
  paxos::Slot to;
  friend bool operator==(const LogRequest&, const LogRequest&) = default;
};
struct KillRequest {
  friend bool operator==(const KillRequest&, const KillRequest&) = default;
};
/// The named slots, or the next `next` ones.
struct SkipRequest {
  std::vector<paxos::Slot> slots;
  std::uint32_t next = 0;
  friend bool operator==(const SkipRequest&, const SkipRequest&) = default;
};
struct LossRequest {
  double share = 0;  ///< 0 to 1, of datagrams dropped on receipt
  friend bool operator==(const LossRequest&, const LossRequest&) = default;
};
struct PauseRequest {
  std::uint32_t duration_ms = 0;
  friend bool operator==(const PauseRequest&, const PauseRequest&) = default;
};
struct IsolateRequest {
  std::uint32_t duration_ms = 0;  ///< peers and clients are cut off; operators are not
  friend bool operator==(const IsolateRequest&, const IsolateRequest&) = default;
};
/// Ends cleanly, the leadership handed over first, and is started again by the service manager; refused
/// without one.
struct RestartRequest {
  friend bool operator==(const RestartRequest&, const RestartRequest&) = default;
};
/// What a replica's surroundings are like: clock, disk, limits, config.
struct DoctorRequest {
  bool probe_disk = false;  ///< also time a few synced writes, to a file beside the log
  friend bool operator==(const DoctorRequest&, const DoctorRequest&) = default;
};
/// What the flight recorder and the log know of one slot.
struct ExplainRequest {
  paxos::Slot slot;
  friend bool operator==(const ExplainRequest&, const ExplainRequest&) = default;
};
/// As a replica pulls a snapshot from another one, for a backup: SnapshotAsk, SnapshotPull (of one chunk,
/// whatever its window) or SnapshotSumAsk.
struct SnapshotRequest {
  SnapshotWord word;
  friend bool operator==(const SnapshotRequest&, const SnapshotRequest&) = default;
};
/// To the leader: another configuration. Done once that is proposed; what came of it, the replicas' status
/// says.
struct MemberRequest {
  paxos::MemberChange change;
  friend bool operator==(const MemberRequest&, const MemberRequest&) = default;
};
/// To the leader: hand over to this one.
struct TransferRequest {
  paxos::ReplicaId to;
  friend bool operator==(const TransferRequest&, const TransferRequest&) = default;
};
/// The keys that were issued, by id, from this one on.
struct AccessKeysRequest {
  std::uint32_t from = 0;
  friend bool operator==(const AccessKeysRequest&, const AccessKeysRequest&) = default;
};
/// The bytes of a key that was issued, for who had it issued: `claim` is what he alone knows.
struct DeriveKeyRequest {
  Credential whose;
  std::array<std::uint8_t, 32> claim{};
  friend bool operator==(const DeriveKeyRequest&, const DeriveKeyRequest&) = default;
};
/// The public key for which a new secret is sealed, so that who recorded all of it and gets the earlier
/// secret later has nothing of the new one.
struct SecretDoorRequest {
  friend bool operator==(const SecretDoorRequest&, const SecretDoorRequest&) = default;
};
/// A new secret, sealed for that (crypto_box_seal).
struct AddSecretRequest {
  std::string sealed;
  friend bool operator==(const AddSecretRequest&, const AddSecretRequest&) = default;
};
/// The asker's own key, derived from the newest secret, sealed for this public key of his.
struct RenewKeyRequest {
  std::array<std::uint8_t, 32> door{};
  friend bool operator==(const RenewKeyRequest&, const RenewKeyRequest&) = default;
};
using OperatorCommand =
    std::variant<StatusRequest, HashRequest, ScrubRequest, LogRequest, KillRequest, SkipRequest, LossRequest,
                 PauseRequest, IsolateRequest, RestartRequest, DoctorRequest, ExplainRequest, SnapshotRequest,
                 MemberRequest, TransferRequest, AccessKeysRequest, DeriveKeyRequest, SecretDoorRequest,
                 AddSecretRequest, RenewKeyRequest>;
/// Which life of which replica is meant: a request that acts names all of it, and any other life ignores it.
struct Target {
  std::uint8_t replica = 255;      ///< 255: whoever reads it, as everything in the first datagram format says
  paxos::Incarnation incarnation;  ///< all 0: any
  std::uint64_t boot = 0;          ///< 0: any
  friend bool operator==(const Target&, const Target&) = default;
};
struct OperatorRequest {
  std::uint64_t id = 0;  ///< random; a repeat gets the first answer
  Target target;
  OperatorCommand command;
  friend bool operator==(const OperatorRequest&, const OperatorRequest&) = default;
};

// --- replica to operator ---

/// Figures of one replica; docs/WIRE.md has the units. `json` holds the object that
/// `paxosctl status --json` prints for it, so that a newer replica can say more.
struct StatusReply {
  std::string json;
  friend bool operator==(const StatusReply&, const StatusReply&) = default;
};
struct HashReply {
  paxos::Slot applied;
  std::optional<paxos::Hash> hash;  ///< nothing: the slot is not applied here, or not retained
  friend bool operator==(const HashReply&, const HashReply&) = default;
};
struct ScrubReply {
  paxos::Slot next;  ///< go on from here; none: done
  std::uint64_t records = 0;
  std::string damage;  ///< what is wrong; empty when nothing is
  friend bool operator==(const ScrubReply&, const ScrubReply&) = default;
};
struct LogSlot {
  paxos::Slot slot;
  bool empty = false;  ///< no record here
  bool chosen = false;
  paxos::Ballot ballot;
  paxos::Decree decree;
  std::vector<Outcome> outcomes;  ///< of commands that were not `done`: slot.index names which
  friend bool operator==(const LogSlot&, const LogSlot&) = default;
};
struct LogReply {
  std::vector<LogSlot> slots;
  paxos::Slot next;  ///< ask on from here; none: done
  friend bool operator==(const LogReply&, const LogReply&) = default;
};
/// Kill (sent just before it dies), skip, loss, pause, isolate.
struct DoneReply {
  std::string refused;  ///< empty: done
  std::vector<paxos::Slot> slots;
  paxos::Slot next_free;
  friend bool operator==(const DoneReply&, const DoneReply&) = default;
};
/// An object as docs/WIRE.md lists it, so that a newer replica can say more.
struct DoctorReply {
  std::string json;
  friend bool operator==(const DoctorReply&, const DoctorReply&) = default;
};
/// One replica's view of one slot. Times are Unix nanoseconds by its own wall clock at the time of the
/// answer.
struct ExplainReply {
  static constexpr std::size_t records_max = 512;
  std::uint64_t boot = 0;
  std::int64_t now_ns = 0;
  std::int64_t started_ns = 0;  ///< of this boot
  std::int64_t oldest_ns = 0;   ///< its recorder reaches back to here
  paxos::Slot first_slot;       ///< lowest in its log
  paxos::Slot chosen;           ///< contiguous prefix
  paxos::Slot applied;
  paxos::Slot accepted;  ///< highest slot with a vote
  std::string damage;    ///< why its log could not be read; empty when it could
  /// What its log holds: nothing, or a decree.
  struct Held {
    bool chosen = false;
    paxos::Ballot ballot;
    paxos::DecreeKind kind = paxos::DecreeKind::noop;
    std::uint32_t commands = 0;
    std::uint32_t bytes = 0;
    friend bool operator==(const Held&, const Held&) = default;
  };
  std::optional<Held> held;
  std::uint64_t left_out = 0;        ///< records that found no room here
  std::vector<FlightEntry> records;  ///< ascending by time; `ns` is Unix time here
  friend bool operator==(const ExplainReply&, const ExplainReply&) = default;
};
/// SnapshotOffer, SnapshotChunk, SnapshotSummed or SnapshotGone.
struct SnapshotReply {
  SnapshotWord word;
  friend bool operator==(const SnapshotReply&, const SnapshotReply&) = default;
};
struct AccessKeysReply {
  paxos::Slot applied;
  OpenNames open;
  std::vector<AccessKey> keys;  ///< by id
  std::uint32_t next = 0;       ///< ask on from here; 0: that was all
  friend bool operator==(const AccessKeysReply&, const AccessKeysReply&) = default;
};
struct DerivedKeyReply {
  std::array<std::uint8_t, 32> bytes{};
  friend bool operator==(const DerivedKeyReply&, const DerivedKeyReply&) = default;
};
struct SecretDoorReply {
  std::array<std::uint8_t, 32> door{};
  friend bool operator==(const SecretDoorReply&, const SecretDoorReply&) = default;
};
struct RenewedKeyReply {
  std::string sealed;
  friend bool operator==(const RenewedKeyReply&, const RenewedKeyReply&) = default;
};
using OperatorAnswer =
    std::variant<StatusReply, HashReply, ScrubReply, LogReply, DoneReply, DoctorReply, ExplainReply,
                 SnapshotReply, AccessKeysReply, DerivedKeyReply, SecretDoorReply, RenewedKeyReply>;
/// Why nothing of that is done or told under this key; empty: it is. Who chats may ask how the cluster is;
/// everything else is for operators.
[[nodiscard]] std::string refused_to(const Credential& whose, const AccessTable& access,
                                     const OperatorCommand& command);
struct OperatorReply {
  std::uint64_t id = 0;
  OperatorAnswer answer;
  friend bool operator==(const OperatorReply&, const OperatorReply&) = default;
};

}  // namespace chat
