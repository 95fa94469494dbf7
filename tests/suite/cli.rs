//! Commands, flags, exit codes, error texts and their hints.

use std::io::Write;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::*;

/// An address of this machine where nothing listens: bound once, then closed.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn help_and_version_succeed_on_stdout() {
    let help = dchat(["--help"]).run().expect(0);
    for command in [
        "relay", "status", "wait", "send", "tail", "run", "runs", "new", "demo", "config",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command}:\n{}",
            help.stdout
        );
    }
    dchat(["--version"])
        .run()
        .expect(0)
        .prints(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn every_command_explains_itself() {
    for command in [
        "relay", "status", "wait", "send", "tail", "run", "runs", "new", "demo", "config",
    ] {
        dchat([command, "--help"])
            .run()
            .expect(0)
            .prints(&["Usage: dchat", command]);
    }
}

#[test]
fn no_command_shows_the_help_as_a_usage_error() {
    dchat([] as [&str; 0])
        .run()
        .expect(2)
        .says(&["Usage: dchat"]);
}

#[test]
fn unknown_flag_suggests_the_near_one() {
    dchat(["relay", "--prot", "7071"])
        .run()
        .expect(2)
        .says(&["--prot", "--port"]);
    dchat(["wait", "--timeuot", "1s"])
        .run()
        .expect(2)
        .says(&["--timeout"]);
    dchat(["stauts"]).run().expect(2).says(&["status"]);
}

#[test]
fn usage_errors_of_load_commands_have_k6_s_code() {
    dchat(["run", "--duratoin", "1s"])
        .run()
        .expect(255)
        .says(&["--duration"]);
    dchat(["demo", "--exti"])
        .run()
        .expect(255)
        .says(&["--exit"]);
    dchat(["new", "--froce"]).run().expect(255);
}

#[test]
fn role_relay_of_the_load_guide_is_the_relay_command() {
    let dir = tempfile::tempdir().unwrap();
    let process = dchat(["--role", "relay", "--port", "0", "--data-dir"])
        .arg(dir.path())
        .spawn();
    let line = process.line_with("listening on", SOON);
    assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
}

#[test]
fn taken_port_is_refused_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    dchat(["relay", "--port", &port, "--data-dir"])
        .arg(dir.path())
        .run()
        .expect(3)
        .says(&[&port, "hint:"]);
}

#[test]
fn unusable_limit_names_value_range_and_the_near_name() {
    dchat(["relay", "--limit", "content_byte_max=1KiB"])
        .run()
        .expect(2)
        .says(&["content_bytes_max"]);
    dchat(["relay", "--limit", "content_bytes_max=0"])
        .run()
        .expect(2)
        .says(&["'0'", "16MiB"]);
    dchat(["relay", "--limit", "content_bytes_max"])
        .run()
        .expect(2)
        .says(&["NAME=VALUE"]);
}

#[test]
fn config_show_prints_a_file_that_config_check_accepts() {
    let shown = dchat(["config", "show"]).run().expect(0);
    let saved = file(&shown.stdout);
    dchat(["config", "check"])
        .arg(saved.path())
        .run()
        .expect(0)
        .prints(&["is valid"]);
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let saved = file("[limits]\ncontent_bytes_max = \"1KiB\"\nreaders = 3\nruns_max = 7\n");
    let show = |args: &[&str]| {
        dchat(["config", "show", "--config"])
            .arg(saved.path())
            .env("DCHAT_CONTENT_BYTES_MAX", "2KiB")
            .env("DCHAT_READERS", "5")
            .arg("--limit")
            .arg(args[0])
            .run()
            .expect(0)
            .stdout
    };
    let shown = show(&["content_bytes_max=3KiB"]);
    for line in [
        "content_bytes_max = \"3KiB\"",
        "readers = 5",
        "runs_max = 7",
        "port = 7071",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line}:\n{shown}");
    }
}

#[test]
fn mistake_in_a_configuration_file_is_named() {
    let check = |text: &str| {
        let saved = file(text);
        let finished = dchat(["config", "check"]).arg(saved.path()).run();
        assert_eq!(finished.code, 2, "{text}: {}", finished.stdout);
        finished.stderr
    };
    let text = check("prot = 1\n");
    assert!(text.contains("prot"), "{text}");
    let text = check("port = \n");
    assert!(text.contains("line 1"), "{text}");
    let text = check("[limits]\nreaders = 0\n");
    assert!(text.contains("readers") && text.contains("256"), "{text}");
    dchat(["config", "check", "/nonexistent/dchat.toml"])
        .run()
        .expect(2)
        .says(&["/nonexistent/dchat.toml"]);
}

#[test]
fn status_shows_the_relay_to_people_and_programs() {
    let relay = Relay::start();
    relay.accept_from("a", "b", "x");
    let url = relay.url();
    dchat(["status", "--url", &url])
        .run()
        .expect(0)
        .prints(&["version", "limits"]);
    let json = dchat(["status", "--json", "--url", &url]).run().expect(0);
    let status: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(status["messages"]["stored"], 1, "{status}");
}

#[test]
fn commands_without_a_relay_say_what_to_start() {
    let url = nobody();
    dchat(["status", "--url", &url])
        .run()
        .expect(1)
        .says(&[url.trim_end_matches('/'), "hint:"]);
    dchat(["send", "--url", &url, "--timeout", "1s", "--from", "a", "x"])
        .run()
        .expect(1)
        .says(&["hint:"]);
}

#[test]
fn wait_ends_when_the_relay_is_ready_and_fails_at_its_timeout() {
    let relay = Relay::start();
    dchat(["wait", "--timeout", "30s", "--url", &relay.url()])
        .run()
        .expect(0);
    let url = nobody();
    dchat(["wait", "--timeout", "300ms", "--url", &url])
        .run()
        .expect(1)
        .says(&["not ready"]);
}

#[test]
fn wait_stands_through_the_start_of_a_relay() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut wait = dchat([
        "wait",
        "--timeout",
        "60s",
        "--url",
        &format!("http://{address}"),
    ])
    .spawn();
    // It has asked once, and got no answer: the connection is closed.
    listener.set_nonblocking(true).unwrap();
    drop(eventually("it asks", || listener.accept().ok()));
    drop(listener);
    let port = address.port().to_string();
    let _relay: Process = dchat(["relay", "--port", &port, "--data-dir"])
        .arg(dir.path())
        .spawn();
    assert_eq!(
        wait.ended_within(Duration::from_secs(60)),
        0,
        "{}",
        wait.stderr()
    );
}

#[test]
fn sent_message_is_stored_and_a_repeat_is_harmless() {
    let relay = Relay::start();
    let url = relay.url();
    let send = || {
        let args = [
            "send", "--url", &url, "--from", "ann", "--to", "bob", "--id", "m1", "--json",
        ];
        let sent = dchat(args).arg("hello").run().expect(0);
        serde_json::from_str::<Value>(&sent.stdout).unwrap()
    };
    assert_eq!(send()["duplicate"], false);
    assert_eq!(send()["duplicate"], true);
    assert_eq!(relay.message("m1")["content"], "hello");
}

#[test]
fn content_may_come_from_standard_input() {
    let relay = Relay::start();
    let args = [
        "send",
        "--url",
        &relay.url(),
        "--from",
        "ann",
        "--channel",
        "news",
        "-",
    ];
    dchat(args)
        .stdin("line 1\nline 2")
        .run()
        .expect(0)
        .prints(&["sequence"]);
    assert_eq!(relay.page("channel=news")[0]["content"], "line 1\nline 2");
}

#[test]
fn refused_message_fails_with_the_relay_s_reason() {
    let relay = Relay::setup().limit("content_bytes_max", "10B").start();
    dchat([
        "send",
        "--url",
        &relay.url(),
        "--from",
        "ann",
        "far too long a content",
    ])
    .run()
    .expect(1)
    .says(&["22", "10"]);
}

#[test]
fn tail_prints_acknowledges_and_ends_after_its_count() {
    let relay = Relay::start();
    for content in ["one", "two", "three"] {
        relay.accept_from("ann", "bob", content);
    }
    let url = relay.url();
    let args = [
        "tail", "--url", &url, "--user", "bob", "--after", "0", "-n", "2", "--ack",
    ];
    let printed = dchat(args).run().expect(0).prints(&["one", "two"]);
    assert!(!printed.stdout.contains("three"), "{}", printed.stdout);
    let left = relay.page("user=bob&status=queued");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["content"], "three");
}

#[test]
fn tail_follows_live_and_survives_a_restart_of_the_relay() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let relay = || {
        let relay = dchat(["relay", "--port", &port.to_string(), "--data-dir"]).arg(dir.path());
        relay.spawn()
    };
    let url = format!("http://127.0.0.1:{port}");
    let send = |content: &str| {
        let args = [
            "send", "--url", &url, "--from", "ann", "--to", "bob", content,
        ];
        dchat(args).run().expect(0);
    };
    let mut first = relay();
    dchat(["wait", "--url", &url]).run().expect(0);
    send("before");
    let tail = dchat(["tail", "--url", &url, "--user", "bob", "--after", "0"]).spawn();
    tail.line_with("before", SOON);
    first.kill();
    let _second = relay();
    send("after");
    tail.line_with("after", Duration::from_secs(60));
    assert_eq!(tail.stdout().lines().count(), 2, "{}", tail.stdout());
}

#[test]
fn tail_needs_a_mailbox_or_a_channel() {
    dchat(["tail"])
        .run()
        .expect(2)
        .says(&["--user", "--channel"]);
}

#[test]
fn new_writes_a_script_and_never_overwrites_one() {
    let dir = tempfile::tempdir().unwrap();
    dchat(["new"]).within_dir(dir.path()).run().expect(0);
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let text = std::fs::read_to_string(files[0].path()).unwrap();
    assert!(
        text.contains("export default function") && text.contains("k6/http"),
        "{text}"
    );
    let again = dchat(["new"]).within_dir(dir.path()).run();
    assert_ne!(again.code, 0);
    dchat(["new", "mine.js"])
        .within_dir(dir.path())
        .run()
        .expect(0);
    assert!(dir.path().join("mine.js").is_file());
}

#[test]
fn stress_test_without_a_relay_says_what_to_start() {
    let url = nobody();
    let run = dchat([
        "run",
        "--report-to",
        "none",
        "-e",
        &format!("RELAY_URL={url}"),
    ]);
    run.run().expect(107).says(&["dchat relay"]);
}

#[test]
fn demo_ends_with_a_verdict_and_its_run_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dchat([
        "demo",
        "--exit",
        "--seconds",
        "5",
        "--port",
        "0",
        "--data-dir",
    ])
    .arg(dir.path())
    .within(Duration::from_secs(120))
    .run();
    let demo = demo
        .expect(0)
        .prints(&["data directory", "listening on", "p95", "p99"]);
    assert!(
        demo.stdout.to_lowercase().contains("verdict"),
        "{}",
        demo.stdout
    );
    let relay = Relay::setup().in_dir(dir.path()).start();
    let runs = relay.get("/api/v1/runs").expect(200).json();
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["state"], "finished");
    assert_eq!(runs[0]["exit_code"], 0);
    let list = dchat(["runs", "list", "--url", &relay.url()])
        .run()
        .expect(0);
    let id = runs[0]["run_id"].as_str().unwrap();
    assert!(list.stdout.contains(&id[..8]), "{}", list.stdout);
    dchat(["runs", "show", id, "--url", &relay.url()])
        .run()
        .expect(0)
        .prints(&["p95"]);
}

#[test]
fn closed_stdout_is_no_error() {
    let shell = format!("{:?} config show | head -n 1", env!("CARGO_BIN_EXE_dchat"));
    let finished = command("bash", ["-o", "pipefail", "-c", &shell])
        .run()
        .expect(0);
    assert_eq!(finished.stderr, "");
}

#[test]
fn syntax_error_of_a_script_names_file_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("broken.js");
    std::fs::write(&script, "export default function () {\n  const a = ;\n}\n").unwrap();
    let run = dchat(["run", "--report-to", "none"])
        .arg(&script)
        .run()
        .expect(107);
    assert!(run.stderr.contains("broken.js:2:"), "{}", run.stderr);
}

#[test]
fn missing_script_is_named() {
    dchat(["run", "--report-to", "none", "no-such-script.js"])
        .run()
        .expect(255)
        .says(&["no-such-script.js"]);
}
