#!/usr/bin/env python3
"""Cost of the load engine, as ratios within one run.

  cargo build --release && tests/bench/load.py [--rounds 3] [--seconds 8] [--k6 PATH]

Parts, all of them or those named with --only:

  cpu       against one relay, in turn and several times: wrk posting, wrk getting, and `dchat run`
            with the stress test without its sleeps at 100 VUs. CPU microseconds per request of each
            client process and the ratio to wrk's (mean of GET and POST).
  memory    peak memory per VU of the same script with its sleeps at 1,000 VUs and of one that posts
            once and sleeps at 10,000, each against 1 VU.
  empty     CPU microseconds of an iteration that does nothing.
  start     seconds in which 10,000 VUs are made, do one empty iteration each and end.
  slope     resident memory over --slope-seconds of the busy script, as KiB per minute.
  schedule  5,000 iterations a second by constant-arrival-rate: how late they end after their
            intended start (they do nothing, so that is how late they started).
  truth     servers that answer after 10, 50 and 200 ms: waiting as dchat measured it against what
            the server measured itself.

Needs Linux, Python's standard library and, for `cpu`, wrk. Traffic goes to loopback only.
"""
import argparse, json, os, re, signal, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

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


EMPTY = "export default function () {}\n"
ONCE = """
import http from 'k6/http';
import { check, sleep } from 'k6';
export default function () {
  const answer = http.post(`${__ENV.RELAY_URL}/api/v1/messages`, JSON.stringify({ sender: 'a', content: 'x' }), {
    headers: { 'Content-Type': 'application/json' },
  });
  check(answer, { accepted: (r) => r.status === 200 && !!r.json('message_id') });
  sleep(3600);
}
"""
RATE = """
export const options = { scenarios: { rate: {
  executor: 'constant-arrival-rate', rate: 5000, timeUnit: '1s', duration: __ENV.SECONDS + 's',
  preAllocatedVUs: 100, maxVUs: 1000,
} },
// Named by a threshold, it is shown also when no iteration was late.
thresholds: { iteration_duration_from_schedule: ['p(99)<2'] } };
export default function () {}
"""
TRUTH = """
import http from 'k6/http';
export default function () { http.get(__ENV.URL); }
"""


def wrk(url, seconds, script=None):
    argv = ["wrk", "-t1", "-c100", f"-d{seconds}s", *(["-s", script] if script else []), url]
    out, cpu, _ = cpu_of(argv)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return 1e6 * cpu / requests, requests / seconds


def run_argv(binary, script, summary, *flags):
    return [binary, "run", "-q", "--no-thresholds", "--report-to", "none", "--summary-export", summary, *flags, script]


def metrics_of(summary):
    with open(summary) as file:
        return json.load(file)["metrics"]


def dchat(binary, script, url, vus, seconds, directory):
    summary = os.path.join(directory, "summary.json")
    flags = ["-u", str(vus), "-d", f"{seconds}s", "-e", f"RELAY_URL={url}"]
    _, cpu, peak = cpu_of(run_argv(binary, script, summary, *flags), cwd=directory)
    requests = metrics_of(summary)["http_reqs"]["count"]
    return 1e6 * cpu / requests, requests / seconds, peak


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        found = re.search(r"VmRSS:\s+(\d+)", file.read())
    return int(found.group(1)) if found else 0


class Slow:
    """A server that answers every request after the same time, and remembers how long it took."""

    def __init__(self, delay):
        self.delay, self.took = delay, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            peer, _ = self.listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        while peer.recv(65536):
            begun = time.perf_counter()
            time.sleep(self.delay)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.took.append(time.perf_counter() - begun)


def cpu(a, files, relay):
    message = json.dumps({"id": "known", "sender": "a", "content": "x" * 60}).encode()
    urllib.request.urlopen(relay.url + "/api/v1/messages", message).read()
    rows = []
    for _ in range(a.rounds):
        post = wrk(relay.url, a.seconds, files["post.lua"])
        get = wrk(relay.url + "/api/v1/messages/known", a.seconds)
        run = dchat(a.binary, files["busy.js"], relay.url, 100, a.seconds, a.directory)
        base = (post[0] + get[0]) / 2
        rows.append(run[0] / base)
        print(f"wrk POST {post[0]:.2f} µs ({post[1]:.0f}/s)  GET {get[0]:.2f} µs ({get[1]:.0f}/s)  "
              f"dchat run {run[0]:.2f} µs ({run[1]:.0f}/s)  ratio {run[0] / base:.2f}", flush=True)
    print(f"CPU per request, dchat run / wrk: median {statistics.median(rows):.2f}")


def memory(a, files, relay):
    for script, vus, seconds in (("idle.js", 1_000, 10), ("once.js", 10_000, 20)):
        _, _, one = dchat(a.binary, files[script], relay.url, 1, seconds, a.directory)
        _, _, many = dchat(a.binary, files[script], relay.url, vus, seconds, a.directory)
        print(f"peak memory of {script}: 1 VU {one} KiB, {vus} VUs {many} KiB: "
              f"{(many - one) * 1.024 / (vus - 1):.1f} kB per VU", flush=True)


def empty(a, files, _relay):
    rows = []
    for _ in range(a.rounds):
        summary = os.path.join(a.directory, "summary.json")
        _, cpu, _ = cpu_of(run_argv(a.binary, files["empty.js"], summary, "-u", "2", "-d", f"{a.seconds}s"))
        rows.append(1e6 * cpu / metrics_of(summary)["iterations"]["count"])
    print(f"CPU per empty iteration: median {statistics.median(rows):.2f} µs", flush=True)


def start(a, files, _relay):
    summary = os.path.join(a.directory, "summary.json")
    begun = time.monotonic()
    _, cpu, _ = cpu_of(run_argv(a.binary, files["empty.js"], summary, "-u", "10000", "-i", "10000"))
    took = time.monotonic() - begun
    print(f"10,000 VUs made, run once and ended: {took:.1f} s, {cpu:.1f} s of CPU", flush=True)


def slope(a, files, relay):
    summary = os.path.join(a.directory, "summary.json")
    flags = ["-u", "100", "-d", f"{a.slope_seconds}s", "-e", f"RELAY_URL={relay.url}"]
    argv = run_argv(a.binary, files["busy.js"], summary, *flags)
    child = subprocess.Popen(argv, cwd=a.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun, points = time.monotonic(), []
    while child.poll() is None:
        at = time.monotonic() - begun
        # The first third is for the histograms and caches to fill.
        if a.slope_seconds / 3 < at < a.slope_seconds:
            points.append((at, resident_kib(child.pid)))
        time.sleep(1)
    line = statistics.linear_regression(*zip(*points))
    requests = metrics_of(summary)["http_reqs"]["count"]
    print(f"resident memory: {points[0][1]} KiB after {points[0][0]:.0f} s, {points[-1][1]} KiB after {points[-1][0]:.0f} s, "
          f"slope {line.slope * 60:+.0f} KiB a minute at {requests / a.slope_seconds:.0f} requests a second", flush=True)


def schedule(a, files, _relay):
    summary = os.path.join(a.directory, "summary.json")
    flags = ["-e", f"SECONDS={a.seconds}", "--summary-trend-stats", "med,p(95),p(99),max"]
    argv = [flag for flag in run_argv(a.binary, files["rate.js"], summary, *flags) if flag != "--no-thresholds"]
    cpu_of(argv)
    known = metrics_of(summary)
    late = known["iteration_duration_from_schedule"]
    dropped = known.get("dropped_iterations", {}).get("count", 0)
    print(f"5,000 iterations a second: {known['iterations']['count'] / a.seconds:.0f}/s, {dropped} dropped, ended after the intended "
          f"start: p99 {late['p(99)']:.3f} ms, max {late['max']:.3f} ms", flush=True)


def truth(a, files, _relay):
    summary = os.path.join(a.directory, "summary.json")
    for delay in (0.010, 0.050, 0.200):
        server = Slow(delay)
        cpu_of(run_argv(a.binary, files["truth.js"], summary, "-u", "5", "-d", f"{a.seconds}s", "-e", f"URL={server.url}"))
        told = metrics_of(summary)["http_req_waiting"]["avg"]
        own = 1e3 * statistics.mean(server.took)
        print(f"server of {1e3 * delay:.0f} ms: {own:.3f} ms by its own clock, http_req_waiting {told:.3f} ms "
              f"({told - own:+.3f} ms)", flush=True)


PARTS = {part.__name__: part for part in (cpu, memory, empty, start, slope, schedule, truth)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/dchat"))
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--slope-seconds", type=int, default=600)
    a = parser.parse_args()
    with open(os.path.join(ROOT, "tests/load/relay_stress_test.js")) as file:
        original = file.read()
    with tempfile.TemporaryDirectory(prefix="dchat-bench-") as a.directory:
        texts = {"post.lua": POST_LUA,
                 # Options give way to -u and -d; sleeps become nothing.
                 "busy.js": re.sub(r"\bsleep\((?:[^()]|\([^()]*\))*\);", ";", original),
                 "idle.js": original, "once.js": ONCE, "empty.js": EMPTY, "rate.js": RATE, "truth.js": TRUTH}
        files = {name: os.path.join(a.directory, name) for name in texts}
        for name, text in texts.items():
            with open(files[name], "w") as file:
                file.write(text)
        relay = Relay(a.binary, os.path.join(a.directory, "data"))
        try:
            for part in a.only.split(","):
                PARTS[part](a, files, relay)
        finally:
            relay.stop()


if __name__ == "__main__":
    main()
