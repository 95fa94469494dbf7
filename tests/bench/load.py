#!/usr/bin/env python3
"""Cost of the load engine, as ratios within one run.

  cargo build --release && tests/bench/load.py [--rounds 3] [--seconds 8] [--k6 PATH]

Against one relay, in turn and several times: wrk posting, wrk getting, and `dchat run` with the
stress test without its sleeps at 100 VUs. Prints CPU microseconds per request of each client
process and the ratio to wrk's (mean of GET and POST). Then memory per VU: peak memory of the same
script with its sleeps at 1,000 VUs against the same at 1 VU.

Needs wrk and Python's standard library. Traffic goes to loopback only.
"""
import argparse, json, os, re, resource, signal, subprocess, sys, tempfile, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POST_LUA = """
local n, seed = 0, string.format("%012x", os.time() * 1000)
request = function()
  n = n + 1
  local body = string.format('{"id":"%s-%09d","sender":"user-1","content":"Test message from VU 1 at 2026-11-23T09:00:00.000Z","timestamp":1795424400000}', seed, n)
  return wrk.format("POST", "/api/v1/messages", {["Content-Type"] = "application/json"}, body)
end
"""


def cpu_of(argv, **options):
    """Runs argv to its end; returns (stdout, CPU seconds of the process, peak KiB)."""
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)
    out = child.stdout.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 99):
        sys.exit(f"{' '.join(argv)} ended with {code}\n{out}")
    return out, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


class Relay:
    def __init__(self, binary, directory):
        argv = [binary, "relay", "--port", "0", "--bind", "127.0.0.1", "--data-dir", directory, "--log-level", "warn"]
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.url = self.child.stdout.readline().split()[-1]
        for _ in range(200):
            try:
                urllib.request.urlopen(self.url + "/ready").read()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("the relay did not become ready")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def wrk(url, seconds, script=None):
    argv = ["wrk", "-t1", "-c100", f"-d{seconds}s", *(["-s", script] if script else []), url]
    out, cpu, _ = cpu_of(argv)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return 1e6 * cpu / requests, requests / seconds


def dchat(binary, script, url, vus, seconds, directory):
    summary = os.path.join(directory, "summary.json")
    argv = [binary, "run", "-q", "-u", str(vus), "-d", f"{seconds}s", "--no-thresholds", "--report-to", "none",
            "-e", f"RELAY_URL={url}", "--summary-export", summary, script]
    _, cpu, peak = cpu_of(argv, cwd=directory)
    with open(summary) as file:
        requests = json.load(file)["metrics"]["http_reqs"]["count"]
    return 1e6 * cpu / requests, requests / seconds, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/dchat"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--vus", type=int, default=1000, help="VUs of the memory measurement")
    arguments = parser.parse_args()
    with open(os.path.join(ROOT, "tests/load/relay_stress_test.js")) as file:
        original = file.read()
    with tempfile.TemporaryDirectory(prefix="dchat-bench-") as directory:
        files = {"post.lua": POST_LUA,
                 # Options give way to -u and -d; sleeps become nothing.
                 "busy.js": re.sub(r"\bsleep\((?:[^()]|\([^()]*\))*\);", ";", original),
                 "idle.js": original}
        for name, text in files.items():
            with open(os.path.join(directory, name), "w") as file:
                file.write(text)
        relay = Relay(arguments.binary, os.path.join(directory, "data"))
        try:
            message = json.dumps({"id": "known", "sender": "a", "content": "x" * 60}).encode()
            urllib.request.urlopen(relay.url + "/api/v1/messages", message).read()
            rows = []
            for _ in range(arguments.rounds):
                post = wrk(relay.url, arguments.seconds, os.path.join(directory, "post.lua"))
                get = wrk(relay.url + "/api/v1/messages/known", arguments.seconds)
                run = dchat(arguments.binary, os.path.join(directory, "busy.js"), relay.url, 100, arguments.seconds, directory)
                base = (post[0] + get[0]) / 2
                rows.append(run[0] / base)
                print(f"wrk POST {post[0]:.2f} µs ({post[1]:.0f}/s)  GET {get[0]:.2f} µs ({get[1]:.0f}/s)  "
                      f"dchat run {run[0]:.2f} µs ({run[1]:.0f}/s)  ratio {run[0] / base:.2f}", flush=True)
            print(f"CPU per request, dchat run / wrk: median {sorted(rows)[len(rows) // 2]:.2f}")
            idle = os.path.join(directory, "idle.js")
            _, _, one = dchat(arguments.binary, idle, relay.url, 1, 10, directory)
            _, _, many = dchat(arguments.binary, idle, relay.url, arguments.vus, 10, directory)
            print(f"peak memory: 1 VU {one} KiB, {arguments.vus} VUs {many} KiB: "
                  f"{(many - one) * 1.024 / (arguments.vus - 1):.1f} kB per VU")
        finally:
            relay.stop()


if __name__ == "__main__":
    main()
