//! Positions in all logs that agree with each other.
//!
//! Two logs disagree where a receiver has applied mail that its sender's log has not sent yet, or where a
//! sender has dropped mail as received that its receiver's log has not applied yet. Both are resolved by
//! advancing in the log that lags: the missing record was committed before the one that refers to it. So the
//! search starts at the ends of the logs as they were read one after the other, only advances, and ends at
//! the latest where all logs were once the last of these was read.

use std::collections::BTreeMap;

use bus_client::Bus;
use bus_schemas::record::CommitRecord;
use bus_schemas::{LogSequence, PartitionId};
use futures::TryStreamExt;

use super::Error;
use crate::history;

/// The position at which a log ends in a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The last record.
    pub sequence: LogSequence,
    /// The inbox sequence of the last durable command applied there.
    pub inbox: u64,
}

/// What a record says about mail.
#[derive(Debug, Clone, Default)]
struct Said {
    sequence: LogSequence,
    inbox: u64,
    /// The last mail applied, by sender.
    applied: BTreeMap<PartitionId, u64>,
    /// The last of our mail that each receiver has confirmed.
    received: BTreeMap<PartitionId, u64>,
    /// The first and the last mail sent, by receiver.
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

/// Finds the positions, one for each partition in order.
pub async fn find(bus: &Bus) -> Result<Vec<Place>, Error> {
    let mut ends = Vec::new();
    for partition in bus.topology().all_partitions() {
        // Not the end of the stream: a message that no host wrote may come last.
        ends.push(bus.last_record(partition).await?.map_or(0, |last| last.sequence.0));
    }
    let mut tails = Vec::new();
    for (partition, end) in bus.topology().all_partitions().zip(ends) {
        tails.push(tail(bus, partition, end).await?);
    }
    let places = agreeing(&tails).ok_or(Error::Disagree)?;
    let place = |(tail, at): (&Vec<Said>, usize)| {
        tail.get(at).map_or(Place::default(), |said| Place { sequence: said.sequence, inbox: said.inbox })
    };
    Ok(tails.iter().zip(places).map(place).collect())
}

/// The last record that was seen, and the later ones that exist now; empty for an empty log.
async fn tail(bus: &Bus, partition: PartitionId, end: u64) -> Result<Vec<Said>, Error> {
    let mut records = bus.records_after(partition, LogSequence(end.saturating_sub(1))).await?;
    let mut tail = Vec::new();
    while let Some(entry) = records.try_next().await? {
        let record = CommitRecord::decode(&entry.record);
        let sequence = entry.sequence;
        let record = record.map_err(|source| history::Error::Record { partition, sequence, source })?;
        // An empty log is not read: its first record would be one too many.
        if end == 0 && tail.is_empty() {
            tail.push(Said::default());
        }
        tail.push(Said::new(entry.sequence, &record));
    }
    Ok(tail)
}

/// The earliest index in each tail at which all logs agree; `None` when there is none.
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
                // Applied mail must be sent: look for the last record that sends some of it.
                let applied = to.get(places[receiver]).map_or(0, |said| number(&said.applied, sender));
                let sends = |said: &Said| said.sent.get(&id).is_some_and(|(first, _)| *first <= applied);
                if let Some(at) = from.iter().rposition(sends) {
                    places[sender] = places[sender].max(at);
                }
                // Confirmed mail must be applied: look for the first record that applies it.
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
