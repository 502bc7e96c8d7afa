//! Domains: operators, and the methods of compound tasks. A domain is checked as a whole before it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

/// The most words of an atom.
const WORDS_MAX: usize = 16;

/// A name with its arguments: a fact, a task, or a pattern of one. A word that begins with `?` is a variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Atom(Arc<[SmolStr]>);

impl Atom {
    /// The atom of a text whose words are separated by blanks.
    pub fn of(text: &str) -> Self {
        Self(text.split_whitespace().map(SmolStr::new).collect())
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.first().map_or("", SmolStr::as_str)
    }

    /// The words behind the name.
    pub fn arguments(&self) -> &[SmolStr] {
        self.0.get(1..).unwrap_or_default()
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &SmolStr> {
        self.0.iter().filter(|word| is_variable(word))
    }

    pub(super) fn is_ground(&self) -> bool {
        !self.0.is_empty() && self.variables().next().is_none()
    }

    /// The atom with the values of its variables; those without one stay.
    pub(super) fn bound(&self, binding: &Binding) -> Self {
        Self(self.0.iter().map(|word| binding.get(word).unwrap_or(word).clone()).collect())
    }

    /// Extends a binding so that this pattern becomes the atom; `None` where none does.
    pub(super) fn matched(&self, atom: &Self, binding: &Binding) -> Option<Binding> {
        if self.0.len() != atom.0.len() {
            return None;
        }
        let mut binding = binding.clone();
        for (pattern, word) in self.0.iter().zip(atom.0.iter()) {
            match binding.get(pattern) {
                Some(value) if value == word => {}
                None if is_variable(pattern) => drop(binding.insert(pattern.clone(), word.clone())),
                None if pattern == word => {}
                Some(_) | None => return None,
            }
        }
        Some(binding)
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The values of variables.
pub(super) type Binding = BTreeMap<SmolStr, SmolStr>;

fn is_variable(word: &str) -> bool {
    word.starts_with('?')
}

/// A fact that must hold, or must not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// The fact.
    pub atom: Atom,
    /// Whether it must hold.
    pub holds: bool,
}

impl Condition {
    /// The condition of a text: a fact, or `not` and a fact.
    pub fn of(text: &str) -> Self {
        match text.trim_start().strip_prefix("not ") {
            Some(rest) => Self { atom: Atom::of(rest), holds: false },
            None => Self { atom: Atom::of(text), holds: true },
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", if self.holds { "" } else { "not " }, self.atom)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A task that is done as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Operator {
    /// The task, with variables as parameters.
    pub head: Atom,
    /// What must hold before.
    pub when: Vec<Condition>,
    /// The facts that hold afterwards.
    pub adds: Vec<Atom>,
    /// The facts that do not hold any more, unless they are added.
    pub deletes: Vec<Atom>,
    /// What it costs.
    pub cost: u32,
}

impl Operator {
    /// An operator without conditions and effects.
    pub fn new(head: &str, cost: u32) -> Self {
        Self { head: Atom::of(head), when: Vec::new(), adds: Vec::new(), deletes: Vec::new(), cost }
    }

    /// With these conditions.
    pub fn when(self, conditions: &[&str]) -> Self {
        Self { when: conditions.iter().map(|text| Condition::of(text)).collect(), ..self }
    }

    /// With facts that hold afterwards.
    pub fn adds(self, facts: &[&str]) -> Self {
        Self { adds: facts.iter().map(|text| Atom::of(text)).collect(), ..self }
    }

    /// With facts that do not hold afterwards.
    pub fn deletes(self, facts: &[&str]) -> Self {
        Self { deletes: facts.iter().map(|text| Atom::of(text)).collect(), ..self }
    }
}

/// A way to do a compound task: other tasks, in order.
#[derive(Debug, Clone, Serialize)]
pub struct Method {
    /// Its name, for people.
    pub name: SmolStr,
    /// The task, with variables as parameters.
    pub head: Atom,
    /// What must hold. A condition that must hold may bind further variables.
    pub when: Vec<Condition>,
    /// The tasks.
    pub then: Vec<Atom>,
}

impl Method {
    /// A method that does nothing.
    pub fn new(name: &str, head: &str) -> Self {
        Self { name: name.into(), head: Atom::of(head), when: Vec::new(), then: Vec::new() }
    }

    /// With these conditions.
    pub fn when(self, conditions: &[&str]) -> Self {
        Self { when: conditions.iter().map(|text| Condition::of(text)).collect(), ..self }
    }

    /// With these tasks.
    pub fn then(self, tasks: &[&str]) -> Self {
        Self { then: tasks.iter().map(|text| Atom::of(text)).collect(), ..self }
    }
}

/// Why a domain is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Two operators have one name, or an operator has the name of a compound task.
    #[error("the task `{0}` is defined twice")]
    Twice(SmolStr),
    /// Nothing does a task that a method, or the caller, asks for.
    #[error("nothing does the task `{0}`")]
    Unknown(SmolStr),
    /// A variable has no value where it is used.
    #[error("`{place}` uses `{variable}`, which nothing binds before")]
    Unbound {
        /// The operator or method.
        place: SmolStr,
        /// The variable.
        variable: SmolStr,
    },
    /// A fact or a task has no name, too many words, or a variable.
    #[error("`{0}` is no fact or task: it needs 1 to {WORDS_MAX} words, and no variable outside of a domain")]
    Atom(Atom),
}

/// Operators and methods.
#[derive(Debug, Clone, Serialize)]
pub struct Domain {
    pub(super) operators: BTreeMap<SmolStr, Operator>,
    /// In declared order, by task.
    pub(super) methods: BTreeMap<SmolStr, Vec<Method>>,
}

impl Domain {
    /// A domain of operators, and of methods in the order in which they are tried.
    pub fn new(operators: Vec<Operator>, methods: Vec<Method>) -> Result<Self, DomainError> {
        let mut domain = Self { operators: BTreeMap::new(), methods: BTreeMap::new() };
        for operator in operators {
            let name = SmolStr::new(operator.head.name());
            if domain.operators.insert(name.clone(), operator).is_some() {
                return Err(DomainError::Twice(name));
            }
        }
        for method in methods {
            let name = SmolStr::new(method.head.name());
            if domain.operators.contains_key(&name) {
                return Err(DomainError::Twice(name));
            }
            domain.methods.entry(name).or_default().push(method);
        }
        domain.operators.values().try_for_each(check_operator)?;
        let methods = domain.methods.values().flatten();
        methods.into_iter().try_for_each(|method| check_method(method, &domain))?;
        Ok(domain)
    }

    /// The names of the operators.
    pub fn operators(&self) -> impl Iterator<Item = &str> {
        self.operators.keys().map(SmolStr::as_str)
    }

    /// Refuses a fact, or a task, that has a variable.
    pub(super) fn check_ground(atom: &Atom) -> Result<(), DomainError> {
        if atom.is_ground() { check_size(atom) } else { Err(DomainError::Atom(atom.clone())) }
    }

    /// Refuses a task that nothing does.
    pub(super) fn check_known(&self, task: &Atom) -> Result<(), DomainError> {
        let is_known = self.operators.contains_key(task.name()) || self.methods.contains_key(task.name());
        if is_known { Ok(()) } else { Err(DomainError::Unknown(task.name().into())) }
    }
}

fn check_size(atom: &Atom) -> Result<(), DomainError> {
    let is_named = !atom.name().is_empty() && !is_variable(atom.name());
    if is_named && atom.0.len() <= WORDS_MAX { Ok(()) } else { Err(DomainError::Atom(atom.clone())) }
}

fn check_bound(place: &str, atom: &Atom, bound: &BTreeSet<&SmolStr>) -> Result<(), DomainError> {
    check_size(atom)?;
    match atom.variables().find(|variable| !bound.contains(variable)) {
        Some(variable) => Err(DomainError::Unbound { place: place.into(), variable: variable.clone() }),
        None => Ok(()),
    }
}

fn check_operator(operator: &Operator) -> Result<(), DomainError> {
    let Operator { head, when, adds, deletes, .. } = operator;
    check_size(head)?;
    let bound = head.variables().collect();
    let conditions = when.iter().map(|condition| &condition.atom);
    conditions.chain(adds).chain(deletes).try_for_each(|atom| check_bound(head.name(), atom, &bound))
}

fn check_method(method: &Method, domain: &Domain) -> Result<(), DomainError> {
    let Method { name, head, when, then } = method;
    check_size(head)?;
    let mut bound: BTreeSet<&SmolStr> = head.variables().collect();
    for Condition { atom, holds } in when {
        if *holds {
            check_size(atom)?;
            bound.extend(atom.variables());
        } else {
            check_bound(name, atom, &bound)?;
        }
    }
    then.iter().try_for_each(|task| {
        domain.check_known(task)?;
        check_bound(name, task, &bound)
    })
}
