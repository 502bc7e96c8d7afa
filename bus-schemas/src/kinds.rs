//! Every kind of entity, one row each: schemas, fixtures, the registry of entities and the commands that only
//! the system sends are built from this table.

use std::borrow::Cow;

use serde::Deserialize;

use crate::envelope::Body;
use crate::ids::Kind;
use crate::wire::WireCommand;

/// Calls a macro with every kind: the module of its commands, events and entity, the type name of the entity,
/// `query` if it answers queries, and the commands that only the system sends: other entities by mail, the
/// entity's own timers and leases, and hosts. From anybody else they would be a lie about what happened.
#[macro_export]
macro_rules! for_each_kind {
    ($then:path) => {
        $then! {
            agent Agent query ["hold" "ease" "lose-worker" "report-health"],
            approval Approval ["watch" "expire"],
            change Change ["settle-task"],
            breaker Breaker query [
                "watch" "untrip" "apply-settings" "end-open" "expire-probe" "renew-probes" "note-letter"
            ],
            lane Lane query [
                "join" "report" "enqueue" "release" "offer-agent" "apply-settings" "hold" "recall" "vacate"
                "ease" "probe"
            ],
            redrive Redrive ["add-entries" "settle-entry" "send-next"],
            chaos Chaos query ["fill" "end"],
            settings Settings query ["watch" "unwatch" "report-applied" "tell"],
            dead_letter DeadLetter query ["record" "settle-redrive"],
            halt Halt ["watch" "confirm"],
            healer Healer ["note"],
            probe Probe [],
            queue Queue query [
                "enqueue" "release" "take" "rules" "grant" "revoke" "hold" "ease" "recall" "tell" "report"
            ],
            schedule Schedule ["fire"],
            task Task query [
                "fork" "assign" "withdraw" "return-issue" "hold" "ease" "follow" "settle-child" "settle-approval" "expire-deadline" "end-backoff"
                "expire-lease" "expire-progress" "count-job" "adopt-budget" "expire-wall-clock"
                "expire-reservations" "sweep"
            ],
        }
    };
}

macro_rules! list {
    ($($module:ident $entity:ident $($query:ident)? [$($system:literal)*],)*) => {
        const KINDS: &[(Kind, &[&str])] =
            &[$((crate::commands::$module::Command::KIND, &[$($system),*])),*];
    };
}
for_each_kind!(list);

/// All kinds.
pub fn kinds() -> impl Iterator<Item = Kind> {
    KINDS.iter().map(|(kind, _)| kind.clone())
}

/// The wire names of the commands of a kind that only the system sends.
pub fn system_commands(kind: &Kind) -> &'static [&'static str] {
    KINDS.iter().find(|(known, _)| known == kind).map_or(&[], |(_, names)| names)
}

/// Whether only the system sends this command. Reads no more of it than its name; a body without a name is no
/// command, and its entity refuses it.
pub fn is_from_system(kind: &Kind, body: &Body) -> bool {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(rename = "type", borrow)]
        name: Cow<'a, str>,
    }
    let names = system_commands(kind);
    !names.is_empty() && body.read::<Named<'_>>().is_ok_and(|named| names.contains(&&*named.name))
}
