//! Mail between partitions, modelled after `partition.rs`: what is committed goes out at once, what has
//! no receipt goes out again, and the network loses, repeats and delays both.

use std::collections::BTreeMap;

use actors_runtime::inbox::Item;
use actors_runtime::journal::Committed;
use bus_client::mail::{Parcel, Receipt};
use bus_schemas::PartitionId;
use bus_schemas::record::{Mail, Source};

use super::{Happening, Message, Owner, OwnerId, World};
use crate::coverage::Reached;
use crate::faults::Defect;

/// Mail in one parcel: fewer than in the product, so that one commit needs several.
const PARCEL_MAIL_MAX: usize = 3;

impl World {
    /// What was just committed goes out, and its senders hear how far their mail is applied.
    pub(super) fn send_mail(&mut self, id: OwnerId, committed: &Committed) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let own = owner.partition;
        let mut mail_to: BTreeMap<PartitionId, Vec<Mail>> = BTreeMap::new();
        let mut senders: Vec<PartitionId> = Vec::new();
        for turn in &committed.record.turns {
            if let Source::Mail(from, _) = turn.source
                && from != own
                && !senders.contains(&from)
            {
                senders.push(from);
            }
            for mail in turn.sends.iter().filter(|mail| mail.partition != own) {
                owner.mail_ready.insert(mail.partition, mail.number);
                mail_to.entry(mail.partition).or_default().push(mail.clone());
            }
        }
        let receipts: Vec<(PartitionId, u64)> =
            senders.into_iter().map(|from| (from, owner.core.mail_committed(from))).collect();
        for (to, mail) in mail_to {
            self.send_parcels(own, to, &mail);
            // A host that dies here has sent the mail of some receivers and not of others.
            if self.dies_at(id, "between parcels") {
                return;
            }
        }
        for (from, upto) in receipts {
            self.send_receipt(own, from, upto, false);
        }
    }

    fn send_parcels(&mut self, from: PartitionId, to: PartitionId, mail: &[Mail]) {
        for part in mail.chunks(PARCEL_MAIL_MAX) {
            let numbers = part.first().map(|mail| mail.number)..=part.last().map(|mail| mail.number);
            self.note(format_args!("parcel {numbers:?} from {from} to {to}"));
            let parcel = Parcel { from, mail: part.to_vec() };
            if self.fault(self.faults.mail_twice, Reached::MailTwice) {
                let way = self.random.between(1, 1_500);
                self.soon(way, Happening::Arrives(to, Message::Parcel(parcel.clone())));
            }
            self.send(to, Message::Parcel(parcel));
        }
    }

    fn send_receipt(&mut self, from: PartitionId, to: PartitionId, upto: u64, begins: bool) {
        self.send(to, Message::Receipt(Receipt { from, upto, begins }));
    }

    /// A new owner sends its mail once more, and the others are to send theirs.
    pub(super) fn greet(&mut self, id: OwnerId) {
        let Some(own) = self.owners.get(&id).map(|owner| owner.partition) else { return };
        for other in self.partitions().filter(|other| *other != own) {
            self.send_waiting(id, other);
            let Some(owner) = self.owners.get_mut(&id) else { return };
            let upto = owner.core.mail_committed(other);
            self.send_receipt(own, other, upto, true);
        }
    }

    /// A receipt reaches an owner.
    pub(super) fn take_receipt(&mut self, id: OwnerId, receipt: Receipt) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.core.receipt(receipt.from, receipt.upto);
        if receipt.begins {
            self.send_waiting(id, receipt.from);
        }
    }

    fn send_waiting(&mut self, id: OwnerId, to: PartitionId) {
        let Some(owner) = self.owners.get(&id) else { return };
        let (own, mail) = (owner.partition, waiting_mail(owner, to));
        if !mail.is_empty() {
            self.send_parcels(own, to, &mail);
        }
    }

    fn send(&mut self, to: PartitionId, message: Message) {
        if self.fault(self.faults.mail_lost, Reached::MailLost) {
            return;
        }
        let late = self.fault(self.faults.mail_late, Reached::MailLate);
        let way = if late { self.random.between(20, 2_500) } else { self.latency() };
        self.soon(way, Happening::Arrives(to, message));
    }

    /// A parcel reaches an owner, as `Partition::take_parcel` has it.
    pub(super) fn take_parcel(&mut self, id: OwnerId, parcel: Parcel) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let own = owner.partition;
        let committed = owner.core.mail_committed(parcel.from);
        let last = parcel.mail.last().map_or(0, |mail| mail.number);
        if last <= committed {
            self.coverage.note(Reached::MailRefusedAsKnown);
            if self.defect == Some(Defect::ParcelsRenumbered) {
                for (mail, number) in parcel.mail.into_iter().zip(committed + 1..) {
                    owner.core.offer(Item::from_mail(parcel.from, Mail { number, ..mail }));
                }
                return;
            }
            return self.send_receipt(own, parcel.from, committed, false);
        }
        for mail in parcel.mail {
            owner.core.offer(Item::from_mail(parcel.from, mail));
        }
        if self.defect == Some(Defect::ReceiptBeforeCommit) {
            self.send_receipt(own, parcel.from, last, false);
        }
    }

    /// Mail that had no receipt at the last tick either.
    pub(super) fn send_mail_again(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let own = owner.partition;
        let (mut oldest, mut again) = (BTreeMap::new(), Vec::new());
        for to in owner.core.state.outbox.receivers().filter(|to| *to != own) {
            let mail = waiting_mail(owner, to);
            let Some(first) = mail.first().map(|mail| mail.number) else { continue };
            oldest.insert(to, first);
            if owner.mail_oldest.get(&to) == Some(&first) {
                again.push((to, mail));
            }
        }
        owner.mail_oldest = oldest;
        for (to, mail) in again {
            self.coverage.note(Reached::MailSentAgain);
            self.send_parcels(own, to, &mail);
        }
    }
}

/// Committed mail for a partition that has no receipt.
fn waiting_mail(owner: &Owner, to: PartitionId) -> Vec<Mail> {
    let ready = owner.mail_ready.get(&to).copied().unwrap_or_default();
    let mail = owner.core.state.outbox.waiting(to, 2 * PARCEL_MAIL_MAX);
    mail.take_while(|mail| mail.number <= ready).cloned().collect()
}
