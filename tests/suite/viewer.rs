//! The results page: its files, and what a real browser makes of it.

use std::path::Path;
use std::time::Duration;

use crate::results_api::{RUN_A, RUN_B, SentRun};
use crate::support::*;

#[test]
fn page_and_assets_are_revalidated_under_a_strict_policy() {
    let relay = Relay::start();
    let page = relay.get("/").expect(200);
    let html = page.text();
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let mut paths = vec!["/".to_owned()];
    // Every file that the page names is there.
    for part in html.split('"').filter(|part| part.starts_with("/assets/")) {
        paths.push(part.to_owned());
    }
    assert!(paths.len() > 3, "{paths:?}");
    for path in &paths {
        let file = relay.get(path).expect(200);
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        let etag = file.header("etag").expect("an ETag").to_owned();
        let again = relay
            .request("GET", path)
            .header("If-None-Match", &etag)
            .send();
        assert_eq!(again.status, 304, "{path}");
        let other = relay
            .request("GET", path)
            .header("If-None-Match", "\"x\"")
            .send();
        assert_eq!(other.status, 200, "{path}");
    }
    relay.get("/assets/nothing.js").refused(404, "NOT_FOUND");
    relay
        .get("/assets/..%2FCargo.toml")
        .refused(404, "NOT_FOUND");
}

#[test]
fn list_shows_every_state_without_a_console_error() {
    let relay = Relay::start();
    let empty = dom(&relay, "/");
    assert!(empty.contains("No runs yet"), "{empty}");
    let run = SentRun::register(&relay, RUN_A, "<img src=x onerror=alert(1)>");
    run.send(&relay, 1, run.points());
    run.finish(&relay, 99);
    SentRun::register(&relay, RUN_B, "second run");
    let list = dom(&relay, "/");
    for part in [
        "second run",
        "running",
        "finished",
        "warning",
        "env=lab",
        "127.0.0.1:7071",
    ] {
        assert!(list.contains(part), "{part:?} in {list}");
    }
    // A hostile name is text.
    assert!(
        list.contains("&lt;img src=x onerror=alert(1)&gt;"),
        "{list}"
    );
    assert!(!list.contains("<img src=\"x\""), "{list}");
    let found = dom(&relay, "/?q=second");
    assert!(
        found.contains("second run") && !found.contains("onerror"),
        "{found}"
    );
}

#[test]
fn run_page_shows_verdict_charts_thresholds_and_checks() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "a finished run");
    run.send(&relay, 1, run.points());
    run.finish(&relay, 0);
    let page = dom(&relay, &format!("/?run={RUN_A}"));
    for part in [
        "a finished run",
        "Verdict",
        "throughput",
        "10.00 %",
        "Virtual users",
        "requests/s",
        "Response time",
        "p99",
        "Failures",
        "p(95)&lt;500",
        "passed",
        "is &lt;b&gt;fine&lt;/b&gt;",
        "90.00 %",
        "// the script",
    ] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    // Each of the four charts has drawn its lines.
    assert_eq!(page.matches("<figure").count(), 4);
    let drawn = page.matches("<path class=\"line").count();
    assert_eq!(drawn, 6, "{page}");
    assert!(!page.contains("d=\"\""), "no line is empty: {page}");
}

#[test]
fn saved_report_opens_from_disk_with_everything_inside() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "</script><img src=x onerror=alert(1)>");
    run.send(&relay, 1, run.points());
    run.finish(&relay, 0);
    let report = relay
        .get(&format!("/api/v1/runs/{RUN_A}/report.html"))
        .expect(200);
    let disposition = report.header("content-disposition").unwrap_or_default();
    assert!(disposition.contains("attachment"), "{disposition}");
    drop(relay);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    std::fs::write(&file, report.text()).unwrap();
    let (page, console) = browse_url(&format!("file://{}", file.display()));
    assert!(console.is_empty(), "{console:?}");
    let shown = &page[page.find("<body").unwrap()..];
    for part in [
        "Verdict",
        "Virtual users",
        "p99",
        "is &lt;b&gt;fine&lt;/b&gt;",
        "// the script",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert!(
        shown.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"),
        "{shown}"
    );
    assert!(!shown.contains("<img src=\"x\""), "{shown}");
    assert_eq!(shown.matches("<path class=\"line").count(), 6, "{shown}");
}

#[test]
fn web_dashboard_exports_its_run_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    let ran = Script::new("export const options = { iterations: 3 }; export default () => {};")
        .env("K6_WEB_DASHBOARD", "true")
        .env("K6_WEB_DASHBOARD_PORT", "0")
        .env("K6_WEB_DASHBOARD_EXPORT", file.to_str().unwrap())
        .env("TMPDIR", directory.path().to_str().unwrap())
        .run();
    let stderr = &ran.finished.stderr;
    assert_eq!(ran.finished.code, 0, "{stderr}");
    assert!(
        stderr.contains("web dashboard: http://127.0.0.1:"),
        "{stderr}"
    );
    let (page, console) = browse_url(&format!("file://{}", file.display()));
    assert!(console.is_empty(), "{console:?}");
    assert!(
        page.contains("Virtual users") && page.contains("iterations"),
        "{page}"
    );
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "only the report stays");
}

#[test]
fn missing_run_is_an_error_state() {
    let relay = Relay::start();
    // The browser itself reports the 404 of the fetch; nothing else may be said.
    let (page, console) = browse(&relay, &format!("/?run={RUN_A}"));
    assert!(
        page.contains("could not be loaded") && page.contains("Try again"),
        "{page}"
    );
    assert!(
        console.iter().all(|line| line.contains("404")),
        "{console:?}"
    );
}

/// The page's DOM once it has loaded; its console must be silent.
#[track_caller]
fn dom(relay: &Relay, path: &str) -> String {
    let (page, console) = browse(relay, path);
    assert!(console.is_empty(), "{console:?}");
    page
}

/// The DOM, and what was written to the console (errors, CSP violations, logs).
#[track_caller]
fn browse(relay: &Relay, path: &str) -> (String, Vec<String>) {
    browse_url(&format!("{}{path}", relay.url()))
}

#[track_caller]
fn browse_url(url: &str) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().unwrap();
    let finished = chromium(profile.path())
        .arg("--dump-dom")
        .arg(url)
        .run()
        .expect(0);
    let console = finished
        .stderr
        .lines()
        .filter(|line| line.contains("CONSOLE"));
    let console = console.map(str::to_owned).collect();
    (finished.stdout, console)
}

fn chromium(profile: &Path) -> command::Invocation {
    command(
        peer("chromium"),
        [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            "--virtual-time-budget=8000",
            "--enable-logging=stderr",
        ],
    )
    .arg(format!("--user-data-dir={}", profile.display()))
    .within(Duration::from_secs(120))
}
