"""A service in plain nats-py: hands a task over and prints its events until the end. See ../protocol.md.

pip install nats-py
python service.py --nats nats://127.0.0.1:4222 --skill text.words "count the words of this sentence"
"""
import argparse, asyncio, base64, json, uuid

import nats
from nats.errors import TimeoutError
from nats.js.errors import NotFoundError

FINAL = {"completed", "failed", "canceled", "rejected"}


async def after(js, stream, subject, sequence):
    """The messages of a subject that a stream has behind a sequence. This needs no consumer, and so no credentials."""
    while True:
        try:
            message = await js.get_msg(stream, seq=sequence + 1, subject=subject, direct=True, next=True)
        except NotFoundError:
            return
        sequence = message.seq
        yield message


async def events(nc, prefix, entity):
    """The events of an entity, past and future. The bare subject says only when to look: nothing is missed."""
    stream, subject, sequence = f"{prefix.upper().replace('-', '_')}_EVENTS", f"{prefix}.evt.{entity}", 0
    news = await nc.subscribe(subject)
    while True:
        async for message in after(nc.jetstream(), stream, subject, sequence):
            sequence = message.seq
            yield message
        try:
            await news.next_msg(timeout=1)
        except TimeoutError:
            pass


async def stored(js, bucket, name):
    """An object of the blob store: its pieces, one after the other."""
    place = base64.urlsafe_b64encode(name.encode()).decode()
    found = await js.get_msg(f"OBJ_{bucket}", subject=f"$O.{bucket}.M.{place}", direct=True)
    pieces = after(js, f"OBJ_{bucket}", f"$O.{bucket}.C.{json.loads(found.data)['nuid']}", 0)
    return b"".join([piece.data async for piece in pieces])


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("goal")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("--prefix", default="orrery")
    parser.add_argument("--skill", default="plan")
    parser.add_argument("--id", default=str(uuid.uuid4()), help="the task's key: the same again is the same task")
    args = parser.parse_args()

    nc = await nats.connect(args.nats)
    js = nc.jetstream()
    submit = {"type": "submit", "goal": args.goal, "skill": args.skill}
    # JetStream acknowledges when the command is stored. The command's id makes a repetition harmless.
    subject = f"{args.prefix}.do.shop.task.{args.id}"
    await js.publish(subject, json.dumps(submit).encode(), headers={"Orrery-Command-Id": f"submit-{args.id}"})

    async for message in events(nc, args.prefix, f"task.{args.id}"):
        data, blob = message.data, message.headers.get("Orrery-Blob")
        if blob:  # a large body lies in the blob store
            data = await stored(js, f"{args.prefix}_blobs", blob)
        event = json.loads(data)
        print(message.headers["Orrery-Revision"], json.dumps(event), flush=True)
        if event["type"] in FINAL:
            break
    await nc.close()


asyncio.run(main())
