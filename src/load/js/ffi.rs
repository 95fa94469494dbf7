//! The only unsafe JavaScript glue: the allocator (`heap`), bytecode, buffers, values of Rust.
#![expect(
    unsafe_code,
    reason = "QuickJS's allocator hooks, bytecode reader and buffers are unsafe by signature"
)]

mod heap;

use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;

use bytes::Bytes;
use rquickjs::class::{JsClass, Readable, Trace, Tracer};
use rquickjs::function::Constructor;
use rquickjs::module::Declared;
use rquickjs::{
    ArrayBuffer, Class, Ctx, Exception, JsLifetime, Module, Object, TypedArray, Value, qjs,
};

pub(crate) use self::heap::{CountingAllocator, HeapMeter};

use super::library::Library;

/// The program's shared parts, where everything with a context finds them.
pub(crate) struct Places(pub(crate) Arc<Library>);

// SAFETY: it holds no value of any VM, so no lifetime changes with its context's.
unsafe impl<'js> JsLifetime<'js> for Places {
    type Changed<'to> = Places;
}

/// Loads a module from bytecode of this very program.
pub(crate) fn load_bytecode<'js>(
    ctx: &Ctx<'js>,
    bytecode: &[u8],
) -> rquickjs::Result<Module<'js, Declared>> {
    // SAFETY: bytecode comes only from `Module::write` in this process (see `Library`), never from
    // a file or the wire, so it is valid for the QuickJS that reads it.
    unsafe { Module::load(ctx.clone(), bytecode) }
}

/// Compiles a classic script that is one expression; its bytecode, which [`run_script`] evaluates.
/// The first line has the number `first_line`.
///
/// # Errors
/// A `SyntaxError` of the script.
pub(crate) fn compile_script(
    ctx: &Ctx<'_>,
    name: &CStr,
    text: &CStr,
    first_line: i32,
) -> rquickjs::Result<Vec<u8>> {
    let mut options = qjs::JSEvalOptions {
        version: qjs::JS_EVAL_OPTIONS_VERSION as _,
        eval_flags: (qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY) as _,
        filename: name.as_ptr(),
        line_num: first_line,
    };
    let flags = qjs::JS_WRITE_OBJ_BYTECODE | qjs::JS_WRITE_OBJ_STRIP_SOURCE;
    // SAFETY: `text` ends with a zero as the parser wants it, its length leaves the zero out, and
    // `options` outlives the call. The compiled script is a value of this context and is freed
    // here; the written bytes are copied and freed with the allocator that they came from.
    unsafe {
        let raw = ctx.as_raw().as_ptr();
        let length = text.to_bytes().len() as _;
        let script = qjs::JS_Eval2(raw, text.as_ptr(), length, &mut options);
        if qjs::JS_VALUE_GET_TAG(script) == qjs::JS_TAG_EXCEPTION {
            return Err(rquickjs::Error::Exception);
        }
        let mut size = 0;
        let bytes = qjs::JS_WriteObject(raw, &mut size, script, flags as _);
        qjs::JS_FreeValue(raw, script);
        if bytes.is_null() {
            return Err(rquickjs::Error::Exception);
        }
        let copy = std::slice::from_raw_parts(bytes, size as usize).to_vec();
        qjs::js_free(raw, bytes.cast());
        Ok(copy)
    }
}

/// The value of a script that [`compile_script`] compiled.
///
/// # Errors
/// What the script threw.
pub(crate) fn run_script<'js>(ctx: &Ctx<'js>, bytecode: &[u8]) -> rquickjs::Result<Value<'js>> {
    // SAFETY: bytecode comes only from `compile_script` in this process. `JS_EvalFunction` takes
    // the script that was read, and its result belongs to this context.
    unsafe {
        let raw = ctx.as_raw().as_ptr();
        let flags = qjs::JS_READ_OBJ_BYTECODE as _;
        let script = qjs::JS_ReadObject(raw, bytecode.as_ptr(), bytecode.len() as _, flags);
        if qjs::JS_VALUE_GET_TAG(script) == qjs::JS_TAG_EXCEPTION {
            return Err(rquickjs::Error::Exception);
        }
        let value = qjs::JS_EvalFunction(raw, script);
        if qjs::JS_VALUE_GET_TAG(value) == qjs::JS_TAG_EXCEPTION {
            return Err(rquickjs::Error::Exception);
        }
        Ok(Value::from_raw(ctx.clone(), value))
    }
}

/// Throws what no `catch` and no `finally` of a script sees.
pub(crate) fn throw_uncatchable(ctx: &Ctx<'_>, text: &str) -> rquickjs::Error {
    let error = Exception::throw_message(ctx, text);
    let thrown = ctx.catch();
    // SAFETY: the value is alive and belongs to this context; the call only marks it.
    unsafe { qjs::JS_SetUncatchableError(ctx.as_raw().as_ptr(), thrown.as_raw()) };
    ctx.throw(thrown);
    error
}

/// An `ArrayBuffer` over bytes that other VMs see too. Scripts can't change it: writing throws.
///
/// # Errors
/// The VM is out of memory.
pub(crate) fn shared_buffer<'js>(
    ctx: &Ctx<'js>,
    content: Arc<[u8]>,
) -> rquickjs::Result<Value<'js>> {
    if let Some(places) = ctx.userdata::<Places>() {
        places.0.share(content.clone());
    }
    Ok(ArrayBuffer::from_source_immutable(ctx.clone(), content)?.into_value())
}

/// A buffer's bytes for a request: those of [`shared_buffer`] themselves, else a copy.
pub(crate) fn body_bytes(ctx: &Ctx<'_>, buffer: &ArrayBuffer<'_>) -> Bytes {
    let bytes: &[u8] = buffer.as_bytes().unwrap_or_default();
    let shared = ctx.userdata::<Places>();
    match shared.and_then(|places| places.0.shared_at(bytes)) {
        Some(content) => Bytes::from_owner(content),
        None => Bytes::copy_from_slice(bytes),
    }
}

/// A copy of a buffer's bytes; a detached one has none.
pub(crate) fn buffer_bytes(buffer: &ArrayBuffer<'_>) -> Vec<u8> {
    buffer.as_bytes().unwrap_or_default().to_vec()
}

/// A copy of the bytes of an array of bytes.
///
/// # Errors
/// Its buffer is detached.
pub(crate) fn view_bytes(array: &TypedArray<'_, u8>) -> rquickjs::Result<Vec<u8>> {
    let bytes: Option<&[u8]> = array.as_bytes();
    bytes.map(<[u8]>::to_vec).ok_or(rquickjs::Error::Unknown)
}

/// A value of Rust inside a JavaScript object of ours: it is dropped when the object is collected.
pub(crate) struct Opaque(Box<dyn Any>);

impl Opaque {
    pub(crate) fn wrap<'js, T: 'static>(ctx: &Ctx<'js>, inner: T) -> rquickjs::Result<Value<'js>> {
        let object = Class::instance(ctx.clone(), Opaque(Box::new(inner)))?;
        Ok(object.into_value())
    }

    /// Lends what `wrap` has put into `value`.
    ///
    /// # Errors
    /// A `TypeError`: `value` is something else.
    pub(crate) fn lend<'js, T: 'static, R>(
        value: &Value<'js>,
        work: impl FnOnce(&T) -> R,
    ) -> rquickjs::Result<R> {
        let stranger = || Exception::throw_type(value.ctx(), "not an object of this module");
        let object = Class::<Opaque>::from_value(value).map_err(|_| stranger())?;
        let opaque = object.borrow();
        let inner = opaque.0.downcast_ref::<T>().ok_or_else(stranger)?;
        Ok(work(inner))
    }
}

impl<'js> Trace<'js> for Opaque {
    fn trace<'a>(&self, _tracer: Tracer<'a, 'js>) {}
}

// SAFETY: what is inside is `'static`, so it holds no value of a context.
unsafe impl<'js> JsLifetime<'js> for Opaque {
    type Changed<'to> = Opaque;
}

impl<'js> JsClass<'js> for Opaque {
    const NAME: &'static str = "Opaque";
    type Mutable = Readable;

    fn constructor(_ctx: &Ctx<'js>) -> rquickjs::Result<Option<Constructor<'js>>> {
        Ok(None)
    }
}

/// As [`Opaque`], for what requests come to: its class has a prototype of its own.
pub(crate) struct Reply(Box<dyn Any>);

impl Reply {
    pub(crate) fn wrap<'js, T: 'static>(ctx: &Ctx<'js>, inner: T) -> rquickjs::Result<Object<'js>> {
        Ok(Class::instance(ctx.clone(), Reply(Box::new(inner)))?.into_inner())
    }

    /// What all of them inherit from.
    pub(crate) fn prototype<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Option<Object<'js>>> {
        Class::<Reply>::prototype(ctx)
    }

    /// Lends what `wrap` has put into `value`.
    ///
    /// # Errors
    /// A `TypeError`: `value` is something else.
    pub(crate) fn lend<'js, T: 'static, R>(
        value: &Value<'js>,
        work: impl FnOnce(&T) -> R,
    ) -> rquickjs::Result<R> {
        let stranger = || Exception::throw_type(value.ctx(), "not a Response");
        let object = Class::<Reply>::from_value(value).map_err(|_| stranger())?;
        let reply = object.borrow();
        let inner = reply.0.downcast_ref::<T>().ok_or_else(stranger)?;
        Ok(work(inner))
    }
}

impl<'js> Trace<'js> for Reply {
    fn trace<'a>(&self, _tracer: Tracer<'a, 'js>) {}
}

// SAFETY: what is inside is `'static`, so it holds no value of a context.
unsafe impl<'js> JsLifetime<'js> for Reply {
    type Changed<'to> = Reply;
}

impl<'js> JsClass<'js> for Reply {
    const NAME: &'static str = "Response";
    type Mutable = Readable;

    fn constructor(_ctx: &Ctx<'js>) -> rquickjs::Result<Option<Constructor<'js>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use rquickjs::{Context, Runtime};

    use super::*;

    #[test]
    fn heap_is_counted_and_limited() {
        let meter = HeapMeter::new(4 << 20);
        let runtime = Runtime::new_with_alloc(CountingAllocator::new(meter.clone()))
            .expect("a runtime takes less than the limit");
        let context = Context::full(&runtime).expect("a context takes less than the limit");
        let before = meter.used();
        assert!(before > 0);
        let filled = context.with(|ctx| {
            ctx.eval::<(), _>("const a = []; for (;;) a.push('x'.repeat(1000) + a.length)")
        });
        assert!(filled.is_err(), "the limit ends the loop");
        assert!(meter.used() <= (4 << 20) + (64 << 10), "with the reserve");
        drop((context, runtime));
        assert_eq!(meter.used(), 0);
    }
}
