"""A service in plain nats-py: hands a task over and prints its events until the end. See ../protocol.md.

pip install nats-py
python service.py --nats nats://127.0.0.1:4222 --skill text.words "count the words of this sentence"
"""
import argparse, asyncio, json, uuid

import nats

FINAL = {"completed", "failed", "canceled", "rejected"}


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

    # From the stream, not from the bare subject: nothing is missed, whenever this starts.
    events = await js.subscribe(f"{args.prefix}.evt.task.{args.id}", ordered_consumer=True)
    async for message in events.messages:
        data, blob = message.data, message.headers.get("Orrery-Blob")
        if blob:  # a large body lies in the blob store
            data = (await (await js.object_store(f"{args.prefix}_blobs")).get(blob)).data
        event = json.loads(data)
        print(message.headers["Orrery-Revision"], json.dumps(event), flush=True)
        if event["type"] in FINAL:
            break
    await events.unsubscribe()
    await nc.close()


asyncio.run(main())
