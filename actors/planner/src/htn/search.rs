//! The search.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use smol_str::SmolStr;

use super::domain::{Atom, Binding, Condition, Domain, DomainError, Method, Operator};
use super::plan::{Answer, Chosen, Limit, Limits, Plan, Rejected, Step, Why};

/// The facts that hold.
type State = BTreeSet<Atom>;

/// A task that waits, and how deep it is below the one that was asked for.
#[derive(Debug, Clone)]
struct Pending {
    task: Atom,
    level: usize,
}

/// A place in the search. The next task is the last one.
#[derive(Debug, Clone)]
struct Node {
    state: Rc<State>,
    agenda: Vec<Pending>,
    cost: u64,
    depth: usize,
}

struct Search<'a> {
    domain: &'a Domain,
    limits: Limits,
    steps: usize,
    limit: Option<Limit>,
    /// The steps and the methods on the way to the current node.
    path: Vec<(Atom, u32)>,
    chosen: Vec<Chosen>,
    best: Option<Plan>,
    /// For each state with its tasks the lowest cost and depth at which it was seen: coming again no better leads to
    /// nothing new. A task that comes back to itself ends here.
    seen: BTreeMap<(Rc<State>, Vec<Atom>), (u64, usize)>,
    /// The branches that the cost cut off.
    cut: usize,
    /// Methods that led to a plan, which a cheaper one may have replaced.
    reached: Vec<(Atom, SmolStr)>,
    rejected: Vec<Rejected>,
    known: BTreeSet<Rejected>,
    left_out: usize,
}

impl Domain {
    /// The cheapest plan for tasks in order, from these facts.
    pub fn find(&self, facts: &[Atom], tasks: &[Atom], limits: Limits) -> Result<Answer, DomainError> {
        facts.iter().chain(tasks).try_for_each(Self::check_ground)?;
        tasks.iter().try_for_each(|task| self.check_known(task))?;
        let mut search = Search {
            domain: self,
            limits,
            steps: 0,
            limit: None,
            path: Vec::new(),
            chosen: Vec::new(),
            best: None,
            seen: BTreeMap::new(),
            cut: 0,
            reached: Vec::new(),
            rejected: Vec::new(),
            known: BTreeSet::new(),
            left_out: 0,
        };
        let state = Rc::new(facts.iter().cloned().collect::<State>());
        let agenda = tasks.iter().rev().map(|task| Pending { task: task.clone(), level: 0 }).collect();
        search.seek(Node { state, agenda, cost: 0, depth: 0 });
        Ok(search.answer())
    }
}

impl Search<'_> {
    /// Takes up the next task of a node.
    fn seek(&mut self, mut node: Node) {
        if self.best.as_ref().map_or(node.cost > self.limits.cost, |best| node.cost >= best.cost) {
            self.cut += 1;
            return;
        }
        if !self.may_go_on(1 + node.agenda.len()) {
            return;
        }
        if node.depth > self.limits.depth {
            self.limit = self.limit.max(Some(Limit::Depth));
            return;
        }
        let tasks = node.agenda.iter().map(|pending| pending.task.clone()).collect();
        let seen = self.seen.entry((Rc::clone(&node.state), tasks)).or_insert((u64::MAX, usize::MAX));
        if seen.0 <= node.cost && seen.1 <= node.depth {
            return;
        }
        *seen = (node.cost, node.depth);
        let domain = self.domain;
        let Some(Pending { task, level }) = node.agenda.pop() else {
            let step =
                |(task, cost): &(Atom, u32)| Step { task: task.clone(), cost: *cost, after: BTreeSet::new() };
            let steps = self.path.iter().map(step).collect();
            self.best = Some(Plan { steps, cost: node.cost, chosen: self.chosen.clone() });
            return;
        };
        if let Some(operator) = domain.operators.get(task.name()) {
            return self.apply(node, task, operator);
        }
        for method in domain.methods.get(task.name()).into_iter().flatten() {
            let Some(binding) = method.head.matched(&task, &Binding::new()) else { continue };
            self.decompose(&node, &Pending { task: task.clone(), level }, method, &binding);
        }
    }

    /// Counts what is looked at or copied; whether the search may go on.
    fn may_go_on(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps {
            self.limit = Some(Limit::Steps);
        }
        !self.is_over()
    }

    fn apply(&mut self, node: Node, task: Atom, operator: &Operator) {
        let Some(binding) = operator.head.matched(&task, &Binding::new()) else { return };
        let mut conditions = operator.when.iter().map(|one| ground(one, &binding));
        if let Some(condition) = conditions.find(|one| node.state.contains(&one.atom) != one.holds) {
            return self.reject(Rejected { task, method: None, why: Why::Unmet { condition } });
        }
        if !self.may_go_on(node.state.len()) {
            return;
        }
        let mut state = State::clone(&node.state);
        state.retain(|fact| !operator.deletes.iter().any(|atom| atom.bound(&binding) == *fact));
        state.extend(operator.adds.iter().map(|atom| atom.bound(&binding)));
        self.path.push((task, operator.cost));
        let cost = node.cost.saturating_add(operator.cost.into());
        self.seek(Node { state: Rc::new(state), cost, depth: node.depth + 1, ..node });
        self.path.pop();
    }

    fn decompose(&mut self, node: &Node, pending: &Pending, method: &Method, binding: &Binding) {
        let Pending { task, level } = pending;
        let (mut bindings, mut furthest) = (Vec::new(), 0);
        self.bind(&node.state, &method.when, 0, binding, &mut |found, index| {
            furthest = usize::max(furthest, index);
            bindings.extend(found.cloned());
        });
        let reject = |why| Rejected { task: task.clone(), method: Some(method.name.clone()), why };
        let unmet = method.when.get(furthest).map(|one| ground(one, binding));
        if let Some(condition) = unmet.filter(|_| bindings.is_empty()) {
            let why = if self.is_over() { Why::Limit } else { Why::Unmet { condition } };
            return self.reject(reject(why));
        }
        for binding in bindings {
            let (former, cut, limit) = (self.best.as_ref().map(|best| best.cost), self.cut, self.limit);
            let mut agenda = node.agenda.clone();
            let subtasks = method.then.iter().rev();
            agenda.extend(subtasks.map(|task| Pending { task: task.bound(&binding), level: level + 1 }));
            self.chosen.push(Chosen { task: task.clone(), method: method.name.clone(), level: *level });
            self.seek(Node { state: Rc::clone(&node.state), agenda, cost: node.cost, depth: node.depth + 1 });
            self.chosen.pop();
            let best = self.best.as_ref().map(|best| best.cost);
            if best != former {
                self.reached.push((task.clone(), method.name.clone()));
            } else if self.cut > cut {
                self.reject(reject(Why::Costlier { than: best.unwrap_or(self.limits.cost) }));
            } else if self.limit != limit || self.is_over() {
                self.reject(reject(Why::Limit));
            } else {
                self.reject(reject(Why::DeadEnd));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.limit == Some(Limit::Steps)
    }

    /// Tells every binding under which the conditions from a place on hold, in sorted order, and each place that it comes
    /// to.
    fn bind(
        &mut self,
        state: &State,
        conditions: &[Condition],
        at: usize,
        binding: &Binding,
        tell: &mut dyn FnMut(Option<&Binding>, usize),
    ) {
        let Some(condition) = conditions.get(at) else { return tell(Some(binding), at) };
        tell(None, at);
        let atom = condition.atom.bound(binding);
        if atom.is_ground() {
            if self.may_go_on(1) && state.contains(&atom) == condition.holds {
                self.bind(state, conditions, at + 1, binding, tell);
            }
            return;
        }
        let first = Atom::of(atom.name());
        for fact in state.range(first..).take_while(|fact| fact.name() == atom.name()) {
            if !self.may_go_on(1) {
                return;
            }
            if let Some(binding) = atom.matched(fact, binding) {
                self.bind(state, conditions, at + 1, &binding, tell);
            }
        }
    }

    /// Keeps a rejection, once.
    fn reject(&mut self, rejected: Rejected) {
        if self.known.contains(&rejected) {
            return;
        }
        if self.rejected.len() == self.limits.rejected {
            self.left_out += 1;
            return;
        }
        self.known.insert(rejected.clone());
        self.rejected.push(rejected);
    }

    fn answer(mut self) -> Answer {
        let mut plan = self.best.take();
        let is_used = |plan: &Option<Plan>, task: &Atom, method: &SmolStr| {
            let mut chosen = plan.iter().flat_map(|plan| &plan.chosen);
            chosen.any(|one| one.task == *task && one.method == *method)
        };
        for (task, method) in std::mem::take(&mut self.reached) {
            if !is_used(&plan, &task, &method) {
                let than = plan.as_ref().map_or(0, |plan| plan.cost);
                self.reject(Rejected { task, method: Some(method), why: Why::Costlier { than } });
            }
        }
        // A method may fail for one binding and be used with another.
        self.rejected.retain(|one| one.method.as_ref().is_none_or(|name| !is_used(&plan, &one.task, name)));
        if let Some(plan) = &mut plan {
            self.order(plan);
        }
        let Self { rejected, left_out, limit, steps, .. } = self;
        Answer { plan, rejected, left_out, limit, steps }
    }

    /// Says which steps come after which.
    fn order(&self, plan: &mut Plan) {
        // Of each fact who changed it last, and who has read it since.
        let mut changed: BTreeMap<Atom, usize> = BTreeMap::new();
        let mut readers: BTreeMap<Atom, Vec<usize>> = BTreeMap::new();
        for (at, step) in plan.steps.iter_mut().enumerate() {
            let operator = &self.domain.operators[step.task.name()];
            let binding = operator.head.matched(&step.task, &Binding::new()).unwrap_or_default();
            for condition in &operator.when {
                let atom = condition.atom.bound(&binding);
                step.after.extend(changed.get(&atom));
                readers.entry(atom).or_default().push(at);
            }
            for atom in operator.adds.iter().chain(&operator.deletes).map(|atom| atom.bound(&binding)) {
                step.after.extend(readers.remove(&atom).into_iter().flatten().filter(|reader| *reader != at));
                step.after.extend(changed.insert(atom, at).filter(|former| *former != at));
            }
        }
    }
}

fn ground(condition: &Condition, binding: &Binding) -> Condition {
    Condition { atom: condition.atom.bound(binding), holds: condition.holds }
}
