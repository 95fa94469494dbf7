//! Files of a script: ES modules, CommonJS, remote imports, `open`.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, Stream};

use crate::support::*;

#[test]
fn commonjs_and_es_modules_import_each_other() {
    Script::new(
        r#"
        import { check } from 'k6';
        import whole, { answer } from './lib/c.js';
        import marked, { named } from './lib/marked.js';
        const again = require('./lib/c.js');
        const es = require('./lib/es.js');
        let missing;
        try { require('./lib/none.js'); } catch (error) { missing = String(error); }
        export default function () {
          check(null, {
            named: () => answer === 42 && whole.answer === 42,
            'evaluated once': () => again === whole && again.times === 1,
            'the default of a marked module': () => marked === 'd' && named === 'n',
            'a namespace': () => es.default === 'es' && es.value === 1,
            'modules of k6': () => typeof whole.http.get === 'function' && typeof whole.k6.check === 'function',
            'this is exports': () => whole.self === true,
            missing: () => missing.includes('none.js'),
          });
        }"#,
    )
    .file(
        "lib/c.js",
        "var http = require('k6/http'), k6 = require('k6'); sloppy = 1;\n\
         globalThis.times = (globalThis.times || 0) + 1;\n\
         module.exports = { http, k6, answer: 41 + require('./d.js').one, times, self: this === exports };\n\
         if (sloppy) return;\n",
    )
    .file("lib/d.js", "exports.one = 1;")
    .file(
        "lib/marked.js",
        "Object.defineProperty(exports, '__esModule', { value: true });\n\
         exports.default = 'd'; exports.named = 'n';",
    )
    .file("lib/es.js", "export default 'es'; export const value = 1;")
    .args(["-u", "2", "-i", "2"])
    .run()
    .expect(0)
    .checks_hold();
}

#[test]
fn a_commonjs_entry_script_runs() {
    let ran = Script::new(
        "'use strict';\nvar _k = require('k6');\n\
         exports.options = { iterations: 3 };\n\
         exports.setup = function () { return { n: 1 }; };\n\
         exports.default = function (data) { (0, _k.check)(data, { n: function (d) { return d.n === 1; } }); };",
    )
    .run()
    .expect(0);
    ran.checks_hold();
    assert_eq!(ran.metric("iterations")["count"], 3);
    Script::new("module.exports = () => {};").run().expect(0);
    Script::new("const x = 1;").run().expect(255);
}

#[test]
fn errors_of_commonjs_files_have_their_lines() {
    Script::new("const f = require('./c.js');\nexports.default = () => f.go();")
        .file(
            "c.js",
            "exports.go = function go() {\n  throw new Error('here');\n};",
        )
        .run()
        .expect(0)
        .says(&["Error: here", "c.js:2:"]);
    Script::new("exports.default = function () {\n  let = = 1;\n};")
        .run()
        .expect(107)
        .says(&["SyntaxError", "script.js:2:"]);
}

#[test]
fn init_code_may_await_timers_and_promises() {
    Script::new(
        r#"
        import { check } from 'k6';
        const waited = await new Promise((resolve) => setTimeout(() => resolve(7), 20));
        let late = 0;
        setTimeout(() => { late = 1; }, 10);
        export const options = { vus: waited - 5, iterations: 2 };
        export default function () {
          check(null, { value: () => waited === 7, 'timers of init code have run': () => late === 1 });
        }"#,
    )
    .run()
    .expect(0)
    .checks_hold();
    Script::new("await new Promise(() => {});\nexport default () => {};")
        .run()
        .expect(107)
        .says(&["never"]);
    Script::new("await Promise.reject(new Error('top'));\nexport default () => {};")
        .run()
        .expect(107)
        .says(&["Error: top", "script.js:1:"]);
}

#[test]
fn opened_bytes_are_shared_and_paths_start_from_the_open_file() {
    Script::new(
        r#"
        import { check } from 'k6';
        import { text } from './lib/reader.js';
        const bytes = open('./lib/data.bin', 'b');
        const meta = open(import.meta.resolve('./lib/data.bin'));
        let directory, absent;
        try { open('./lib'); } catch (error) { directory = String(error); }
        try { open('./lib/absent'); } catch (error) { absent = String(error); }
        export default function () {
          let late;
          try { open('./lib/data.bin'); } catch (error) { late = String(error); }
          const view = new Uint8Array(bytes);
          try { view[0] = 1; } catch (error) {}
          check(null, {
            bytes: () => bytes instanceof ArrayBuffer && bytes.byteLength === 5 && view[0] === 104,
            'a copy can be changed': () => { const own = view.slice(); own[0] = 1; return own[0] === 1 && view[0] === 104; },
            text: () => text === 'hello' && meta === 'hello',
            directory: () => directory.includes('directories'),
            absent: () => absent.includes('absent'),
            late: () => late.includes('only available in the init stage'),
          });
        }"#,
    )
    .file("lib/reader.js", "export const text = open('./data.bin');")
    .file("lib/data.bin", "hello")
    .args(["-u", "3", "-i", "3"])
    .run()
    .expect(0)
    .checks_hold();
}

#[test]
fn what_vu_0_has_not_seen_cannot_be_had_later() {
    Script::new("if (__VU > 0) open('./data.txt');\nexport default () => {};")
        .file("data.txt", "x")
        .run()
        .expect(107)
        .says(&["__VU==0", "data.txt"]);
    Script::new("if (__VU > 0) require('./c.js');\nexport default () => {};")
        .file("c.js", "exports.a = 1;")
        .run()
        .expect(107)
        .says(&["__VU==0", "c.js"]);
}

#[test]
fn unknown_modules_say_what_to_do() {
    for (import, hint) in [
        ("k6/x/sql", "extensions of k6"),
        ("k6/browser", "browsers"),
        ("lodash", "couldn't be recognised"),
        ("http://127.0.0.1:9/x.js", "only supported schemes"),
        ("https://127.0.0.1:9/x.js", "couldn't be retrieved"),
        ("./none.js", "couldn't be found on local disk"),
        ("dchat:host", "recognised"),
    ] {
        Script::new(&format!("import '{import}';\nexport default () => {{}};"))
            .run()
            .expect(107)
            .says(&[import.trim_start_matches("./"), hint]);
    }
}

/// A TLS server that gives each path its text and counts what it was asked; the rest is 404.
fn remote(files: &'static [(&'static str, &'static str)]) -> (SocketAddr, Arc<AtomicUsize>) {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let chain = CertificateDer::pem_file_iter(data.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data.join("server.key")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut session = ServerConnection::new(config.clone()).unwrap();
            let mut tls = Stream::new(&mut session, &mut stream);
            let mut line = String::new();
            if BufReader::new(&mut tls).read_line(&mut line).is_err() {
                continue;
            }
            counter.fetch_add(1, Ordering::Relaxed);
            let path = line.split(' ').nth(1).unwrap_or_default();
            let found = files.iter().find(|(known, _)| *known == path);
            let (status, body) = match found {
                Some((_, text)) if text.starts_with("->") => ("302 Found", &text[2..]),
                Some((_, text)) => ("200 OK", *text),
                None => ("404 Not Found", ""),
            };
            let location = if status.starts_with('3') { body } else { "/" };
            let length = body.len();
            let _ = write!(
                tls,
                "HTTP/1.1 {status}\r\nLocation: {location}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (addr, asked)
}

#[test]
fn remote_modules_are_fetched_once_and_then_come_from_the_cache() {
    let (addr, asked) = remote(&[
        ("/lib/main.js?_k6=1", "->/lib/moved.js"),
        (
            "/lib/moved.js",
            "import { two } from './part.js';\nexport const one = () => { if (two) throw new Error('remote'); };",
        ),
        // This server minds the mark of load tests.
        ("/lib/part.js", "export const two = 2;"),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/ca.pem");
    let script =
        format!("import {{ one }} from 'https://{addr}/lib/main.js';\nexport default () => one();");
    let run = |args: &[&'static str]| {
        Script::new(&script)
            .env("XDG_CACHE_HOME", cache.path().to_str().unwrap())
            .env("SSL_CERT_FILE", authority)
            .args(args.iter().copied())
            .run()
    };
    run(&["--no-remote"])
        .expect(107)
        .says(&["--no-remote", "hint:"]);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let place = format!("https://{addr}/lib/main.js:2:");
    run(&["-u", "2", "-i", "2"])
        .expect(0)
        .says(&["Error: remote", &place]);
    // The first with its redirect, the second with and without the mark.
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    run(&[]).expect(0).says(&["Error: remote"]);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    Script::new(&format!(
        "import 'https://{addr}/none.js';\nexport default () => {{}};"
    ))
    .env("SSL_CERT_FILE", authority)
    .run()
    .expect(107)
    .says(&["couldn't be retrieved", "not found"]);
    // Whom nobody vouches for is not trusted.
    Script::new(&script)
        .run()
        .expect(107)
        .says(&["couldn't be retrieved", "certificate"]);
}

#[test]
fn base_compatibility_has_no_global() {
    let ran =
        Script::new("export default () => { console.log(typeof global, typeof globalThis); };")
            .args(["--compatibility-mode", "base"])
            .run();
    ran.expect(0).says(&["undefined object"]);
}

#[test]
fn exports_and_kinds_of_files_are_checked_when_loading() {
    for name in ["setup", "teardown"] {
        Script::new(&format!(
            "export const {name} = 5;\nexport default () => {{}};"
        ))
        .run()
        .expect(255)
        .says(&[&format!("exported '{name}' must be a function")]);
    }
    Script::new("export default 5;").run().expect(255);
    Script::new("import http from 'k6/http';\nmodule.exports.default = () => {};")
        .run()
        .expect(107)
        .says(&["either an ES module", "script.js:2:"]);
    Script::new("import './data.json';\nexport default () => {};")
        .file("data.json", r#"{"a": 1}"#)
        .run()
        .expect(107)
        .says(&["SyntaxError", "data.json:1:", "JSON.parse(open("]);
}
