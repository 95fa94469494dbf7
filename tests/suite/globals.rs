//! What every script has without an import, and what the run tells it about itself.

use crate::support::*;

#[test]
fn globals_are_those_of_k6_and_no_others() {
    Script::new(
        r#"
        import { check } from 'k6';
        const here = ['__VU', '__ITER', '__ENV', 'console', 'open', 'require', 'setTimeout', 'clearTimeout', 'setInterval',
          'clearInterval', 'crypto', 'TextEncoder', 'TextDecoder', 'global'];
        const absent = ['fetch', 'URL', 'URLSearchParams', 'atob', 'btoa', 'structuredClone', 'queueMicrotask', 'Intl',
          'performance', 'Blob', 'Buffer', 'process', 'WeakRef', 'SharedArrayBuffer', 'window', 'module', 'exports'];
        export default function () {
          for (const name of here) check(name, { [`${name} is there`]: (n) => globalThis[n] !== undefined });
          for (const name of absent) check(name, { [`${name} is not`]: (n) => !(n in globalThis) });
          check(global, { global: (g) => g === globalThis });
          check(console, { console: (c) => Object.keys(c).sort().join() === 'debug,error,info,log,warn' });
        }"#,
    )
    .run()
    .expect(0)
    .checks_hold();
}

#[test]
fn console_shows_values_as_k6_does() {
    let ran = Script::new(
        r#"
        const circle = { a: 1 };
        circle.self = circle;
        const shown = [
          ['text', 'text'], [1.5, '1.5'], [null, 'null'], [undefined, 'undefined'], [true, 'true'],
          [() => 1, '[object Function]'], [new Error('bad'), 'Error: bad'],
          [{ a: 1, b: 'x', c: [1, 'two'], d: null, e: undefined, f() {} },
            '{ a: 1, b: "x", c: [ 1, "two" ], d: null, e: null, f: [object Function] }'],
          [[], '[]'], [{}, '{}'], [[[1], { a: {} }], '[ [ 1 ], { a: {} } ]'],
          [circle, '{ a: 1, self: [Circular] }'],
          [new Date(0), '"1970-01-01T00:00:00.000Z"'], [new Map([[1, 2]]), '{}'],
          [{ e: new TypeError('in') }, '{ e: TypeError: in }'],
          [new Uint8Array([1, 2]), 'Uint8Array(2) [ 1, 2 ]'],
          [new Uint8Array([1, 255]).buffer, 'ArrayBuffer { [Uint8Contents]: <01 ff>, byteLength: 2 }'],
        ];
        export default function () {
          shown.forEach(([value, text], index) => { console.log(`<${index}`, value, `${index}>`); console.log(`<${index} ${text} ${index}>`); });
        }"#,
    )
    .run()
    .expect(0);
    // Each value stands there twice: as shown, and as it should be shown.
    for index in 0..17 {
        let marked = |line: &&str| line.contains(&format!("<{index} "));
        let lines = ran.finished.stderr.lines().filter(marked);
        let texts: Vec<&str> = lines
            .filter_map(|line| line.split_once("msg=").map(|(_, text)| text))
            .collect();
        check(texts.len() == 2 && texts[0] == texts[1], || {
            format!("{texts:#?}")
        });
    }
}

#[test]
fn execution_tells_of_run_scenario_and_vu() {
    let ran = Script::new(
        r#"
        import exec, { scenario } from 'k6/execution';
        import { check } from 'k6';
        import http from 'k6/http';
        const refused = {};
        for (const part of ['scenario', 'instance', 'vu']) {
          try { exec[part]; } catch (error) { refused[part] = error.message; }
        }
        try { exec.test.options; } catch (error) { refused.test = error.message; }
        try { exec.test.fail('x'); } catch (error) { refused.fail = error.message; }
        const one = (exec, startTime) => ({ executor: 'per-vu-iterations', vus: 1, iterations: 2, exec, startTime, tags: { mine: exec } });
        export const options = {
          scenarios: { first: one('first', '0s'), second: one('second', '1s') },
          systemTags: ['scenario', 'group', 'iter', 'vu'],
          thresholds: { 'checks{added:a}': ['rate==1'] },
        };
        export function setup() {
          let scenarios;
          try { exec.scenario.name; } catch (error) { scenarios = error.message; }
          return { vu: exec.vu.idInTest, scenarios };
        }
        export function first(data) {
          check(null, {
            'refused in init code': () => refused.scenario.includes('outside of the VU context') && refused.instance.includes('in the init context')
              && refused.vu.includes('in the init context') && refused.test.includes('in the init context') && refused.fail.includes('outside of VU context'),
            'in setup': () => data.vu === 0 && data.scenarios.includes('outside of the VU context'),
            scenario: () => scenario.name === 'first' && exec.scenario.executor === 'per-vu-iterations'
              && Math.abs(Date.now() - scenario.startTime) < 60000 && scenario.iterationInTest === __ITER,
            vu: () => exec.vu.idInTest === 1 && exec.vu.idInInstance === 1
              && exec.vu.iterationInInstance === __ITER && exec.vu.iterationInScenario === __ITER,
            options: () => exec.test.options.scenarios.first.vus === 1 && Object.isFrozen(exec.test.options.scenarios),
            tags: () => exec.vu.metrics.tags.scenario === 'first' && exec.vu.tags.mine === 'first' && 'mine' in exec.vu.tags,
            text: () => `${exec.vu.tags}` === '[object Object]',
          });
          exec.vu.metrics.tags.added = 'a';
          exec.vu.metrics.tags.number = 5;
          exec.vu.metrics.metadata.trace = 'abc';
          check(null, {
            'tags stay for the scenario': () => exec.vu.tags.number === '5' && Object.keys(exec.vu.tags).includes('added'),
            metadata: () => exec.vu.metrics.metadata.trace === 'abc' && Object.keys(exec.vu.metrics.metadata).join() === 'trace',
          });
          let bad;
          try { exec.vu.metrics.tags.object = {}; } catch (error) { bad = error; }
          check(bad, { refused: (e) => e instanceof TypeError && e.message.includes('only String, Boolean and Number') });
        }
        export function second() {
          check(null, { 'a new scenario, new tags': () => exec.vu.tags.added === undefined && exec.vu.metrics.metadata.trace === undefined });
        }"#,
    )
    .args(["-o", "json=points.json"])
    .run()
    .expect(0);
    ran.checks_hold();
    let points = ran.text("points.json");
    check(
        points.contains(r#""metadata":{"iter":"0","trace":"abc","vu":"1"}"#),
        || {
            points
                .lines()
                .filter(|line| line.contains("checks"))
                .collect()
        },
    );
}

#[test]
fn metrics_refuse_what_is_no_number() {
    let script = r#"
        import { Counter, Rate, Trend } from 'k6/metrics';
        import { check } from 'k6';
        const count = new Counter('count'), rate = new Rate('rate');
        let again, other;
        try { new Counter('count'); } catch (error) { again = error; }
        try { new Trend('count'); } catch (error) { other = error; }
        export const options = { thresholds: { count: ['count==6'], rate: ['rate==0.5'] } };
        export default function () {
          const added = [1, '2', true, 2.5, false].map((value) => count.add(value));
          const wrong = [NaN, null, 'x', undefined].map((value) => { try { return count.add(value); } catch (error) { return String(error); } });
          rate.add(0); rate.add(7);
          count.add(-0.5);
          let late;
          try { new Counter('late'); } catch (error) { late = error.message; }
          check(null, {
            taken: () => added.every((result) => result === true),
            refused: () => wrong.every((result) => (__ENV.THROW ? result.includes('a number or a boolean value is expected') : result === false)),
            names: () => count.name === 'count' && again === undefined && other !== undefined,
            late: () => late.includes('init context'),
          });
        }"#;
    Script::new(script)
        .run()
        .expect(0)
        .says(&["'NaN' is an invalid value for metric 'count'", "'null' is"])
        .checks_hold();
    Script::new(script)
        .args(["--throw", "-e", "THROW=1"])
        .run()
        .expect(0)
        .checks_hold();
}

#[test]
fn shared_arrays_are_built_once_and_stay_as_they_are() {
    let ran = Script::new(
        r#"
        import { SharedArray } from 'k6/data';
        import { check } from 'k6';
        const wrong = [() => new SharedArray('', () => []), () => new SharedArray('a'), () => new SharedArray('b', async () => []),
          () => new SharedArray('c', () => ({}))].map((make) => { try { make(); } catch (error) { return error.message; } });
        const list = new SharedArray('list', () => { console.log('built'); return [{ n: 1, deep: { m: [1] } }, 'text', null, undefined, 5]; });
        export default function () {
          let set, late;
          try { list[0] = 1; } catch (error) { set = error; }
          try { new SharedArray('late', () => []); } catch (error) { late = error.message; }
          check(null, {
            errors: () => wrong[0].includes('empty name') && wrong[1].includes('a function is expected')
              && wrong[2].includes('async') && wrong[3].includes('only arrays'),
            elements: () => list.length === 5 && list[0].n === 1 && list[1] === 'text' && list[2] === null && list[9] === undefined && list[-1] === undefined,
            own: () => list[0] !== list[0] && Object.isFrozen(list[0].deep.m),
            immutable: () => set instanceof TypeError && set.message.includes('immutable'),
            array: () => Array.isArray(list) && list.filter((x) => x).length === 3 && list.indexOf('text') === 1 && [...list].length === 5
              && list.map((x) => x).length === 5 && JSON.stringify(list.slice(1, 3)) === '["text",null]' && 1 in list,
            loop: () => { let n = 0; for (const item of list) n++; for (const key in list) n++; return n === 10; },
            late: () => late.includes('init context'),
          });
        }"#,
    )
    .args(["-u", "2", "-i", "2"])
    .run()
    .expect(0);
    ran.checks_hold();
    assert_eq!(ran.finished.stderr.matches("built").count(), 1);
}

/// Groups follow `await`, timers and requests that overlap; k6 has no async groups at all.
#[test]
fn groups_survive_await() {
    let relay = Relay::start();
    let ran = Script::new(
        r#"
        import { check, group } from 'k6';
        import { Counter } from 'k6/metrics';
        import http from 'k6/http';
        import exec from 'k6/execution';
        const seen = new Counter('seen');
        const now = () => exec.vu.metrics.tags.group;
        const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        const url = `${__ENV.U}/health`;
        export const options = { thresholds: {
          'http_reqs{group:::outer}': ['count==2'], 'http_reqs{group:::outer::inner}': ['count==1'],
          'http_reqs{group:::other}': ['count==1'], 'http_reqs{group:}': ['count==1'],
          'seen{group:::outer::inner}': ['count==2'], 'group_duration{group:::outer}': ['min>=30'],
        } };
        async function helper() { await null; await pause(5); return now(); }
        export default async function () {
          const groups = [];
          const outer = group('outer', async () => {
            groups.push(now());
            await 0;
            groups.push(now());
            await http.asyncRequest('GET', url);
            const inner = await group('inner', async () => {
              await pause(20);
              seen.add(1);
              const answer = await http.asyncRequest('GET', url);
              seen.add(1);
              try { await Promise.reject(new Error('caught')); } catch (error) { groups.push(now()); }
              return answer.status;
            });
            groups.push(now(), inner);
            groups.push(await helper());
            setTimeout(() => groups.push(`timer ${now()}`), 1);
            await pause(10);
            http.get(url);
            return 'done';
          });
          groups.push(now());
          const other = group('other', async () => { await pause(15); return (await http.asyncRequest('GET', url)).status; });
          const ends = await Promise.all([outer, other]);
          groups.push(now());
          http.get(url);
          const failed = await group('fails', async () => { await 0; throw new Error('out'); }).catch((error) => error.message);
          const wanted = ['::outer', '', '::outer', '::outer::inner', '::outer', 200, '::outer', 'timer ::outer', ''];
          check(groups, {
            groups: (g) => JSON.stringify(g) === JSON.stringify(wanted) || console.log(g),
            values: () => ends[0] === 'done' && ends[1] === 200 && failed === 'out',
            'a value': () => group('sync', () => 5) === 5 && now() === '',
          });
          let error;
          try { group('no callback'); } catch (e) { error = e.message; }
          check(error, { refused: (e) => e.includes('requires a callback') });
          throw new Error('here');
        }"#,
    )
    .args(["-e", &format!("U={}", relay.url())])
    .run()
    .expect(0);
    ran.checks_hold();
    // Rewritten code keeps its places.
    let ran = ran.says(&["Error: here", "script.js:53:21"]);
    check(
        ran.finished.stderr.matches("level=error").count() == 1,
        || ran.finished.stderr.clone(),
    );
}
