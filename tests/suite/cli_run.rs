//! Load commands as k6 has them: flags, environment, configuration file, archives, the `k6` link.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Invocation, command};
use crate::support::*;

const ONE: &str = "export default function () { console.log('env:' + __ENV.A); }";

/// A directory with these files, and with dchat under the name k6.
struct Bench(TempDir);

impl Bench {
    fn with(files: &[(&str, &str)]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dchat"), dir.path().join("k6")).unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Bench(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn k6(&self, line: &str) -> Invocation {
        self.in_place(command(self.path().join("k6"), line.split_whitespace()))
    }

    fn dchat(&self, line: &str) -> Invocation {
        self.in_place(dchat(line.split_whitespace()))
    }

    /// Without a user's own configuration.
    fn in_place(&self, invocation: Invocation) -> Invocation {
        let home = self.path().join("home");
        let invocation = invocation.within_dir(self.path());
        invocation.env("HOME", &home).env("XDG_CONFIG_HOME", &home)
    }
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn version_line_is_k6s() {
    let bench = Bench::with(&[]);
    for line in ["version", "--version"] {
        let out = bench.k6(line).run().expect(0).stdout;
        assert!(out.starts_with("k6 v2.2.0 ("), "{out}");
        assert_eq!(out.lines().count(), 1);
    }
    let json: Value = serde_json::from_str(&bench.k6("version --json").run().stdout).unwrap();
    assert_eq!(json["version"], "v2.2.0");
}

#[test]
fn as_k6_nothing_of_dchat_is_seen() {
    let bench = Bench::with(&[("s.js", ONE)]);
    let ran = bench.k6("run s.js --tag a=b -e A=1").run().expect(0);
    let line = ran
        .stderr
        .lines()
        .find(|line| line.contains("env:1"))
        .unwrap();
    assert!(
        line.starts_with("time=\"") && line.ends_with("source=console"),
        "{line}"
    );
    for part in ["dchat", "verdict", "reported"] {
        assert!(
            !ran.stderr.contains(part) && !ran.stdout.contains(part),
            "{part}"
        );
    }
    let missing = bench.k6("run relay_stress_test.js").run().expect(255);
    assert!(
        missing
            .stderr
            .contains("level=error msg=\"The moduleSpecifier")
    );
}

#[test]
fn as_k6_a_wrong_command_line_is_one_log_line() {
    let bench = Bench::with(&[("s.js", ONE)]);
    for (line, text) in [
        ("run --nonsense s.js", "unknown flag: --nonsense"),
        ("cloud", "unknown command \\\"cloud\\\" for \\\"k6\\\""),
        ("run", "accepts 1 arg(s), received 0"),
        ("run s.js --out nonsense", "invalid output type 'nonsense'"),
    ] {
        let ran = bench.k6(line).run().expect(255);
        assert!(
            ran.stderr.contains("level=error msg="),
            "{line}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(text), "{line}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{line}: {}", ran.stderr);
    }
}

#[test]
fn file_script_environment_and_flags_win_over_each_other_in_this_order() {
    let script = "export const options = { iterations: 3 };\
                  export default function () { console.log('it') }";
    let bench = Bench::with(&[
        ("own.js", script),
        (
            "none.js",
            "export default function () { console.log('it') }",
        ),
        ("c.json", r#"{"iterations": 2, "out": ["json=out.json"]}"#),
        ("home/k6/config.json", r#"{"iterations": 6}"#),
    ]);
    let runs = |invocation: Invocation| count(&invocation.run().expect(0).stderr, "msg=it");
    let args = "run --quiet --report-to none";
    assert_eq!(runs(bench.dchat(&format!("{args} none.js"))), 6);
    assert_eq!(runs(bench.dchat(&format!("{args} -c c.json none.js"))), 2);
    assert!(bench.path().join("out.json").is_file());
    assert_eq!(runs(bench.dchat(&format!("{args} -c c.json own.js"))), 3);
    let environment = bench.dchat(&format!("{args} own.js"));
    assert_eq!(runs(environment.env("K6_ITERATIONS", "4")), 4);
    let flags = bench.dchat(&format!("{args} -i 5 own.js"));
    assert_eq!(runs(flags.env("K6_ITERATIONS", "4")), 5);
}

#[test]
fn named_configuration_that_is_not_there_or_broken_is_code_104() {
    let bench = Bench::with(&[("s.js", ONE), ("bad.json", "{"), ("list.json", "[]")]);
    for name in ["missing.json", "bad.json", "list.json"] {
        let ran = bench
            .k6(&format!("run s.js --config {name}"))
            .run()
            .expect(104);
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn overridden_scenarios_are_told() {
    let script = "export const options = { scenarios: { a: { executor: 'constant-vus',\
                  duration: '1h' } } }; export default function () {}";
    let bench = Bench::with(&[("s.js", script)]);
    let ran = bench.k6("run -q -i 1 s.js").run().expect(0);
    let warning = "\\\"cli\\\" level configuration overrode scenarios configuration entirely";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let ran = bench.k6("run -q --vus 2 s.js").run().expect(0);
    assert!(
        ran.stderr.contains("`vus=2` overrides scenarios"),
        "{}",
        ran.stderr
    );
}

#[test]
fn all_invalid_options_are_told_at_once() {
    let script = "export const options = { vus: -1, duration: 'soon', hosts: { 'a b': '::1' },\
                  dns: { select: 'best' }, blacklistIPs: ['all'], tlsVersion: 'ssl1',\
                  executionSegment: '3:2', scenarios: { 'x y': { executor: 'none' } } };\
                  export default function () {}";
    let bench = Bench::with(&[("s.js", script)]);
    let ran = bench.k6("run s.js").env("K6_RPS", "many").run().expect(104);
    for part in [
        "'vus' must be",
        "'duration' must be",
        "invalid host pattern 'a b'",
        "'select' must be",
        "'all' is no network",
        "'tlsVersion' must be",
        "'executionSegment': ",
        "unknown executor type 'none'",
        "its name may hold only",
        "'rps' must be",
    ] {
        assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
    }
    let flags = bench
        .dchat("run s.js --vus x --stage y --dns z --tag q")
        .run()
        .expect(255);
    for part in ["--vus", "--stage", "--dns", "tag 'q'"] {
        assert!(flags.stderr.contains(part), "{part} in {}", flags.stderr);
    }
}

#[test]
fn logs_go_where_and_look_as_the_flags_say() {
    let bench = Bench::with(&[(
        "s.js",
        "export default function () { console.warn('seen') }",
    )]);
    let out = bench
        .k6("run -q s.js --log-output stdout --log-format json")
        .run()
        .expect(0);
    let line = out
        .stdout
        .lines()
        .find(|line| line.contains("seen"))
        .unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["level"], &line["source"]),
        (&"warning".into(), &"console".into())
    );
    let raw = bench.k6("run -q s.js --log-format raw").run().expect(0);
    assert_eq!(raw.stderr, "seen\n");
    bench
        .k6("run -q s.js --log-output file=all.log,level=error")
        .run()
        .expect(0);
    assert_eq!(bench.text("all.log"), "");
    bench
        .k6("run -q s.js --log-output file=all.log")
        .run()
        .expect(0);
    assert!(
        bench.text("all.log").contains("level=warning msg=seen")
            || bench.text("all.log").contains("level=warning msg=seen")
    );
    let none = bench.k6("run -q s.js --log-output none").run().expect(0);
    assert_eq!(none.stderr, "");
    let separate = bench
        .k6("run -q s.js --console-output console.log")
        .run()
        .expect(0);
    assert_eq!(separate.stderr, "");
    assert!(bench.text("console.log").contains("msg=seen"));
    assert!(!bench.text("console.log").contains("source="));
    bench
        .k6("run s.js --log-output loki=http://x")
        .run()
        .expect(255);
}

#[test]
fn script_comes_from_stdin_too() {
    let bench = Bench::with(&[]);
    let ran = bench
        .k6("run -q -")
        .stdin(ONE)
        .env("A", "7")
        .run()
        .expect(0);
    assert!(ran.stderr.contains("env:7"), "{}", ran.stderr);
    let bare = bench.k6("run -q --include-system-env-vars=false -");
    let ran = bare.stdin(ONE).env("A", "7").run().expect(0);
    assert!(ran.stderr.contains("env:undefined"), "{}", ran.stderr);
}

#[test]
fn archive_holds_all_that_a_run_elsewhere_needs() {
    let bench = Bench::with(&[
        (
            "t/s.js",
            "import { hi } from './lib/hi.js'; const text = open('../data.txt');\
             export const options = { iterations: 4 };\
             export default function () { console.log(`${hi} ${text} ${__ENV.A}`) }",
        ),
        ("t/lib/hi.js", "export const hi = 'hi';"),
        ("data.txt", "there"),
    ]);
    bench
        .k6("archive -O out.tar -e A=1 -i 3 t/s.js")
        .run()
        .expect(0);
    std::fs::remove_dir_all(bench.path().join("t")).unwrap();
    std::fs::remove_file(bench.path().join("data.txt")).unwrap();
    let ran = bench.k6("run -q out.tar").run().expect(0);
    assert_eq!(count(&ran.stderr, "hi there 1"), 3, "{}", ran.stderr);
    let ran = bench.k6("run -q -e A=2 -i 1 out.tar").run().expect(0);
    assert_eq!(count(&ran.stderr, "hi there 2"), 1, "{}", ran.stderr);
    let options = bench.k6("inspect out.tar").run().expect(0).stdout;
    let options: Value = serde_json::from_str(&options).unwrap();
    assert_eq!(options["iterations"], 3);
    bench.k6("run -q -t js out.tar").run().expect(107);
}

#[test]
fn archive_can_leave_variables_out() {
    let bench = Bench::with(&[("s.js", ONE)]);
    bench
        .k6("archive --exclude-env-vars -e A=secret s.js")
        .run()
        .expect(0);
    let bytes = std::fs::read(bench.path().join("archive.tar")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
}

#[test]
fn inspect_shows_options_and_what_they_need() {
    let script = "export const options = { vus: 3, stages: [{ duration: '10s', target: 9 }],\
                  thresholds: { checks: ['rate>0.9'] } };\
                  export default function () {}";
    let bench = Bench::with(&[("s.js", script)]);
    let plain = bench.k6("inspect s.js").run().expect(0).stdout;
    let plain: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(
        (&plain["vus"], &plain["scenarios"]),
        (&3.into(), &Value::Null)
    );
    assert!(plain["setupTimeout"].is_null());
    let full = bench
        .k6("inspect --execution-requirements s.js")
        .run()
        .expect(0)
        .stdout;
    let full: Value = serde_json::from_str(&full).unwrap();
    assert_eq!(full["scenarios"]["default"]["executor"], "ramping-vus");
    assert_eq!(
        (&full["maxVUs"], &full["totalDuration"]),
        (&9.into(), &"40s".into())
    );
    bench.k6("inspect missing.js").run().expect(255);
    let wrong = Bench::with(&[("s.js", "export default function () {")]);
    wrong.k6("inspect s.js").run().expect(107);
}

#[test]
fn new_writes_templates_that_run() {
    let bench = Bench::with(&[]);
    let out = bench.k6("new").run().expect(0).stdout;
    assert_eq!(out, "New script created: script.js (minimal template).\n");
    bench.k6("new").run().expect(255);
    bench
        .k6("new --force --template protocol --project-id 7")
        .run()
        .expect(0);
    let options = bench
        .k6("inspect --execution-requirements script.js")
        .run()
        .expect(0);
    let options: Value = serde_json::from_str(&options.stdout).unwrap();
    assert_eq!(options["maxVUs"], 30);
    assert!(bench.text("script.js").contains("projectID: '7'"));
    bench
        .k6("new other.js --template browser")
        .run()
        .expect(255);
    assert!(!bench.path().join("other.js").exists());
}

#[test]
fn compat_names_for_each_script_what_is_not_supported() {
    let bench = Bench::with(&[
        ("a/good.js", ONE),
        ("a/lib.js", "export function help() {}"),
        (
            "a/bad.ts",
            "import b from 'k6/browser'; import 'k6/x/sql'; export default () => {};",
        ),
        (
            "wrong.js",
            "export const options = { vus: 'a', rps: 'b' }; export default () => {};",
        ),
        ("a/node_modules/x.js", "("),
    ]);
    let out = bench
        .dchat("inspect --compat a wrong.js")
        .run()
        .expect(107)
        .stdout;
    for part in [
        "a/good.js: supported",
        "a/lib.js: no test",
        "a/bad.ts: not supported",
        "k6/browser",
        "k6/x/sql",
        "'vus' must be",
        "'rps' must be",
        "4 files: 1 supported, 2 not, 1 without a test",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    bench.dchat("inspect --compat a/good.js").run().expect(0);
    bench.dchat("inspect --compat nowhere.js").run().expect(107);
    bench.dchat("inspect").run().expect(255);
}

#[test]
fn progress_tells_of_every_scenario() {
    let script = "import { sleep } from 'k6'; export const options = { scenarios: {\
                  first: { executor: 'shared-iterations', vus: 2, iterations: 4 },\
                  later: { executor: 'constant-vus', startTime: '1s', duration: '1s' } } };\
                  export default function () { sleep(0.1) }";
    let bench = Bench::with(&[("s.js", script)]);
    let out = bench.k6("run s.js").run().expect(0).stdout;
    for part in [
        "execution: local",
        "scenarios: (100.00%) 2 scenarios, 3 max VUs, 10m30s max duration",
        "* first: 4 iterations shared among 2 VUs (maxDuration: 10m0s, gracefulStop: 30s)",
        "* later: 1 looping VUs for 1s (startTime: 1s, gracefulStop: 30s)",
        "0/3 VUs, ",
        "first ✓ [ 100% ] 0 VUs",
        "4/4 shared iters",
        "later ✓ [ 100% ] 0 VUs  1s",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let own = bench.dchat("run --report-to none s.js").run().expect(0);
    assert!(own.stderr.contains("later ✓") && !own.stdout.contains("later ✓"));
    let quiet = bench.k6("run -q s.js").run().expect(0);
    assert!(!quiet.stdout.contains("running (") && !quiet.stdout.contains("execution:"));
}

#[test]
fn compatibility_mode_base_has_no_global() {
    let bench = Bench::with(&[("s.js", "export default () => console.log(typeof global);")]);
    let seen = |line: &str| bench.k6(line).run().expect(0).stderr;
    assert!(seen("run -q s.js").contains("msg=object "));
    assert!(seen("run -q --compatibility-mode base s.js").contains("msg=undefined "));
}

#[test]
fn features_that_are_not_here_are_refused() {
    let bench = Bench::with(&[("s.js", ONE)]);
    let ran = bench
        .k6("run -q --features freeze-env s.js")
        .run()
        .expect(255);
    assert!(ran.stderr.contains("freeze-env"), "{}", ran.stderr);
    bench
        .k6("run -q --features merge-run-tags s.js")
        .run()
        .expect(0);
}

#[test]
fn as_k6_metrics_of_dchat_alone_are_not_made() {
    let script = "export const options = { scenarios: { a: { executor: 'constant-arrival-rate',\
                  rate: 20, duration: '1s', preAllocatedVUs: 2 } } }; export default () => {};";
    let bench = Bench::with(&[("s.js", script)]);
    bench.k6("run -q --out json=k6.json s.js").run().expect(0);
    let own = bench.dchat("run -q --report-to none --out json=own.json s.js");
    own.run().expect(0);
    let name = "iteration_duration_from_schedule";
    assert!(bench.text("own.json").contains(name));
    assert!(!bench.text("k6.json").contains(name));
}

#[test]
fn progress_of_a_segment_tells_of_its_own_part() {
    let script = "export const options = { vus: 3, iterations: 9 }; export default () => {};";
    let bench = Bench::with(&[("s.js", script)]);
    let out = bench
        .k6("run --execution-segment 1/3 s.js")
        .run()
        .expect(0)
        .stdout;
    for part in ["(33.33%) 1 scenario, 1 max VUs", "3/3 shared iters"] {
        assert!(out.contains(part), "{part} in {out}");
    }
}
