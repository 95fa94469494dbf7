//! Files of a script: ES modules, CommonJS, remote imports, `open`.

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
