//! The entities that ever had an event in a partition. Any other entity is new, and begins empty without a
//! read.
//!
//! A chain of Bloom filters, each twice as large as the one before it, so that it grows with its content
//! (Almeida, Baquero, Preguiça, Hutchison: "Scalable Bloom Filters", 2007). The bit positions of an entity
//! combine two halves of its BLAKE3 hash (Kirsch, Mitzenmacher: "Less Hashing, Same Performance", 2006), so
//! they are the same on every machine and in every version.
//!
//! A new entity may be taken for a known one, which costs a read. A known entity is never taken for new: it
//! would begin a second time. So a filter that could not be read whole reports every entity as known.

use bus_schemas::EntityAddress;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the layout and the hash: raised with either.
const VERSION: u8 = 1;
/// Entities in the first filter of a chain, which takes 640 bytes.
const FIRST_ENTITIES: usize = 256;
/// Filters at the head of a chain with a lower error rate; together 160 KiB for 64,000 entities.
const GENEROUS_STAGES: usize = 8;
/// Bits and positions per entity in those: one of 15,000 new entities is taken for a known one.
const GENEROUS: (usize, u64) = (20, 14);
/// Bits and positions per entity in the later filters: one of 500. A million entities take four of them and
/// 1.7 MB; the whole chain errs for less than 1 %.
const USUAL: (usize, u64) = (13, 9);

/// The entities that ever had an event in a partition.
#[derive(Clone)]
pub struct Seen {
    stages: Vec<Stage>,
    /// Whether it holds every entity since the first record of the log.
    whole: bool,
}

#[derive(Clone)]
struct Stage {
    bits: Vec<u8>,
    entities: usize,
}

impl Default for Seen {
    /// The set for a log without records.
    fn default() -> Self {
        Self { stages: Vec::new(), whole: true }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (entities, bytes) = (self.len(), self.bytes());
        f.debug_struct("Seen")
            .field("entities", &entities)
            .field("bytes", &bytes)
            .field("whole", &self.whole)
            .finish()
    }
}

impl Seen {
    /// A set that reports every entity as known.
    pub fn unknown() -> Self {
        Self { stages: Vec::new(), whole: false }
    }
    /// Whether an entity is certainly new.
    pub fn is_new(&self, entity: &EntityAddress) -> bool {
        self.whole && !self.holds(places(entity))
    }
    /// Adds an entity.
    pub fn insert(&mut self, entity: &EntityAddress) {
        let places = places(entity);
        if self.holds(places) {
            return;
        }
        let last = self.stages.len().saturating_sub(1);
        if self.stages.last().is_none_or(|stage| stage.entities == entities_max(last)) {
            let bytes = entities_max(self.stages.len()) * shape(self.stages.len()).0 / 8;
            self.stages.push(Stage { bits: vec![0; bytes], entities: 0 });
        }
        let places_each = shape(self.stages.len() - 1).1;
        let Some(stage) = self.stages.last_mut() else { return };
        for place in stage.places(places, places_each) {
            stage.bits[place / 8] |= 1 << (place % 8);
        }
        stage.entities += 1;
    }
    fn holds(&self, places: Places) -> bool {
        // From the last filter on: it holds half of all entities.
        self.stages.iter().enumerate().rev().any(|(index, stage)| stage.holds(places, shape(index).1))
    }
    /// The number of entities added.
    pub fn len(&self) -> usize {
        self.stages.iter().map(|stage| stage.entities).sum()
    }
    /// Whether no entity was added.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.bits.len()).sum()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes() + 8 * self.stages.len() + 2);
        bytes.extend([VERSION, u8::from(self.whole)]);
        for stage in &self.stages {
            bytes.extend((stage.entities as u64).to_le_bytes());
            bytes.extend(&stage.bits);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let ([VERSION, whole], mut rest) = bytes.split_first_chunk::<2>()? else { return None };
        let mut seen = Self { stages: Vec::new(), whole: *whole == 1 };
        while !rest.is_empty() {
            let (entities, after) = rest.split_first_chunk::<8>()?;
            let entities = usize::try_from(u64::from_le_bytes(*entities)).ok()?;
            let index = seen.stages.len();
            let full = entities_max(index);
            let (bits, after) = after.split_at_checked(full.checked_mul(shape(index).0)? / 8)?;
            // Only the last filter may have room, and none is made before it is needed.
            if entities == 0 || entities > full || (entities < full && !after.is_empty()) {
                return None;
            }
            seen.stages.push(Stage { bits: bits.to_vec(), entities });
            rest = after;
        }
        Some(seen)
    }
}

impl Stage {
    fn places(&self, places: Places, count: u64) -> impl Iterator<Item = usize> + use<> {
        let Places { first, step } = places;
        let bits = self.bits.len() as u64 * 8;
        (0..count).map(move |index| (first.wrapping_add(step.wrapping_mul(index)) % bits) as usize)
    }
    fn holds(&self, places: Places, count: u64) -> bool {
        self.places(places, count).all(|place| self.bits[place / 8] & (1 << (place % 8)) != 0)
    }
}

/// How many entities a filter of the chain holds.
fn entities_max(index: usize) -> usize {
    FIRST_ENTITIES << index
}

/// Bits and positions per entity, for a filter of the chain.
fn shape(index: usize) -> (usize, u64) {
    if index < GENEROUS_STAGES { GENEROUS } else { USUAL }
}

/// The two hash halves that the bit positions of an entity are computed from.
#[derive(Debug, Clone, Copy)]
struct Places {
    first: u64,
    step: u64,
}

fn places(entity: &EntityAddress) -> Places {
    let mut hasher = blake3::Hasher::new();
    hasher.update(entity.kind.as_str().as_bytes()).update(b"/").update(entity.key.as_str().as_bytes());
    let hash = hasher.finalize();
    let half = |from: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&hash.as_bytes()[from..from + 8]);
        u64::from_le_bytes(half)
    };
    // An even step would skip positions.
    Places { first: half(0), step: half(8) | 1 }
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(SeenVisitor)
    }
}

struct SeenVisitor;

impl<'de> Visitor<'de> for SeenVisitor {
    type Value = Seen;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the filter of the entities that a partition has seen")
    }
    // An unreadable set costs only reads, and must not make the rest of the state unreadable.
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Seen, E> {
        Ok(Seen::decode(bytes).unwrap_or_else(Seen::unknown))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Seen, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes).map_err(|error: A::Error| A::Error::custom(error))
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::{Key, Kind};

    use super::*;

    fn entity(number: u64) -> EntityAddress {
        let key = Key::parse(&format!("customer.n{number}")).expect("a key");
        EntityAddress::new(Kind::from_static("probe"), key)
    }

    fn seen(entities: u64) -> Seen {
        let mut seen = Seen::default();
        (0..entities).for_each(|number| seen.insert(&entity(number)));
        seen
    }

    fn errors(seen: &Seen, of: u64) -> u64 {
        (0..of).filter(|number| !seen.is_new(&entity(u64::MAX / 2 + number))).count() as u64
    }

    #[test]
    fn a_million_entities_take_little_and_few_new_ones_are_taken_for_seen() {
        let seen = seen(1_000_000);
        assert!((0..1_000_000).step_by(97).all(|number| !seen.is_new(&entity(number))), "never forgotten");
        let (errors, bytes) = (errors(&seen, 100_000), seen.bytes());
        println!(
            "{errors} of 100,000 new entities taken for seen; {bytes} bytes, {} stages",
            seen.stages.len()
        );
        assert!(errors < 1_000, "{errors} of 100,000 new entities are taken for seen");
        assert!(bytes < 1_800_000, "{bytes} bytes");
    }

    #[test]
    fn what_was_seen_is_seen_at_every_size_and_after_being_stored() {
        let mut whole = Seen::default();
        for number in 0..3_000 {
            assert!(!whole.stages.iter().any(|stage| stage.entities == 0));
            whole.insert(&entity(number));
            whole.insert(&entity(number));
            assert!(!whole.is_new(&entity(number)));
        }
        let stored = rmp_serde::to_vec(&whole).expect("plain data");
        let read: Seen = rmp_serde::from_slice(&stored).expect("a filter");
        assert!((0..3_000).all(|number| !read.is_new(&entity(number))));
        assert_eq!((read.len(), read.encode()), (whole.len(), whole.encode()));
        assert!(read.is_new(&entity(1 << 40)));
    }

    #[test]
    fn one_that_cannot_be_read_answers_for_nothing() {
        let stored = seen(300).encode();
        let another = [&[VERSION + 1], &stored[1..]].concat();
        for bytes in [&stored[..stored.len() - 1], &another, b"", &[VERSION]] {
            let stored = rmp_serde::to_vec(&Bytes(bytes)).expect("plain data");
            let read: Seen = rmp_serde::from_slice(&stored).expect("whatever it is, the state is read");
            assert!(!read.is_new(&entity(1 << 40)), "{} bytes", bytes.len());
        }
    }

    struct Bytes<'a>(&'a [u8]);
    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    /// The positions must never change: a stored filter would lose its content.
    #[test]
    fn the_places_of_an_entity_are_the_same_for_ever() {
        let mut seen = Seen::default();
        seen.insert(&entity(1));
        seen.insert(&entity(2));
        let hash = blake3::hash(&seen.encode()).to_hex();
        assert_eq!(&hash[..16], "bebcb069b31ea2d6");
    }
}
