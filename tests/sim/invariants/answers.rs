//! What callers are told must be true, and stay the same.

use bus_schemas::envelope::code;
use bus_schemas::{CommandId, Reply};

use super::{Audit, Check, hold, violated};

/// The refusal of new work under a halt: another time it may be taken, under the same id.
pub const HALTED: &str = "halted";
/// Refusals that the runtime gives without a decision: nothing is committed with them.
const UNCOMMITTED: [&str; 9] = [
    code::MALFORMED,
    code::UNKNOWN_KIND,
    code::CONTENT_TYPE,
    code::TOO_LARGE,
    code::BAD_SUBJECT,
    code::BUSY,
    code::WRONG_PARTITION,
    code::ENTITY_STOPPED,
    HALTED,
];

impl Audit {
    /// An answer leaves an owner only when its command is in the log, with this very answer.
    pub fn reply_after_commit(&self, payload: &[u8]) -> Check {
        let reply = match serde_json::from_slice::<Reply>(payload) {
            Ok(reply) => reply,
            Err(error) => return violated("reply_after_commit", format!("no reply: {error}")),
        };
        let id = match &reply {
            Reply::Accepted { command_id, .. } => *command_id,
            Reply::Refused { refusal, .. } if UNCOMMITTED.contains(&refusal.code.as_str()) => return Ok(()),
            // True only when the other command, which the id belongs to, is in the log.
            Reply::Refused { command_id, refusal } if refusal.code == code::ID_REUSED => {
                return hold(self.has_answered(*command_id), "reply_after_commit", || {
                    format!("{command_id} is called used, and is not in the log")
                });
            }
            Reply::Refused { command_id, .. } => *command_id,
        };
        let committed = self.answers.get(&id).is_some_and(|(reply, _)| reply == payload);
        hold(committed, "reply_after_commit", || {
            format!("{id} was answered and is not in the log: {}", String::from_utf8_lossy(payload))
        })
    }

    /// Whether the log has an answer for this id.
    pub fn has_answered(&self, id: CommandId) -> bool {
        self.answers.contains_key(&id)
    }
}

/// An id that is asked again with the same body gets the first answer, byte for byte.
pub fn same_id_same_answer(first: &[u8], again: &[u8]) -> Check {
    hold(first == again, "same_id_same_answer", || {
        format!("first {}, then {}", String::from_utf8_lossy(first), String::from_utf8_lossy(again))
    })
}
