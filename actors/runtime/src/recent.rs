//! Recent command ids, each with the place of its reply in the log.
//!
//! A repeat is rare and its reply may be long, so replies stay in the log. A remembered command takes 32
//! bytes and five in the index, and its record is read when a repeat comes. The ids are part of the
//! partition's snapshot, so a successor does not read the log for all of them again.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use bus_schemas::record::{Source, Turn};
use bus_schemas::{CommandId, EntityAddress, LogSequence, Timestamp};
use hashbrown::HashTable;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Command ids that a partition remembers: a minute at a thousand commands a second, ten seconds at the
/// highest measured rates, and longer than any caller repeats an ask. Commands with older ids are refused,
/// not applied again.
pub const RECENT_IDS_MAX: usize = 65_536;

/// The stored size of an id with its fingerprint and place, in bytes.
const STORED: usize = 32;
/// The bit of a place that marks a group that is not committed.
const OPEN: u64 = 1 << 63;
/// The number of bits of a place that hold the turn.
const TURN_BITS: u32 = 16;

/// Where the reply to a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a group that is not committed: its number and the turn's index.
    Group(u64, usize),
    /// In a record of the log: its sequence and the turn's index.
    Record(LogSequence, usize),
}

impl Place {
    fn pack(self) -> u64 {
        let (mark, of, turn) = match self {
            Self::Group(group, turn) => (OPEN, group, turn),
            Self::Record(sequence, turn) => (0, sequence.0, turn),
        };
        // A record holds at most 2,048 turns, and no log has 2^47 records.
        mark | ((of << TURN_BITS) & !OPEN) | (turn as u64 & ((1 << TURN_BITS) - 1))
    }
    fn unpack(packed: u64) -> Self {
        let (of, turn) = ((packed & !OPEN) >> TURN_BITS, (packed & ((1 << TURN_BITS) - 1)) as usize);
        if packed & OPEN == 0 { Self::Record(LogSequence(of), turn) } else { Self::Group(of, turn) }
    }
}

/// What is remembered of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The id is new.
    New,
    /// The command was applied; its reply is there.
    Answered(Place),
    /// The id was used for another entity or with another body.
    Reused(Place),
    /// The id is older than the remembered ids.
    Stale,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    id: CommandId,
    fingerprint: u64,
    place: u64,
}

/// The recent command ids; the oldest are dropped first.
#[derive(Clone, Default)]
pub struct Recent {
    entries: VecDeque<Entry>,
    /// The number of the oldest entry. Entries are numbered consecutively.
    first: u32,
    /// The numbers of the entries, by id.
    numbers: HashTable<u32>,
    hasher: RandomState,
    /// The creation time of the newest id that was dropped.
    floor: Option<Timestamp>,
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ids, floor) = (self.entries.len(), self.floor);
        f.debug_struct("Recent").field("ids", &ids).field("floor", &floor).finish()
    }
}

/// A fingerprint of the entity and body that an id came with.
fn fingerprint(entity: &EntityAddress, body: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    // Neither a kind nor a key contains `/` or a newline.
    hasher.update(entity.kind.as_str().as_bytes()).update(b"/").update(entity.key.as_str().as_bytes());
    hasher.update(b"\n").update(body);
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

impl Recent {
    /// What is remembered of an id that comes with this entity and body.
    pub fn look_up(&self, id: CommandId, entity: &EntityAddress, body: &[u8]) -> Known {
        if let Some(entry) = self.find(id) {
            let place = Place::unpack(entry.place);
            let same = entry.fingerprint == fingerprint(entity, body);
            return if same { Known::Answered(place) } else { Known::Reused(place) };
        }
        match (self.floor, id.made_at()) {
            (Some(floor), Some(made_at)) if made_at < floor => Known::Stale,
            _ => Known::New,
        }
    }

    /// Where the reply to a command is, whatever its entity and body.
    pub fn place(&self, id: CommandId) -> Option<Place> {
        self.find(id).map(|entry| Place::unpack(entry.place))
    }

    /// Whether an id was used recently.
    pub fn knows(&self, id: CommandId) -> bool {
        self.find(id).is_some()
    }

    /// Remembers a turn's id and the place of its reply, if callers or workers may repeat it.
    pub fn remember(&mut self, turn: &Turn, place: Place) {
        if matches!(turn.source, Source::Ask | Source::Inbox(_) | Source::Claim) {
            let fingerprint = fingerprint(&turn.entity, &turn.command.body.bytes);
            self.insert(Entry { id: turn.command.id, fingerprint, place: place.pack() });
        }
    }

    /// Moves the places of a group to its record.
    pub fn committed(&mut self, group: u64, sequence: LogSequence) {
        for entry in self.entries.iter_mut().rev() {
            match Place::unpack(entry.place) {
                Place::Group(of, turn) if of == group => entry.place = Place::Record(sequence, turn).pack(),
                Place::Group(..) => {}
                Place::Record(..) => break,
            }
        }
    }

    /// The oldest record that holds a reply.
    pub fn oldest(&self) -> Option<LogSequence> {
        match self.entries.front().map(|entry| Place::unpack(entry.place))? {
            Place::Record(sequence, _) => Some(sequence),
            Place::Group(..) => None,
        }
    }

    /// The number of remembered ids.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether no id is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, id: CommandId) -> Option<&Entry> {
        let number = self.numbers.find(self.hasher.hash_one(id), |number| self.at(*number).id == id)?;
        Some(self.at(*number))
    }

    fn at(&self, number: u32) -> &Entry {
        &self.entries[number.wrapping_sub(self.first) as usize]
    }

    fn insert(&mut self, entry: Entry) {
        if self.entries.len() == RECENT_IDS_MAX {
            self.forget_oldest();
        }
        let Self { entries, first, numbers, hasher, .. } = self;
        let number = first.wrapping_add(entries.len() as u32);
        let id_of = |entries: &VecDeque<Entry>, number: u32| entries[number.wrapping_sub(*first) as usize].id;
        let hash = hasher.hash_one(entry.id);
        // An id that is known already counts from its last use.
        if let Ok(found) = numbers.find_entry(hash, |number| id_of(entries, *number) == entry.id) {
            found.remove();
        }
        entries.push_back(entry);
        numbers.insert_unique(hash, number, |number| hasher.hash_one(id_of(entries, *number)));
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.entries.front().copied() else { return };
        let (hash, first) = (self.hasher.hash_one(oldest.id), self.first);
        // The number differs if the id was used again and has a later entry.
        if let Ok(found) = self.numbers.find_entry(hash, |number| *number == first) {
            found.remove();
        }
        self.entries.pop_front();
        self.first = self.first.wrapping_add(1);
        self.floor = self.floor.max(oldest.id.made_at());
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.entries.len() * STORED);
        bytes.extend(self.floor.map_or(0, |floor| floor.0).to_le_bytes());
        for Entry { id, fingerprint, place } in &self.entries {
            bytes.extend(id.0.as_bytes());
            bytes.extend(fingerprint.to_le_bytes());
            bytes.extend(place.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (floor, rest) = bytes.split_first_chunk::<8>()?;
        let floor = Some(Timestamp(u64::from_le_bytes(*floor))).filter(|floor| floor.0 > 0);
        let count = rest.len() / STORED;
        if !rest.len().is_multiple_of(STORED) || count > RECENT_IDS_MAX {
            return None;
        }
        let mut recent = Self { entries: VecDeque::with_capacity(count), floor, ..Self::default() };
        for entry in rest.chunks_exact(STORED) {
            let (id, rest) = entry.split_first_chunk::<16>()?;
            let (fingerprint, place) = rest.split_first_chunk::<8>()?;
            recent.insert(Entry {
                id: CommandId(Uuid::from_bytes(*id)),
                fingerprint: u64::from_le_bytes(*fingerprint),
                place: u64::from_le_bytes(place.try_into().ok()?),
            });
        }
        Some(recent)
    }
}

impl Serialize for Recent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Recent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(RecentVisitor)
    }
}

struct RecentVisitor;

impl<'de> Visitor<'de> for RecentVisitor {
    type Value = Recent;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("recent command ids, 32 bytes each")
    }
    // Ids that cannot be read would count as new, and their commands would be applied again.
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Recent, E> {
        Recent::decode(bytes).ok_or_else(|| E::custom("the recent ids cannot be read"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Recent, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Recent::decode(&bytes).ok_or_else(|| A::Error::custom("the recent ids cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::{Key, Kind};

    use super::*;

    fn made_at(ms: u128, number: u128) -> CommandId {
        CommandId(Uuid::from_u128(ms << 80 | 7 << 76 | 2 << 62 | number))
    }

    fn entity(key: &str) -> EntityAddress {
        EntityAddress::new(Kind::from_static("probe"), Key::parse(key).expect("a key"))
    }

    fn insert(recent: &mut Recent, id: CommandId, key: &str, place: Place) {
        recent.insert(Entry { id, fingerprint: fingerprint(&entity(key), b"{}"), place: place.pack() });
    }

    #[test]
    fn an_id_belongs_to_one_entity_and_one_body() {
        let (mut recent, id, place) = (Recent::default(), made_at(5, 1), Place::Record(LogSequence(7), 3));
        insert(&mut recent, id, "t3", place);
        assert_eq!(recent.look_up(id, &entity("t3"), b"{}"), Known::Answered(place));
        assert_eq!(recent.look_up(id, &entity("t16"), b"{}"), Known::Reused(place));
        assert_eq!(recent.look_up(id, &entity("t3"), b"[]"), Known::Reused(place));
        assert_eq!(recent.look_up(made_at(5, 2), &entity("t3"), b"{}"), Known::New);
    }

    #[test]
    fn a_place_moves_into_the_log_with_its_group() {
        let mut recent = Recent::default();
        for (number, group) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
            insert(&mut recent, made_at(5, number), "p", Place::Group(group, number as usize));
        }
        recent.committed(1, LogSequence(9));
        recent.committed(2, LogSequence(10));
        let place = |number| match recent.look_up(made_at(5, number), &entity("p"), b"{}") {
            Known::Answered(place) => place,
            known => panic!("{known:?}"),
        };
        let record = |sequence, turn| Place::Record(LogSequence(sequence), turn);
        assert_eq!([1, 2, 3].map(place), [record(9, 1), record(10, 2), record(10, 3)]);
        assert_eq!(place(4), Place::Group(3, 4));
        assert_eq!(recent.oldest(), Some(LogSequence(9)));
    }

    #[test]
    fn the_oldest_are_forgotten_and_refused_and_the_others_survive_being_stored() {
        let mut recent = Recent::default();
        let all = RECENT_IDS_MAX as u128 * 2 + 5;
        for number in 0..all {
            let place = Place::Record(LogSequence(number as u64 / 8 + 1), number as usize % 8);
            insert(&mut recent, made_at(1_000 + number, number), "p", place);
        }
        let stored = rmp_serde::to_vec(&recent).expect("plain data");
        assert!(stored.len() < RECENT_IDS_MAX * STORED + 64);
        let read: Recent = rmp_serde::from_slice(&stored).expect("recent ids");
        for recent in [&recent, &read] {
            assert_eq!(recent.len(), RECENT_IDS_MAX);
            let known = |number| recent.look_up(made_at(1_000 + number, number), &entity("p"), b"{}");
            let oldest = all - RECENT_IDS_MAX as u128;
            assert_eq!((known(0), known(oldest - 2)), (Known::Stale, Known::Stale));
            for number in (oldest..all).step_by(1_000) {
                let place = Place::Record(LogSequence(number as u64 / 8 + 1), number as usize % 8);
                assert_eq!(known(number), Known::Answered(place));
            }
            assert_eq!(known(all), Known::New);
        }
        assert_eq!(read.encode(), recent.encode());
    }

    #[test]
    fn an_id_that_is_used_again_counts_from_then_on() {
        let mut recent = Recent::default();
        let again = made_at(1, 1);
        insert(&mut recent, again, "p", Place::Record(LogSequence(1), 0));
        insert(&mut recent, again, "p", Place::Record(LogSequence(2), 0));
        for number in 0..RECENT_IDS_MAX as u128 - 1 {
            insert(&mut recent, made_at(2, number), "p", Place::Record(LogSequence(3), 0));
        }
        assert_eq!(
            recent.look_up(again, &entity("p"), b"{}"),
            Known::Answered(Place::Record(LogSequence(2), 0))
        );
    }
}
