//! The load client on the wire: names, forms, cookies, redirects, credentials, codings, timings.
//!
//! TLS and HTTP/2 are in `secure`, streamed bodies in `streams`, paths into bodies in `json`.

mod json;
mod secure;
mod streams;

use std::io::Write;
use std::time::Duration;

use crate::support::*;

/// A script with `http`, `check` and `U`, the origin's address, around `body`.
fn script(origin: &Origin, body: &str) -> Script {
    Script::new(&format!(
        "import http from 'k6/http';\nimport {{ check, sleep }} from 'k6';\n\
         const U = '{}';\n{body}",
        origin.url()
    ))
}

/// Answers with the request as JSON.
fn mirror() -> Origin {
    Origin::saying(|seen| {
        let headers: serde_json::Map<String, Value> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.to_lowercase(), json!(value)))
            .collect();
        let shown = json!({
            "method": seen.method, "target": seen.target, "headers": headers, "body": seen.text(),
        });
        shown.to_string().into_bytes()
    })
}

#[test]
fn addresses_and_forms_go_out_as_the_script_wrote_them() {
    let origin = mirror();
    let ran = script(
        &origin,
        r#"
        export default function () {
          const bare = http.get(U);
          check(bare, {
            'no slash is added to what is reported': (r) => r.url === U && r.json('target') === '/',
            'dots stay': () => http.get(`${U}/a/../b?x=%20#part`).json('target') === '/a/../b?x=%20',
            'odd characters are encoded': () => http.get(`${U}/ü b`).json('target') === '/%C3%BC%20b',
          });
          const form = http.post(U, { b: "it's (a) test*", a: [1, true, null], n: { x: 1 }, u: undefined }).json();
          check(form, {
            form: (f) => f.body === 'a=1&a=true&a=&b=it%27s+%28a%29+test%2A&n=&u=',
            type: (f) => f.headers['content-type'] === 'application/x-www-form-urlencoded',
          });
          const typed = http.post(U, { a: 1 }, { headers: { 'content-type': 'x/y', host: 'other.test' } }).json();
          check(typed, { 'own headers win': (t) => t.headers['content-type'] === 'x/y' && t.headers.host === 'other.test' });
          check(null, {
            bytes: () => http.post(U, new Uint8Array([65, 66, 67]).subarray(1)).json('body') === 'BC',
            buffer: () => http.put(U, new Uint8Array([65, 66]).buffer).json('body') === 'AB',
            'methods stay as they are': () => http.request('get', U).json('method') === 'get',
            'empty bodies have a length': () => http.post(U).json('headers.content-length') === '0'
              && http.get(U).json('headers.content-length') === undefined,
            'lengths are ours': () => http.post(U, 'abc', { headers: { 'Content-Length': '99' } }).json('body') === 'abc',
            'agent': () => http.get(U, { headers: { 'user-agent': 'mine' } }).json('headers.user-agent') === 'mine',
            named: () => http.get(http.url`${U}/items/${7}`).json('target') === '/items/7',
          });
        }"#,
    )
    .run()
    .all_checks_pass();
    ran.says(&[
        "cannot urlencode a nested map[string]interface {} value in a request form body",
        "The specified Content-Length header \\\"99\\\" in the POST request",
    ]);
}

#[test]
fn files_make_a_body_of_parts() {
    let origin = mirror();
    script(
        &origin,
        r#"
        export default function () {
          const sent = http.post(U, {
            note: 'a "b"',
            text: http.file('content', 'a"b.txt', 'text/plain'),
            raw: http.file(new Uint8Array([0x41, 0x42]).buffer),
          });
          const { headers, body } = sent.json();
          const boundary = headers['content-type'].split('multipart/form-data; boundary=')[1];
          const parts = body.split(`--${boundary}`);
          check(parts, {
            ends: (p) => p.length === 5 && p[0] === '' && p[4] === '--\r\n',
            field: (p) => p[1] === '\r\nContent-Disposition: form-data; name="note"\r\n\r\na "b"\r\n',
            file: (p) => p[2] === '\r\nContent-Disposition: form-data; name="text"; filename="a\\"b.txt"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n',
            defaults: (p) => /name="raw"; filename="\d{19}"\r\nContent-Type: application\/octet-stream\r\n\r\nAB\r\n$/.test(p[3]),
          });
          let refused;
          try { http.file(5); } catch (e) { refused = e.message; }
          check(refused, { 'only texts and buffers': (m) => m === 'invalid type int64, expected string or ArrayBuffer' });
        }"#,
    )
    .run()
    .all_checks_pass();
}

#[test]
fn bad_parameters_are_answers_with_an_error() {
    let origin = mirror();
    let ran = script(
        &origin,
        r#"
        export default function () {
          const error = (params, body) => { const r = http.post(U, body ?? null, params); return `${r.status} ${r.error_code} ${r.error}`; };
          check(null, {
            type: () => error({ responseType: 'xml' }) === '0 0 xml does not belong to ResponseType values',
            coding: () => error({ compression: 'gzip,lzw' }) ===
              '0 0 unknown compression algorithm lzw, supported algorithms are [gzip deflate zstd br]',
            callback: () => error({ responseCallback: 200 }) === '0 0 unsupported responseCallback',
            timeout: () => error({ timeout: 'soon' }).startsWith('0 0 invalid timeout value: '),
            body: () => error(null, 5) === '0 0 unknown request body type int64',
            header: () => error({ headers: { 'a b': '1' } }).startsWith('0 1000 net/http: invalid header field name'),
            value: () => error({ headers: { a: 'x\r\nB: 2' } }).startsWith('0 1000 net/http: invalid header field value'),
          });
        }"#,
    )
    .run()
    .all_checks_pass();
    // Bad headers are found while sending, as in k6, and count.
    assert_eq!(ran.metric("http_reqs")["count"], 2);
    assert!(origin.seen().is_empty());
}

#[test]
fn answers_show_everything_that_k6_shows() {
    let origin = Origin::start(|seen, stream| match seen.target.as_str() {
        "/empty" => reply(stream, "204 No Content", &[], b""),
        _ => reply(
            stream,
            "202 Accepted",
            &[
                ("x-a-B", "1"),
                ("X-A-b", "2"),
                (
                    "set-cookie",
                    "c=v; Path=/p; Domain=x.test; HttpOnly; Secure; Max-Age=7; \
                     Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                ),
                ("Set-Cookie", "d=w"),
            ],
            b"{\"a\":1}",
        ),
    });
    script(
        &origin,
        r#"
        export default function () {
          const r = http.post(`${U}/x`, 'body', { headers: { 'x-mine': 'm' }, cookies: { k: 'v' } });
          check(r, {
            status: (r) => r.status_text === '202 Accepted' && r.proto === 'HTTP/1.1',
            headers: (r) => r.headers['X-A-B'] === '1, 2' && r.headers['Content-Length'] === '7',
            cookie: (r) => JSON.stringify(r.cookies.c[0]) ===
              '{"name":"c","value":"v","domain":"x.test","path":"/p","http_only":true,"secure":true,"max_age":7,"expires":1792567680000}',
            bare: (r) => r.cookies.d[0].max_age === 0 && r.cookies.d[0].expires === -6795364578871,
            request: (r) => r.request.method === 'POST' && r.request.url === `${U}/x` && r.request.body === 'body'
              && r.request.headers['X-Mine'][0] === 'm' && r.request.headers['User-Agent'].length === 1
              && r.request.cookies.k[0].value === 'v' && r.request.headers.Cookie[0] === 'k=v',
            plain: (r) => r.tls_version === '' && r.tls_cipher_suite === '' && r.ocsp.status === '' && r.ocsp.produced_at === 0,
            none: () => http.get(`${U}/empty`).body === null,
            keys: (r) => Object.keys(JSON.parse(JSON.stringify(r))).join() ===
              'remote_ip,remote_port,url,status,status_text,proto,headers,cookies,body,timings,tls_version,tls_cipher_suite,ocsp,error,error_code,request',
            constants: () => http.OCSP_STATUS_GOOD === 'good' && http.TLS_1_3 === 'tls1.3',
          });
        }"#,
    )
    .run()
    .all_checks_pass();
}

#[test]
fn redirects_follow_gos_rules() {
    let elsewhere = mirror();
    let there = format!(
        "{}/there",
        elsewhere.url().replace("127.0.0.1", "localhost")
    );
    let origin = Origin::start(move |seen, stream| {
        let status = &seen.target[1..4];
        match seen.target.as_str() {
            "/loop" => reply(stream, "302 Found", &[("Location", "/loop")], b""),
            "/away" => reply(
                stream,
                "307 Temporary Redirect",
                &[("Location", &there)],
                b"",
            ),
            "/bad" => reply(stream, "302 Found", &[("Location", "http://h:port/")], b""),
            "/bare" => reply(stream, "302 Found", &[], b"no way"),
            "/end" => {
                let (method, length) = (&seen.method, seen.body.len());
                let (referer, kind) = (seen.header("referer"), seen.header("content-type"));
                let text = format!(
                    "{method} {length} {kind} {referer} {}",
                    seen.header("cookie")
                );
                reply(stream, "200 OK", &[], text.as_bytes())
            }
            _ => {
                let cookie = ("Set-Cookie", "way=1; Path=/");
                reply(
                    stream,
                    &format!("{status} Go"),
                    &[("Location", "/end"), cookie],
                    b"",
                )
            }
        }
    });
    let ran = script(
        &origin,
        r#"
        const H = { headers: { 'Content-Type': 't/x', Authorization: 'secret', Cookie: 'mine=1' } };
        export default function () {
          const end = (status, method) => http.request(method, `${U}/${status}`, 'body', H).body;
          check(null, {
            '302 makes a GET': () => end(302, 'POST') === `GET 0  ${U}/302 way=1`,
            '303 as well': () => end(303, 'PUT') === `GET 0  ${U}/303 way=1`,
            '308 keeps all': () => end(308, 'PUT') === `PUT 4 t/x ${U}/308 way=1`,
            'secrets stay at home': () => {
              const r = http.post(`${U}/away`, 'b', H);
              return r.json('headers.authorization') === undefined && r.json('headers.cookie') === undefined && r.json('body') === 'b';
            },
            limited: () => { const r = http.get(`${U}/loop`, { redirects: 2 }); return r.status === 302 && r.url === `${U}/loop`; },
            none: () => http.get(`${U}/302`, { redirects: 0 }).status === 302,
            'no place': () => http.get(`${U}/bare`).body === 'no way',
            'no sense': () => { const r = http.get(`${U}/bad`); return r.error_code === 1020 || r.error_code === 1000; },
          });
        }
        export function setup() { http.get(`${U}/loop`); }"#,
    )
    .run()
    .all_checks_pass();
    ran.says(&[
        "Stopped after 11 redirects and returned the redirection; pass { redirects: n } in request \
         params or set global maxRedirects to silence this",
    ]);
}

#[test]
fn cookies_of_jars_and_requests_come_together() {
    let origin = Origin::start(|seen, stream| {
        let set = format!("{}=1; Path=/", &seen.target[1..]);
        let body = seen.header("cookie").as_bytes().to_vec();
        reply(stream, "200 OK", &[("Set-Cookie", &set)], &body)
    });
    script(
        &origin,
        r#"
        const kept = new http.CookieJar();
        export const options = { vus: 1, iterations: 2 };
        export default function () {
          const jar = http.cookieJar();
          check(jar, { 'an iteration begins without cookies': (j) => Object.keys(j.cookiesForURL(U)).length === 0 });
          http.get(`${U}/first`);
          check(null, {
            'own ones come first': () => http.get(`${U}/x`, { cookies: { own: 'o' } }).body === 'own=o; first=1',
            'and replace': () => http.get(`${U}/x`, { cookies: { first: { value: '2', replace: true } } }).body === 'first=2; x=1',
            'or stand beside': () => http.get(`${U}/x`, { cookies: { first: '2' } }).body === 'first=2; first=1; x=1',
            'a header stays in front': () => http.get(`${U}/x`, { headers: { Cookie: 'h=1' } }).body === 'h=1; first=1; x=1',
          });
          jar.set(U, 'set', 'a;b', { path: '/deep', max_age: 60 });
          jar.set(U, 'old', 'x', { expires: 'Mon, 02 Jan 2006 15:04:05 GMT' });
          let refused;
          try { jar.set(U, 'bad', 'x', { expires: 'soon' }); } catch (e) { refused = e.message; }
          check(jar, {
            paths: (j) => j.cookiesForURL(`${U}/deep`).set[0] === 'a;b' && j.cookiesForURL(U).set === undefined,
            expired: (j) => j.cookiesForURL(U).old === undefined,
            unreadable: () => refused.startsWith('unable to parse "expires" date string "soon"'),
          });
          jar.delete(U, 'first');
          check(jar, { delete: (j) => j.cookiesForURL(U).first === undefined && j.cookiesForURL(U).x[0] === '1' });
          jar.clear(U);
          check(jar, { clear: (j) => Object.keys(j.cookiesForURL(U)).length === 0 });
          const before = __ITER === 0 ? '' : 'kept=1';
          check(null, { 'a jar of the script outlives iterations': () => http.get(`${U}/kept`, { jar: kept }).body === before });
        }"#,
    )
    .run()
    .all_checks_pass();
}

#[test]
fn bodies_are_coded_and_decoded() {
    let origin = Origin::start(|seen, stream| {
        let coding = seen.header("content-encoding").to_owned();
        let headers = [("Content-Encoding", coding.as_str())];
        reply(stream, "200 OK", &headers, &seen.body)
    });
    let ran = script(
        &origin,
        r#"
        const text = 'again and '.repeat(1000);
        export default function () {
          for (const compression of ['gzip', 'deflate', 'br', 'zstd', 'gzip, br', ' zstd,deflate ']) {
            const r = http.post(U, text, { compression });
            check(r, { [compression]: (r) => r.body === text && Number(r.headers['Content-Length']) < 2000 });
          }
          const other = http.post(U, 'plain', { compression: 'gzip', headers: { 'Content-Encoding': 'x' } });
          check(other, { 'a header of the script stays': (r) => r.headers['Content-Encoding'] === 'x' && r.body !== 'plain' });
          const raw = http.post(U, text, { compression: 'gzip', responseType: 'binary' });
          check(raw, { binary: (r) => r.body.byteLength === text.length });
        }"#,
    )
    .run()
    .all_checks_pass();
    ran.says(&["There's a mismatch between the desired `compression`"]);
}

#[test]
fn callbacks_say_what_a_failure_is() {
    let origin = Origin::start(|seen, stream| {
        reply(stream, &format!("{} Said", &seen.target[1..]), &[], b"x")
    });
    let ran = script(
        &origin,
        r#"
        http.setResponseCallback(http.expectedStatuses(404, { min: 500, max: 503 }));
        export default function () {
          for (const status of [200, 404, 502, 504]) http.get(`${U}/${status}`);
          http.get(`${U}/200`, { responseCallback: http.expectedStatuses(200) });
          http.get(`${U}/200`, { responseCallback: null });
          const wrong = (...given) => { try { http.expectedStatuses(...given); return ''; } catch (e) { return e.message; } };
          check(null, {
            none: () => wrong() === 'no arguments',
            text: () => wrong(200, '404') === 'argument number 2 to expectedStatuses was neither an integer nor an object like {min:100, max:329}',
            half: () => wrong({ min: 1.5, max: 2 }) === 'both min and max need to be integers for argument number 1',
          });
        }"#,
    )
    .run()
    .all_checks_pass();
    let failed = ran.metric("http_req_failed");
    assert_eq!(
        (&failed["passes"], &failed["fails"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(ran.metric("http_reqs")["count"], 6);
}

#[test]
fn digest_answers_the_challenge_and_never_sends_the_password() {
    let origin = Origin::start(|seen, stream| {
        let given = seen.header("authorization");
        if given.is_empty() {
            let challenge = "Digest realm=\"r\", nonce=\"abc\", qop=\"auth\", algorithm=MD5";
            return reply(
                stream,
                "401 Unauthorized",
                &[("WWW-Authenticate", challenge)],
                b"no",
            );
        }
        let mut context = digest_auth::AuthContext::new("user", "pa ss", "/x?y=1");
        let field = |name: &str| {
            let from = given.find(&format!("{name}=")).unwrap() + name.len() + 1;
            given[from..]
                .split(',')
                .next()
                .unwrap()
                .trim_matches('"')
                .to_owned()
        };
        context.set_custom_cnonce(field("cnonce"));
        let mut prompt =
            digest_auth::parse("Digest realm=\"r\", nonce=\"abc\", qop=\"auth\", algorithm=MD5")
                .unwrap();
        let wanted = prompt.respond(&context).unwrap().response;
        let right = field("response") == wanted && field("username") == "user";
        reply(
            stream,
            if right { "200 OK" } else { "403 Forbidden" },
            &[],
            b"yes",
        )
    });
    let ran = script(
        &origin,
        r#"
        export default function () {
          const address = U.replace('http://', 'http://user:pa%20ss@') + '/x?y=1';
          check(http.get(address, { auth: 'digest' }), { let_in: (r) => r.status === 200 && r.body === 'yes' });
        }"#,
    )
    .run()
    .all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], 2);
    // The refusal is expected of the first.
    assert_eq!(ran.metric("http_req_failed")["passes"], 0);
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| !seen.header("authorization").starts_with("Basic"))
    );
}

#[test]
fn credentials_in_the_address_are_sent_and_hidden() {
    let origin = mirror();
    let ran = script(
        &origin,
        r#"
        export default function () {
          const r = http.get(U.replace('http://', 'http://al%20ice:s3cret@') + '/x');
          check(r, { sent: (r) => r.json('headers.authorization') === 'Basic YWwgaWNlOnMzY3JldA==' });
        }"#,
    )
    .args(["--out", "json=out.json"])
    .run()
    .all_checks_pass();
    let out = ran.text("out.json");
    assert!(out.contains("http://****:****@127.0.0.1"), "{out}");
    assert!(!out.contains("s3cret"), "{out}");
}

#[test]
fn batches_keep_their_shape_and_limits() {
    let origin = mirror();
    let ran = script(
        &origin,
        r#"
        export const options = { batch: 10, batchPerHost: 3 };
        export default function () {
          const list = http.batch([`${U}/1`, ['POST', `${U}/2`, 'b', { tags: { t: 'x' } }], { url: `${U}/3` },
            { method: 'get', url: `${U}/4`, body: 'dropped' }, http.url`${U}/${5}`]);
          check(list, {
            list: (l) => Array.isArray(l) && l.map((r) => r.json('target')).join() === '/1,/2,/3,/4,/5',
            bodies: (l) => l[1].json('body') === 'b' && l[3].json('body') === '' && l[3].json('method') === 'GET',
          });
          const named = http.batch({ a: `${U}/a`, b: ['GET', `${U}/b`] });
          check(named, { object: (n) => n.a.json('target') === '/a' && n.b.json('target') === '/b' });
          http.batch(Array.from({ length: 12 }, (_, i) => `${U}/many/${i}`));
          const bad = http.batch([`${U}/good`, ['GET'], `${U}/other`]);
          check(bad, { 'one bad request keeps all back': (b) => b[0].status === 0 && b[1].error.startsWith('invalid batch request') && b[2] === null });
          const thrown = (...given) => { try { http.batch(...given); } catch (e) { return e.message; } };
          check(null, {
            nothing: () => thrown() === 'no argument was provided to http.batch()',
            two: () => thrown([], []) === 'http.batch() accepts only an array or an object of requests',
            text: () => thrown('x') === 'invalid http.batch() argument type string',
          });
        }"#,
    )
    .run()
    .all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], 19);
    let connections = origin.seen().iter().map(|seen| seen.connection).max();
    assert!(
        connections.unwrap() < 3,
        "at most three at a time to one host"
    );
}

#[test]
fn timings_are_the_truth() {
    let origin = Origin::start(|seen, stream| {
        let wait: u64 = seen.target[1..].parse().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        std::thread::sleep(Duration::from_millis(wait));
        raw(stream, b"cd");
        After::Keep
    });
    script(
        &origin,
        r#"
        const near = (value, truth) => value >= truth && value < truth + 25;
        export default function () {
          for (const wait of [10, 50, 200]) {
            const t = http.get(`${U}/${wait}`).timings;
            check(t, {
              [`${wait} waiting`]: (t) => near(t.waiting, wait - 0.1),
              [`${wait} receiving`]: (t) => near(t.receiving, wait - 0.1),
              [`${wait} sum`]: (t) => Math.abs(t.duration - t.sending - t.waiting - t.receiving) < 0.01,
              [`${wait} small`]: (t) => t.sending < 20 && t.blocked < 50 && t.tls_handshaking === 0,
              [`${wait} reused`]: (t) => wait === 10 || t.connecting === 0,
            }) || console.log(JSON.stringify(t));
          }
        }"#,
    )
    .run()
    .all_checks_pass();
}

#[test]
fn names_are_mapped_with_ports_and_wildcards() {
    let origin = mirror();
    let port = origin.addr().port();
    script(
        &origin,
        &format!(
            r#"
        export const options = {{ hosts: {{
          'whole.test': '127.0.0.1:{port}', 'ported.test:99': '127.0.0.1:{port}', '*.wild.test': '127.0.0.1:{port}',
        }} }};
        export default function () {{
          check(null, {{
            whole: () => http.get('http://whole.test/').json('headers.host') === 'whole.test',
            port: () => http.get('http://ported.test:99/').json('headers.host') === 'ported.test:99',
            wild: () => http.get('http://a.b.wild.test/').status === 200,
          }});
        }}"#
        ),
    )
    .run()
    .all_checks_pass();
}

#[test]
fn debug_shows_what_goes_over_the_wire() {
    let origin = mirror();
    let text = "export default function () { http.post(`${U}/x`, 'the body', { headers: { 'X-Mine': 'm' } }); }";
    let ran = script(&origin, text).args(["--http-debug=full"]).run();
    ran.expect(0).says(&[
        "Request:\\nPOST /x HTTP/1.1\\nHost: 127.0.0.1",
        "X-Mine: m\\n",
        "\\n\\nthe body\\n",
        "Response:\\nHTTP/1.1 200 OK\\n",
        "source=http-debug",
        "request_id=",
    ]);
    let ran = script(&origin, text).args(["--http-debug"]).run().expect(0);
    assert!(!ran.finished.stderr.contains("the body"));
}

#[test]
fn parallel_requests_are_spread_over_connections_and_few_are_kept() {
    let origin = mirror();
    let ran = script(
        &origin,
        r#"
        export default async function () {
          for (let round = 0; round < 2; round++) {
            const all = await Promise.all(Array.from({ length: 20 }, (_, i) => http.asyncRequest('GET', `${U}/${i}`)));
            check(all, { all: (a) => a.every((r, i) => r.json('target') === `/${i}`) });
          }
        }"#,
    )
    .run()
    .all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], 40);
    let connections = origin
        .seen()
        .iter()
        .map(|seen| seen.connection)
        .max()
        .unwrap();
    // Six of the first twenty stay (`batchPerHost`).
    assert!(connections >= 20, "{connections}");
}

#[test]
fn interim_answers_are_skipped_and_switched_protocols_refused() {
    let origin = Origin::start(|seen, stream| {
        if seen.target == "/switch" {
            let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
            return After::Close;
        }
        let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
        reply(stream, "200 OK", &[], b"final")
    });
    let ran = script(
        &origin,
        r#"
        export default function () {
          check(http.get(U), { final: (r) => r.status === 200 && r.body === 'final' });
          let thrown;
          try { http.get(`${U}/switch`); } catch (e) { thrown = e.message; }
          check(thrown, { refused: (t) => t === 'unsupported response status: 101 Switching Protocols' });
        }"#,
    )
    .run()
    .all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], 1);
}
