//! `orchestrator`: makes the plan of a repository report, of a repair and of a project. Skills `plan`, `build`,
//! `specify`.
//!
//! ```text
//! inventory ─┐
//! history   ─┤
//! manifests ─┼─→ review ─→ report
//! hotspots  ─┤               ▲
//! docs      ─┴───────────────┘
//! ```
//!
//! A goal that the agents here cannot do is refused, see [`goal`]. The repository of a report is checked before the plan
//! is made, so that a wrong path fails at once and with one clear code, instead of five times and later.

pub(crate) mod build;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors_models::{Level, Models};
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::{Plan, PlanStep};
use bus_schemas::jobs::Job;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

pub(crate) use self::build::{BuildInput, PROMPT, Specified};
use crate::card::{Nothing, card, typed, unknown_skill};
use crate::goal::{self, Asked};
use crate::repository;
use crate::step::look;
use crate::workspaces::Workspaces;

const NAME: &str = "orchestrator";

/// The steps that read the repository; they do not depend on each other.
const LOOKS: [(&str, &str); 5] = [
    ("inventory", "count the files and lines of {} by language"),
    ("history", "read the git history of {}"),
    ("manifests", "find and read the dependency manifests of {}"),
    ("hotspots", "find notes and long functions in the code of {}"),
    ("docs", ""),
];

/// What a goal may come with.
#[derive(Debug, JsonSchema)]
#[allow(dead_code, reason = "the schema of an input, of which each sort of goal reads its own")]
struct PlanInput {
    /// The absolute path of the repository that the goal is about.
    repo: Option<PathBuf>,
    #[serde(flatten)]
    build: BuildInput,
}

/// The plan in numbers; the plan itself is followed.
#[derive(Debug, Serialize, JsonSchema)]
struct Planned {
    /// The steps.
    steps: usize,
    /// The repository, if the goal is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    repo: Option<PathBuf>,
}

/// Makes plans, whose child tasks do the work.
#[derive(Debug)]
pub struct Orchestrator {
    models: Arc<Models>,
    workspaces: Arc<Workspaces>,
}

impl Orchestrator {
    /// An orchestrator that asks these models for specifications, and knows into which folders a project may go.
    pub fn new(models: Arc<Models>, workspaces: Arc<Workspaces>) -> Self {
        Self { models, workspaces }
    }
}

impl Agent for Orchestrator {
    fn card(&self) -> AgentCard {
        let skills = vec![
            typed::<Option<PlanInput>, Planned>(
                "plan",
                "Plan",
                "splits a goal into steps that agents can do side by side: a report on a repository, a repair of its tests, or a small web service",
                &["plan", "report", "repository", "repair", "project"],
            ),
            typed::<Option<BuildInput>, Planned>(
                "build",
                "Build",
                "splits the making of a small web service into steps; they need a model and the sandbox",
                &["plan", "project"],
            ),
            typed::<Option<Nothing>, build::Sum>(
                "specify",
                "Specify",
                "makes a specification of a goal: endpoints and pages; needs a model",
                &["project", "specification", "model"],
            ),
        ];
        card(NAME, "plans how a goal is reached", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (models, workspaces) = (Arc::clone(&self.models), Arc::clone(&self.workspaces));
        Box::pin(async move {
            if models.screened(&work, "goal/verdict", &work.job.goal).await? == Level::Hostile {
                return Err(goal_hostile());
            }
            match work.job.skill.as_str() {
                "plan" if goal::asked(&work.job.goal) != Asked::Build => plan(&work).await,
                "plan" | "build" => build::build(&work, &workspaces).await,
                "specify" => build::specify(&work, &models).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

async fn plan(work: &Work) -> Result<Done, Failure> {
    let (repo, asked) = repository_of(&work.job)?;
    let (look_at, goal) = (repo.clone(), work.job.goal.clone());
    let look = || {
        look(work, move |watch| {
            // A repair looks for itself, and needs no history.
            if asked == Asked::Repair {
                return Ok(true);
            }
            actors_report::check_repository(&look_at)?;
            Ok(match asked {
                Asked::Question => actors_report::docs(&look_at, &goal, watch)?.goal.is_some(),
                _ => true,
            })
        })
    };
    if !work.step("look", &json!({"repo": &repo, "goal": &work.job.goal}), look).await? {
        let why = format!("nothing in the documentation of `{}` speaks about this question", repo.display());
        return Err(not_plannable(&why));
    }
    // A path that is not UTF-8 cannot be in JSON, so this one did not come from there.
    let (goal, at) = (&work.job.goal, repo.to_string_lossy());
    let plan = match asked {
        Asked::Repair => repair_plan(goal, &at, &work.job.input),
        _ => report_plan(goal, &at),
    };
    work.output(&format!("planned {} steps for `{}`\n", plan.steps.len(), repo.display())).await;
    let result = Planned { steps: plan.steps.len(), repo: Some(repo) };
    Ok(Done { artifacts: Vec::new(), result: json!(result), plan: Some(plan) })
}

/// The repository of the goal and the sort of the goal, or why nothing can be planned.
fn repository_of(job: &Job) -> Result<(PathBuf, Asked), Failure> {
    if !job.goal.chars().any(char::is_alphanumeric) {
        return Err(not_plannable("the goal has no words"));
    }
    let asked = goal::asked(&job.goal);
    match asked {
        Asked::Change => {
            return Err(not_plannable(
                "the goal asks for a change, and a repair of failing tests is the only one that the agents here plan",
            ));
        }
        Asked::Unknown => {
            return Err(not_plannable("the goal asks for nothing that a report on a repository has"));
        }
        Asked::Report | Asked::Question | Asked::Repair | Asked::Build => {}
    }
    let repo = match repository::given(job)? {
        Some(repo) => Some(repo),
        None => path_in(&job.goal),
    };
    let repo = repo.ok_or_else(|| {
        not_plannable("the goal names no repository, and a report or a repair is about one")
    })?;
    Ok((repo, asked))
}

/// The first absolute path that a goal names, such as in “report on /srv/app”.
fn path_in(goal: &str) -> Option<PathBuf> {
    goal.split_whitespace()
        .map(|word| {
            word.trim_matches(|c| matches!(c, '`' | '"' | '\'' | '(' | ')' | ',' | ';' | ':' | '?' | '!'))
        })
        .map(|word| word.strip_suffix('.').unwrap_or(word))
        .find(|word| word.len() > 1 && !word.starts_with("//") && Path::new(word).is_absolute())
        .map(PathBuf::from)
}

fn goal_hostile() -> Failure {
    let why = "the goal reads like an order to a model to leave its rules, or to give away what it knows";
    Failure::permanent("goal-hostile", why).hint(
        "say in other words what you want; `orrery events TASK` shows what was found, and `defence.detector` turns the \
         detector off",
    )
}

fn not_plannable(why: &str) -> Failure {
    Failure::permanent("goal-not-plannable", why).hint(
        "ask for a report, an overview, the inventory, history, contributors, dependencies, TODOs, long functions or \
         documentation of a repository, or ask a question that its documentation answers, such as `orrery run \
         \"Report on this repository\" --repo DIR`; ask to make the tests of a repository pass; or ask for `a small web \
         service that …`; for any other goal bring a plan (`orrery tasks submit --plan`) or an agent with the skill that \
         it needs",
    )
}

/// The plan of a report on the repository at `repo`.
pub fn report_plan(goal: &str, repo: &str) -> Plan {
    let names = LOOKS.map(|(name, _)| SmolStr::new_static(name));
    let mut steps: Vec<PlanStep> = LOOKS
        .iter()
        .map(|(name, wanted)| {
            // The documentation is searched with the words of the goal.
            let wanted = if wanted.is_empty() { goal.to_owned() } else { wanted.replace("{}", repo) };
            step(name, wanted, repo, Vec::new())
        })
        .collect();
    steps.push(step("review", format!("check the findings on {repo}"), repo, names.to_vec()));
    let mut all = names.to_vec();
    all.push(SmolStr::new_static("review"));
    steps.push(step("report", goal.to_owned(), repo, all));
    Plan { steps }
}

/// The plan of a repair of the repository at `repo`, with what else the goal came with.
pub(crate) fn repair_plan(goal: &str, repo: &str, input: &Value) -> Plan {
    let mut repair = step("repair", goal.to_owned(), repo, Vec::new());
    let given = input.as_object().cloned().unwrap_or_default();
    repair.input = given.into_iter().chain([("repo".to_owned(), repo.into())]).collect();
    Plan { steps: vec![repair] }
}

/// A step with the name of its skill.
fn step(name: &'static str, goal: String, repo: &str, after: Vec<SmolStr>) -> PlanStep {
    PlanStep {
        step: SmolStr::new_static(name),
        goal,
        skill: SmolStr::new_static(name),
        input: json!({ "repo": repo }),
        after,
        optional: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::job;

    fn code(goal: &str, input: Value) -> String {
        match repository_of(&job(goal, input)) {
            Ok((path, _)) => path.display().to_string(),
            Err(Failure::Failed(failure)) => {
                assert!(failure.hint.is_some(), "`{}` has no hint", failure.code);
                failure.code
            }
            Err(Failure::InputRequired { .. }) => "question".into(),
        }
    }

    #[test]
    fn a_goal_is_about_a_repository_or_it_can_not_be_planned() {
        assert_eq!(code("report", json!({"repo": "/srv/app"})), "/srv/app");
        assert_eq!(code("report on `/srv/app`, please", Value::Null), "/srv/app");
        assert_eq!(code("report on /srv/app.", Value::Null), "/srv/app");
        for goal in ["", "   ", "?!…", "--- !!! ///", "🙂"] {
            assert_eq!(code(goal, json!({"repo": "/srv/app"})), "goal-not-plannable", "{goal:?}");
        }
        for goal in ["make me happy", "and/or", "read https://example.org/x", "// comment", "/"] {
            assert_eq!(code(goal, Value::Null), "goal-not-plannable", "{goal:?}");
        }
        for goal in ["make me a sandwich", "delete it", "a sandwich"] {
            assert_eq!(code(goal, json!({"repo": "/srv/app"})), "goal-not-plannable", "{goal:?}");
        }
        assert_eq!(code("report", json!({"repo": "relative"})), "invalid-input");
    }

    #[test]
    fn the_review_waits_for_every_look_and_the_report_for_all() {
        let plan = report_plan("what is this?", "/srv/app");
        assert_eq!(plan.steps.len(), 7);
        let (looks, rest) = plan.steps.split_at(5);
        assert!(looks.iter().all(|step| step.after.is_empty()));
        assert_eq!(rest[0].after.len(), 5);
        assert_eq!(rest[1].after.len(), 6);
        assert!(plan.steps.iter().all(|step| step.input == json!({"repo": "/srv/app"})));
        assert_eq!(looks[4].goal, "what is this?");
    }
}
