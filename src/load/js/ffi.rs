//! The only unsafe JavaScript glue: the counting allocator, bytecode, buffers, values of Rust.
#![expect(
    unsafe_code,
    reason = "QuickJS's allocator hooks, bytecode reader and buffers are unsafe by signature"
)]

use std::alloc::{self, Layout};
use std::any::Any;
use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

use rquickjs::allocator::Allocator;
use rquickjs::class::{JsClass, Readable, Trace, Tracer};
use rquickjs::function::Constructor;
use rquickjs::module::Declared;
use rquickjs::{ArrayBuffer, Class, Ctx, Exception, JsLifetime, Module, TypedArray, Value};

/// Bytes that a VU's heap holds and may hold.
#[derive(Debug)]
pub(crate) struct HeapMeter {
    used: Cell<usize>,
    max: usize,
}

impl HeapMeter {
    pub(crate) fn new(max: usize) -> Rc<HeapMeter> {
        Rc::new(HeapMeter {
            used: Cell::new(0),
            max,
        })
    }

    /// Bytes in use, with allocation headers.
    #[cfg(test)]
    fn used(&self) -> usize {
        self.used.get()
    }
}

/// QuickJS's heap on the program's global allocator, counted, and refused past the limit.
pub(crate) struct CountingAllocator {
    meter: Rc<HeapMeter>,
}

impl CountingAllocator {
    pub(crate) fn new(meter: Rc<HeapMeter>) -> CountingAllocator {
        CountingAllocator { meter }
    }
}

/// Before each block stands its size without this header.
const HEADER: usize = 8;

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER)?, 8).ok()
}

impl CountingAllocator {
    fn obtain(&self, size: usize, zeroed: bool) -> *mut u8 {
        let size = (size.max(1) + 7) & !7;
        let Some(layout) = layout(size) else {
            return ptr::null_mut();
        };
        let used = self.meter.used.get();
        if used + layout.size() > self.meter.max {
            return ptr::null_mut();
        }
        // SAFETY: the layout is never empty.
        let base = unsafe {
            if zeroed {
                alloc::alloc_zeroed(layout)
            } else {
                alloc::alloc(layout)
            }
        };
        if base.is_null() {
            return base;
        }
        self.meter.used.set(used + layout.size());
        // SAFETY: the block has room for the header and is aligned for it.
        unsafe {
            base.cast::<usize>().write(size);
            base.add(HEADER)
        }
    }
}

// SAFETY: blocks come from the global allocator, are aligned to 8 and at least as large as asked;
// the size in front of each block is what `usable_size` reports.
unsafe impl Allocator for CountingAllocator {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.obtain(size, false)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        match count.checked_mul(size) {
            Some(total) => self.obtain(total, true),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: `block` came from `obtain`, so its header stands before it.
        unsafe {
            let base = block.sub(HEADER);
            let size = base.cast::<usize>().read();
            self.meter.used.set(self.meter.used.get() - size - HEADER);
            alloc::dealloc(base, Layout::from_size_align_unchecked(size + HEADER, 8));
        }
    }

    unsafe fn realloc(&mut self, block: *mut u8, new_size: usize) -> *mut u8 {
        if block.is_null() {
            return self.obtain(new_size, false);
        }
        let new_size = (new_size.max(1) + 7) & !7;
        let Some(new_layout) = layout(new_size) else {
            return ptr::null_mut();
        };
        // SAFETY: `block` came from `obtain`, so its header stands before it and its layout is
        // the one that the header gives.
        unsafe {
            let base = block.sub(HEADER);
            let size = base.cast::<usize>().read();
            let used = self.meter.used.get() - size - HEADER;
            if used + new_layout.size() > self.meter.max {
                return ptr::null_mut();
            }
            let old = Layout::from_size_align_unchecked(size + HEADER, 8);
            let moved = alloc::realloc(base, old, new_layout.size());
            if moved.is_null() {
                return moved;
            }
            self.meter.used.set(used + new_layout.size());
            moved.cast::<usize>().write(new_size);
            moved.add(HEADER)
        }
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        if block.is_null() {
            return 0;
        }
        // SAFETY: `block` came from `obtain`, so its header stands before it.
        unsafe { block.sub(HEADER).cast::<usize>().read() }
    }
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

/// A copy of a buffer's bytes; a detached one has none.
pub(crate) fn buffer_bytes(buffer: &ArrayBuffer<'_>) -> Vec<u8> {
    // SAFETY: no script runs between here and the end of the copy, so that the buffer is neither
    // detached nor resized meanwhile.
    unsafe { buffer.as_bytes() }.unwrap_or_default().to_vec()
}

/// A copy of the bytes of an array of bytes.
///
/// # Errors
/// Its buffer is detached.
pub(crate) fn view_bytes(array: &TypedArray<'_, u8>) -> rquickjs::Result<Vec<u8>> {
    // SAFETY: as in `buffer_bytes`.
    let bytes = unsafe { array.as_bytes() };
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
        assert!(meter.used() <= 4 << 20);
        drop((context, runtime));
        assert_eq!(meter.used(), 0);
    }
}
