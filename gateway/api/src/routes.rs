//! Every endpoint in one list, from which the router, the command line and the OpenAPI document follow.

use bus_schemas::commands::agent::Loaded;
use bus_schemas::commands::settings as document;
use bus_schemas::manifests::AgentManifest;
use bus_schemas::views::lane::Lane;
use bus_schemas::views::task::Task;
use bus_schemas::views::waits::Waits;
use serde_json::Value;

use crate::endpoint::endpoints;
use crate::paging::Paging;
use crate::{
    agents, approvals, breakers, changes, commands, dead_letters, events, halts, healer, lanes, operations,
    redrives, schedules, settings, tasks,
};

endpoints! {
    /// Lists tasks, newest first.
    ListTasks: "tasks" Get "/v1/tasks" (tasks::ListTasks, ()) => tasks::TaskPage;
    /// Submits a task.
    SubmitTask: "tasks" Post "/v1/tasks" ((), tasks::NewTask) => Task
        [201 "created", 200 "this key was used before with the same body"];
    /// Shows a task. Waits for one that was just submitted.
    ShowTask: "tasks" Get "/v1/tasks/{id}" (tasks::ShowTask, ()) => Task;
    /// Cancels a task and its descendants.
    CancelTask: "tasks" Post "/v1/tasks/{id}/cancel" ((), Option<tasks::CancelTask>) => Task;
    /// Retries a failed task, with a fresh count of attempts.
    RetryTask: "tasks" Post "/v1/tasks/{id}/retry" ((), tasks::RetryTask) => Task;
    /// Forks a task: a new one goes on from what it had at a revision.
    ForkTask: "tasks" Post "/v1/tasks/{id}/fork" ((), tasks::ForkTask) => Task;
    /// Answers the question that a task waits for.
    AnswerTask: "tasks" Post "/v1/tasks/{id}/answer" ((), tasks::AnswerTask) => Task;
    /// Extends the budget of a task and its descendants. A tree that was paused for its budget goes on.
    ExtendBudget: "tasks" Post "/v1/tasks/{id}/extend-budget" ((), tasks::ExtendBudget) => Task;
    /// Explains what a task and its descendants wait for, since when, and what would unblock them.
    ExplainTask: "tasks" Get "/v1/tasks/{id}/why" ((), ()) => Waits;
    /// Downloads an artifact.
    DownloadArtifact: "tasks" Get "/v1/tasks/{id}/artifacts/{name}" (tasks::OneArtifact, ()) => ()
        as "application/octet-stream" [
            200 "the bytes, with the artifact's media type and its BLAKE3 as `ETag`",
            304 "the bytes are those of `If-None-Match`"
        ];
    /// Streams the events of a task and its descendants.
    StreamTaskEvents: "tasks" Get "/v1/tasks/{id}/events" (events::StreamEvents, ()) => ()
        as "text/event-stream" [
            200 "server-sent events: `id` is `<partition>.<record>.<index>`, `event` is `<kind>.<type>`; `end` comes after the task's final event. Where the stream cannot be opened now, a client that asks for `text/event-stream` gets the event `not-ready` with the problem, and reconnects",
            204 "the client has all events, and no more will come: it must not reconnect"
        ];
    /// Shows the outcome of a command, for as long as its partition remembers the command's id.
    ShowCommand: "operations" Get "/v1/commands/{id}" (commands::ShowCommand, ()) => commands::CommandView;
    /// Lists the events of the installation, as a page, or as a stream when `text/event-stream` is accepted.
    ListEvents: "operations" Get "/v1/events" (events::ListEvents, ()) => events::EventPage
        [200 "a page; or server-sent events: `id` is a cursor, `event` is `<kind>.<type>`"];
    /// Lists agents with their workers, by name.
    ListAgents: "agents" Get "/v1/agents" (Paging, ()) => agents::AgentPage;
    /// Shows an agent with its workers.
    ShowAgent: "agents" Get "/v1/agents/{name}" ((), ()) => agents::Agent;
    /// Declares an agent by a manifest, or replaces its manifest by one with a higher version.
    LoadAgent: "agents" Put "/v1/agents/{name}/manifest" ((), AgentManifest) => agents::Agent
        [200 "loaded"];
    /// Takes the manifest of an agent away: it gets no more jobs, and finishes those that it has.
    UnloadAgent: "agents" Delete "/v1/agents/{name}/manifest" ((), Option<dead_letters::Reason>) => agents::Agent
        [200 "unloaded"];
    /// Checks a manifest as loading it would, and loads nothing.
    CheckManifest: "agents" Post "/v1/agents/{name}/manifest/check" ((), AgentManifest) => Loaded
        [200 "the manifest could be loaded"];
    /// Lists schedules, by name.
    ListSchedules: "schedules" Get "/v1/schedules" (Paging, ()) => schedules::SchedulePage;
    /// Shows a schedule.
    ShowSchedule: "schedules" Get "/v1/schedules/{name}" ((), ()) => schedules::Schedule;
    /// Creates or replaces a schedule.
    PutSchedule: "schedules" Put "/v1/schedules/{name}" ((), schedules::NewSchedule) => schedules::Schedule
        [201 "created", 200 "replaced"];
    /// Deletes a schedule: it never fires again.
    DeleteSchedule: "schedules" Delete "/v1/schedules/{name}" ((), ()) => schedules::Schedule
        [200 "deleted"];
    /// Pauses a schedule: it does not fire until it is resumed.
    PauseSchedule: "schedules" Post "/v1/schedules/{name}/pause" ((), ()) => schedules::Schedule;
    /// Resumes a schedule: it fires again from now on.
    ResumeSchedule: "schedules" Post "/v1/schedules/{name}/resume" ((), ()) => schedules::Schedule;
    /// Lists approvals, newest first.
    ListApprovals: "approvals" Get "/v1/approvals" (approvals::ListApprovals, ()) => approvals::ApprovalPage;
    /// Shows an approval with its calls.
    ShowApproval: "approvals" Get "/v1/approvals/{id}" ((), ()) => approvals::Approval;
    /// Approves the calls of an approval, for one use.
    ApproveCalls: "approvals" Post "/v1/approvals/{id}/approve" ((), approvals::ApproveCalls) => approvals::Approval
        [200 "approved"];
    /// Rejects the calls of an approval.
    RejectCalls: "approvals" Post "/v1/approvals/{id}/reject" ((), approvals::RejectCalls) => approvals::Approval
        [200 "rejected"];
    /// Ends a request before its answer, or an approval before its use.
    CancelApproval: "approvals" Post "/v1/approvals/{id}/cancel" ((), approvals::CancelApproval) => approvals::Approval
        [200 "over"];
    /// Lists changes of repositories, newest first.
    ListChanges: "changes" Get "/v1/changes" (changes::ListChanges, ()) => changes::ChangePage;
    /// Shows a change.
    ShowChange: "changes" Get "/v1/changes/{id}" ((), ()) => changes::Change;
    /// Schedules a change: a person approves its diff before anything is written. An equal repeat changes nothing.
    ScheduleChange: "changes" Put "/v1/changes/{id}" ((), changes::NewChange) => changes::Change
        [200 "scheduled"];
    /// Cancels a change: what was written is removed again.
    CancelChange: "changes" Post "/v1/changes/{id}/cancel" ((), changes::CancelChange) => changes::Change
        [200 "canceled"];
    /// Lists dead letters, newest first.
    ListDeadLetters: "dead letters" Get "/v1/dead-letters" (dead_letters::ListDeadLetters, ()) => dead_letters::DeadLetterPage;
    /// Exports dead letters with their payloads as JSON lines, newest first. A broken stream is incomplete.
    ExportDeadLetters: "dead letters" Get "/v1/dead-letters/export" (dead_letters::DeadLetterFilter, ()) => ()
        as "application/x-ndjson" [200 "a dead letter in each line"];
    /// Shows a dead letter with its payload, original and edited.
    ShowDeadLetter: "dead letters" Get "/v1/dead-letters/{id}" ((), ()) => dead_letters::DeadLetterWithPayload;
    /// Edits what a redrive of a dead letter sends. The original is kept.
    EditDeadLetter: "dead letters" Put "/v1/dead-letters/{id}/payload" ((), dead_letters::EditPayload) => dead_letters::DeadLetter;
    /// Redrives a dead letter.
    RedriveDeadLetter: "dead letters" Post "/v1/dead-letters/{id}/redrive" ((), Option<dead_letters::Reason>) => dead_letters::DeadLetter
        [200 "the redrive is under way"];
    /// Drops a dead letter: it is kept, and never redriven.
    DropDeadLetter: "dead letters" Post "/v1/dead-letters/{id}/drop" ((), Option<dead_letters::Reason>) => dead_letters::DeadLetter;
    /// Lists redrives of many dead letters, newest first.
    ListRedrives: "dead letters" Get "/v1/redrives" (Paging, ()) => redrives::RedrivePage;
    /// Redrives every waiting dead letter that matches a filter, at a rate.
    StartRedrive: "dead letters" Post "/v1/redrives" ((), redrives::NewRedrive) => redrives::Redrive
        [201 "started", 200 "started before"];
    /// Shows a redrive's progress.
    ShowRedrive: "dead letters" Get "/v1/redrives/{id}" ((), ()) => redrives::Redrive;
    /// Pauses a redrive: it sends nothing until it is resumed.
    PauseRedrive: "dead letters" Post "/v1/redrives/{id}/pause" ((), Option<dead_letters::Reason>) => redrives::Redrive;
    /// Resumes a redrive.
    ResumeRedrive: "dead letters" Post "/v1/redrives/{id}/resume" ((), Option<redrives::ResumeRedrive>) => redrives::Redrive;
    /// Cancels a redrive: entries that were not sent stay waiting.
    CancelRedrive: "dead letters" Post "/v1/redrives/{id}/cancel" ((), Option<dead_letters::Reason>) => redrives::Redrive;
    /// Lists the settings that apply while the system runs, with who runs which version.
    ListSettings: "settings" Get "/v1/settings" ((), ()) => settings::SettingsList;
    /// Shows a settings document in one of its versions.
    ShowSettings: "settings" Get "/v1/settings/{name}" (settings::ShowSettings, ()) => document::Description;
    /// Makes a new version of settings, which applies when it is activated.
    ProposeSettings: "settings" Put "/v1/settings/{name}" ((), settings::NewVersion) => settings::SettingsChanged
        [201 "the version was made"];
    /// Activates a version of settings in place of the active one.
    ActivateSettings: "settings" Post "/v1/settings/{name}/activate" ((), settings::Activation) => settings::SettingsChanged
        [200 "activated"];
    /// Activates the version of settings that was active before.
    RollBackSettings: "settings" Post "/v1/settings/{name}/rollback" ((), settings::Rollback) => settings::SettingsChanged
        [200 "activated"];
    /// Shows who changed settings, what, when and why.
    ShowSettingsHistory: "settings" Get "/v1/settings/{name}/history" ((), ()) => document::History;
    /// Lists halts, by scope.
    ListHalts: "halts" Get "/v1/halts" (Paging, ()) => halts::HaltPage;
    /// Halts a scope: no effect begins in it.
    Halt: "halts" Post "/v1/halts" ((), halts::NewHalt) => halts::HaltChanged
        [201 "halted", 200 "already halted for this reason"];
    /// Ends a halt: work resumes gradually.
    ResumeHalt: "halts" Post "/v1/halts/{scope}/resume" ((), Option<halts::ResumeHalt>) => halts::HaltChanged
        [200 "resumed"];
    /// Lists lanes, by name.
    ListLanes: "lanes" Get "/v1/lanes" (Paging, ()) => lanes::LanePage;
    /// Shows a lane.
    ShowLane: "lanes" Get "/v1/lanes/{lane}" ((), ()) => Lane;
    /// Changes the rules of a lane.
    ChangeLane: "lanes" Patch "/v1/lanes/{lane}" ((), lanes::ChangeLane) => lanes::LaneChanged
        [200 "changed"];
    /// Pauses a lane: no job begins until it is resumed.
    PauseLane: "lanes" Post "/v1/lanes/{lane}/pause" ((), lanes::PauseLane) => lanes::LanePaused;
    /// Resumes a paused lane: work comes back gradually.
    ResumeLane: "lanes" Post "/v1/lanes/{lane}/resume" ((), Option<lanes::ResumeLane>) => lanes::LanePaused;
    /// Lists breakers, by name.
    ListBreakers: "breakers" Get "/v1/breakers" (Paging, ()) => breakers::BreakerPage;
    /// Shows a breaker.
    ShowBreaker: "breakers" Get "/v1/breakers/{dependency}" ((), ()) => breakers::Breaker;
    /// Opens a breaker until it is reset: the dependency is not called, and work that needs it waits.
    TripBreaker: "breakers" Post "/v1/breakers/{dependency}/trip" ((), breakers::ChangeBreaker) => breakers::BreakerChanged
        [200 "open"];
    /// Closes a breaker: the dependency may be called again.
    ResetBreaker: "breakers" Post "/v1/breakers/{dependency}/reset" ((), breakers::ChangeBreaker) => breakers::BreakerChanged
        [200 "closed"];
    /// Releases an entity from quarantine: it takes commands again.
    ReleaseEntity: "operations" Post "/v1/healer/release" ((), healer::ReleaseEntity) => healer::Released
        [200 "released"];
    /// Shows whether the process is alive.
    Health: "operations" Get "/health" ((), ()) => operations::Health;
    /// Shows whether requests can be served.
    Ready: "operations" Get "/ready" ((), ()) => operations::Ready
        [200 "ready", 503 "not ready: the body says why"];
    /// Returns metrics in Prometheus' text format.
    Metrics: "operations" Get "/metrics" ((), ()) => () as "text/plain";
    /// Returns the OpenAPI document.
    Openapi: "operations" Get "/v1/openapi.json" ((), ()) => Value;
    /// Explains an error code: what it means, its causes, and what to do.
    ExplainError: "operations" Get "/errors/{code}" ((), ()) => () as "text/markdown"
        [200 "a page in Markdown; as plain text for browsers"];
}
