//! `retry`: how often and when failed attempts are retried, by skill.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Duration, Mistake, NAME, Setting, Unfit, pointer};
use crate::text::is_name;

/// The most skills with a policy of their own.
const SKILLS_MAX: usize = 256;
/// The longest pause: for a longer wait, use a schedule.
const CAP_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The longest deadline.
const DEADLINE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The retry policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The policy of every skill that is not in `skills`.
    pub default: RetryPolicy,
    /// Policies by skill. A missing field has the default of the field, not that of `default`.
    pub skills: BTreeMap<SmolStr, RetryPolicy>,
}

/// The retry policy of one skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Most attempts, including the first, 1 to 100. A task's own `attempts_max` takes precedence. Default:
    /// 3.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// How the pause grows. Default: `exponential`.
    pub backoff: Backoff,
    /// The first pause, 1 ms to `cap`. Default: `1s`.
    pub base: Duration,
    /// Factor from one pause to the next, 1 to 10; unused with `decorrelated-jitter`. Default: 2.
    #[schemars(range(min = 1, max = 10))]
    pub factor: u32,
    /// The longest pause, at most 7 days. Default: `5m`.
    pub cap: Duration,
    /// How long after its submission a task is still retried, at most 30 days. Default: until its own
    /// deadline.
    pub deadline: Option<Duration>,
    /// How long an attempt may keep its lease without progress, 1 second to 7 days; then another attempt
    /// replaces it. Default: `15m`.
    pub progress: Duration,
}

/// How the pauses grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backoff {
    /// Each pause is `factor` times as long as the one before.
    #[default]
    Exponential,
    /// Each pause is a random time between `base` and three times the one before, so that attempts that
    /// failed together do not come back together.
    DecorrelatedJitter,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Backoff::Exponential,
            base: Duration::from_secs(1),
            factor: 2,
            cap: Duration::from_secs(300),
            deadline: None,
            progress: Duration::from_secs(900),
        }
    }
}

impl Retry {
    /// The policy of a skill.
    pub fn policy(&self, skill: &str) -> &RetryPolicy {
        self.skills.get(skill).unwrap_or(&self.default)
    }
}

impl RetryPolicy {
    /// The pause before the attempt after `failed` failed ones; `former` is the previous pause (0 at first).
    /// `draw` is the random input of jitter: the same draw gives the same pause.
    pub fn pause(&self, failed: u32, former: Duration, draw: u64) -> Duration {
        let (base, cap) = (self.base.as_ms(), self.cap.as_ms());
        let pause = match self.backoff {
            Backoff::Exponential => {
                base.saturating_mul(u64::from(self.factor).saturating_pow(failed.saturating_sub(1)))
            }
            Backoff::DecorrelatedJitter => {
                let most = former.as_ms().max(base).saturating_mul(3);
                base.saturating_add(draw % most.saturating_sub(base).saturating_add(1))
            }
        };
        Duration::from_ms(pause.min(cap))
    }

    fn mistakes(&self, place: &str, unfit: &Unfit) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut told =
            |field: &str, reason: String| mistakes.push(Mistake::new(pointer(place, field), reason));
        if self.cap > CAP_MAX {
            told("cap", format!("is {}, and must be at most {CAP_MAX}", self.cap));
        }
        if self.base == Duration::default() {
            told("base", "is 0s, and must be at least 1ms".to_owned());
        } else if self.base > self.cap && !unfit.has(place, "cap") {
            told("base", format!("is {}, and must be 1ms to the cap, {}", self.base, self.cap));
        }
        if !(Duration::from_secs(1)..=CAP_MAX).contains(&self.progress) {
            told("progress", format!("is {}, and must be 1s to {CAP_MAX}", self.progress));
        }
        if let Some(deadline) = self.deadline
            && !(Duration::from_secs(1)..=DEADLINE_MAX).contains(&deadline)
        {
            told("deadline", format!("is {deadline}, and must be 1s to {DEADLINE_MAX}"));
        }
        mistakes
    }
}

impl Setting for Retry {
    const NAME: &'static str = "retry";

    fn mistakes(&self, unfit: &Unfit) -> Vec<Mistake> {
        let mut mistakes = self.default.mistakes("/default", unfit);
        if self.skills.len() > SKILLS_MAX {
            let count = self.skills.len();
            mistakes.push(Mistake::new(
                "/skills",
                format!("has {count} entries; at most {SKILLS_MAX} are taken"),
            ));
        }
        for (skill, policy) in &self.skills {
            let place = pointer("/skills", skill);
            if !is_name(skill) {
                mistakes.push(Mistake::new(&place, format!("names no skill: {NAME}")));
            }
            mistakes.extend(policy.mistakes(&place, unfit));
        }
        mistakes
    }
}
