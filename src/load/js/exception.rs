//! Exceptions as [`ScriptError`]s: message, stack, and for syntax errors the place.

use rquickjs::{Ctx, Error, Exception, Value};

use super::error::{Location, ScriptError};
use super::ffi::Places;
use super::loader::is_own;
use super::positions::place;

/// Takes the pending exception, or words an error of the binding itself.
pub(crate) fn script_error(ctx: &Ctx<'_>, error: Error) -> ScriptError {
    match error {
        Error::Exception => thrown(ctx, &ctx.catch()),
        Error::Allocation => ScriptError::Vm("out of memory".to_owned()),
        other => ScriptError::Exception {
            message: format!("Error: {other}"),
            stack: String::new(),
        },
    }
}

/// A thrown value. Anything can be thrown; only errors have a stack.
pub(crate) fn thrown(ctx: &Ctx<'_>, value: &Value<'_>) -> ScriptError {
    let exception = value.as_object().cloned().and_then(Exception::from_object);
    let Some(exception) = exception else {
        let text = value.get::<rquickjs::Coerced<String>>();
        let text = text.map_or_else(|_| "[object]".to_owned(), |text| text.0);
        return ScriptError::Exception {
            message: text,
            stack: String::new(),
        };
    };
    let name: String = exception.as_object().get("name").unwrap_or_default();
    let message = exception.message().unwrap_or_default();
    let stack = exception.stack().unwrap_or_default();
    let stack = match ctx.userdata::<Places>() {
        Some(places) => of_the_script(&places.0.positions.restore(&stack)),
        None => stack,
    };
    if name == "SyntaxError"
        && let Some(at) = location(&stack)
    {
        let message = if at.file.ends_with(".json") {
            format!("{message}\nhint: read JSON with JSON.parse(open('./file.json'))")
        } else {
            message
        };
        return ScriptError::Syntax { at, message };
    }
    let message = match message.as_str() {
        "module is not defined" | "exports is not defined" => format!(
            "{message}\nhint: a file is either an ES module (import, export) or CommonJS \
             (require, module.exports), not both"
        ),
        _ => message,
    };
    let message = match (name.is_empty(), message.is_empty()) {
        (true, _) => message,
        (_, true) => name,
        _ => format!("{name}: {message}"),
    };
    ScriptError::Exception { message, stack }
}

/// The frames in the script's files: those of our own modules help nobody.
fn of_the_script(stack: &str) -> String {
    let theirs = |frame: &&str| place(frame).is_some_and(|(_, at, _)| !is_own(&at.file));
    let frames: Vec<&str> = stack.lines().filter(theirs).collect();
    frames.join("\n")
}

/// The place in the first frame.
fn location(stack: &str) -> Option<Location> {
    let frame = stack.lines().find(|line| !line.trim().is_empty())?;
    place(frame).map(|(_, at, _)| at)
}
