//! Exceptions as [`ScriptError`]s: message, stack, and for syntax errors the place.

use rquickjs::{Ctx, Error, Exception, Value};

use super::error::{Location, ScriptError};

/// Takes the pending exception, or words an error of the binding itself.
pub(crate) fn script_error(ctx: &Ctx<'_>, error: Error) -> ScriptError {
    match error {
        Error::Exception => thrown(&ctx.catch()),
        Error::Allocation => ScriptError::Vm("out of memory".to_owned()),
        other => ScriptError::Exception {
            message: format!("Error: {other}"),
            stack: String::new(),
        },
    }
}

/// A thrown value. Anything can be thrown; only errors have a stack.
pub(crate) fn thrown(value: &Value<'_>) -> ScriptError {
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
    if name == "SyntaxError"
        && let Some(at) = location(&stack)
    {
        return ScriptError::Syntax { at, message };
    }
    let message = match (name.is_empty(), message.is_empty()) {
        (true, _) => message,
        (_, true) => name,
        _ => format!("{name}: {message}"),
    };
    ScriptError::Exception { message, stack }
}

/// The place in the first frame: `    at file:line:column` or `    at f (file:line:column)`.
fn location(stack: &str) -> Option<Location> {
    let frame = stack.lines().find(|line| !line.trim().is_empty())?.trim();
    let place = match frame.rsplit_once('(') {
        Some((_, place)) => place.trim_end_matches(')'),
        None => frame.strip_prefix("at ").unwrap_or(frame),
    };
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Location {
        file: file.to_owned(),
        line: line.parse().ok()?,
        column: column.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_the_first_frame() {
        let at = location("    at f (/a b/x.js:3:14)\n    at /a/y.js:1:1\n").expect("a place");
        assert_eq!(at.to_string(), "/a b/x.js:3:14");
        assert_eq!(location("    at native"), None);
    }
}
