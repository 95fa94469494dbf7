//! The heap of the VMs of one thread: small blocks cut off large spans, one list of free blocks
//! per size, shared by all VMs of the thread, so that no VM keeps half-empty pages of its own.
//!
//! Knows nothing of JavaScript. Each VM counts its own bytes against its own limit. Spans are given
//! back when the thread's last VM is gone; a VM that was left behind keeps all of them.

use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::{Rc, Weak};

use rquickjs::allocator::Allocator;

/// Bytes that a VU's heap holds and may hold.
#[derive(Debug)]
pub(crate) struct HeapMeter {
    used: Cell<usize>,
    max: usize,
    /// A block was refused: small ones may now go into the reserve.
    refused: Cell<bool>,
}

impl HeapMeter {
    pub(crate) fn new(max: usize) -> Rc<HeapMeter> {
        Rc::new(HeapMeter {
            used: Cell::new(0),
            max,
            refused: Cell::new(false),
        })
    }

    /// Whether `size` more bytes may be used; they are counted then.
    #[inline]
    fn count(&self, size: usize) -> bool {
        let used = self.used.get() + size;
        if used > self.max {
            if !self.may_use_reserve(used, size) {
                return false;
            }
        } else if self.refused.get() && used + RESERVE_BYTES < self.max {
            self.refused.set(false);
        }
        self.used.set(used);
        true
    }

    #[inline]
    fn discount(&self, size: usize) {
        self.used.set(self.used.get() - size);
    }

    #[cold]
    fn may_use_reserve(&self, used: usize, size: usize) -> bool {
        let first = !self.refused.replace(true);
        !first && size <= RESERVE_BLOCK_MAX && used <= self.max + RESERVE_BYTES
    }

    /// Bytes in use, with block headers.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.get()
    }
}

/// Past the limit, so that QuickJS can still make the error that says so: without it scripts would
/// see `null` thrown.
const RESERVE_BYTES: usize = 64 * 1024;
const RESERVE_BLOCK_MAX: usize = 1_024;

/// Before each block stands the block's size, this header included.
const HEADER: usize = 8;
/// Sizes up to here are apart by 8 bytes, from there to [`SMALL_MAX`] by 64.
const FINE_MAX: usize = 512;
const FINE_STEP: usize = 8;
const COARSE_STEP: usize = 64;
/// Larger blocks come from the program's global allocator, one by one.
const SMALL_MAX: usize = 4_096;
const CLASSES: usize = FINE_MAX / FINE_STEP + (SMALL_MAX - FINE_MAX) / COARSE_STEP + 1;
/// Cut into blocks from the front; what is not yet cut is not yet touched.
const SPAN_BYTES: usize = 512 * 1024;

/// A block that waits in a list.
struct Free {
    next: *mut Free,
}

/// The spans and free blocks of one thread.
struct Slabs {
    free: [Cell<*mut Free>; CLASSES],
    /// What is left of the newest span.
    rest: Cell<*mut u8>,
    rest_bytes: Cell<usize>,
    spans: RefCell<Vec<*mut u8>>,
    /// Small blocks in use.
    live: Cell<usize>,
}

thread_local! {
    static CURRENT: RefCell<Weak<Slabs>> = const { RefCell::new(Weak::new()) };
}

/// Size of a small block and its list.
fn class(size: usize) -> (usize, usize) {
    if size <= FINE_MAX {
        (size, size / FINE_STEP)
    } else {
        let steps = (size - FINE_MAX).div_ceil(COARSE_STEP);
        let list = FINE_MAX / FINE_STEP + steps;
        (FINE_MAX + steps * COARSE_STEP, list)
    }
}

fn span_layout() -> Layout {
    Layout::from_size_align(SPAN_BYTES, 4_096).expect("a power of two")
}

impl Slabs {
    /// The thread's, made anew when there is none.
    fn of_thread() -> Rc<Slabs> {
        CURRENT.with_borrow_mut(|current| {
            current.upgrade().unwrap_or_else(|| {
                let made = Rc::new(Slabs {
                    free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
                    rest: Cell::new(ptr::null_mut()),
                    rest_bytes: Cell::new(0),
                    spans: RefCell::default(),
                    live: Cell::new(0),
                });
                *current = Rc::downgrade(&made);
                made
            })
        })
    }

    /// A block of a class's own `size`; null when the system has no memory.
    #[inline]
    fn take(&self, size: usize, list: usize) -> *mut u8 {
        let head = self.free[list].get();
        let block = if head.is_null() {
            self.cut(size)
        } else {
            // SAFETY: what stands in a list is a free block of ours, at least as large as `Free`.
            self.free[list].set(unsafe { (*head).next });
            head.cast()
        };
        if !block.is_null() {
            self.live.set(self.live.get() + 1);
        }
        block
    }

    #[inline]
    fn give(&self, block: *mut u8, list: usize) {
        self.live.set(self.live.get() - 1);
        self.keep(block, list);
    }

    fn keep(&self, block: *mut u8, list: usize) {
        let freed = block.cast::<Free>();
        // SAFETY: the block is ours, unused, aligned to 8 and has room for a pointer.
        unsafe {
            freed.write(Free {
                next: self.free[list].get(),
            });
        }
        self.free[list].set(freed);
    }

    #[cold]
    fn cut(&self, size: usize) -> *mut u8 {
        if self.rest_bytes.get() < size && !self.grow() {
            return ptr::null_mut();
        }
        let block = self.rest.get();
        // SAFETY: the rest of the span has at least `size` bytes.
        self.rest.set(unsafe { block.add(size) });
        self.rest_bytes.set(self.rest_bytes.get() - size);
        block
    }

    fn grow(&self) -> bool {
        // The end of the old span still serves as one block.
        let left = self.rest_bytes.get();
        if left >= 2 * HEADER {
            let size = if left <= FINE_MAX {
                left
            } else {
                FINE_MAX + (left - FINE_MAX) / COARSE_STEP * COARSE_STEP
            };
            self.keep(self.rest.get(), class(size.min(SMALL_MAX)).1);
        }
        self.rest_bytes.set(0);
        // SAFETY: the layout is not empty.
        let span = unsafe { alloc::alloc(span_layout()) };
        if span.is_null() {
            return false;
        }
        self.spans.borrow_mut().push(span);
        self.rest.set(span);
        self.rest_bytes.set(SPAN_BYTES);
        true
    }
}

impl Drop for Slabs {
    fn drop(&mut self) {
        if self.live.get() > 0 {
            return;
        }
        for span in self.spans.get_mut().drain(..) {
            // SAFETY: no block of any span is in use, and each span was made with this layout.
            unsafe { alloc::dealloc(span, span_layout()) };
        }
    }
}

/// QuickJS's heap in its thread's slabs, counted, and refused past the limit.
pub(crate) struct CountingAllocator {
    meter: Rc<HeapMeter>,
    slabs: Rc<Slabs>,
}

fn large_layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("`rounded` bounds the size")
}

/// With header, in steps of 8; `None` for what no machine has.
#[inline]
fn rounded(size: usize) -> Option<usize> {
    const MOST: usize = isize::MAX as usize / 2;
    (size <= MOST).then(|| (size.max(1) + HEADER + 7) & !7)
}

impl CountingAllocator {
    /// For a VM that is made, used and dropped on this thread.
    pub(crate) fn new(meter: Rc<HeapMeter>) -> CountingAllocator {
        CountingAllocator {
            meter,
            slabs: Slabs::of_thread(),
        }
    }

    /// The rest after the header is zero if `zeroed`.
    #[inline]
    fn obtain(&self, asked: usize, zeroed: bool) -> *mut u8 {
        let Some(rounded) = rounded(asked) else {
            return ptr::null_mut();
        };
        let small = rounded <= SMALL_MAX;
        let (size, list) = if small { class(rounded) } else { (rounded, 0) };
        if !self.meter.count(size) {
            return ptr::null_mut();
        }
        let base = if small {
            self.slabs.take(size, list)
        } else if zeroed {
            // SAFETY: the layout is never empty.
            unsafe { alloc::alloc_zeroed(large_layout(size)) }
        } else {
            // SAFETY: the layout is never empty.
            unsafe { alloc::alloc(large_layout(size)) }
        };
        if base.is_null() {
            self.meter.discount(size);
            return base;
        }
        // SAFETY: the block has `size` bytes, the header among them, and is aligned for it.
        unsafe {
            base.cast::<usize>().write(size);
            let block = base.add(HEADER);
            if zeroed && small {
                block.write_bytes(0, asked);
            }
            block
        }
    }
}

/// Size of a block, with its header.
///
/// # Safety
/// `block` must be one that `obtain` gave.
#[inline]
unsafe fn size_of_block(block: *mut u8) -> usize {
    // SAFETY: the caller's; the header stands before the block.
    unsafe { block.sub(HEADER).cast::<usize>().read() }
}

// SAFETY: blocks are aligned to 8 and at least as large as asked; the size before each block, which
// `usable_size` reports without the header, tells where it came from and goes back to.
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
        // SAFETY: `block` came from `obtain`: from a list where it is small, else from the global
        // allocator with this layout.
        unsafe {
            let size = size_of_block(block);
            self.meter.discount(size);
            let base = block.sub(HEADER);
            if size <= SMALL_MAX {
                self.slabs.give(base, class(size).1);
            } else {
                alloc::dealloc(base, large_layout(size));
            }
        }
    }

    unsafe fn realloc(&mut self, block: *mut u8, asked: usize) -> *mut u8 {
        if block.is_null() {
            return self.obtain(asked, false);
        }
        let Some(new_size) = rounded(asked) else {
            return ptr::null_mut();
        };
        // SAFETY: `block` came from `obtain`, so its size stands before it; large blocks came from
        // the global allocator with the layout of that size; copies stay within both blocks.
        unsafe {
            let size = size_of_block(block);
            if size > SMALL_MAX && new_size > SMALL_MAX {
                let used = self.meter.used.get() - size + new_size;
                if used > self.meter.max && !self.meter.may_use_reserve(used, new_size) {
                    return ptr::null_mut();
                }
                let base = block.sub(HEADER);
                let moved = alloc::realloc(base, large_layout(size), new_size);
                if moved.is_null() {
                    return moved;
                }
                self.meter.used.set(used);
                moved.cast::<usize>().write(new_size);
                return moved.add(HEADER);
            }
            if size <= SMALL_MAX && new_size <= SMALL_MAX && class(new_size).0 == size {
                return block;
            }
            let moved = self.obtain(asked, false);
            if !moved.is_null() {
                let kept = (size - HEADER).min(asked);
                ptr::copy_nonoverlapping(block, moved, kept);
                self.dealloc(block);
            }
            moved
        }
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        if block.is_null() {
            return 0;
        }
        // SAFETY: `block` came from `obtain`.
        unsafe { size_of_block(block) - HEADER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for() {
        for asked in 1..=SMALL_MAX - HEADER {
            let rounded = rounded(asked).expect("small");
            let (size, list) = class(rounded);
            assert!(size >= asked + HEADER && size % 8 == 0 && list < CLASSES);
            assert_eq!(class(size), (size, list), "a block goes back to its list");
        }
    }

    #[test]
    fn contents_survive_growth_and_blocks_are_used_again() {
        let meter = HeapMeter::new(1 << 20);
        let mut heap = CountingAllocator::new(meter.clone());
        let mut block = heap.calloc(3, 8);
        // SAFETY: the blocks come from this very heap and are written within their sizes.
        unsafe {
            assert_eq!(std::slice::from_raw_parts(block, 24), [0; 24]);
            block.write_bytes(7, 24);
            for size in [25, 600, 5_000, 70_000, 4_000, 24] {
                block = heap.realloc(block, size);
                assert!(CountingAllocator::usable_size(block) >= size);
                assert_eq!(std::slice::from_raw_parts(block, 24), [7; 24], "{size}");
            }
            let before = block;
            heap.dealloc(block);
            assert_eq!(heap.alloc(24), before);
            heap.dealloc(before);
        }
        assert_eq!(meter.used(), 0);
        assert!(heap.alloc(2 << 20).is_null(), "past the limit");
        assert!(heap.alloc(usize::MAX).is_null());
        assert_eq!(meter.used(), 0);
    }
}
