"""An Orrery agent in a process of its own: it counts the words of a task's goal. See ../protocol.md.

pip install nats-py blake3        # without blake3 the result is in the answer only, not in a blob
python agent.py --nats nats://127.0.0.1:4222 --name wordsmith
"""
import argparse, asyncio, json, os, signal, sys, uuid
import nats
from nats.errors import Error, NoRespondersError, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig
try:
    from blake3 import blake3
except ImportError:
    blake3 = None
HEARTBEAT_S, ACK_WAIT_S, HALTED_S = 5.0, 30.0, 5.0
RECONNECTS_MAX, RECONNECT_WAIT_S = 10, 0.5  # a server that restarts is back within seconds
LATER = ("busy",)  # refusals that ask for another try under the same id

class Agent:
    def __init__(self, nc, prefix, name):
        self.nc, self.js, self.prefix, self.name = nc, nc.jetstream(), prefix, name
        self.worker = f"{name[:32]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    async def ask(self, entity, command, command_id=None):
        """Asks until an answer comes. The id makes a repetition harmless: it gets the first answer."""
        headers = {"Orrery-Command-Id": command_id or str(uuid.uuid4()), "Orrery-Caller": self.worker}
        subject, payload = f"{self.prefix}.request.{entity}", json.dumps(command).encode()
        while True:
            try:
                reply = json.loads((await self.nc.request(subject, payload, timeout=5, headers=headers)).data)
                if reply.get("code") not in LATER:
                    return reply
            except (NoRespondersError, TimeoutError):
                pass  # the partition moves from one host to another
            await asyncio.sleep(0.2)

    async def register(self):
        skill = {"id": "text.words", "name": "Words", "description": "counts the words of the goal"}
        card = {"name": self.name, "description": "counts words", "version": "1", "skills": [skill]}
        reply = await self.ask(f"agent.{self.name}", {
            "type": "register", "worker": self.worker, "card": card, "capacity": 1, "heartbeat_ms": int(HEARTBEAT_S * 1000)})
        if reply["status"] == "refused":
            raise SystemExit(f"registration was refused: {reply['message']}")

    async def heartbeats(self):
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            reply = await self.ask(f"agent.{self.name}", {"type": "heartbeat", "worker": self.worker})
            if reply.get("code") == "unknown-worker":  # we were silent for too long
                await self.register()

    async def renewals(self, message, job, work):
        """Keeps the delivery and the task's lease; a refusal means that the work is no longer wanted, or halted."""
        while True:
            await asyncio.sleep(min(job["lease_ms"] / 1000, ACK_WAIT_S) / 3)
            await message.in_progress()
            reply = await self.ask(f"task.{job['task']['key']}", {"type": "renew-lease", "attempt": job["attempt"]})
            if reply["status"] == "refused":
                work.cancel(reply["code"])

    async def do(self, job):
        """The work itself: any side effect comes after `start-job`, never before."""
        words, attempt = job["goal"].split(), job["attempt"]
        for number, word in enumerate(words, start=1):
            chunk = {"attempt": attempt, "number": number, "text": f"{word}\n", "progress": {"done": number}}
            await self.nc.publish(f"{self.prefix}.out.{job['task']['key']}", json.dumps(chunk).encode())
            await asyncio.sleep(0.05)
        done = {"type": "complete-job", "attempt": attempt, "result": {"words": len(words)}}
        if blake3:
            data = "\n".join(words).encode()
            digest = blake3(data).hexdigest()
            await (await self.js.object_store(f"{self.prefix}_blobs")).put(digest, data)
            done["artifacts"] = [{"name": "words.txt", "media_type": "text/plain", "hash": digest, "bytes": len(data)}]
        return done

    async def take(self, message):
        data, blob = message.data, (message.headers or {}).get("Orrery-Blob")
        if blob:  # a large body lies in the blob store
            data = (await (await self.js.object_store(f"{self.prefix}_blobs")).get(blob)).data
        job = json.loads(data)
        task, attempt = f"task.{job['task']['key']}", job["attempt"]
        start = {"type": "start-job", "attempt": attempt, "worker": self.worker}
        started = await self.ask(task, start, f"{job['id']}/start/{self.worker}")
        if started.get("code") == "halted":
            return await message.nak(delay=HALTED_S)  # it comes again, and may begin once the halt is lifted
        if started["status"] == "accepted":
            work = asyncio.create_task(self.do(job))
            renewals = asyncio.create_task(self.renewals(message, job, work))
            report = {"type": "fail-job", "attempt": attempt, "code": "word-count-failed"}
            try:
                report = await work
            except asyncio.CancelledError as stopped:
                report |= {"class": "canceled", "message": "the work was stopped"}
                if stopped.args == ("halted",):  # it waits anew, and this was no try
                    report = {"type": "withdraw", "attempt": attempt, "reason": "halted"}
            except Exception as error:
                report |= {"class": "transient", "message": repr(error)}
            await end(renewals)
            await self.ask(task, report, f"{job['id']}/report/{self.worker}")
        # Reported, or refused because nobody waits for this attempt: either way the delivery is done.
        await message.ack_sync()

    async def run(self, stop):
        await self.register()
        heartbeats = asyncio.create_task(self.heartbeats())
        try:
            await self.take_jobs(stop)
        finally:
            await end(heartbeats)
        await asyncio.wait_for(self.ask(f"agent.{self.name}", {"type": "deregister", "worker": self.worker}), 10)

    async def take_jobs(self, stop):
        jobs = await self.js.pull_subscribe(
            f"{self.prefix}.job.{self.name}", durable="agent-" + self.name.replace(".", "_"),
            stream=f"{self.prefix.upper().replace('-', '_')}_JOBS",
            config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=10_000))
        print(f"agent {self.name} takes jobs", flush=True)
        while not stop.is_set():  # SIGTERM lets the job in hand come to its end
            try:
                for message in await jobs.fetch(1, timeout=1):
                    await self.take(message)
            except TimeoutError:
                pass  # no job
            except Error:
                if self.nc.is_closed:
                    raise
                await asyncio.sleep(RECONNECT_WAIT_S)  # the client connects again by itself

async def end(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

async def no_trouble(error):
    """The client tells of every try to connect again; what counts is whether one succeeds."""

async def main():
    parser = argparse.ArgumentParser()
    for option, default in (("--nats", "nats://127.0.0.1:4222"), ("--prefix", "orrery"), ("--name", "wordsmith")):
        parser.add_argument(option, default=default)
    args, stop = parser.parse_args(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        nc = await nats.connect(args.nats, error_cb=no_trouble, max_reconnect_attempts=RECONNECTS_MAX,
                                reconnect_time_wait=RECONNECT_WAIT_S)
        await Agent(nc, args.prefix, args.name).run(stop)
        await nc.close()
    except (Error, OSError) as error:
        sys.exit(f"agent {args.name} ends: the server at {args.nats} does not answer ({error})")

asyncio.run(main())
