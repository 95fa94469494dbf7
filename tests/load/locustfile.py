"""Load on a dchat relay with real Locust: three kinds of users.

    locust -f tests/load/locustfile.py --host http://127.0.0.1:7071
    locust -f tests/load/locustfile.py --host http://127.0.0.1:7071 --headless -u 100 -r 10 -t 5m

The same mix runs natively: dchat run relay_users.js

DchatUser  weight 10   waits 1-3 s      sends 3, reads 2, status 1, health 1
HeavyUser  weight 1    waits 0.5-1.5 s  bursts of 5 messages, 100 ms apart
BurstUser  weight 0.5  waits 5-10 s     bursts of 10-20 messages, back to back

Every request has a templated name, so that Locust's table stays short. To try other traffic,
change the texts, the waits or the task weights below; fields beside the API's own are kept and
given back by the relay.
"""

import random
import time
import uuid

from locust import HttpUser, between, task

MESSAGES = "/api/v1/messages"

# Users write to each other within this many mailboxes.
MAILBOXES = 1_000

TEXTS = [
    "on my way",
    "did you see the figures of last night?",
    "lunch at half past twelve",
    "the build is green again",
    "can you look at this when you have a minute",
]


class RelayUser(HttpUser):
    """What all three kinds share: a name, and one way to send a message."""

    abstract = True

    def on_start(self):
        self.user = f"user-{random.randrange(MAILBOXES)}"
        # Where the last read of the mailbox ended.
        self.cursor = 0

    def send_message(self, kind):
        """Posts one message under a new id and checks the answer."""
        message = {
            "id": str(uuid.uuid4()),
            "sender": self.user,
            "recipient": f"user-{random.randrange(MAILBOXES)}",
            "content": random.choice(TEXTS),
            "timestamp": int(time.time() * 1000),
            "kind": kind,
        }
        with self.client.post(
            MESSAGES, json=message, name=f"{MESSAGES} ({kind})", catch_response=True
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {answer.text[:200]}")
            elif answer.json().get("message_id") != message["id"]:
                answer.failure(f"no message_id of ours: {answer.text[:200]}")


class DchatUser(RelayUser):
    """A person who chats: writes, reads, now and then looks whether all is well."""

    weight = 10
    wait_time = between(1, 3)

    @task(3)
    def send(self):
        self.send_message("chat")

    @task(2)
    def get(self):
        """Reads what is new in the own mailbox, from where the last read ended."""
        with self.client.get(
            MESSAGES,
            params={"user": self.user, "box": "inbox", "after": self.cursor, "limit": 50},
            name=f"{MESSAGES}?user=[user]",
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {answer.text[:200]}")
                return
            page = answer.json()
            sequences = [message["sequence"] for message in page["messages"]]
            if sequences != sorted(set(sequences)) or any(s <= self.cursor for s in sequences):
                answer.failure(f"not in order after {self.cursor}: {sequences}")
                return
        self.cursor = page["next_after"]

    @task(1)
    def status(self):
        self.client.get("/api/v1/status")

    @task(1)
    def health(self):
        with self.client.get("/health", catch_response=True) as answer:
            if answer.status_code == 200 and answer.json().get("status") != "ok":
                answer.failure(f"not healthy: {answer.text[:200]}")


class HeavyUser(RelayUser):
    """One who writes a lot: five messages, a tenth of a second apart."""

    weight = 1
    wait_time = between(0.5, 1.5)

    @task
    def send_burst(self):
        for _ in range(5):
            self.send_message("heavy")
            time.sleep(0.1)


class BurstUser(RelayUser):
    """A bot: quiet for seconds, then ten to twenty messages at once."""

    weight = 0.5
    wait_time = between(5, 10)

    @task
    def send_burst(self):
        for _ in range(random.randint(10, 20)):
            self.send_message("burst")
