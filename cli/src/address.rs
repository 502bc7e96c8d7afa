//! Addresses on the command line: entities, keys and cursors, typed as `<kind>/<key>`.

use bus_schemas::{EntityAddress, Key, Kind};

use crate::failure::{Failure, exit};

/// Reads `<kind>/<key>`, such as `task/order-42`, of a kind that exists.
pub fn known(text: &str) -> Result<EntityAddress, Failure> {
    let entity = entity(text)?;
    known_kind(entity.kind.as_str())?;
    Ok(entity)
}

/// Refuses a kind that does not exist.
pub fn known_kind(kind: &str) -> Result<(), Failure> {
    let registry = actors_logic::registry();
    let known: Vec<&str> = registry.kinds().map(Kind::as_str).collect();
    if known.contains(&kind) {
        return Ok(());
    }
    Err(Failure::new("unknown-kind", format!("no entity of kind `{kind}` exists"))
        .next(format!("the kinds are {}", known.join(", ")))
        .exit(exit::USAGE))
}

/// Reads `<kind>/<key>`, whether the kind exists or not.
pub fn entity(text: &str) -> Result<EntityAddress, Failure> {
    let malformed = |why: &str| {
        Failure::new("invalid-key", format!("`{text}` is not `<kind>/<key>`: {why}"))
            .next("`orrery events` prints entities as they are typed here, such as `task/order-42`")
            .exit(exit::USAGE)
    };
    let (kind, key) = text.split_once('/').ok_or_else(|| malformed("the `/` is missing"))?;
    let kind = Kind::parse(kind).map_err(|error| malformed(&error.to_string()))?;
    let key = Key::parse(key).map_err(|error| malformed(&error.to_string()))?;
    Ok(EntityAddress::new(kind, key))
}

/// A task's address.
pub fn task(key: &str) -> Result<EntityAddress, Failure> {
    Ok(EntityAddress::new(Kind::from_static("task"), Key::parse(key)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_entity_is_read_or_said_to_be_malformed() {
        assert_eq!(super::entity("task/a.b").expect("it is one").to_string(), "task/a.b");
        for text in ["task", "task/", "/a", "task/a b", "ta sk/a"] {
            assert_eq!(super::entity(text).expect_err(text).code, "invalid-key");
        }
        assert_eq!(super::known("unicorn/a").expect_err("no such kind").code, "unknown-kind");
    }
}
