//! What real k6 does with a script, as data in `tests/data/k6_runs.json`: each row has a script,
//! k6's exit code and counts, and where they are known from. Ours must give the same.

use serde_json::Value;

use crate::support::*;

const ROWS: &str = include_str!("../data/k6_runs.json");

#[test]
fn scripts_end_with_k6_s_exit_codes_and_counts() {
    let rows: Vec<Value> = serde_json::from_str(ROWS).unwrap();
    let wrong: Vec<String> = rows.iter().filter_map(difference).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Runs one row; says what is different, if anything is.
fn difference(row: &Value) -> Option<String> {
    let lines = row["script"].as_array().unwrap().iter();
    let text: Vec<&str> = lines.map(|line| line.as_str().unwrap()).collect();
    let ran = Script::new(&text.join("\n")).run();
    let mut seen = vec![("code", f64::from(ran.finished.code))];
    if ran.path("summary.json").exists() {
        let count = |metric: &str| ran.metric(metric)["count"].as_f64().unwrap_or_default();
        seen.push(("iterations", count("iterations")));
        seen.push(("dropped", count("dropped_iterations")));
        let checks = ran.metric("checks");
        if let Some([passes, fails]) = row["checks"].as_array().map(Vec::as_slice)
            && (&checks["passes"], &checks["fails"]) != (passes, fails)
        {
            return Some(format!("{}: checks {checks}", row["name"]));
        }
    }
    let different: Vec<String> = seen
        .iter()
        .filter(|(key, value)| row[*key].as_f64().is_some_and(|wanted| wanted != *value))
        .map(|(key, value)| format!("{key} is {value}, k6 has {}", row[*key]))
        .collect();
    if different.is_empty() {
        return None;
    }
    let stderr = &ran.finished.stderr;
    Some(format!(
        "{}: {}\n{stderr}",
        row["name"],
        different.join(", ")
    ))
}
