//! House rules: module edges, file and line length, what must not stand in `src`.
//!
//! The rules are those of the crate docs in `src/lib.rs`. A rule that has to give way says so in
//! the header of the file that breaks it, or in a table here with its reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::*;

/// Lines of one file; above it the header says why (a line with "lines:").
const FILE_LINES_MAX: usize = 600;
/// Columns of one line, unless it holds a text that is better left whole.
const LINE_COLUMNS_MAX: usize = 120;

/// Which top-level module may name which. Leaves name other leaves only.
const EDGES: [(&str, &[&str]); 15] = [
    (
        "cli",
        &[
            "server",
            "load",
            "results",
            "storage",
            "config",
            "shutdown",
            "telemetry",
            "http_client",
            "histogram",
            "limits",
        ],
    ),
    (
        "server",
        &[
            "http", "relay", "results", "storage", "config", "shutdown", "metrics", "limits",
        ],
    ),
    (
        "http",
        &[
            "relay",
            "results",
            "storage",
            "server",
            "shutdown",
            "metrics",
            "limits",
            "histogram",
        ],
    ),
    ("relay", &["storage", "metrics", "limits"]),
    ("results", &["storage", "histogram", "metrics", "limits"]),
    // Messages and runs convert the domain's types into rows of its own.
    ("storage", &["histogram", "metrics", "limits"]),
    ("load", &["histogram", "http_client", "limits"]),
    ("config", &["limits", "telemetry"]),
    ("histogram", &[]),
    ("http_client", &["limits"]),
    ("limits", &[]),
    ("metrics", &["limits"]),
    ("shutdown", &["limits"]),
    ("telemetry", &[]),
    ("main", &["cli"]),
];

/// The only files with `unsafe`.
const UNSAFE_FILES: [&str; 3] = [
    "src/load/js/ffi.rs",
    "src/load/js/ffi/heap.rs",
    "src/load/vu/coroutine.rs",
];

struct Source {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `dir` with one of these endings.
fn files(dir: &str, endings: &[&str]) -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(dir), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|path| {
            let ending = path.extension().unwrap_or_default();
            endings.iter().any(|wanted| *wanted == ending)
        })
        .map(|path| Source {
            text: std::fs::read_to_string(&path).unwrap(),
            path: path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/"),
        })
        .collect()
}

impl Source {
    /// The module right below the crate that the file belongs to.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap();
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Numbered lines of code, without comments and without the unit tests at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let own = self
            .text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap();
        own.lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// Fails with every finding at once.
#[track_caller]
fn nothing(rule: &str, findings: Vec<String>) {
    check(findings.is_empty(), || {
        format!("{rule}:\n  {}", findings.join("\n  "))
    });
}

/// Lines of code in `src` that contain one of `words`.
fn lines_with(words: &[&str], except: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in files("src", &["rs"])
        .iter()
        .filter(|source| !source.is_test())
    {
        for (number, line) in source.code() {
            if words.iter().any(|word| line.contains(word)) && !except(source, line) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

/// Names right behind `crate::` in code, those of `crate::{a, b::{c, d}}` included.
fn crate_names(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => names.extend(top_names(list)),
            None => names.push(leading_name(part)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The names of a list up to its closing brace, without those of inner lists.
fn top_names(list: &str) -> Vec<&str> {
    let mut names = vec![leading_name(list)];
    let mut depth = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(leading_name(&list[at + 1..])),
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

#[test]
fn names_behind_crate_are_found_in_every_form() {
    let code = "use crate::a::b; use crate::{\n    c::{d, e},\n    f,\n}; crate::g::h()";
    assert_eq!(crate_names(code), ["a", "c", "f", "g"]);
}

#[test]
fn modules_know_only_whom_they_may_know() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut findings = Vec::new();
    for source in files("src", &["rs"]) {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let Some(edges) = allowed.get(module) else {
            findings.push(format!("{}: no rule for the module {module}", source.path));
            continue;
        };
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        for name in crate_names(&code.join("\n")) {
            if name != module && !edges.contains(&name) {
                findings.push(format!("{}: {module} -> {name}", source.path));
            }
        }
    }
    nothing("an edge that the crate docs do not draw", findings);
}

#[test]
fn relay_knows_no_http_sql_or_json() {
    let words = ["warp::", "hyper::", "rusqlite", "serde_json", "StatusCode"];
    let findings = lines_with(&words, |source, _| source.module() != "relay");
    nothing(
        "the domain stays free of transport and storage formats",
        findings,
    );
}

#[test]
fn http_contains_no_sql_and_storage_no_http() {
    let sql = ["rusqlite", "SELECT ", "INSERT ", "UPDATE ", "DELETE FROM"];
    nothing(
        "SQL in http",
        lines_with(&sql, |source, _| source.module() != "http"),
    );
    let http = ["warp::", "hyper::", "StatusCode"];
    nothing(
        "HTTP in storage",
        lines_with(&http, |source, _| source.module() != "storage"),
    );
}

#[test]
fn anyhow_stays_in_the_command_line() {
    let findings = lines_with(&["anyhow"], |source, _| source.module() == "cli");
    nothing("below cli errors are typed", findings);
}

#[test]
fn unsafe_stands_in_its_files_with_a_reason_each() {
    let word = |line: &str| {
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|form| line.contains(form))
    };
    let mut findings = Vec::new();
    for source in files("src", &["rs"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code().filter(|(_, line)| word(line)) {
            if !UNSAFE_FILES.contains(&source.path.as_str()) {
                findings.push(format!("{}:{number}: unsafe", source.path));
                continue;
            }
            let before = &lines[number.saturating_sub(12)..number];
            if line.contains("unsafe {") && !before.iter().any(|line| line.contains("SAFETY")) {
                findings.push(format!("{}:{number}: no SAFETY comment", source.path));
            }
        }
    }
    nothing("unsafe", findings);
}

#[test]
fn nothing_unfinished_or_left_over_stands_in_src() {
    let words = [
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        "println!(",
        "eprintln!(",
        "print!(",
        "eprint!(",
        ".unwrap()",
        "FIXME",
        "XXX",
    ];
    nothing("left over", lines_with(&words, |_, _| false));
    let silent = lines_with(&["#[allow(", "#![allow("], |_, line| {
        line.contains("reason")
    });
    nothing("use #[expect(lint, reason = ..)]", silent);
}

#[test]
fn no_test_is_ignored() {
    let word = concat!("#[", "ignore");
    let mut findings = Vec::new();
    for source in files("src", &["rs"])
        .into_iter()
        .chain(files("tests", &["rs"]))
    {
        for (number, line) in source.text.lines().enumerate() {
            if line.trim_start().starts_with(word) {
                findings.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    nothing("a known gap asserts today's behaviour instead", findings);
}

#[test]
fn files_fit_a_mind_and_lines_a_screen() {
    let mut findings = Vec::new();
    let sources =
        ["src", "tests", "assets"].map(|dir| files(dir, &["rs", "js", "css", "html", "py"]));
    for source in sources.iter().flatten() {
        let count = source.text.lines().count();
        let header: String = source.text.lines().take(30).collect();
        if count > FILE_LINES_MAX && !header.contains("lines:") {
            findings.push(format!("{}: {count} lines", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX && !line.contains(['"', '`', '\'']) {
                findings.push(format!("{}:{}: {columns} columns", source.path, number + 1));
            }
        }
    }
    nothing("too long", findings);
}

#[test]
fn every_module_of_src_has_a_header() {
    let findings = files("src", &["rs"])
        .iter()
        .filter(|source| !source.is_test() && !source.text.starts_with("//!"))
        .map(|source| source.path.clone())
        .collect();
    nothing(
        "a header says what the module owns and must not know",
        findings,
    );
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut findings = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies") && line.contains(" = ") && !line.contains("# ") {
            findings.push(line.to_owned());
        }
    }
    nothing("Cargo.toml", findings);
}

#[test]
fn no_asset_is_dead_or_from_elsewhere() {
    let assets = files(
        "assets",
        &["html", "js", "css", "svg", "png", "ico", "json"],
    );
    let all: String = assets.iter().map(|asset| asset.text.as_str()).collect();
    let mut findings = Vec::new();
    for asset in &assets {
        let name = asset.path.rsplit('/').next().unwrap();
        if name != "index.html" && !all.contains(name) {
            findings.push(format!("{}: nothing refers to it", asset.path));
        }
        for word in [
            "src=\"http",
            "href=\"http",
            "url(http",
            "from \"http",
            "innerHTML",
        ] {
            if asset.text.contains(word) {
                findings.push(format!("{}: {word}", asset.path));
            }
        }
    }
    nothing("assets", findings);
}

#[test]
fn top_level_holds_only_what_it_should() {
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "README.md",
        "assets",
        "packaging",
        "schema.sql",
        "src",
        "tests",
    ];
    let made_here = ["target", "dchat-data"];
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let made = made_here.contains(&name.as_str()) || name.starts_with("dchat-run-");
        if !name.starts_with('.') && !made && !expected.contains(&name.as_str()) {
            findings.push(name);
        }
    }
    nothing("a file at the top level has a home elsewhere", findings);
}
