//! What scripts give as data: texts, buffers and arrays of bytes, as k6's modules take them.

use rquickjs::function::This;
use rquickjs::{Ctx, Exception, Function, Value};

use crate::load::js::ffi::{buffer_bytes, view_bytes};

/// The bytes of a string (as UTF-8), an ArrayBuffer or an array of bytes.
///
/// # Errors
/// k6's complaint about everything else.
pub(super) fn bytes_of<'js>(ctx: &Ctx<'js>, data: &Value<'js>) -> rquickjs::Result<Vec<u8>> {
    if data.is_string() {
        return Ok(text_of(data)?.into_bytes());
    }
    if let Some(object) = data.as_object() {
        if let Some(buffer) = object.as_array_buffer() {
            return Ok(buffer_bytes(buffer));
        }
        if let Some(array) = object.as_typed_array::<u8>() {
            return view_bytes(array);
        }
    }
    let text = format!(
        "invalid type {}, expected string, []byte or ArrayBuffer",
        go_type(data)
    );
    Err(Exception::throw_message(ctx, &text))
}

/// A string's text; halves of surrogate pairs become U+FFFD, as in UTF-8 everywhere.
pub(super) fn text_of(value: &Value<'_>) -> rquickjs::Result<String> {
    let Some(string) = value.as_string() else {
        return Err(Exception::throw_type(value.ctx(), "expected a string"));
    };
    match string.to_string() {
        Err(rquickjs::Error::Utf8(_)) => {
            let prototype: rquickjs::Object<'_> = value.ctx().eval("String.prototype")?;
            let repair: Function<'_> = prototype.get("toWellFormed")?;
            repair.call((This(value.clone()),))
        }
        text => text,
    }
}

/// How k6's messages name the type of a value.
pub(super) fn go_type(value: &Value<'_>) -> &'static str {
    if value.is_null() || value.is_undefined() {
        "<nil>"
    } else if value.is_string() {
        "string"
    } else if value.is_bool() {
        "bool"
    } else if value.is_int() {
        "int64"
    } else if value.is_number() {
        "float64"
    } else if value.is_array() {
        "[]interface {}"
    } else if value.is_function() {
        "func(sobek.FunctionCall) sobek.Value"
    } else if let Some(object) = value.as_object() {
        wide_array(object).unwrap_or("map[string]interface {}")
    } else {
        "interface {}"
    }
}

/// Typed arrays of more than bytes.
fn wide_array(object: &rquickjs::Object<'_>) -> Option<&'static str> {
    let known: [(bool, &'static str); 6] = [
        (object.is_typed_array::<i8>(), "[]int8"),
        (object.is_typed_array::<i16>(), "[]int16"),
        (object.is_typed_array::<u16>(), "[]uint16"),
        (object.is_typed_array::<i32>(), "[]int32"),
        (object.is_typed_array::<u32>(), "[]uint32"),
        (object.is_typed_array::<f64>(), "[]float64"),
    ];
    known.iter().find(|(is, _)| *is).map(|(_, name)| *name)
}
