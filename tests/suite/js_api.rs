//! The k6 API as scripts see it: modules, globals, lifecycle, and scripts that behave badly.

use std::time::Duration;

use crate::support::command::Finished;
use crate::support::*;

/// Runs `script` with `flags` to its end; `U` is a relay's address.
fn run_with(relay: Option<&Relay>, flags: &[&str], script: &str) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.js");
    std::fs::write(&file, script).unwrap();
    std::fs::write(dir.path().join("lib.js"), "export const answer = 42;").unwrap();
    std::fs::write(dir.path().join("data.json"), r#"[{"n":1},{"n":2},{"n":3}]"#).unwrap();
    let mut run = dchat(["run", "--report-to", "none"]);
    for flag in flags {
        run = run.arg(flag);
    }
    if let Some(relay) = relay {
        run = run.arg("-e").arg(format!("U={}", relay.url()));
    }
    run.arg(&file)
        .within_dir(dir.path())
        .within(Duration::from_secs(60))
        .run()
}

/// A script whose checks must all pass, once.
#[track_caller]
fn all_pass(relay: Option<&Relay>, script: &str) -> Finished {
    let run = run_with(relay, &["-i", "1"], script).expect(0);
    assert!(
        run.stdout
            .contains("checks_failed......................: 0.00%"),
        "{}",
        run.stdout
    );
    assert!(!run.stderr.contains("level=error"), "{}", run.stderr);
    run
}

#[test]
fn requests_and_responses_are_as_in_k6() {
    let relay = Relay::start();
    all_pass(
        Some(&relay),
        r#"
        import http, { post } from 'k6/http';
        import { check } from 'k6';
        export default function () {
          const health = http.get(`${__ENV.U}/health`, { tags: { mine: 'x' } });
          check(health, {
            status: (r) => r.status === 200 && r.status_text === '200 OK',
            proto: (r) => r.proto === 'HTTP/1.1' && r.remote_ip === '127.0.0.1' && r.remote_port > 0,
            headers: (r) => r.headers['Content-Type'].startsWith('application/json'),
            json: (r) => r.json().service === 'dchat' && r.json('service') === 'dchat',
            timings: (r) => r.timings.duration > 0 && r.timings.waiting > 0 && r.timings.looking_up === 0,
            noerror: (r) => r.error === '' && r.error_code === 0,
            request: (r) => r.request.method === 'GET' && r.request.url.endsWith('/health'),
          });
          const sent = post(`${__ENV.U}/api/v1/messages`, JSON.stringify({ sender: 'a', content: 'ü' }));
          check(sent, { sent: (r) => r.status === 200 && r.json('status') === 'delivered' });
          const read = http.get(`${__ENV.U}/api/v1/messages/${sent.json('message_id')}`);
          check(read, { read: (r) => r.json('content') === 'ü' });
          check(http.get(`${__ENV.U}/none`), { code: (r) => r.status === 404 && r.error_code === 1404 });
          check(http.head(`${__ENV.U}/health`), { head: (r) => r.status === 200 && r.body === '' });
          check(http.del(`${__ENV.U}/api/v1/messages/${sent.json('message_id')}`), { del: (r) => r.status === 204 });
          const raw = http.get(`${__ENV.U}/health`, { responseType: 'binary' });
          check(raw, { binary: (r) => r.body instanceof ArrayBuffer && r.body.byteLength > 10 });
          const none = http.get(`${__ENV.U}/health`, { responseType: 'none' });
          check(none, { none: (r) => r.body === null });
        }"#,
    );
}

#[test]
fn failed_requests_return_status_0_and_throw_only_if_asked() {
    all_pass(
        None,
        r#"
        import http from 'k6/http';
        import { check } from 'k6';
        export default function () {
          const refused = http.get('http://127.0.0.1:9/');
          check(refused, { refused: (r) => r.status === 0 && r.body === null && r.error_code === 1212 });
          const invalid = http.get('http://h:port/');
          check(invalid, { invalid: (r) => r.status === 0 && r.error_code === 1020 });
          let thrown;
          try { http.get('http://127.0.0.1:9/', { throw: true }); } catch (e) { thrown = e; }
          check(thrown, { thrown: (e) => String(e).includes('connection refused') });
        }"#,
    );
}

#[test]
fn batch_async_requests_and_timers_work_together() {
    let relay = Relay::start();
    all_pass(
        Some(&relay),
        r#"
        import http from 'k6/http';
        import { check, sleep } from 'k6';
        export default async function () {
          const many = http.batch([`${__ENV.U}/health`, ['GET', `${__ENV.U}/ready`], { method: 'GET', url: `${__ENV.U}/none` }]);
          check(many, { batch: (m) => m.map((r) => r.status).join() === '200,200,404' });
          const named = http.batch({ a: `${__ENV.U}/health` });
          check(named, { named: (n) => n.a.status === 200 });
          const two = await Promise.all([http.asyncRequest('GET', `${__ENV.U}/health`), http.asyncRequest('GET', `${__ENV.U}/none`)]);
          check(two, { async: (t) => t[0].status === 200 && t[1].status === 404 });
          const order = [];
          setTimeout(() => order.push('timer'), 20);
          sleep(0.05);
          check(order, { 'callbacks wait while a call blocks': (o) => o.length === 0 });
          await new Promise((done) => setTimeout(done, 1));
          check(order, { 'timers run in order': (o) => o.join() === 'timer' });
          let ticks = 0;
          await new Promise((done) => {
            const id = setInterval(() => { if (++ticks === 3) { clearInterval(id); done(); } }, 1);
          });
          check(ticks, { interval: (n) => n === 3 });
        }"#,
    );
}

#[test]
fn modules_files_and_shared_arrays_are_there() {
    all_pass(
        None,
        r#"
        import { check } from 'k6';
        import { SharedArray } from 'k6/data';
        import exec, { vu } from 'k6/execution';
        import { answer } from './lib.js';
        const text = open('./data.json');
        const shared = new SharedArray('s', () => JSON.parse(text));
        export const options = { tags: { t: 'v' } };
        export function setup() { return { list: [1, 2] }; }
        export default function (data) {
          let refused = false;
          try { shared[0].n = 9; } catch (e) { refused = true; }
          check(null, {
            import: () => answer === 42,
            shared: () => shared.length === 3 && shared[1].n === 2 && [...shared].length === 3 && shared.map((s) => s.n).join() === '1,2,3',
            frozen: () => refused && shared[0].n === 1,
            setup: () => data.list.join() === '1,2',
            ids: () => __VU === 1 && __ITER === 0 && vu.idInTest === 1 && exec.scenario.name === 'default',
            options: () => exec.test.options.tags.t === 'v',
            progress: () => exec.scenario.progress >= 0 && exec.instance.vusActive === 1,
          });
        }
        export function teardown(data) { if (data.list.length !== 2) throw new Error('lost'); }"#,
    );
}

#[test]
fn metrics_groups_and_thresholds_meet() {
    let run = run_with(
        None,
        &["-i", "4"],
        r#"
        import { check, group } from 'k6';
        import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
        const count = new Counter('my_count'), gauge = new Gauge('my_gauge');
        const rate = new Rate('my_rate'), trend = new Trend('my_trend', true);
        export const options = { thresholds: {
          my_count: ['count==8'], my_gauge: ['value==3'], my_rate: ['rate==0.5'], my_trend: ['p(95)<11', 'max==10'],
          'my_count{kind:a}': ['count==4'], 'checks{group:::outer::inner}': ['rate==1'], group_duration: ['max>=0'],
        } };
        export default function () {
          count.add(1, { kind: 'a' }); count.add('1'); gauge.add(3); rate.add(__ITER % 2); trend.add(10); trend.add(true);
          group('outer', () => group('inner', () => check(1, { one: (v) => v === 1 })));
        }"#,
    )
    .expect(0);
    assert!(run.stdout.contains("my_trend"), "{}", run.stdout);
}

#[test]
fn exceptions_do_not_end_the_run_but_bad_scripts_do() {
    let run = run_with(
        None,
        &["-i", "3"],
        "export default function () { throw new Error('number ' + __ITER); }",
    )
    .expect(0);
    assert_eq!(
        run.stderr.matches("level=error").count(),
        3,
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("script.js:1:"), "{}", run.stderr);
    assert!(
        run.stdout
            .contains("iterations.........................: 3"),
        "{}",
        run.stdout
    );

    let syntax = run_with(None, &[], "export default function () {\n  let = ;\n}").expect(107);
    assert!(syntax.stderr.contains("script.js:2:"), "{}", syntax.stderr);
    run_with(
        None,
        &[],
        "throw new Error('init'); export default () => {};",
    )
    .expect(107);
    run_with(None, &[], "import 'k6/nothing'; export default () => {};").expect(107);
    let setup = "export function setup() { throw new Error('no'); } export default () => {};";
    run_with(None, &[], setup).expect(107);
    let aborted = "import exec from 'k6/execution';
                   export default () => { exec.test.abort('enough'); };";
    run_with(None, &["-i", "5"], aborted).expect(108);
    let failed =
        "import exec from 'k6/execution'; export default () => { exec.test.fail('bad'); };";
    run_with(None, &["-i", "1"], failed).expect(110);
}

#[test]
fn looping_scripts_stop_neither_the_others_nor_the_end() {
    let started = std::time::Instant::now();
    let run = run_with(
        None,
        &[],
        r#"
        import { sleep } from 'k6';
        import { Counter } from 'k6/metrics';
        const done = new Counter('done');
        const one = (exec) => ({ executor: 'constant-vus', vus: 1, duration: '2s', gracefulStop: '0s', exec });
        export const options = { scenarios: { spin: one('spin'), catcher: one('catcher'), good: { ...one('good'), vus: 4 } } ,
          thresholds: { done: ['count>=40'] } };
        export function spin() { while (true) {} }
        export function catcher() { while (1) { try { sleep(1); } catch (e) {} } }
        export function good() { sleep(0.1); done.add(1); }"#,
    )
    .expect(0);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("done"), "{}", run.stdout);
}

#[test]
fn memory_hunger_and_deep_recursion_are_exceptions_of_one_vu() {
    let run = run_with(
        None,
        &["--vu-memory-max", "16MiB"],
        r#"
        export const options = { scenarios: { each: { executor: 'per-vu-iterations', vus: 2 } } };
        export default function () {
          if (__VU === 1) { const all = []; for (;;) all.push('x'.repeat(1000) + all.length); }
          const deep = (n) => deep(n + 1) + 1;
          deep(0);
        }"#,
    )
    .expect(0);
    assert!(run.stderr.contains("out of memory"), "{}", run.stderr);
    assert!(run.stderr.contains("stack"), "{}", run.stderr);
}

#[test]
fn cookies_live_for_an_iteration_and_redirects_are_samples() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // A server that sets a cookie and redirects; it says which cookies it got.
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(4) {
            let mut stream = stream.unwrap();
            let mut cookie = String::new();
            let mut path = String::new();
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let line = line.unwrap();
                if path.is_empty() {
                    path = line.split(' ').nth(1).unwrap().to_owned();
                } else if line.to_lowercase().starts_with("cookie:") {
                    cookie = line;
                } else if line.is_empty() {
                    break;
                }
            }
            let head = match path.as_str() {
                "/start" => "302 Found\r\nSet-Cookie: seen=1; Path=/\r\nLocation: /end",
                _ => "200 OK",
            };
            let body = format!("got {cookie}");
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        export const options = {{ iterations: 2, thresholds: {{ http_reqs: ['count==4'] }} }};
        export default function () {{
          const jar = http.cookieJar();
          check(jar.cookiesForURL('http://{addr}/'), {{ empty: (c) => c.seen === undefined }});
          const r = http.get('http://{addr}/start');
          check(r, {{
            followed: (r) => r.status === 200 && r.url.endsWith('/end'),
            sent: (r) => r.body.includes('seen=1'),
          }});
          check(jar.cookiesForURL('http://{addr}/'), {{ kept: (c) => c.seen[0] === '1' }});
        }}"#
    );
    let run = run_with(None, &[], &script).expect(0);
    assert!(run.stdout.contains("100.00%"), "{}", run.stdout);
    server.join().unwrap();
}

#[test]
fn rejections_that_nobody_handles_are_logged() {
    let run = run_with(
        None,
        &["-i", "1"],
        r#"
        import { sleep } from 'k6';
        sleep(0.01); // Init code may sleep.
        export default async function () {
          Promise.reject(new Error('lost'));
          const late = Promise.reject(new Error('handled late'));
          setTimeout(() => late.catch(() => {}), 10);
          try { await (async () => { throw new Error('handled at once'); })(); } catch (e) {}
          await new Promise((resolve) => setTimeout(resolve, 30));
          throw new Error('own');
        }"#,
    )
    .expect(0);
    let said = |text: &str| run.stderr.matches(text).count();
    assert_eq!(
        said("Uncaught (in promise) Error: lost"),
        1,
        "{}",
        run.stderr
    );
    assert_eq!(said("Error: own"), 1, "{}", run.stderr);
    assert_eq!(said("handled"), 0, "{}", run.stderr);
}

/// Whatever a script is in the middle of when its time is over: the run ends, nothing aborts, and
/// no VU had to be left behind.
#[test]
fn scripts_are_cut_off_wherever_they_are() {
    let started = std::time::Instant::now();
    let run = run_with(
        None,
        &[],
        r#"
        import { group, sleep } from 'k6';
        import http from 'k6/http';
        const one = (exec) => ({ executor: 'constant-vus', vus: 1, duration: '1s', gracefulStop: '0s', exec });
        const names = ['timer', 'jobs', 'bomb', 'generator', 'asynchronous', 'sorting', 'json', 'replacing', 'proxy',
          'regexp', 'throwing'];
        export const options = { scenarios: Object.fromEntries(names.map((name) => [name, one(name)])) };
        const nowhere = 'http://127.0.0.1:1/';
        export async function timer() { await new Promise((resolve) => setTimeout(resolve, 100000)); }
        export function jobs() { const f = () => { Promise.resolve().then(f); }; f(); }
        export function bomb() { const f = () => { Promise.resolve().then(f).then(f); }; f(); }
        export function generator() {
          function* endless() { for (;;) { try { sleep(1); yield 1; } finally { sleep(1); } } }
          for (const _ of endless());
        }
        export async function asynchronous() { for (;;) { try { await http.asyncRequest('GET', nowhere); } catch (e) {} } }
        export function sorting() { group('g', () => [3, 2, 1].sort((a, b) => { sleep(1); return a - b; })); }
        export function json() { JSON.stringify({ toJSON() { for (;;) sleep(1); } }); }
        export function replacing() { 'aaa'.replace(/a/g, () => { for (;;); }); }
        export function proxy() {
          new Proxy({}, { get() { for (;;) { try { sleep(1); } catch (e) {} finally { for (;;); } } } }).x;
        }
        export function regexp() { /^(a+)+$/.test('a'.repeat(40) + 'b'); }
        export function throwing() { try { sleep(9); } finally { throw { toString() { for (;;); } }; } }"#,
    )
    .expect(0);
    assert!(!run.stderr.contains("left behind"), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?} {}", run.stderr);
}

/// QuickJS asks no interrupt handler inside this search, which takes quadratic time: the thread is
/// lost, the run is not.
#[test]
fn a_worker_held_by_one_builtin_call_does_not_hold_the_end() {
    let started = std::time::Instant::now();
    let run = run_with(
        None,
        &[],
        r#"
        import { sleep } from 'k6';
        import { Counter } from 'k6/metrics';
        const done = new Counter('done');
        export const options = {
          scenarios: { all: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s' } }, thresholds: { done: ['count>0'] } };
        export default function () {
          if (__VU === 1) 'a'.repeat(2 ** 25).indexOf('a'.repeat(2 ** 24) + 'b');
          sleep(0.1);
          done.add(1);
        }
        export function teardown() { console.log('cleaned up'); }"#,
    )
    .expect(0);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(55), "{took:?} {}", run.stderr);
    assert!(run.stderr.contains("left behind"), "{}", run.stderr);
    assert!(run.stderr.contains("cleaned up"), "{}", run.stderr);
}
