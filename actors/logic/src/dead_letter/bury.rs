//! The policy for commands that cannot be delivered: the runtime records a dead letter with an entry, and for
//! a redrive the message with its outcome.

use actors_core::decision::Send;
use actors_core::{Lost, Undeliverable};
use bus_schemas::commands::dead_letter::{Command, Entry, Outcome, class};
use bus_schemas::envelope::code;
use bus_schemas::payload::Payload;
use bus_schemas::record::{self, DeadLetter, Source, Turn};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Refusal, text};
use smol_str::SmolStr;

/// The longest reason of a dead letter in bytes: some sentences. A parser may quote all of the body.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// The codes of refusals that are classes of their own: no entity decided them. Every other refusal is
/// `refused`.
const CLASSES: [&str; 9] = [
    code::BAD_SUBJECT,
    code::CONTENT_TYPE,
    code::TOO_LARGE,
    code::MALFORMED,
    code::UNKNOWN_KIND,
    code::ENTITY_STOPPED,
    code::ENTITY_QUARANTINED,
    code::ID_REUSED,
    code::POISON,
];

/// The policy: makes an entry of each such command.
#[derive(Debug)]
pub(crate) struct Letters;

impl Undeliverable for Letters {
    fn nowhere(&self) -> EntityAddress {
        EntityAddress::new(Command::KIND, Key::parse("unreadable").expect("a constant"))
    }

    fn bury(&self, lost: &Lost<'_>) -> (DeadLetter, Option<Send>) {
        let (command, refusal) = (&lost.turn.command, lost.turn.refusal.clone());
        let (code, message, hint) =
            refusal.map(|refusal| (refusal.code, refusal.message, refusal.hint)).unwrap_or_default();
        let class = CLASSES.into_iter().find(|class| code == *class).unwrap_or(class::REFUSED);
        let reason = if class == class::REFUSED { format!("{code}: {message}") } else { message };
        let reason = text::cut(&reason, REASON_BYTES_MAX);
        let hint = hint.map(|hint| text::cut(&hint, REASON_BYTES_MAX));
        let entry = command.id.0.simple().to_string();
        let dead = DeadLetter {
            entry: SmolStr::new(&entry),
            class: SmolStr::new_static(class),
            reason: reason.clone(),
            subject: lost.subject.cloned(),
        };
        // A letter about a letter's own message could repeat forever, so it gets no entry.
        let is_about_letter = lost.turn.entity.kind == Command::KIND && lost.turn.entity != self.nowhere();
        if is_about_letter && !is_from_outside(lost.turn) {
            return (dead, None);
        }
        let to = (lost.about.kind.as_str(), lost.about.key.as_str());
        let record = Command::Record(Entry {
            traceparent: command.trace.map(|trace| trace.to_traceparent()),
            hint,
            source: Some(SmolStr::new_static(word(&lost.turn.source))),
            subject: lost.subject.map(ToString::to_string),
            caller: command.caller.clone(),
            cause: command.cause,
            payload: Payload::of(&command.body).map(|payload| match is_from_client(lost.turn) {
                true => payload.without_token(),
                false => payload,
            }),
            ..Entry::new(class, reason, to, (command.id, command.correlation), lost.turn.at)
        });
        let key = Key::parse(&entry).expect("32 hexadecimal digits are a key");
        (dead, Some(Send::new(EntityAddress::new(Command::KIND, key), Body::json(&record))))
    }

    /// The outcome of a redrive, for its entry. The redrive's id is the id of the causing command.
    fn settle(
        &self,
        sender: EntityAddress,
        command: &record::Command,
        refusal: Option<&Refusal>,
    ) -> Option<Send> {
        if sender.kind != Command::KIND {
            return None;
        }
        let outcome = refusal.map_or(Outcome::Accepted, |refusal| Outcome::Refused {
            code: refusal.code.clone(),
            message: text::cut(&refusal.message, REASON_BYTES_MAX),
        });
        let told = Command::SettleRedrive { redrive: command.cause, outcome, task: None };
        Some(Send::new(sender, Body::json(&told)))
    }
}

/// Whether the command is a client's. Only such a command has a token; the system's own have its hash, which a redrive
/// needs unchanged.
fn is_from_client(turn: &Turn) -> bool {
    turn.source == Source::Ask || is_from_outside(turn)
}

/// Whether a client handed the command over, here or in the partition that forwarded it.
fn is_from_outside(turn: &Turn) -> bool {
    match turn.source {
        Source::Inbox(_) => true,
        Source::Mail(..) => turn.command.cause.is_none(),
        Source::Ask | Source::Timer(_) | Source::Lease(_) | Source::Claim => false,
    }
}

/// The source of a command, as a word.
fn word(source: &Source) -> &'static str {
    match source {
        Source::Ask => "ask",
        Source::Inbox(_) => "inbox",
        Source::Mail(..) => "mail",
        Source::Timer(_) => "timer",
        Source::Lease(_) => "lease",
        Source::Claim => "claim",
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::probe;
    use bus_schemas::{CommandId, PartitionId, Timestamp};

    use super::*;
    use crate::testing::address;

    /// Whether a refused command gets an entry.
    fn has_entry(entity: &str, source: Source, cause: Option<CommandId>) -> bool {
        let id = CommandId::from_text("one");
        let body = Body::json(&probe::Command::Panic);
        let turn = Turn {
            source,
            entity: address(entity),
            command: record::Command {
                id,
                body,
                cause,
                correlation: id,
                trace: None,
                caller: None,
                settles: false,
            },
            at: Timestamp(7),
            events: vec![],
            refusal: Some(Refusal::new(code::MALFORMED, "x".repeat(100_000)).hint("y".repeat(100_000))),
            sends: vec![],
            timers: vec![],
            leases: vec![],
            jobs: vec![],
            stops: vec![],
            is_open: false,
            reply: Default::default(),
            dead: None,
        };
        let (dead, sent) = Letters.bury(&Lost { turn: &turn, about: &turn.entity, subject: None });
        assert!(dead.reason.len() <= REASON_BYTES_MAX, "{} bytes", dead.reason.len());
        let bytes = sent.as_ref().map_or(0, |sent| sent.body.bytes.len());
        assert!(bytes < 3 * REASON_BYTES_MAX, "{bytes} bytes");
        sent.is_some()
    }

    #[test]
    fn what_comes_from_outside_is_buried_once_and_what_a_letter_sends_never_again() {
        let (mail, cause) = (|| Source::Mail(PartitionId(1), 7), Some(CommandId::from_text("cause")));
        for (entity, source, cause, expected) in [
            ("probe/p", Source::Inbox(3), None, true),
            ("probe/p", mail(), cause, true),
            ("dead-letter/d", Source::Inbox(3), None, true),
            ("dead-letter/d", mail(), None, true),
            ("dead-letter/d", mail(), cause, false),
            ("dead-letter/d", Source::Timer("t".into()), None, false),
            ("dead-letter/d", Source::Ask, None, false),
            ("dead-letter/unreadable", Source::Inbox(3), None, true),
        ] {
            assert_eq!(
                has_entry(entity, source.clone(), cause),
                expected,
                "{entity} by {source:?}, {cause:?}"
            );
        }
    }
}
