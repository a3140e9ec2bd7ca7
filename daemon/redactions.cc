#include <utility>

#include "daemon/host.h"

/// Redactions, as they are carried out on this replica's disk: chat::Redactor decides, the state thread
/// looks, the storage's own thread has the files rid of the text.
namespace paxosd {

void Host::carry_out_redactions(chat::NodeOutput& out) {
  for (chat::ErasePlan& plan : out.erase_plans)
    advance_erasure(std::make_shared<chat::ErasePlan>(std::move(plan)));
  for (chat::Erasure& erasure : out.erasures) {
    const std::uint64_t token = erasure.token;
    storage_->erase(std::move(erasure), [this, token](std::string why) {
      mailbox_.push([this, token, why = std::move(why)] { node_.erased(loop_.now(), token, why); });
    });
  }
  if (!out.own_rows.empty()) storage_->write_state(node_.machine().applied(), std::move(out.own_rows));
}

/// A step at a time, so that nobody who reads has to wait for all of a long search.
void Host::advance_erasure(std::shared_ptr<chat::ErasePlan> plan) {
  const auto go_on = [this, plan] {
    mailbox_.push([this, plan] {
      if (plan->complete || !plan->fault.empty())
        node_.erase_planned(loop_.now(), std::move(*plan));
      else
        advance_erasure(plan);
    });
  };
  storage_->read(
      [plan, go_on](const storage::Storage::Reader& reader) {
        chat::advance(*plan, reader.rows, {.entries = reader.log, .first = reader.log_first});
        go_on();
      },
      [plan, go_on](const std::string& why) {
        plan->fault = why;
        go_on();
      });
}

}  // namespace paxosd
