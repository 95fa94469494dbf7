//! The libraries of jslib.k6.io that the binary carries: no script here needs a network.

use crate::support::script::Ran;
use crate::support::*;

/// A script whose checks must all pass.
#[track_caller]
fn all_pass(imports: &str, body: &str) -> Ran {
    let script = format!(
        "import {{ check }} from 'k6';\n{imports}\nexport default function () {{\n{body}\n}}"
    );
    let ran = Script::new(&script).run().expect(0);
    ran.checks_hold();
    ran
}

#[test]
fn k6_utils_of_any_version_are_there() {
    for version in ["1.0.0", "1.1.0", "1.4.0", "1.6.0", "9.9.9"] {
        Script::new(&format!(
            "import {{ randomItem }} from 'https://jslib.k6.io/k6-utils/{version}/index.js';\n\
             export default () => {{ if (randomItem([1]) !== 1) throw new Error('no'); }};"
        ))
        .run()
        .expect(0);
    }
    all_pass(
        "import { uuidv4, randomIntBetween, randomItem, randomString, findBetween, normalDistributionStages }
           from 'https://jslib.k6.io/k6-utils/1.4.0/index.js';",
        r#"
        const dice = Array.from({ length: 200 }, () => randomIntBetween(1, 6));
        const html = '<b>one</b><b>two</b>';
        const stages = normalDistributionStages(10, 20, 5);
        check(null, {
          uuid: () => /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuidv4()),
          'both ends': () => Math.min(...dice) === 1 && Math.max(...dice) === 6 && dice.every(Number.isInteger),
          item: () => [1, 2].includes(randomItem([1, 2])),
          string: () => /^[a-z]{8}$/.test(randomString(8)) && /^[xy]{3}$/.test(randomString(3, 'xy')),
          between: () => findBetween(html, '<b>', '</b>') === 'one' && findBetween(html, '<i>', '</i>') === '',
          'all between': () => findBetween(html, '<b>', '</b>', true).join() === 'one,two',
          bell: () => Math.max(...stages.map((s) => s.target)) === 10 && stages[stages.length - 1].target === 0,
        });"#,
    );
}

#[test]
fn k6chaijs_assertions_are_checks_and_describe_is_a_group() {
    let ran = Script::new(
        r#"
        import chai, { describe, expect } from 'https://jslib.k6.io/k6chaijs/4.3.4.3/index.js';
        import { check } from 'k6';
        export default function () {
          const good = describe('good', () => {
            expect({ a: 1 }).to.not.have.property('b');
            expect(200, 'response status').to.equal(200);
            expect({ a: 1 }).to.deep.equal({ a: 1 });
            expect({ a: { b: ['x', 'y'] } }).to.have.nested.property('a.b[1]');
            expect([1, 2]).to.have.ordered.members([1, 2]).but.not.have.ordered.members([2, 1]);
            expect({ a: 1, b: 2 }).to.not.have.any.keys('c', 'd');
            expect({ a: 1, b: 2 }).to.have.all.keys('a', 'b');
            expect('foo').to.be.a('string').and.have.lengthOf(3);
            expect([1, 2, 3]).to.be.an('array').that.includes(2);
            expect(true).to.be.true;
            expect(true).to.be.true();
            expect(null).to.be.null;
            expect([]).to.be.empty;
            expect('foo').to.have.lengthOf.at.least(2);
            expect([1, 2]).to.have.length(2);
            expect(5).to.be.within(1, 9).and.above(4);
            expect(() => { throw new TypeError('bad day'); }).to.throw(TypeError, 'bad');
            expect({ a: 1 }).to.eql({ a: 1 }).but.not.equal({ a: 1 });
            expect([{ a: 1 }]).to.deep.include({ a: 1 });
            expect(1.5).to.be.closeTo(1, 0.5);
            expect(1).to.be.oneOf([1, 2]);
            expect({ json: () => ({}) }).to.have.validJsonBody();
          });
          const bad = describe('bad', () => {
            expect(404, 'status').to.equal(200);
            throw new Error('never here');
          });
          const broken = describe('broken', () => { throw 'unexpected'; });
          if (!good || bad || broken) throw new Error(`${good} ${bad} ${broken}`);
        }"#,
    )
    .run()
    .expect(0);
    let summary = ran.summary();
    let groups = &summary["root_group"]["groups"];
    check(
        groups["good"]["checks"]["expected response status to equal 200"]["passes"] == 1,
        || groups.to_string(),
    );
    for (group, name) in [
        ("bad", "expected status to equal 200"),
        ("broken", "Exception raised \"unexpected\""),
    ] {
        check(groups[group]["checks"][name]["fails"] == 1, || {
            groups.to_string()
        });
    }
    assert_eq!(ran.metric("checks")["fails"], 2, "{}", ran.finished.stderr);
}

#[test]
fn httpx_sessions_keep_base_headers_and_tags() {
    let relay = Relay::start();
    let ran = Script::new(
        r#"
        import { check } from 'k6';
        import { Httpx, Get } from 'https://jslib.k6.io/httpx/0.1.0/index.js';
        const session = new Httpx({ baseURL: __ENV.U, headers: { 'X-One': '1' }, timeout: 20000 });
        session.addHeader('X-Two', '2');
        session.addTag('session', 's');
        export const options = { thresholds: { 'http_reqs{session:s}': ['count==5'] } };
        export default async function () {
          const first = session.get('/health', null, { headers: { 'X-Three': '3' } });
          const posted = session.post('/api/v1/messages', JSON.stringify({ sender: 'a', content: 'b' }));
          const [second, third] = session.batch([new Get('/health'), new Get('/none')], { tags: { name: 'many' } });
          const later = await session.asyncGet('/health');
          const sent = first.request.headers;
          check(null, {
            get: () => first.status === 200 && sent['X-One'][0] === '1' && sent['X-Two'][0] === '2' && sent['X-Three'][0] === '3',
            post: () => posted.status === 200,
            batch: () => second.status === 200 && third.status === 404,
            async: () => later.status === 200,
          });
        }"#,
    )
    .args(["-e", &format!("U={}", relay.url())])
    .run()
    .expect(0);
    ran.checks_hold();
}

#[test]
fn summaries_are_written_as_text_and_junit() {
    let ran = Script::new(
        r#"
        import { check, group } from 'k6';
        import { textSummary, jUnit } from 'https://jslib.k6.io/k6-summary/0.0.2/index.js';
        export const options = { iterations: 2, thresholds: { checks: ['rate==1'], iterations: ['count>5'] } };
        export default function () { group('outer', () => check(1, { 'is one': (n) => n === 1 })); }
        export function handleSummary(data) {
          return { 'text.txt': textSummary(data, { indent: ' ', enableColors: false }), 'junit.xml': jUnit(data) };
        }"#,
    )
    .run()
    .expect(99);
    let text = ran.text("text.txt");
    for part in [
        "     █ outer\n\n       ✓ is one\n",
        "   ✓ checks.....",
        ": 100.00% ✓ 2 ",
        "   ✗ iterations...",
        "iteration_duration",
        "avg=",
        "p(95)=",
    ] {
        check(text.contains(part), || {
            format!("{part:?} is missing:\n{text}")
        });
    }
    let xml = ran.text("junit.xml");
    for part in [
        r#"<testsuites tests="2" failures="1">"#,
        r#"<testcase name="checks - rate==1" />"#,
        r#"<testcase name="iterations - count&gt;5"><failure message="failed" /></testcase>"#,
    ] {
        check(xml.contains(part), || {
            format!("{part:?} is missing:\n{xml}")
        });
    }
}

#[test]
fn papaparse_reads_and_writes_csv() {
    all_pass(
        "import papaparse from 'https://jslib.k6.io/papaparse/5.1.1/index.js';",
        r#"
        const parse = (text, config) => papaparse.parse(text, config);
        const quoted = parse('a,"b ""q"", c\nd"\r\n1,2\r\n');
        const headed = parse('name,age\nann,7\nbob,\n', { header: true, dynamicTyping: true, skipEmptyLines: true });
        check(null, {
          quotes: () => quoted.data[0][1] === 'b "q", c\nd' && quoted.meta.linebreak === '\r\n',
          'the last line break begins a row': () => quoted.data.length === 3 && quoted.data[2].join() === '',
          header: () => headed.data.length === 2 && headed.data[0].age === 7 && headed.data[1].age === null,
          fields: () => headed.meta.fields.join() === 'name,age',
          guess: () => parse('a;b;c\n1;2;3').meta.delimiter === ';' && parse('a\tb\n1\t2').data[1][1] === '2',
          preview: () => parse('a\n1\n2\n3', { header: true, preview: 2 }).data.length === 2,
          comments: () => parse('#x\na,b', { comments: '#' }).data.length === 1,
          mismatch: () => parse('a,b\n1', { header: true }).errors.some((e) => e.code === 'TooFewFields'),
          unparse: () => papaparse.unparse([{ a: 1, b: 'x,"y"' }]) === 'a,b\r\n1,"x,""y"""',
          both: () => papaparse.unparse(parse('a,b\n1,2').data, { newline: '\n' }) === 'a,b\n1,2',
        });"#,
    );
}

#[test]
fn urls_form_data_and_passwords_are_made() {
    all_pass(
        "import http from 'k6/http';
         import { URL, URLSearchParams } from 'https://jslib.k6.io/url/1.0.0/index.js';
         import { FormData } from 'https://jslib.k6.io/formdata/0.0.2/index.js';",
        r#"
        const url = new URL('https://u:p@k6.io:8443/a/../b?x=1#h');
        url.searchParams.append('multiple', ['foo', 'bar']);
        const params = new URLSearchParams([['a', '1 2'], ['b', 'ü'], ['a', '3']]);
        params.delete('b');
        const form = new FormData();
        form.append('text', 'ä');
        form.append('file', http.file('data', 'n.txt', 'text/plain'));
        const body = String.fromCharCode(...new Uint8Array(form.body()));
        check(null, {
          url: () => url.href === 'https://u:p@k6.io:8443/b?x=1&multiple=foo%2Cbar#h',
          parts: () => [url.hostname, url.port, url.pathname, url.origin, url.hash].join() === 'k6.io,8443,/b,https://k6.io:8443,#h',
          set: () => { url.pathname = '/c d'; url.search = '?y=2'; return url.toString() === 'https://u:p@k6.io:8443/c%20d?y=2#h' && url.searchParams.get('y') === '2'; },
          relative: () => new URL('../x', 'http://h/a/b/c').href === 'http://h/a/x',
          invalid: () => { try { new URL('nonsense'); } catch (error) { return error instanceof TypeError; } return false; },
          params: () => params.toString() === 'a=1+2&a=3' && params.getAll('a').length === 2 && [...params.keys()].join() === 'a,a',
          form: () => body.startsWith(`--${form.boundary}\r\nContent-Disposition: form-data; name="text"\r\n\r\nÃ¤\r\n`)
            && body.includes('name="file"; filename="n.txt"\r\nContent-Type: text/plain\r\n\r\ndata\r\n')
            && body.endsWith(`--${form.boundary}--\r\n`),
        });"#,
    );
    // RFC 6238, appendix B: 94287082 at 59 s for the secret 12345678901234567890.
    Script::new(
        r#"
        import { check } from 'k6';
        import { TOTP } from 'https://jslib.k6.io/totp/1.0.0/index.js';
        export default async function () {
          const now = Date.now;
          Date.now = () => 59000;
          const totp = new TOTP('GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ', 8);
          const code = await totp.gen();
          const valid = await totp.verify(code);
          Date.now = now;
          check(code, { 'as in the RFC': (code) => code === '94287082' && valid });
        }"#,
    )
    .run()
    .expect(0)
    .checks_hold();
}

#[test]
fn k6_testing_ends_or_marks_the_test() {
    let import = "import { expect } from 'https://jslib.k6.io/k6-testing/0.5.0/index.js';";
    let good = format!(
        "{import}\n{}",
        r#"
        export default function () {
          expect(5).toBe(5); expect(NaN).toBeNaN(); expect(0.1 + 0.2).toBeCloseTo(0.3); expect('abc').toContain('b');
          expect([{ a: 1 }]).toContainEqual({ a: 1 }); expect({ a: [1] }).toEqual({ a: [1] });
          expect({ a: { b: 1 } }).toHaveProperty('a.b', 1); expect({ a: { b: 1 } }).toHaveProperty(['a', 'b']);
          expect([1, 2]).toHaveLength(2); expect(1).not.toBe(2); expect(null).toBeNull(); expect(2).toBeGreaterThan(1);
          expect.configure({ timeout: 1 }).soft('x').toBeTruthy();
        }"#
    );
    Script::new(&good).run().expect(0);
    let soft = format!("{import}\nexport default () => {{ expect.soft(1).toBe(2); }};");
    Script::new(&soft).args(["-i", "2"]).run().expect(110);
    let throwing = format!(
        "{import}\nexport default () => {{ expect.configure({{ softMode: 'throw', colorize: false }}).soft(1).toBe(2); }};"
    );
    Script::new(&throwing)
        .run()
        .expect(0)
        .says(&["AssertionFailedError", "Expected: 2"]);
    let hard = format!("{import}\nexport default () => {{ expect(1, 'one is two').toBe(2); }};");
    Script::new(&hard)
        .args(["-i", "5"])
        .run()
        .expect(108)
        .says(&["one is two"]);
}

#[test]
fn instrumented_requests_carry_their_headers() {
    let relay = Relay::start();
    let ran = Script::new(
        r#"
        import { check } from 'k6';
        import http from 'k6/http';
        import tempo from 'https://jslib.k6.io/http-instrumentation-tempo/1.0.1/index.js';
        import { Client } from 'https://jslib.k6.io/http-instrumentation-pyroscope/1.0.1/index.js';
        tempo.instrumentHTTP({ propagator: 'w3c' });
        const url = `${__ENV.U}/health`;
        export default function () {
          const traced = http.get(url, { headers: { 'X-Own': '1' } }).request.headers;
          const posted = http.post(url, 'x').request.headers;
          const tagged = new Client().get(url, { tags: { name: 'a b' } }).request.headers;
          check(null, {
            w3c: () => /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/.test(traced.Traceparent[0]) && traced['X-Own'][0] === '1',
            post: () => /^00-/.test(posted.Traceparent[0]),
            baggage: () => tagged.Baggage[0] === 'k6.scenario=default,k6.name=a%20b',
          });
        }"#,
    )
    .args(["-e", &format!("U={}", relay.url()), "-o", "json=points.json"])
    .run()
    .expect(0);
    ran.checks_hold();
    let points = ran.text("points.json");
    check(points.contains(r#""metadata":{"trace_id":""#), || points);
}
