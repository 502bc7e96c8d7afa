//! Random domains.

use actors_planner::htn::{Atom, Condition, Domain, Method, Operator};
use serde_json::{Value, json};

/// Objects, predicates with their arity, and levels of compound tasks with the tasks of each.
const OBJECTS: [&str; 3] = ["a", "b", "c"];
const PREDICATES: [(&str, usize); 5] = [("p", 1), ("q", 1), ("r", 2), ("s", 2), ("fuel", 1)];
const LEVELS: usize = 3;
const OPERATORS: usize = 4;

/// A generator of numbers: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A fact, or a pattern of one, with words of these.
    fn atom(&mut self, words: &[&str]) -> String {
        let (name, arity) = PREDICATES[self.below(PREDICATES.len() - 1)];
        let arguments: Vec<&str> = (0..arity).map(|_| self.one(words)).collect();
        format!("{name} {}", arguments.join(" "))
    }

    fn atoms(&mut self, most: usize, words: &[&str]) -> Vec<Atom> {
        (0..self.below(most + 1)).map(|_| Atom::of(&self.atom(words))).collect()
    }

    /// Conditions; those that must hold come first, so that those that must not are bound.
    fn conditions(&mut self, most: usize, words: &[&str]) -> Vec<Condition> {
        let mut conditions: Vec<Condition> = (0..self.below(most + 1))
            .map(|_| Condition { atom: Atom::of(&self.atom(words)), holds: true })
            .collect();
        if self.below(4) == 0 {
            conditions.push(Condition { atom: Atom::of(&self.atom(&["?x"])), holds: false });
        }
        conditions
    }
}

/// A domain with the facts and tasks of a problem.
#[derive(Debug)]
pub struct Problem {
    pub domain: Domain,
    pub facts: Vec<Atom>,
    pub tasks: Vec<Atom>,
}

impl Problem {
    /// The problem of a seed. Operators cost at most `cost`.
    pub fn of(seed: u64, cost: u32) -> Self {
        let mut random = Random(seed);
        let mut operators: Vec<Operator> = (0..OPERATORS)
            .map(|number| Operator {
                when: random.conditions(random.0 as usize % 2, &["?x"]),
                adds: random.atoms(2, &["?x", "a"]),
                deletes: random.atoms(1, &["?x"]),
                ..Operator::new(&format!("o{number} ?x"), random.below(cost as usize + 1) as u32)
            })
            .collect();
        operators.push(Operator::new("burn ?f", 1.min(cost)).when(&["fuel ?f"]).deletes(&["fuel ?f"]));
        let mut methods = Vec::new();
        for level in 0..LEVELS {
            for task in 0..2 {
                let head = format!("t{level}{task} ?x");
                for number in 0..=random.below(3) {
                    let when = random.conditions(1, &["?x", "?x", "?y", "b"]);
                    let binds = when.iter().any(|one| one.holds && one.atom.to_string().contains("?y"));
                    let words: &[&str] = if binds { &["?x", "?y"] } else { &["?x"] };
                    let subtask = |random: &mut Random| {
                        let name = match (level, random.below(3)) {
                            (0, _) | (_, 0) => format!("o{}", random.below(OPERATORS)),
                            _ => format!("t{}{}", random.below(level), random.below(2)),
                        };
                        Atom::of(&format!("{name} {}", random.one(words)))
                    };
                    let then = (0..random.below(4)).map(|_| subtask(&mut random)).collect();
                    methods.push(Method { when, then, ..Method::new(&format!("m{number}"), &head) });
                }
                if random.below(4) == 0 {
                    // A task that comes back to itself as long as there is fuel.
                    let again = Method::new("again", &head).when(&["fuel ?f"]);
                    let at = methods.len() - random.below(2);
                    methods.insert(at, again.then(&["burn ?f", &head]));
                }
            }
        }
        let facts: Vec<String> = (0..6 + random.below(8)).map(|_| random.atom(&OBJECTS)).collect();
        let fuel = ["fuel f1".to_owned(), "fuel f2".to_owned()];
        let facts = facts.iter().chain(&fuel[..random.below(3)]).map(|text| Atom::of(text)).collect();
        let task = |random: &mut Random| {
            Atom::of(&format!("t{}{} {}", LEVELS - 1, random.below(2), random.one(&OBJECTS)))
        };
        let tasks = (0..=random.below(2)).map(|_| task(&mut random)).collect();
        Self { domain: Domain::new(operators, methods).expect("a domain"), facts, tasks }
    }

    /// What the oracle reads.
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::to_value(&self.domain).expect("plain data");
        json["facts"] = json!(self.facts);
        json["tasks"] = json!(self.tasks);
        json["objects"] = json!(OBJECTS.len() + 2);
        json
    }
}
