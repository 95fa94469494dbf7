//! What real k6 does with a script, row by row from `tests/data/parity_*.json`.
//!
//! Each row has a small script or a command, what must come of it, and where that is known from:
//! a section of the catalogue of k6's behaviour, k6's documentation, or `assumed`. See `row.rs`
//! for what a row may say. Rows run several at a time; all that differ are told at once.

mod row;
mod target;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use self::row::Row;
use self::target::Target;

/// Rows of one area that run at once; most of their time they wait.
const AT_ONCE: usize = 6;

/// Runs all rows of one file.
#[track_caller]
fn all_hold(rows: &str) {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(Target::start);
    let rows: Vec<Row> = row::read(rows);
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(difference) = row.difference(target) {
                        wrong.lock().unwrap().push(difference);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

macro_rules! areas {
    ($($test:ident: $file:literal;)+) => {
        $(#[test]
        fn $test() {
            all_hold(include_str!(concat!("../../data/parity_", $file, ".json")));
        })+
    };
}

areas! {
    exit_codes_are_k6_s: "exit_codes";
    command_line_is_k6_s: "cli";
    options_are_k6_s: "options";
    executors_are_k6_s: "executors";
    lifecycle_is_k6_s: "lifecycle";
    globals_and_language_are_k6_s: "globals";
    metrics_and_tags_are_k6_s: "metrics";
    thresholds_are_k6_s: "thresholds";
    modules_are_k6_s: "modules";
    crypto_and_html_are_k6_s: "crypto_html";
    outputs_are_k6_s: "outputs";
    summary_is_k6_s: "summary";
}
