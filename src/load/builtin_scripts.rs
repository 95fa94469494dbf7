//! The scripts that the binary carries; a bare name means one of them where no such file exists.

/// The script of `dchat run` without an argument.
pub const DEFAULT: &str = "relay_stress_test.js";
/// Where built-in scripts send their load unless `RELAY_URL` says otherwise.
pub const TARGET_DEFAULT: &str = "http://localhost:7071";

const SCRIPTS: [(&str, &str); 3] = [
    (
        "relay_stress_test.js",
        include_str!("../../tests/load/relay_stress_test.js"),
    ),
    (
        "relay_users.js",
        include_str!("../../tests/load/relay_users.js"),
    ),
    (
        "relay_websocket.js",
        include_str!("../../tests/load/relay_websocket.js"),
    ),
];

/// The text of the built-in script of this name.
pub fn text(name: &str) -> Option<&'static str> {
    let found = SCRIPTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

pub fn names() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}

/// Whether this is the unchanged text of a built-in script.
pub fn contains(text: &str) -> bool {
    SCRIPTS.iter().any(|(_, known)| *known == text)
}
