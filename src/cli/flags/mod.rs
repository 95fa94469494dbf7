//! Flags that several load commands share, as k6 has them.

mod global;
mod options;
mod runtime;

pub(crate) use global::GlobalFlags;
pub(crate) use options::OptionFlags;
pub(crate) use runtime::{RuntimeFlags, SystemEnvironment, TestType};

/// What Go takes for a boolean.
pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("not true or false".to_owned()),
    }
}
