//! Bodies and frames of messages: one JSON object, its top-level fields still raw.
//!
//! Every rule that is about JSON is checked here: UTF-8, duplicate keys, types, the number and size
//! of the fields beside the contract's, which stay raw text from here to the answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::error::ApiError;
use crate::http::json;
use crate::http::messages::rejected;
use crate::limits::{EXTRA_BYTES_MAX, EXTRA_FIELDS_MAX, Limits};
use crate::relay::{Draft, NewMessage};

/// Fields of the contract.
const KNOWN: [&str; 7] = [
    "id",
    "sender",
    "recipient",
    "channel",
    "content",
    "timestamp",
    "ttl_seconds",
];
/// Names that the relay sets; a client's values are ignored.
const SET_BY_RELAY: [&str; 6] = [
    "message_id",
    "sequence",
    "status",
    "received_at",
    "expires_at",
    "delivered_at",
];
/// Far above what any object of the contract may hold; keeps the search for duplicates short.
const KEYS_MAX: usize = 256;

/// A parsed JSON object.
#[derive(Debug)]
pub(crate) struct Object<'b> {
    /// The whole text, for the place of a later error.
    text: &'b str,
    fields: Vec<(Cow<'b, str>, &'b RawValue)>,
}

/// One element of a list.
pub(crate) struct Item<'b> {
    text: &'b str,
    raw: &'b RawValue,
}

impl<'b> Object<'b> {
    pub(crate) fn parse(body: &'b [u8]) -> Result<Object<'b>, ApiError> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let (line, column) = place(&body[..error.valid_up_to()]);
            ApiError::invalid_json("the body is not UTF-8", line, column)
        })?;
        Object::of(text, text, "the body")
    }

    /// `part` is a part of `text`.
    fn of(text: &'b str, part: &'b str, what: &str) -> Result<Object<'b>, ApiError> {
        let json = |error: &serde_json::Error| json_error(text, part, error);
        if !part
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .starts_with('{')
        {
            serde_json::from_str::<IgnoredAny>(part).map_err(|error| json(&error))?;
            return Err(ApiError::invalid_message(
                "body",
                format!("{what} must be a JSON object"),
            ));
        }
        let mut reader = serde_json::Deserializer::from_str(part);
        let fields = reader.deserialize_map(Fields).and_then(|fields| {
            reader.end()?;
            Ok(fields)
        });
        let fields = fields.map_err(|error| json(&error))?;
        Ok(Object { text, fields })
    }

    /// Whether a field is there and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// The raw JSON text of a field that is there and not `null`.
    pub(crate) fn raw(&self, name: &str) -> Option<&'b RawValue> {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<Cow<'b, str>>, ApiError> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        string(self.text, raw, name).map(Some)
    }

    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let value = raw
            .get()
            .parse()
            .map_err(|_| ApiError::invalid_message(name, format!("{name} must be an integer")));
        value.map(Some)
    }

    /// The elements of a list that must be there.
    pub(crate) fn items(&self, name: &'static str) -> Result<Vec<Item<'b>>, ApiError> {
        let list = self.raw(name).filter(|raw| raw.get().starts_with('['));
        let list =
            list.ok_or_else(|| ApiError::invalid_message(name, format!("{name} must be a list")))?;
        let items: Vec<&RawValue> = serde_json::from_str(list.get())
            .map_err(|error| json_error(self.text, list.get(), &error))?;
        let item = |raw| Item {
            text: self.text,
            raw,
        };
        Ok(items.into_iter().map(item).collect())
    }

    /// The message that the object describes; keys in `beside` belong to something else.
    pub(crate) fn message(&self, limits: &Limits, beside: &[&str]) -> Result<NewMessage, ApiError> {
        let (id, sender) = (self.text("id")?, self.text("sender")?);
        let (recipient, channel) = (self.text("recipient")?, self.text("channel")?);
        let content = self.text("content")?;
        let extras = self.extras(beside)?;
        let draft = Draft {
            id: id.as_deref(),
            sender: sender.as_deref(),
            recipient: recipient.as_deref(),
            channel: channel.as_deref(),
            content: content.as_deref(),
            timestamp_ms: self.integer("timestamp")?,
            ttl_seconds: self.integer("ttl_seconds")?,
            extras: extras.as_deref(),
        };
        NewMessage::new(draft, limits).map_err(rejected)
    }

    /// All other fields as the text of one object, values verbatim.
    fn extras(&self, beside: &[&str]) -> Result<Option<String>, ApiError> {
        let is_extra = |key: &str| {
            !KNOWN.contains(&key) && !SET_BY_RELAY.contains(&key) && !beside.contains(&key)
        };
        let mut out = Vec::new();
        let mut count = 0;
        for (key, raw) in self.fields.iter().filter(|(key, _)| is_extra(key)) {
            count += 1;
            if count > EXTRA_FIELDS_MAX {
                let rule = format!("the limit is {EXTRA_FIELDS_MAX} fields beside the contract's");
                return Err(ApiError::invalid_message(key.to_string(), rule));
            }
            out.push(if count == 1 { b'{' } else { b',' });
            json::string(&mut out, key);
            out.push(b':');
            out.extend_from_slice(raw.get().as_bytes());
            if out.len() > EXTRA_BYTES_MAX {
                let what = "the fields beside the contract's";
                let error = ApiError::too_large(what, out.len(), EXTRA_BYTES_MAX);
                return Err(error.field(key.to_string()));
            }
        }
        if count == 0 {
            return Ok(None);
        }
        out.push(b'}');
        Ok(Some(
            String::from_utf8(out).expect("parts of a text are text"),
        ))
    }
}

impl<'b> Item<'b> {
    pub(crate) fn object(&self) -> Result<Object<'b>, ApiError> {
        Object::of(self.text, self.raw.get(), "an item")
    }

    pub(crate) fn text(&self) -> Result<Cow<'b, str>, ApiError> {
        string(self.text, self.raw, "item")
    }
}

fn string<'b>(
    text: &'b str,
    raw: &'b RawValue,
    name: &'static str,
) -> Result<Cow<'b, str>, ApiError> {
    let quoted = raw.get();
    if !quoted.starts_with('"') {
        return Err(ApiError::invalid_message(
            name,
            format!("{name} must be a string"),
        ));
    }
    if !quoted.contains('\\') {
        return Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]));
    }
    let unescaped = serde_json::from_str::<String>(quoted);
    unescaped
        .map(Cow::Owned)
        .map_err(|error| json_error(text, quoted, &error))
}

/// An error in `part` with its place in the whole text.
fn json_error(text: &str, part: &str, error: &serde_json::Error) -> ApiError {
    let offset = part.as_ptr() as usize - text.as_ptr() as usize;
    if offset == 0 {
        return ApiError::from_json(error);
    }
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let (line, column) = place(&text.as_bytes()[..offset]);
    match error.line() {
        0 | 1 => ApiError::invalid_json(reason, line, column + error.column().saturating_sub(1)),
        below => ApiError::invalid_json(reason, line + below - 1, error.column()),
    }
}

/// Line and column of what follows `before`, both from 1.
fn place(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    (line, column)
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Self::Value = Vec::with_capacity(8);
        while let Some(Key(key)) = map.next_key()? {
            if fields.iter().any(|(earlier, _)| *earlier == key) {
                return Err(de::Error::custom(format_args!("duplicate key {key:?}")));
            }
            if fields.len() == KEYS_MAX {
                return Err(de::Error::custom(format_args!("more than {KEYS_MAX} keys")));
            }
            fields.push((key, map.next_value()?));
        }
        Ok(fields)
    }
}

/// A key, borrowed where it holds no escape.
struct Key<'de>(Cow<'de, str>);

impl<'de> de::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Result<NewMessage, ApiError> {
        Object::parse(body.as_bytes())?.message(&Limits::default(), &[])
    }

    fn refusal(body: &str) -> String {
        let error = message(body).err().map(|error| {
            let mut out = Vec::new();
            error.write_fields(&mut out, &crate::http::call::RequestIds::new().next());
            String::from_utf8(out).expect("errors are text")
        });
        error.unwrap_or_else(|| "accepted".to_owned())
    }

    #[test]
    fn place_of_an_error_is_that_in_the_whole_body() {
        let text = refusal("{\"sender\":\"a\",\n  \"content\" \"x\"}");
        assert!(text.contains("line 2 column 13"), "{text}");
        let text = refusal("{\"sender\":\"a\",\n\"content\":\"\\ud800\"}");
        assert!(
            text.contains("INVALID_JSON") && text.contains("line 2"),
            "{text}"
        );
    }

    #[test]
    fn duplicate_keys_are_found_behind_escapes() {
        let text = refusal(r#"{"sender":"a","\u0073ender":"b","content":"x"}"#);
        assert!(
            text.contains("INVALID_JSON") && text.contains("duplicate"),
            "{text}"
        );
    }

    #[test]
    fn other_fields_stay_raw() {
        let body = br#"{"sender":"a","x":1.00,"status":"no","content":"c","y":{"b": [1e400]}}"#;
        let object = Object::parse(body).expect("valid JSON");
        let extras = object.extras(&[]).expect("few and small");
        assert_eq!(extras.as_deref(), Some(r#"{"x":1.00,"y":{"b": [1e400]}}"#));
        assert_eq!(object.extras(&["x", "y"]).expect("none is left"), None);
    }
}
