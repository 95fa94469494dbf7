//! Line formats: k6's logfmt, JSON and raw lines, and text with syslog priorities for the journal.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Redactor;
use super::k6::Source;

/// `time="2026-11-23T09:24:45Z" level=info msg="…" key=value source=console`.
pub(super) struct Logfmt {
    pub(super) source: Source,
    pub(super) redactor: Redactor,
}

/// `{"level":"info","msg":"…","source":"console","time":"2026-11-23T09:24:45Z"}`.
pub(super) struct JsonLines {
    pub(super) source: Source,
    pub(super) redactor: Redactor,
}

/// The message alone.
pub(super) struct Raw {
    pub(super) redactor: Redactor,
}

/// `<6>message key=value`: sd-daemon(3) reads the priority, the journal adds time and unit.
pub(super) struct Journal;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (time, level) = (now()?, level(event));
        let fields = Fields::of(event, Some(&self.redactor));
        write!(out, "time=\"{time}\" level={level} msg=")?;
        // As k6: a text of one plain word stands bare.
        write_value(&mut out, &fields.message, Quoting::WhereNeeded)?;
        out.write_str(&fields.rest)?;
        if of_console(event) && self.source == Source::Told {
            out.write_str(" source=console")?;
        }
        out.write_char('\n')
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = Fields::of(event, Some(&self.redactor));
        let mut object = fields.named;
        object.insert("level".to_owned(), level(event).into());
        object.insert("msg".to_owned(), fields.message.into());
        object.insert("time".to_owned(), now()?.into());
        if of_console(event) && self.source == Source::Told {
            object.insert("source".to_owned(), "console".into());
        }
        writeln!(out, "{}", serde_json::Value::Object(object))
    }
}

impl<S, N> FormatEvent<S, N> for Raw
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writeln!(out, "{}", Fields::of(event, Some(&self.redactor)).message)
    }
}

/// A line of [`Logfmt`] without an event.
pub(super) fn error_line(text: &str) -> String {
    let mut line = format!("time=\"{}\" level=error msg=", now().unwrap_or_default());
    // Writing to a String cannot fail.
    let _ = write_value(&mut line, text, Quoting::Always);
    line.push('\n');
    line
}

fn of_console(event: &Event<'_>) -> bool {
    event.metadata().target() == "console"
}

/// Whole seconds, as k6 logs them.
fn now() -> Result<String, fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    let seconds = time.split(['.', 'Z']).next().unwrap_or_default();
    Ok(format!("{seconds}Z"))
}

/// k6's names.
fn level(event: &Event<'_>) -> &'static str {
    match *event.metadata().level() {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let fields = Fields::of(event, None);
        // A line break would begin a journal entry of its own, without a priority.
        let message = fields.message.replace('\n', " | ");
        writeln!(out, "<{priority}>{message}{}", fields.rest)
    }
}

/// An event's message, and its other fields as ` key=value…`.
#[derive(Default)]
struct Fields<'a> {
    redactor: Option<&'a Redactor>,
    message: String,
    rest: String,
    named: serde_json::Map<String, serde_json::Value>,
}

impl<'a> Fields<'a> {
    fn of(event: &Event<'_>, redactor: Option<&'a Redactor>) -> Fields<'a> {
        let mut fields = Fields {
            redactor,
            ..Fields::default()
        };
        event.record(&mut fields);
        fields
    }

    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.redactor {
            Some(redactor) => redactor.clean(text),
            None => Cow::Borrowed(text),
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let value = &*self.clean(value);
        self.named.insert(name.to_owned(), value.into());
        // Writing to a String cannot fail.
        let _ = write!(self.rest, " {name}=");
        let _ = write_value(&mut self.rest, value, Quoting::WhereNeeded);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            let value = self.clean(value).into_owned();
            self.message.push_str(&value);
        } else {
            self.add(field.name(), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let value = format!("{value:?}");
            let value = self.clean(&value).into_owned();
            self.message.push_str(&value);
        } else {
            self.add(field.name(), &format!("{value:?}"));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Always,
    WhereNeeded,
}

/// Writes a logfmt value; quotes, backslashes and control characters are escaped.
fn write_value(out: &mut impl fmt::Write, value: &str, quoting: Quoting) -> fmt::Result {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'=' | b'\\');
    if quoting == Quoting::WhereNeeded && !value.is_empty() && value.bytes().all(plain) {
        return out.write_str(value);
    }
    out.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_escaped_only_where_needed() {
        let of = |value: &str, quoting| {
            let mut out = String::new();
            assert!(write_value(&mut out, value, quoting).is_ok());
            out
        };
        assert_eq!(of("plain", Quoting::WhereNeeded), "plain");
        assert_eq!(of("", Quoting::WhereNeeded), "\"\"");
        assert_eq!(of("a b", Quoting::WhereNeeded), "\"a b\"");
        assert_eq!(of("say \"x\"\n", Quoting::Always), "\"say \\\"x\\\"\\n\"");
    }
}
