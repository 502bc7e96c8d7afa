//! Places in all logs that belong together.
//!
//! Two logs disagree where a receiver has applied mail that its sender's log has not sent yet, or
//! where a sender has dropped mail as received that its receiver's log has not applied yet. Both are
//! cured by going further in the log that lags: what is missing was committed before what refers to
//! it. So the search starts at the ends as they were read one after the other, only ever goes
//! forward, and comes to rest at the latest where all logs were once the last of these was read.

use std::collections::BTreeMap;

use bus_client::Bus;
use bus_schemas::record::{self, CommitRecord};
use bus_schemas::{LogSequence, PartitionId};
use futures::TryStreamExt;

use crate::failure::{Failure, chain, exit};

/// Where a log ends in a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The last record.
    pub sequence: LogSequence,
    /// The last durable command that is applied there.
    pub inbox: u64,
}

/// What a record says of mail.
#[derive(Debug, Clone, Default)]
struct Said {
    sequence: LogSequence,
    inbox: u64,
    /// How far each sender's mail is applied.
    applied: BTreeMap<PartitionId, u64>,
    /// How far each receiver has said that it applied ours.
    received: BTreeMap<PartitionId, u64>,
    /// The first and the last mail that it sends to each receiver.
    sent: BTreeMap<PartitionId, (u64, u64)>,
}

impl Said {
    fn new(sequence: LogSequence, record: &CommitRecord) -> Self {
        let mut said = Self {
            sequence,
            inbox: record.position.inbox,
            applied: record.position.mail.iter().copied().collect(),
            received: record.mail_out.iter().copied().collect(),
            sent: BTreeMap::new(),
        };
        for mail in record.turns.iter().flat_map(|turn| &turn.sends) {
            said.sent.entry(mail.partition).or_insert((mail.number, mail.number)).1 = mail.number;
        }
        said
    }
}

/// Finds the places, one for each partition in order.
pub async fn find(bus: &Bus) -> Result<Vec<Place>, Failure> {
    let mut ends = Vec::new();
    for partition in bus.topology().all_partitions() {
        ends.push(bus.state_of(&bus.topology().log(partition)).await?.last_sequence);
    }
    let mut tails = Vec::new();
    for (partition, end) in bus.topology().all_partitions().zip(ends) {
        tails.push(tail(bus, partition, end).await?);
    }
    let places = agreeing(&tails).ok_or_else(|| {
        Failure::new("logs-disagree", "the logs name mail that none of them has sent or applied")
            .next("`orrery verify --all` says what is damaged")
            .exit(exit::DATA)
    })?;
    let place = |(tail, at): (&Vec<Said>, usize)| {
        tail.get(at).map_or(Place::default(), |said| Place { sequence: said.sequence, inbox: said.inbox })
    };
    Ok(tails.iter().zip(places).map(place).collect())
}

/// The last record that was seen, and those after it that exist by now; nothing of an empty log.
async fn tail(bus: &Bus, partition: PartitionId, end: u64) -> Result<Vec<Said>, Failure> {
    let mut records = bus.records_after(partition, LogSequence(end.saturating_sub(1))).await?;
    let mut tail = Vec::new();
    while let Some(entry) = records.try_next().await? {
        let record = CommitRecord::decode(&entry.record);
        let record = record.map_err(|error| unreadable(partition, entry.sequence, &error))?;
        // An empty log needs no record: its first one would be one too many.
        if end == 0 && tail.is_empty() {
            tail.push(Said::default());
        }
        tail.push(Said::new(entry.sequence, &record));
    }
    Ok(tail)
}

/// A record in the way.
pub fn unreadable(partition: PartitionId, sequence: LogSequence, error: &record::Error) -> Failure {
    Failure::new(
        "record-unreadable",
        format!("reading record {sequence} of partition {partition}: {}", chain(error)),
    )
    .next("`orrery verify --all` finds what else is damaged; a copy of the server's store keeps it as it is")
    .exit(exit::DATA)
}

/// The earliest index in each tail at which all agree; none where there are none.
fn agreeing(tails: &[Vec<Said>]) -> Option<Vec<usize>> {
    let mut places = vec![0; tails.len()];
    let number = |map: &BTreeMap<PartitionId, u64>, of: usize| {
        map.get(&PartitionId(u16::try_from(of).unwrap_or(u16::MAX))).copied().unwrap_or_default()
    };
    loop {
        let former = places.clone();
        for receiver in 0..tails.len() {
            for sender in (0..tails.len()).filter(|sender| *sender != receiver) {
                let (to, from) = (&tails[receiver], &tails[sender]);
                let id = PartitionId(u16::try_from(receiver).unwrap_or(u16::MAX));
                // What is applied is sent: look for the last record that sends some of it.
                let applied = to.get(places[receiver]).map_or(0, |said| number(&said.applied, sender));
                let sends = |said: &Said| said.sent.get(&id).is_some_and(|(first, _)| *first <= applied);
                if let Some(at) = from.iter().rposition(sends) {
                    places[sender] = places[sender].max(at);
                }
                // What is received is applied: look for the first record that says so.
                let received = from.get(places[sender]).map_or(0, |said| number(&said.received, receiver));
                if received > 0 {
                    let at = to.iter().position(|said| number(&said.applied, sender) >= received)?;
                    places[receiver] = places[receiver].max(at);
                }
            }
        }
        if places == former {
            return Some(places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(
        sequence: u64,
        applied: &[(u16, u64)],
        received: &[(u16, u64)],
        sent: &[(u16, u64, u64)],
    ) -> Said {
        let numbers = |pairs: &[(u16, u64)]| pairs.iter().map(|(of, to)| (PartitionId(*of), *to)).collect();
        Said {
            sequence: LogSequence(sequence),
            inbox: 0,
            applied: numbers(applied),
            received: numbers(received),
            sent: sent.iter().map(|(to, first, last)| (PartitionId(*to), (*first, *last))).collect(),
        }
    }

    #[test]
    fn a_sender_goes_on_until_it_has_sent_what_is_applied() {
        let sender =
            vec![said(10, &[], &[], &[]), said(11, &[], &[], &[(1, 4, 5)]), said(12, &[], &[], &[(1, 6, 6)])];
        let receiver = |applied| vec![said(7, &[(0, applied)], &[], &[])];
        assert_eq!(agreeing(&[sender.clone(), receiver(3)]), Some(vec![0, 0]), "it was sent before");
        assert_eq!(agreeing(&[sender.clone(), receiver(5)]), Some(vec![1, 0]));
        assert_eq!(agreeing(&[sender, receiver(6)]), Some(vec![2, 0]));
    }

    #[test]
    fn a_receiver_goes_on_until_it_has_applied_what_is_dropped_and_that_may_need_more() {
        let sender = vec![said(10, &[], &[(1, 9)], &[])];
        let receiver = vec![
            said(5, &[(0, 8)], &[], &[]),
            said(6, &[(0, 9), (2, 1)], &[], &[]),
            said(7, &[(0, 10), (2, 2)], &[], &[]),
        ];
        let third = vec![said(1, &[], &[], &[]), said(2, &[], &[], &[(1, 1, 1)])];
        assert_eq!(agreeing(&[sender.clone(), receiver, third]), Some(vec![0, 1, 1]));
        assert_eq!(agreeing(&[sender, vec![said(5, &[(0, 8)], &[], &[])]]), None, "nobody has applied it");
        assert_eq!(agreeing(&[vec![], vec![]]), Some(vec![0, 0]), "nothing has happened");
    }
}
