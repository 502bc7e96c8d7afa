//! What queries are answered with: what is committed, and under a valid lease.

use actors_core::Context;
use bus_schemas::commands::task;
use bus_schemas::{Body, EntityAddress, Hash, PartitionId, Reply};

use super::{Audit, Check, Violation, hold};
use crate::world::OwnerId;

/// Reads the answer to a query.
pub fn read(payload: &[u8]) -> Result<Reply, Violation> {
    serde_json::from_slice(payload).map_err(|error| Violation {
        invariant: "views_are_committed",
        reason: format!("the answer to a query cannot be read: {error}"),
    })
}

impl Audit {
    /// Nobody is shown a state by a host whose lease is over: another one may have gone on by then. So
    /// nobody is shown an older revision of an entity than somebody was before.
    pub fn views_need_the_lease(&mut self, owner: OwnerId, partition: PartitionId, reply: &Reply) -> Check {
        const NAME: &str = "views_need_the_lease";
        let Reply::Accepted { entity, revision, .. } = reply else { return Ok(()) };
        let writer = self.writer(partition);
        hold(writer == Some(owner), NAME, || {
            format!("owner {owner} shows `{entity}`, and {writer:?} has the partition")
        })?;
        let shown = self.shown.entry(entity.clone()).or_default();
        hold(*revision >= *shown, NAME, || {
            format!("`{entity}` is shown at revision {revision}, and was shown at {shown}")
        })?;
        *shown = *revision;
        Ok(())
    }

    /// A query is answered with what is in the log: a revision that is there, and what a task is at it.
    pub fn views_are_committed(&mut self, reply: &Reply, query: &Body, partitions: u16) -> Check {
        const NAME: &str = "views_are_committed";
        let Reply::Accepted { command_id, entity, revision, result, .. } = reply else { return Ok(()) };
        let known = self.entities.get(entity);
        let last = known.map_or_else(Default::default, |known| known.revision());
        hold(*revision <= last, NAME, || {
            format!("`{entity}` is shown at revision {revision}, and the log has {last}")
        })?;
        if entity.kind.as_str() != "task" {
            return Ok(());
        }
        if let Some(instance) = known.filter(|_| *revision == last) {
            let context = Context {
                entity,
                partitions,
                revision: last,
                now: Default::default(),
                by_timer: false,
                command: *command_id,
                correlation: *command_id,
                caller: None,
                trace: None,
            };
            let again = instance.view(query, &context).ok().filter(|view| view.is_ready);
            let same = again.as_ref().is_some_and(|again| again.value == *result);
            hold(same, NAME, || format!("`{entity}` is shown as {result}, and the log says {again:?}"))?;
        }
        match query.read::<task::Query>() {
            Ok(task::Query::Renew { attempt, token, .. }) => {
                self.is_told_its_own(entity, attempt, Hash::of_token(&token), *revision)
            }
            _ => Ok(()),
        }
    }

    /// Only who has the token of an attempt that is under way is told that it is its own.
    fn is_told_its_own(
        &mut self,
        entity: &EntityAddress,
        attempt: u32,
        token: Hash,
        revision: bus_schemas::Revision,
    ) -> Check {
        let known = self.tasks.get(&entity.key).is_some_and(|task| task.had(attempt, token, revision));
        hold(known, "fenced_by_token", || {
            format!("attempt {attempt} of `{entity}` is called somebody's own at revision {revision}")
        })?;
        self.told_own.insert((entity.key.clone(), attempt, token));
        Ok(())
    }
}
