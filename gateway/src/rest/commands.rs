//! Commands: the outcome of one, queried from the partitions, which remember command ids for a while.

use bus_client::Ask;
use bus_schemas::views::command::{COMMAND, CommandState, CommandStatus};
use bus_schemas::views::silent::Silent;
use bus_schemas::{Body, CommandId, EntityAddress, PartitionId, Refusal, Reply};
use futures::StreamExt;
use gateway_api::code;
use gateway_api::commands::{CommandView, ShowCommand};
use serde_json::json;

use super::ask::{Answer, Call, PATIENCE_OF_MANY, read};
use super::extract::{Id, Query};
use super::problem::Problem;

/// Partitions queried at once.
const ASKED_AT_ONCE: usize = 32;

/// Shows the outcome of a command, and of every other command that has its id in another partition.
pub async fn show(call: Call, Id(id): Id, Query(query): Query<ShowCommand>) -> Answer<CommandView> {
    let about = CommandId::from_text(id.as_str());
    let topology = call.bus.topology();
    let partitions: Vec<PartitionId> = match query.entity.as_deref().map(str::parse::<EntityAddress>) {
        Some(Ok(entity)) => vec![entity.partition(topology.partitions)],
        Some(Err(error)) => return Err(Problem::new(code::INVALID_QUERY, error.to_string())),
        None => topology.all_partitions().collect(),
    };
    let to = EntityAddress::new(COMMAND, id);
    let asked = futures::stream::iter(partitions).map(|partition| {
        let (bus, ask) = (call.bus.clone(), Ask::new(to.clone(), Body::json(&json!({}))));
        let ask = ask.caller(call.caller.name.as_str());
        async move { (partition, bus.command_status(partition, &ask, PATIENCE_OF_MANY).await) }
    });
    let mut asked = asked.buffered(ASKED_AT_ONCE);
    let (mut known, mut silent) = (Vec::new(), Vec::new());
    while let Some((partition, answer)) = asked.next().await {
        match answer {
            Ok(Reply::Accepted { result, .. }) => {
                let status: CommandStatus = read(&to, result)?;
                known.extend((status.state != CommandState::Unknown).then_some(status));
            }
            Ok(Reply::Refused { refusal, .. }) => silent.push(quiet(partition, refusal)),
            Err(error) => {
                silent.push(quiet(partition, Refusal::new(code::NO_ANSWER, bus_schemas::chain(&error))));
            }
        }
    }
    let mut known = known.into_iter();
    let status = known.next().unwrap_or_else(|| CommandStatus::only(about, CommandState::Unknown));
    Ok(axum::Json(CommandView { status, others: known.collect(), silent }))
}

/// A partition that did not answer.
fn quiet(partition: PartitionId, refusal: Refusal) -> Silent {
    Silent { entity: format!("partition {partition}"), code: refusal.code, reason: refusal.message }
}
