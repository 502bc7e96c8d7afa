"""An Orrery agent in a process of its own: it counts the words of a task's goal. See ../protocol.md.

pip install nats-py blake3        # without blake3 the result is in the answer only, not in a blob
python agent.py --nats nats://orrery:$(cat .orrery/nats/password)@127.0.0.1:4222 --name wordsmith
python agent.py --die-after store    # ends as if killed when that step is done and not recorded: the next attempt goes on
"""
import argparse, asyncio, base64, hashlib, json, os, secrets, signal, sys, uuid
from typing import Any
import nats
try:
    from blake3 import blake3
except ImportError:
    blake3 = None
from nats.errors import Error, NoRespondersError, TimeoutError
from nats.js.errors import NotFoundError
SKILL = {"id": "text.words", "name": "Words", "description": "counts the words of the goal"}
CLAIM_S = 6.0  # a host answers each claim within 5 s, with jobs or with `come-again`
RECONNECTS_MAX, RECONNECT_WAIT_S = 10, 0.5  # a server that restarts is back within seconds
LATER = ("busy", "not-owner", "come-again")  # refusals that ask for another try under the same id

class Agent:
    """Claims jobs and does them; what to do is `skills` and `do`, which another agent replaces as `matching.py` does."""
    description: str = "counts words"
    skills: list[dict[str, Any]] = [SKILL]

    def __init__(self, nc, prefix, name, die_after):
        self.nc, self.js, self.prefix, self.name, self.die_after = nc, nc.jetstream(), prefix, name, die_after
        self.worker = f"{name[:32]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.working = {}  # what is being done, by job

    async def ask(self, entity, command, command_id=None, subject="request"):
        """Asks until an answer comes. The id makes a repetition harmless: it gets the first answer."""
        headers = {"Orrery-Command-Id": command_id or str(uuid.uuid4())}
        subject, payload = f"{self.prefix}.{subject}.{self.worker}.{entity}", json.dumps(command).encode()
        while True:
            try:
                reply = json.loads((await self.nc.request(subject, payload, timeout=5, headers=headers)).data)
                if reply.get("code") not in LATER:
                    return reply
            except (NoRespondersError, TimeoutError):
                pass  # the partition moves from one host to another
            await asyncio.sleep(0.2)

    async def register(self):
        card = {"name": self.name, "description": self.description, "version": "1", "skills": self.skills}
        reply = await self.ask(f"agent.{self.name}", {
            "type": "register", "worker": self.worker, "card": card, "capacity": 1})
        if reply["status"] == "refused":
            raise SystemExit(f"registration was refused: {reply['message']}")

    async def claim(self, stop):
        """Claims one job: the job, or none when none came in time. What is said again keeps its id."""
        token = secrets.token_hex(16)  # nobody sends it to us: the host gets its hash alone
        claim = {"worker": self.worker, "skills": [skill["id"] for skill in self.skills], "places": 1,
                 "token": hashlib.sha256(token.encode()).hexdigest()}
        headers = {"Orrery-Command-Id": str(uuid.uuid4())}
        while True:
            if stop.is_set():
                return None
            try:
                payload = json.dumps(claim).encode()
                answer = await self.nc.request(f"{self.prefix}.claim.{self.name}", payload, CLAIM_S, headers=headers)
                break
            except TimeoutError:
                claim["repeated"] = True  # it may have been used: then its jobs are sent once more
            except NoRespondersError:
                await asyncio.sleep(RECONNECT_WAIT_S)
        answer = json.loads(answer.data)
        if answer["status"] == "issued":
            issued = answer["jobs"][0]
            job = issued.get("job") or json.loads(await self.blob(issued["blob"]))
            return job | {"token": token}
        if answer.get("code") in ("unknown-worker", "agent-not-found", "unknown-skill"):
            await self.register()  # no host has heard of us for too long
        elif answer["status"] == "refused":
            await asyncio.sleep(answer.get("retry_after_ms", 1000) / 1000)

    async def after(self, stream: str, subject: str, sequence: int = 0) -> Any:
        """The messages of a subject that a stream has. This needs no consumer, and so no credentials."""
        while True:
            try:
                message = await self.js.get_msg(stream, seq=sequence + 1, subject=subject, direct=True, next=True)
            except NotFoundError:
                return
            sequence = message.seq
            yield message

    async def blob(self, digest: str) -> bytes:
        bucket, place = f"{self.prefix}_blobs", base64.urlsafe_b64encode(digest.encode()).decode()
        found = await self.js.get_msg(f"OBJ_{bucket}", subject=f"$O.{bucket}.M.{place}", direct=True)
        pieces = self.after(f"OBJ_{bucket}", f"$O.{bucket}.C.{json.loads(found.data)['nuid']}")
        return b"".join([piece.data async for piece in pieces])

    async def renew(self, job, progressed=False):
        """Whether the attempt is ours still: none, or the code of the refusal. Queries leave no trace in the log."""
        query = {"type": "renew", "attempt": job["attempt"], "token": job["token"], "progressed": progressed}
        return (await self.ask(f"task.{job['task']['key']}", query, subject="query")).get("code")

    async def renewals(self, job, work):
        while True:
            await asyncio.sleep(job["lease_ms"] / 3000)
            if code := await self.renew(job, progressed=True):
                work.cancel(code)

    async def tell(self, job, command, purpose):
        """Everything about an attempt carries its token; without it the task refuses `stale-attempt`."""
        command |= {"attempt": job["attempt"], "token": job["token"]}
        return await self.ask(f"task.{job['task']['key']}", command, f"{job['id']}/{purpose}/{self.worker}")

    async def recorded(self, job: dict[str, Any]) -> dict[str, Any]:
        """What earlier attempts have recorded: their events say it."""
        steps = {}
        if job.get("steps"):
            stream = f"{self.prefix.upper().replace('-', '_')}_EVENTS"
            while len(steps) < job["steps"]:  # the stream may show the last ones a little later
                async for message in self.after(stream, f"{self.prefix}.evt.task.{job['task']['key']}"):
                    digest = message.headers.get("Orrery-Blob")  # a large event lies in the blob store
                    event = json.loads(await self.blob(digest) if digest else message.data)
                    if event["type"] == "step-recorded":
                        steps[event["name"]] = event
                await asyncio.sleep(0 if len(steps) >= job["steps"] else 0.1)
        return steps

    async def step(self, job: dict[str, Any], steps: dict[str, Any], name: str, value: Any, call: Any) -> Any:
        """Runs a step, unless an attempt before has recorded it. Each call is made at least once."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        digest = (blake3 or hashlib.sha256)(text).hexdigest()  # only compared, with what we said ourselves
        if known := steps.get(name):
            if known["input"] != digest:
                raise ValueError(f"the step `{name}` was done with another input")
            print(f"{job['id']}: {name} was done before", flush=True)
            return known.get("result")
        result = await call(value)
        print(f"{job['id']}: {name} is done", flush=True)
        if name == self.die_after:
            os._exit(9)
        step = {"name": name, "input": digest, "result": result}
        reply = await self.tell(job, {"type": "record-step", "steps": [step]}, f"step/{name}")
        if reply["status"] == "refused":
            raise asyncio.CancelledError(reply["code"])
        return result

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """The work itself: any side effect comes after the first renewal, never before."""
        steps = await self.recorded(job)

        async def split(goal):
            words = goal.split()
            for number, word in enumerate(words, start=1):
                chunk = {"attempt": job["attempt"], "number": number, "text": f"{word}\n", "progress": {"done": number}}
                await self.nc.publish(f"{self.prefix}.out.{job['task']['key']}", json.dumps(chunk).encode())
                await asyncio.sleep(0.05)
            return words

        async def store(words):
            if not blake3:
                return None
            data = "\n".join(words).encode()
            digest = blake3(data).hexdigest()  # the same words again are the same blob
            await (await self.js.object_store(f"{self.prefix}_blobs")).put(digest, data)
            return {"name": "words.txt", "media_type": "text/plain", "hash": digest, "bytes": len(data)}

        words = await self.step(job, steps, "split", job["goal"], split)
        artifact = await self.step(job, steps, "store", words, store)
        artifacts = [artifact] if artifact else []
        return {"type": "complete-job", "result": {"words": len(words)}, "artifacts": artifacts}

    async def take(self, job, is_leaving):
        give_back = {"type": "give-back", "reason": "the worker is stopping"}
        # Until the first renewal is answered the work must not begin: the job may have been given to another one.
        refused = "stopping" if is_leaving else await self.renew(job)
        if refused in ("halted", "stopping"):
            return await self.tell(job, give_back | {"reason": refused}, "give-back")
        if refused:
            return  # another attempt does it
        work = self.working[job["id"]] = asyncio.create_task(self.do(job))
        renewals = asyncio.create_task(self.renewals(job, work))
        report = {"type": "fail-job", "code": "work-failed"}
        try:
            report = await work
        except asyncio.CancelledError as stopped:
            report |= {"class": "canceled", "message": "the work was stopped"}
            if stopped.args == ("halted",):  # it waits anew, and this was no try
                report = give_back | {"reason": "halted"}
        except ValueError as wrong:  # what was asked for cannot be done, now or later
            report |= {"class": "permanent", "code": "invalid-input", "message": str(wrong)}
        except Exception as error:
            report |= {"class": "transient", "message": repr(error)}
        finally:
            del self.working[job["id"]]
            await end(renewals)
        # Accepted, or refused because nobody waits for this attempt: either way it is over.
        await self.tell(job, report, "report")

    async def stopped(self, message):
        if work := self.working.get(message.data.decode()):
            work.cancel()

    async def run(self, stop):
        await self.nc.subscribe(f"{self.prefix}.stop.{self.name}.{self.worker}", cb=self.stopped)
        await self.register()
        print(f"agent {self.name} takes jobs", flush=True)
        while not stop.is_set():  # SIGTERM lets the job in hand come to its end
            try:
                if job := await self.claim(stop):
                    await self.take(job, stop.is_set())
            except Error:
                if self.nc.is_closed:
                    raise
                await asyncio.sleep(RECONNECT_WAIT_S)  # the client connects again by itself
        await asyncio.wait_for(self.ask(f"agent.{self.name}", {"type": "deregister", "worker": self.worker}), 10)

async def end(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

async def no_trouble(error):
    """The client tells of every try to connect again; what counts is whether one succeeds."""

async def main(kind: type[Agent] = Agent, name: str = "wordsmith") -> None:
    parser = argparse.ArgumentParser()
    for option, default in (("--nats", "nats://127.0.0.1:4222"), ("--prefix", "orrery"), ("--name", name),
                            ("--die-after", None)):
        parser.add_argument(option, default=default)
    args, stop = parser.parse_args(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        nc = await nats.connect(args.nats, error_cb=no_trouble, max_reconnect_attempts=RECONNECTS_MAX,
                                reconnect_time_wait=RECONNECT_WAIT_S)
        await kind(nc, args.prefix, args.name, args.die_after).run(stop)
        await nc.close()
    except (Error, OSError) as error:
        sys.exit(f"agent {args.name} ends: the server at {args.nats} does not answer ({error})")

if __name__ == "__main__":
    asyncio.run(main())
