#!/usr/bin/env python3
"""Rate of durable messages, as ratios within one run.

  cargo build --release && tests/bench/relay.py [--rounds 3] [--seconds 8] [--connections 64]

In turn and several times, wrk posts to a relay of its own:
  no-op     the same server and body, refused with 400 after parsing: everything but storage
  durable   ids that ascend in time, fsync before each answer
  random    the same with random ids
  batch     100 messages a call; messages counted
  single    one commit per message (commit_jobs_max=1)
Prints rate, p50 and p99 of each (median of the rounds), the largest WAL seen, and the ratios.

Needs wrk and Python's standard library. Traffic goes to loopback only.
"""
import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONTENT = "Test message from VU 1 at 2026-11-23T09:00:00.000Z"

# Every thread of wrk gets a number, so that ids never meet.
LUA = """
local threads = 0
function setup(thread) thread:set("id", threads); threads = threads + 1 end
local n = 0
function init(args) math.randomseed(os.time() * 1000 + id) end
local headers = {["Content-Type"] = "application/json"}
local function message()
  n = n + 1
  local unique = %(unique)s
  return string.format('{"id":"%%s","sender":"user-%%d","recipient":"user-%%d","content":"%(content)s"%(more)s}', unique, n %% 1000, (n * 7) %% 1000)
end
request = function()
  %(body)s
end
"""
ASCENDING = 'string.format("%s-%d-%012d", stamp, id, n)'
RANDOM = 'string.format("%08x%08x-%d-%d", math.random(0, 2^31-1), math.random(0, 2^31-1), id, n)'
SINGLE = 'return wrk.format("POST", "/api/v1/messages", headers, message())'
BATCH = """local all = {}
  for i = 1, 100 do all[i] = message() end
  return wrk.format("POST", "/api/v1/messages/batch", headers, '{"messages":[' .. table.concat(all, ",") .. "]}")"""

CASES = {
    "no-op": dict(unique=ASCENDING, body=SINGLE, more=',"ttl_seconds":0', limits=[], messages=1),
    "durable": dict(unique=ASCENDING, body=SINGLE, more="", limits=[], messages=1),
    "random": dict(unique=RANDOM, body=SINGLE, more="", limits=[], messages=1),
    "batch": dict(unique=ASCENDING, body=BATCH, more="", limits=[], messages=100),
    "single": dict(unique=ASCENDING, body=SINGLE, more="", limits=["--limit", "commit_jobs_max=1"], messages=1),
}


class Relay:
    def __init__(self, binary, directory, limits):
        argv = [binary, "relay", "--port", "0", "--bind", "127.0.0.1", "--data-dir", directory, "--log-level", "warn"]
        self.child = subprocess.Popen(argv + limits, stdout=subprocess.PIPE, text=True)
        self.url = self.child.stdout.readline().split()[-1]
        while True:
            try:
                urllib.request.urlopen(self.url + "/ready", timeout=5).close()
                return
            except OSError:
                time.sleep(0.01)

    def status(self):
        with urllib.request.urlopen(self.url + "/api/v1/status", timeout=5) as answer:
            return json.load(answer)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def measure(binary, case, seconds, connections, base):
    with tempfile.TemporaryDirectory(dir=base) as directory:
        relay = Relay(binary, os.path.join(directory, "data"), case["limits"])
        script = os.path.join(directory, "post.lua")
        with open(script, "w") as file:
            lua = dict(case, content=CONTENT)
            file.write(f'local stamp = "{int(time.time()):x}"\n' + LUA % lua)
        wal, done = [0], threading.Event()

        def watch():
            while not done.wait(0.1):
                try:
                    wal[0] = max(wal[0], relay.status()["storage"]["wal_bytes"])
                except OSError:
                    pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        argv = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, relay.url]
        out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
        done.set()
        watcher.join()
        relay.stop()
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) * case["messages"]
    p50 = milliseconds(re.search(r"^\s+50%\s+(\S+)", out, re.M)[1])
    p99 = milliseconds(re.search(r"^\s+99%\s+(\S+)", out, re.M)[1])
    return rate, p50, p99, wal[0] / 2**20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/dchat"))
    parser.add_argument("--dir", help="where databases are made; must be a real disk", default=ROOT + "/target")
    args = parser.parse_args()
    results = {name: [] for name in CASES}
    for _ in range(args.rounds):
        for name, case in CASES.items():
            results[name].append(measure(args.binary, case, args.seconds, args.connections, args.dir))
    print(f"{'':10}{'messages/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'WAL MiB':>9}")
    rates = {}
    for name, rounds in results.items():
        rate, p50, p99, wal = (statistics.median(column) for column in zip(*rounds))
        rates[name] = rate
        print(f"{name:10}{rate:12.0f}{p50:9.2f}{p99:9.2f}{wal:9.1f}")
    for over in ("no-op", "single"):
        print(f"durable / {over}: {rates['durable'] / rates[over]:.2f}")
    print(f"batch / durable: {rates['batch'] / rates['durable']:.2f}")


if __name__ == "__main__":
    main()
