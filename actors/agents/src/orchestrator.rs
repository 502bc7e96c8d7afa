//! `orchestrator`: makes plans of goals. Skills `plan`, `build`, `specify`.
//!
//! ```text
//! goal ─→ intent ─→ look: what is there, as facts ─→ the cheapest plan of the domain ─→ child tasks
//! ```
//!
//! What a goal asks for is said by a grammar, and what is to be done for it by the domain of the shipped agents; both
//! are of `actors-planner`. A goal that the agents here cannot do is refused with the first reason of each way. The
//! repository of a goal is looked at before the plan is made, so that a wrong path fails at once and with one clear
//! code, instead of five times and later.

pub(crate) mod build;
mod proposal;
mod steps;

use std::path::{Path, PathBuf};

use actors_models::Level;
use actors_planner::htn::{Answer, Why};
use actors_planner::intent::{self, Goal, Intent};
use actors_planner::shipped;
use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::Job;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use self::build::{BuildInput, PROMPT, Specified};
pub use self::proposal::Proposal;
use self::steps::Given;
use crate::card::{Nothing, card, typed, unknown_skill};
use crate::catalog::Tools;
use crate::repository;
use crate::step::{look, stored};
use crate::workspaces::within;

const NAME: &str = "orchestrator";

/// What a goal may come with.
#[derive(Debug, JsonSchema)]
#[allow(dead_code, reason = "the schema of an input, of which each sort of goal reads its own")]
struct PlanInput {
    /// The absolute path of the repository that the goal is about.
    repo: Option<PathBuf>,
    /// Whether the plan is only shown: the artifact `plan.json` has it with its reasons, and nothing is done.
    dry_run: Option<bool>,
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
    tools: Tools,
}

impl Orchestrator {
    /// An orchestrator that plans with what the agents of its process use.
    pub fn new(tools: Tools) -> Self {
        Self { tools }
    }
}

impl Agent for Orchestrator {
    fn card(&self) -> AgentCard {
        let skills = vec![
            typed::<Option<PlanInput>, Planned>(
                "plan",
                "Plan",
                "splits a goal into steps that agents can do side by side: a report on a repository, a repair or a run of its tests, a judgement of a change, or a small web service",
                &["plan", "report", "repository", "repair", "project"],
            ),
            typed::<Option<PlanInput>, Planned>(
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
        let tools = self.tools.clone();
        Box::pin(async move {
            if tools.models.screened(&work, "goal/verdict", &work.job.goal).await? == Level::Hostile {
                return Err(goal_hostile());
            }
            match work.job.skill.as_str() {
                "plan" | "build" => plan(&work, &tools).await,
                "specify" => build::specify(&work, &tools.models).await,
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}

async fn plan(work: &Work, tools: &Tools) -> Result<Done, Failure> {
    let Asked { intent, repo } = asked(&work.job)?;
    let facts = facts(work, tools, &intent, repo.as_deref()).await?;
    let known: Vec<&str> = facts.iter().map(String::as_str).collect();
    let answer = shipped::plan(&intent.goal, &known);
    let Some(found) = &answer.plan else { return Err(refused(&answer, repo.as_deref())) };
    // A path that is not UTF-8 cannot be in JSON, so this one did not come from there.
    let at = repo.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    let (goal, input) = (work.job.goal.as_str(), &work.job.input);
    let plan = steps::steps(found, &Given { goal, intent: &intent, repo: &at, input });
    let planned = Planned { steps: plan.steps.len(), repo: repo.clone() };
    let proposal = Proposal::of(goal, intent.goal.task(), &facts, &answer, &plan);
    if input.get("dry_run") == Some(&Value::Bool(true)) {
        return stored(work, proposal::FILE, &proposal, &planned).await;
    }
    work.output(&format!("{}\n", proposal.text())).await;
    Ok(Done { artifacts: Vec::new(), result: json!(planned), plan: Some(plan) })
}

/// What a goal asks for, and the repository that it is about.
#[derive(Debug)]
struct Asked {
    intent: Intent,
    repo: Option<PathBuf>,
}

/// Reads the goal of a job. The text of a goal comes in here, and nowhere else.
fn asked(job: &Job) -> Result<Asked, Failure> {
    let understood = intent::understand(&job.goal);
    let intent = match (job.skill.as_str(), understood) {
        ("build", understood) => {
            let plain =
                Intent { goal: Goal::Build, place: None, rounds: None, seconds: None, on_topic: false };
            Intent { goal: Goal::Build, ..understood.unwrap_or(plain) }
        }
        (_, Ok(intent)) => intent,
        (_, Err(error)) => {
            let nearest: Vec<String> = error.nearest.iter().map(|one| format!("`{one}`")).collect();
            let near = match nearest.is_empty() {
                true => "no word of it is known".to_owned(),
                false => format!("the nearest that would be are {}", nearest.join(", ")),
            };
            return Err(not_plannable(&format!("the goal is not understood: {near}")));
        }
    };
    let named = || intent.place.as_ref().map(|place| PathBuf::from(place.as_str()));
    let repo = match intent.goal {
        Goal::Build => None,
        _ => repository::given(job)?.or_else(named),
    };
    Ok(Asked { intent, repo })
}

/// Looks at what is there, as a step: a later attempt, and a replay, plans from the same facts.
async fn facts(
    work: &Work,
    tools: &Tools,
    intent: &Intent,
    repo: Option<&Path>,
) -> Result<Vec<String>, Failure> {
    let input = json!({"repo": repo, "goal": &work.job.goal, "input": &work.job.input});
    let looking = async || {
        let has = |name: &str| work.job.input.get(name).is_some_and(|value| !value.is_null());
        let is_ruled = matches!(&intent.goal, Goal::Review { rules, .. } if !rules.is_empty());
        let is_documented = match repo {
            Some(repo) => look_at(work, intent, repo).await?,
            None => false,
        };
        if intent.goal == Goal::Build {
            // A folder that cannot be written into is not found out after everything else is done.
            let asked = BuildInput::of(work)?;
            within(work, &tools.workspaces, move |all, _| asked.target(all).map(drop)).await?;
        }
        let facts = [
            ("repository", repo.is_some()),
            ("on-topic", intent.on_topic),
            ("documented", is_documented),
            ("model", !tools.models.names().is_empty()),
            ("sandbox", tools.sandboxes.is_there()),
            ("code-write", tools.workspaces.rules().is_some()),
            ("files", has("files")),
            ("rules", is_ruled || has("rules")),
        ];
        let holding = facts.into_iter().filter(|(_, holds)| *holds).map(|(fact, _)| fact.to_owned());
        Ok::<Vec<String>, Failure>(holding.collect())
    };
    work.step("look", &input, looking).await
}

/// Looks at a repository whose history or documentation the goal needs; whether the documentation speaks about the goal.
async fn look_at(work: &Work, intent: &Intent, repo: &Path) -> Result<bool, Failure> {
    let (goal, repo) = (work.job.goal.clone(), repo.to_owned());
    let is_asked = matches!(intent.goal, Goal::Question | Goal::Investigate);
    if !is_asked && intent.goal != Goal::Report {
        return Ok(false);
    }
    look(work, move |watch| {
        actors_report::check_repository(&repo)?;
        Ok(is_asked && actors_report::docs(&repo, &goal, watch)?.goal.is_some())
    })
    .await
}

/// The failure of a goal without a plan: what was missing first on each way to it.
fn refused(answer: &Answer, repo: Option<&Path>) -> Failure {
    let mut missing: Vec<String> = Vec::new();
    for rejected in &answer.rejected {
        if let Why::Unmet { condition } = &rejected.why
            && !missing.contains(&condition.to_string())
        {
            missing.push(condition.to_string());
        }
    }
    let said: Vec<String> = missing.iter().map(|fact| said(fact, repo)).collect();
    let (why, missing): (_, Vec<&str>) = (said.join("; "), missing.iter().map(String::as_str).collect());
    match missing.as_slice() {
        ["model"] => Failure::permanent("no-model", why).hint(
            "name a file with a provider in the setting `models`; docs/configuration.md has an example",
        ),
        ["sandbox"] => Failure::permanent("no-sandbox", why).hint(
            "name the folder of the images in the setting `sandbox.images`; docs/guides/use-the-sandbox.md",
        ),
        ["code-write"] => Failure::permanent("code-write-disabled", why)
            .hint("`orrery explain code-write-disabled` says how changes are allowed"),
        _ => not_plannable(&why),
    }
}

/// What a missing fact means.
fn said(fact: &str, repo: Option<&Path>) -> String {
    match fact {
        "repository" => "the goal names no repository, and it is about one".to_owned(),
        "documented" => {
            let repo = repo.unwrap_or(Path::new(".")).display();
            format!("nothing in the documentation of `{repo}` speaks about this question")
        }
        "model" => "this work needs a model, and the process has none".to_owned(),
        "sandbox" => "this work needs the sandbox, and the process has none".to_owned(),
        "code-write" => "this process changes no files of repositories".to_owned(),
        "files" => {
            "the goal asks for a change, and its input names no files with their new content: a repair of failing tests \
             is the only change that the agents here find by themselves"
                .to_owned()
        }
        "rules" => "the goal asks for a judgement, and gives no rule in quotes".to_owned(),
        other => format!("`{other}` does not hold"),
    }
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
         \"Report on this repository\" --repo DIR`; ask to make the tests of a repository pass, or to run them; or ask \
         for `a small web service that …`; docs/agents/orchestrator.md has all that is understood; for any other goal \
         bring a plan (`orrery tasks submit --plan`) or an agent with the skill that it needs",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::job;

    const ALL: [&str; 6] = ["repository", "documented", "model", "sandbox", "files", "code-write"];

    fn code(goal: &str, input: Value) -> String {
        let failure = match asked(&job(goal, input)) {
            Ok(Asked { intent, repo }) => {
                let facts: &[&str] = if repo.is_some() { &["repository"] } else { &[] };
                let answer = shipped::plan(&intent.goal, facts);
                match answer.plan {
                    Some(_) => return repo.unwrap_or_default().display().to_string(),
                    None => refused(&answer, repo.as_deref()),
                }
            }
            Err(failure) => failure,
        };
        let Failure::Failed(failure) = failure else { panic!("no question") };
        assert!(failure.hint.is_some(), "`{}` has no hint", failure.code);
        failure.code
    }

    /// The steps of a goal where everything is there.
    fn planned(goal: &str, input: Value) -> Vec<bus_schemas::commands::task::PlanStep> {
        let job = job(goal, input);
        let Asked { intent, repo } = asked(&job).expect("a goal");
        let found = shipped::plan(&intent.goal, &ALL).plan.expect("a plan");
        let repo = repo.unwrap_or_default().display().to_string();
        steps::steps(&found, &Given { goal, intent: &intent, repo: &repo, input: &job.input }).steps
    }

    #[test]
    fn a_goal_is_about_a_repository_or_it_can_not_be_planned() {
        assert_eq!(code("report", json!({"repo": "/srv/app"})), "/srv/app");
        assert_eq!(code("report on `/srv/app`, please", Value::Null), "/srv/app");
        assert_eq!(code("report on /srv/app.", Value::Null), "/srv/app");
        for goal in ["", "   ", "?!…", "--- !!! ///", "🙂"] {
            assert_eq!(code(goal, json!({"repo": "/srv/app"})), "goal-not-plannable", "{goal:?}");
        }
        for goal in ["make me happy", "and/or", "read https://example.org/x", "// comment", "/", "report"] {
            assert_eq!(code(goal, Value::Null), "goal-not-plannable", "{goal:?}");
        }
        for goal in ["make me a sandwich", "delete it", "a sandwich", "review the changes"] {
            assert_eq!(code(goal, json!({"repo": "/srv/app"})), "goal-not-plannable", "{goal:?}");
        }
        assert_eq!(code("report", json!({"repo": "relative"})), "invalid-input");
        assert_eq!(code("make the tests pass", json!({"repo": "/srv/app"})), "no-model");
        assert_eq!(code("run the tests", json!({"repo": "/srv/app"})), "no-sandbox");
    }

    #[test]
    fn the_review_waits_for_every_look_and_the_report_for_all() {
        let steps = planned("what is this?", json!({"repo": "/srv/app", "dry_run": true}));
        assert_eq!(steps.len(), 7);
        let (looks, rest) = steps.split_at(5);
        assert!(looks.iter().all(|step| step.after.is_empty()));
        assert_eq!(rest[0].after.len(), 5);
        assert_eq!(rest[1].after.len(), 6);
        assert!(steps.iter().all(|step| step.input == json!({"repo": "/srv/app"})));
        assert_eq!(looks[4].goal, "what is this?");
        assert_eq!(looks[0].goal, "count the files and lines of /srv/app by language");
    }

    #[test]
    fn each_skill_gets_what_was_said_and_what_its_schema_takes() {
        let rules = crate::CodeWrite::new(&[], &[], 1).expect("rules");
        let workspaces = std::sync::Arc::new(crate::Workspaces::default().writable(rules));
        let tools = Tools { workspaces, ..Tools::default() };
        let cards: Vec<_> = crate::shipped(&tools).own.iter().map(|(agent, _)| agent.card()).collect();
        let files = json!([{"path": "a", "text": "b"}]);
        for (goal, input, wanted) in [
            ("mend the tests in 4 rounds", json!({}), json!({"rounds": 4})),
            ("mend the tests in 4 rounds", json!({"rounds": 2}), json!({"rounds": 2})),
            (
                "run the tests within 60 seconds",
                json!({"expect": ["a"]}),
                json!({"expect": ["a"], "step_seconds": 60}),
            ),
            ("git log", json!({"folder": "/x"}), json!({})),
            ("show the changes between v1..v2", json!({}), json!({"from": "v1", "to": "v2"})),
            (
                "apply this change",
                json!({"files": files, "target": "main", "message": "m", "dry_run": true}),
                json!({"files": files, "target": "main", "message": "m"}),
            ),
        ] {
            let given = |mut fields: Value| {
                fields["repo"] = json!("/srv/app");
                fields
            };
            let steps = planned(goal, given(input));
            assert_eq!(steps.len(), 1, "{goal}");
            assert_eq!(steps[0].input, given(wanted), "{goal}");
        }
        for goal in [
            "report",
            "investigate it",
            "fix the tests",
            "run the tests",
            "run all checks",
            "an app that counts",
            "search for \"x\"",
            "read src/main.rs",
            "git status",
            "list the branches",
            "show the diff",
        ] {
            for step in planned(goal, json!({"repo": "/srv/app"})) {
                let skill = cards.iter().flat_map(|card| &card.skills).find(|skill| skill.id == step.skill);
                let schema = &skill.expect("a skill").input;
                let validator = jsonschema::validator_for(schema).expect("a schema");
                assert!(validator.is_valid(&step.input), "{goal}: `{}` gets {}", step.skill, step.input);
            }
        }
    }
}
