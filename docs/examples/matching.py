"""Two Orrery agents in a process of their own, for the two steps of a plan: `analyse-job` reads a posting, and
`match-candidates` ranks candidates by what the posting asks for. Everything is typed; the work is two pure functions.

pip install nats-py
python matching.py analyse --nats nats://127.0.0.1:4222 &
python matching.py match --nats nats://127.0.0.1:4222 &
orrery tasks submit "Who fits?" --plan matching.json --wait    # see the plan below

The plan: {"steps": [
  {"step": "analyse", "skill": "analyse-job", "goal": "Read it", "input": {"posting": "…"}},
  {"step": "match", "skill": "match-candidates", "goal": "Rank them", "after": ["analyse"], "input": {"candidates": [
    {"name": "Ada", "skills": ["rust", "sql"], "years": 7}]}}]}
"""
from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import asdict, dataclass
from typing import Any

from agent import Agent, main

POSTING_BYTES_MAX = 64 * 1024
CANDIDATES_MAX = 1_000
TRIES_MAX = 100  # ten seconds
# What a posting may ask for; a word that is not here is no requirement.
KNOWN = ("ansible", "aws", "c++", "docker", "go", "java", "kubernetes", "linux", "nats", "python", "react", "rust",
         "sql", "terraform", "typescript")
OPTIONAL = re.compile(r"nice to have|a plus|preferred|ideally|bonus", re.IGNORECASE)
YEARS = re.compile(r"(\d{1,2})\+?\s*(?:or more\s+)?years", re.IGNORECASE)
LEVELS = ("junior", "senior", "lead")


@dataclass(frozen=True)
class Requirements:
    """What a posting asks for."""
    title: str
    level: str  # one of LEVELS, or empty
    must: list[str]
    nice: list[str]
    years: int


@dataclass(frozen=True)
class Candidate:
    """Who might fit."""
    name: str
    skills: list[str]
    years: int


@dataclass(frozen=True)
class Match:
    """How a candidate fits: 0 to 100, with the reasons."""
    name: str
    score: int
    reasons: list[str]


def text(value: Any, what: str, bytes_max: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value.encode()) > bytes_max:
        raise ValueError(f"{what} must be a text of 1 to {bytes_max} bytes")
    return value


def whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 80:
        raise ValueError(f"{what} must be a number from 0 to 80")
    return value


def words(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or len(value) > 100:
        raise ValueError(f"{what} must be a list of at most 100 texts")
    return sorted({text(word, what, 64).lower() for word in value})


def fields(value: Any, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"{what} must be an object with {', '.join(names)}")
    return value


def candidate(value: Any) -> Candidate:
    known = fields(value, "a candidate", ("name", "skills", "years"))
    return Candidate(text(known["name"], "a name", 128), words(known["skills"], "skills"),
                     whole(known["years"], "the years of a candidate"))


def requirements(value: Any) -> Requirements:
    known = fields(value, "the requirements", ("title", "level", "must", "nice", "years"))
    level = known["level"]
    if level not in ("", *LEVELS):
        raise ValueError(f"the level must be one of {', '.join(LEVELS)}, or empty")
    return Requirements(text(known["title"], "the title", 256), level, words(known["must"], "must"),
                        words(known["nice"], "nice"), whole(known["years"], "the years"))


def named(line: str) -> set[str]:
    """The known skills that a line names as words of their own."""
    return {skill for skill in KNOWN if re.search(rf"(?<![\w+#]){re.escape(skill)}(?![\w+#])", line, re.IGNORECASE)}


def analyse(posting: str) -> Requirements:
    """Reads a posting line by line: what a line calls optional is nice to have, all else must be."""
    lines = [line.strip() for line in text(posting, "the posting", POSTING_BYTES_MAX).splitlines() if line.strip()]
    must: set[str] = set()
    nice: set[str] = set()
    for sentence in (sentence for line in lines for sentence in re.split(r"(?<=[.;])\s+", line)):
        (nice if OPTIONAL.search(sentence) else must).update(named(sentence))
    level = next((level for level in LEVELS if re.search(rf"\b{level}\b", posting, re.IGNORECASE)), "")
    years = max((int(found) for found in YEARS.findall(posting)), default=0)
    title = lines[0].encode()[:256].decode(errors="ignore")
    return Requirements(title, level, sorted(must), sorted(nice - must), min(years, 80))


def match(wanted: Requirements, candidates: list[Candidate]) -> list[Match]:
    """Ranks candidates: 70 points for what must be, 20 for years, 10 for what is nice. Equal ones by name."""
    def share(of: list[str], has: set[str]) -> float:
        return len(has.intersection(of)) / len(of) if of else 1.0

    def judged(one: Candidate) -> Match:
        has = set(one.skills)
        years = min(one.years / wanted.years, 1.0) if wanted.years else 1.0
        score = round(70 * share(wanted.must, has) + 20 * years + 10 * share(wanted.nice, has))
        reasons = [f"has {skill}" for skill in wanted.must + wanted.nice if skill in has]
        reasons += [f"lacks {skill}" for skill in wanted.must if skill not in has]
        if one.years < wanted.years:
            reasons.append(f"{one.years} of {wanted.years} years")
        return Match(one.name, score, reasons)

    return sorted((judged(one) for one in candidates), key=lambda found: (-found.score, found.name))


STRINGS = {"type": "array", "items": {"type": "string"}}
REQUIREMENTS = {"type": "object", "required": ["title", "level", "must", "nice", "years"], "properties": {
    "title": {"type": "string"}, "level": {"enum": ["", *LEVELS]}, "must": STRINGS, "nice": STRINGS,
    "years": {"type": "integer", "minimum": 0, "maximum": 80}}}


class Analyst(Agent):
    """Does `analyse-job`."""
    description = "reads what a posting asks for"
    skills = [{
        "id": "analyse-job", "name": "Analyse a job", "description": "reads what a posting asks for", "tags": ["jobs"],
        "input": {"type": "object", "required": ["posting"], "properties": {
            "posting": {"type": "string", "maxLength": POSTING_BYTES_MAX}}},
        "output": REQUIREMENTS}]

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        async def read(posting: Any) -> dict[str, Any]:
            return asdict(analyse(posting))

        steps = await self.recorded(job)
        posting = fields(job["input"], "the input", ("posting",))["posting"]
        return {"type": "complete-job", "result": await self.step(job, steps, "analyse", posting, read)}


class Matcher(Agent):
    """Does `match-candidates`, with what the step `analyse` of the same plan has found."""
    description = "ranks candidates by what a posting asks for"
    skills = [{
        "id": "match-candidates", "name": "Match candidates", "tags": ["jobs"],
        "description": "ranks candidates by what a posting asks for",
        "input": {"type": "object", "required": ["candidates"], "properties": {
            "candidates": {"type": "array", "maxItems": CANDIDATES_MAX}}},
        "output": {"type": "object", "required": ["matches"], "properties": {"matches": {"type": "array"}}}}]

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        async def rank(asked: Any) -> list[dict[str, Any]]:
            wanted, candidates = requirements(asked["requirements"]), [candidate(one) for one in asked["candidates"]]
            return [asdict(found) for found in match(wanted, candidates)]

        given = fields(job["input"], "the input", ("candidates",))["candidates"]
        if not isinstance(given, list) or not 1 <= len(given) <= CANDIDATES_MAX:
            raise ValueError(f"the input must have 1 to {CANDIDATES_MAX} candidates")
        steps = await self.recorded(job)
        asked = {"requirements": await self.found(job), "candidates": given}
        return {"type": "complete-job", "result": {"matches": await self.step(job, steps, "match", asked, rank)}}

    async def found(self, job: dict[str, Any]) -> Any:
        """The result of the step `analyse`: its last event says it."""
        plan, dot, _ = job["task"]["key"].rpartition(".")
        if not dot:
            raise ValueError("`match-candidates` is a step of a plan, after a step `analyse`")
        stream = f"{self.prefix.upper().replace('-', '_')}_EVENTS"
        for _ in range(TRIES_MAX):  # the step is completed; the stream may show it a little later
            async for message in self.after(stream, f"{self.prefix}.evt.task.{plan}.analyse"):
                digest = (message.headers or {}).get("Orrery-Blob")  # a large event lies in the blob store
                event = json.loads(await self.blob(digest) if digest else message.data)
                if event["type"] == "completed":
                    return event["result"]
            await asyncio.sleep(0.1)
        raise TimeoutError("the stream shows no completed step `analyse`")


if __name__ == "__main__":
    KINDS = {"analyse": (Analyst, "analyst"), "match": (Matcher, "matcher")}
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        sys.exit("usage: matching.py analyse|match [--nats URL] [--prefix NAME] [--name NAME]")
    asyncio.run(main(*KINDS[sys.argv.pop(1)]))
