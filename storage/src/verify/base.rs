//! What a takeover of a cut log needs beside the snapshot: the base, and a mark behind the cut. A missing one
//! would show only when the snapshot is lost, so both are checked.

use actors_runtime::state::PartitionState;
use actors_runtime::takeover;
use bus_client::events::StreamState;
use bus_client::{Bus, Error};
use bus_schemas::{LogSequence, PartitionId};

/// What a cut log lacks, as a finding and its detail; `None` when nothing is missing.
pub async fn lacking(
    bus: &Bus,
    partition: PartitionId,
    log: &StreamState,
    mark: LogSequence,
) -> Result<Option<(&'static str, String)>, Error> {
    let first = LogSequence(log.first_sequence);
    if first.0 <= 1 {
        return Ok(None);
    }
    if log.messages == 0 {
        let detail =
            format!("all {} records were removed; only a backup brings them back", log.last_sequence);
        return Ok(Some(("log-emptied", detail)));
    }
    if mark.next() < first {
        let next = mark.next();
        return Ok(Some((
            "mark-behind",
            format!(
                "the events of record {next} are not out, and the log begins with record {first}: `orrery rebuild events` writes them again"
            ),
        )));
    }
    let lacks = match base(bus, partition).await? {
        Err(reason) => Some(reason),
        Ok(base) if base.last.0 > log.last_sequence => {
            Some(format!("the base is of record {}, and the log ends before", base.last))
        }
        Ok(base) if base.first_needed(mark) < first => {
            Some(format!("the base needs record {}", base.first_needed(mark)))
        }
        Ok(_) => None,
    };
    Ok(lacks.map(|reason| {
        let detail = format!("the log begins with record {first}, and its base is of no use: {reason}; `orrery archive --logs` makes it again");
        ("base-missing", detail)
    }))
}

/// A partition's base, or why there is none.
async fn base(bus: &Bus, partition: PartitionId) -> Result<Result<PartitionState, String>, Error> {
    match bus.get_named(&takeover::base_name(partition)).await {
        Ok(None) => Ok(Err("there is none".to_owned())),
        Ok(Some(bytes)) => Ok(PartitionState::decode(&bytes).map_err(|error| error.to_string())),
        Err(error @ Error::Blob { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
