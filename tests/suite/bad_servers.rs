//! Servers that hang, lie, break off or explode: k6's error codes, and nobody else is harmed.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use crate::support::*;

/// One way to misbehave: the path, the code that the response gets, a part of its error.
type Case = (&'static str, u16, &'static str, fn(&mut TcpStream) -> After);

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

fn bytes(stream: &mut TcpStream, text: &str) -> After {
    raw(stream, text.as_bytes());
    After::Close
}

const CASES: [Case; 14] = [
    ("/silent-end", 1000, "EOF", |_| After::Close),
    ("/half-head", 1000, "unexpected EOF", |stream| {
        bytes(stream, "HTTP/1.1 200 O")
    }),
    ("/half-body", 1000, "unexpected EOF", |stream| {
        bytes(stream, &format!("{HEAD}Content-Length: 100\r\n\r\nhalf"))
    }),
    ("/half-chunk", 1000, "unexpected EOF", |stream| {
        bytes(
            stream,
            &format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n64\r\nhalf"),
        )
    }),
    ("/reset", 1220, "connection reset by peer", |_| After::Reset),
    (
        "/reset-in-body",
        1220,
        "connection reset by peer",
        |stream| {
            // The client has to read the head before the reset throws it away.
            bytes(stream, &format!("{HEAD}Content-Length: 100\r\n\r\nhalf"));
            std::thread::sleep(std::time::Duration::from_millis(50));
            After::Reset
        },
    ),
    ("/no-http", 1000, "malformed HTTP response", |stream| {
        bytes(stream, "220 smtp.example.com ready\r\n\r\n")
    }),
    ("/bad-length", 1000, "bad Content-Length", |stream| {
        bytes(stream, &format!("{HEAD}Content-Length: many\r\n\r\n"))
    }),
    (
        "/bad-chunk",
        1000,
        "invalid byte in chunk length",
        |stream| {
            bytes(
                stream,
                &format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            )
        },
    ),
    ("/endless-head", 1000, "headers exceeded", |stream| {
        bytes(stream, HEAD);
        let line = format!("X-Again: {}\r\n", "x".repeat(8_000));
        while stream.write_all(line.as_bytes()).is_ok() {}
        After::Close
    }),
    ("/endless-body", 1000, "larger than", |stream| {
        bytes(stream, &format!("{HEAD}\r\n"));
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        After::Close
    }),
    ("/huge-length", 1000, "larger than", |stream| {
        bytes(
            stream,
            &format!("{HEAD}Content-Length: 999999999999\r\n\r\nx"),
        )
    }),
    (
        "/no-gzip",
        1701,
        "error decompressing response body",
        |stream| {
            bytes(
                stream,
                &format!("{HEAD}Content-Encoding: gzip\r\n\r\nno gzip at all"),
            )
        },
    ),
    ("/bomb", 1701, "larger than", |stream| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            encoder.write_all(&[0; 1 << 20]).unwrap();
        }
        bytes(stream, &format!("{HEAD}Content-Encoding: gzip\r\n\r\n"));
        raw(stream, &encoder.finish().unwrap());
        After::Close
    }),
];

fn misbehaving() -> Origin {
    Origin::start(|seen, stream| {
        let case = CASES.iter().find(|(path, ..)| *path == seen.target);
        let (.., act) = case.expect("the script asks for known paths");
        act(stream)
    })
}

#[test]
fn every_misbehaviour_has_its_code_and_the_next_request_goes_on() {
    let origin = misbehaving();
    let checks: String = CASES
        .iter()
        .map(|(path, code, text, _)| {
            format!(
                "one('{path}', (r) => r.status === 0 && r.body === null && r.error_code === {code} \
                 && r.error.includes('{text}'));\n"
            )
        })
        .collect();
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        function one(path, holds) {{
          const r = http.get('{}' + path);
          if (!check(r, {{ [path]: holds }})) console.log(path, r.status, r.error_code, r.error);
        }}
        export default function () {{
          {checks}
        }}"#,
        origin.url()
    );
    let ran = Script::new(&script)
        .args(["--vu-memory-max", "32MiB"])
        .run()
        .all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], CASES.len());
    assert_eq!(ran.metric("http_req_failed")["passes"], CASES.len());
    let warned = ran.finished.stderr.matches("Request Failed").count();
    assert_eq!(warned, CASES.len(), "{}", ran.finished.stderr);
}

#[test]
fn a_server_that_never_answers_costs_the_timeout_and_only_its_own_vu() {
    let silent = Origin::start(|_, stream| {
        // Until the client gives up.
        let _ = std::io::Read::read(stream, &mut [0]);
        After::Close
    });
    let quick = Origin::saying(|_| b"quick".to_vec());
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        import {{ Counter }} from 'k6/metrics';
        const answered = new Counter('answered');
        export const options = {{ scenarios: {{
          stuck: {{ executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'stuck' }},
          quick: {{ executor: 'constant-vus', vus: 4, duration: '1s', exec: 'quick' }},
        }} }};
        export function stuck() {{
          const r = http.get('{silent}/', {{ timeout: 1500 }});
          check(r, {{
            code: (r) => r.error_code === 1050 && r.error === 'request timeout' && r.status === 0,
            waited: (r) => r.timings.waiting > 1400 && r.timings.waiting < 3000 && r.timings.receiving === 0,
            where: (r) => r.remote_ip === '127.0.0.1' && r.remote_port > 0,
          }});
        }}
        export function quick() {{ answered.add(http.get('{quick}/').status === 200); }}"#,
        silent = silent.url(),
        quick = quick.url(),
    );
    let ran = Script::new(&script).run().all_checks_pass();
    assert!(ran.metric("answered")["count"].as_f64().unwrap() > 20.0);
}

#[test]
fn addresses_that_lead_nowhere_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let answering = plain.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in answering.incoming().flatten() {
            bytes(&mut { stream }, "HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        export const options = {{
          hosts: {{ 'listed.test': '10.1.2.3' }},
          blacklistIPs: ['10.0.0.0/8'],
          blockHostnames: ['*.blocked.test'],
        }};
        const code = (url) => {{ const r = http.get(url); return [r.error_code, r.error].join(' '); }};
        export default function () {{
          check(null, {{
            refused: () => code('http://{free}/') === '1212 dial: connection refused',
            lookup: () => /^110[01] lookup/.test(code('http://nobody.invalid/')),
            blacklisted: () => code('http://listed.test/') === '1110 ip is blacklisted',
            blocked: () => code('http://a.blocked.test/') === '1111 hostname is blocked',
            'no URL': () => code('http://h:port/').startsWith('1020 invalid URL: '),
            'no scheme': () => code('example.com/') === '1000 unsupported protocol scheme ""',
            'no TLS': () => code('https://{plain}/').startsWith('1301 '),
            'no number': () => code(undefined).startsWith('1020 invalid URL: '),
          }});
        }}"#,
        plain = plain.local_addr().unwrap(),
    );
    let ran = Script::new(&script).run().all_checks_pass();
    // What could not be parsed was no request.
    assert_eq!(ran.metric("http_reqs")["count"], 6);
    ran.says(&[
        "lookup nobody.invalid",
        "IP (10.1.2.3) is in a blacklisted range (10.0.0.0/8)",
        "hostname (a.blocked.test) is in a blocked pattern (*.blocked.test)",
        "connect: connection refused",
    ]);
}

#[test]
fn a_failed_request_throws_only_where_it_is_asked_to() {
    let origin = misbehaving();
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        export default async function () {{
          let thrown = [];
          try {{ http.get('{url}/silent-end', {{ throw: true }}); }} catch (e) {{ thrown.push(String(e)); }}
          try {{ await http.asyncRequest('GET', '{url}/silent-end', null, {{ throw: true }}); }} catch (e) {{ thrown.push(String(e)); }}
          try {{ http.batch([['GET', '{url}/silent-end', null, {{ throw: true }}]]); }} catch (e) {{ thrown.push(String(e)); }}
          const quiet = await http.asyncRequest('GET', '{url}/silent-end');
          check(thrown, {{
            'all three throw': (t) => t.length === 3 && t.every((e) => e.includes('Get "{url}/silent-end": EOF')),
            'else not': () => quiet.error_code === 1000,
          }});
        }}"#,
        url = origin.url()
    );
    let ran = Script::new(&script).run();
    // What is thrown is not logged as well.
    assert_eq!(ran.finished.stderr.matches("Request Failed").count(), 1);
    ran.all_checks_pass();
}

#[test]
fn a_discarded_body_may_be_larger_than_the_memory() {
    let origin = Origin::start(|_, stream| {
        raw(
            stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n",
        );
        for _ in 0..1_024 {
            raw(stream, &[b'x'; 65_536]);
        }
        After::Keep
    });
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        export default function () {{
          for (let i = 0; i < 2; i++) {{
            const r = http.get('{}/', {{ responseType: 'none' }});
            check(r, {{ read: (r) => r.status === 200 && r.body === null && r.error_code === 0 }});
          }}
        }}"#,
        origin.url()
    );
    let ran = Script::new(&script)
        .args(["--vu-memory-max", "32MiB"])
        .run()
        .all_checks_pass();
    assert!(ran.metric("data_received")["count"].as_f64().unwrap() > 134_000_000.0);
    // The connection was in order and served both.
    assert_eq!(origin.seen()[1].connection, 0);
}

#[test]
fn a_kept_connection_that_the_server_has_closed_is_replaced() {
    let origin = Origin::start(|_, stream| {
        // Without saying so.
        reply(stream, "200 OK", &[], b"once");
        After::Close
    });
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check, sleep }} from 'k6';
        export default function () {{
          for (let i = 0; i < 5; i++) {{
            check(http.get('{url}/'), {{ get: (r) => r.status === 200 }});
            sleep(0.02);
            check(http.post('{url}/', 'x'), {{ post: (r) => r.status === 200 }});
            sleep(0.02);
          }}
        }}"#,
        url = origin.url()
    );
    let ran = Script::new(&script).run().all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], 10);
}

#[test]
fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = std::io::Read::read(&mut stream, &mut [0; 512]);
            bytes(
                &mut stream,
                "HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno",
            );
            // It neither reads on nor hangs up.
            std::mem::forget(stream);
        }
    });
    let script = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        export default function () {{
          const r = http.post('http://{addr}/', 'x'.repeat(20 << 20), {{ timeout: '20s' }});
          check(r, {{ early: (r) => r.status === 413 && r.body === 'no' }}) || console.log(r.error);
        }}"#
    );
    Script::new(&script).run().all_checks_pass();
}

#[test]
fn script_that_hoards_responses_meets_its_own_memory_limit() {
    let relay = Relay::start();
    let ran = Script::new(
        r#"import http from 'k6/http';
        export const options = { iterations: 1 };
        export default function () {
          const hoard = [];
          try {
            for (let i = 0; i < 200; i++) hoard.push(http.post(__ENV.URL + '/nowhere', 'x'.repeat(1 << 20)));
          } catch (error) {
            console.log(`${error.name} after ${hoard.length > 10 && hoard.length < 100}: ${error.message}`);
          }
          hoard.length = 0;
          for (let i = 0; i < 200; i++) http.post(__ENV.URL + '/nowhere', 'x'.repeat(1 << 20));
          console.log('the others go');
        }"#,
    )
    .args(["--vu-memory-max", "32MiB", "-e", &format!("URL={}", relay.url())])
    .run()
    .expect(0);
    let stderr = &ran.finished.stderr;
    let said =
        "RangeError after true: the responses that this VU keeps take more than 33554432 bytes";
    assert!(
        stderr.contains(said) && stderr.contains("the others go"),
        "{stderr}"
    );
}
