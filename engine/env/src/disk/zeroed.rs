//! [`ZeroedMemory`]: zeros that belong to no file.

use std::io;
use std::ptr::NonNull;

#[cfg(target_family = "wasm")]
use heap as backing;
#[cfg(not(target_family = "wasm"))]
use mapping as backing;

/// Zeroed bytes at an address that stays. Where the target has anonymous mappings they take up
/// memory only where they are written; elsewhere (WebAssembly) they are a piece of the heap, all of it.
pub struct ZeroedMemory(backing::Pages);

impl ZeroedMemory {
    /// `len` zeros, at least one.
    ///
    /// # Errors
    /// What the operating system says; no address space or no memory is left.
    pub fn new(len: usize) -> io::Result<Self> {
        Ok(ZeroedMemory(backing::Pages::new(len.max(1))?))
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first byte. All of them are readable and writable while this lives, and whoever makes
    /// references of them keeps readers and writers apart.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.0.base()
    }
}

#[cfg(not(target_family = "wasm"))]
mod mapping {
    //! A private anonymous mapping, reserved and not backed.

    use std::io;
    use std::ptr::NonNull;

    use memmap2::{MmapOptions, MmapRaw};

    /// Memory from this size on is kept out of huge pages, which would take up 2 MiB for one byte.
    #[cfg(target_os = "linux")]
    const HUGE_PAGE_BYTES: usize = 2 << 20;

    pub(super) struct Pages {
        map: MmapRaw,
        base: NonNull<u8>,
    }

    // SAFETY: `base` is the address of `map`, which may be sent and shared itself.
    #[expect(unsafe_code, reason = "an address beside its mapping")]
    unsafe impl Send for Pages {}
    // SAFETY: as for Send.
    #[expect(unsafe_code, reason = "an address beside its mapping")]
    unsafe impl Sync for Pages {}

    impl Pages {
        pub(super) fn new(len: usize) -> io::Result<Self> {
            let map = MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
            #[cfg(target_os = "linux")]
            if map.len() >= HUGE_PAGE_BYTES {
                map.advise(memmap2::Advice::NoHugePage)?;
            }
            let map = MmapRaw::from(map);
            let base = NonNull::new(map.as_mut_ptr());
            let base = base.ok_or_else(|| io::Error::other("mmap returned null"))?;
            Ok(Pages { map, base })
        }

        pub(super) fn len(&self) -> usize {
            self.map.len()
        }

        pub(super) fn base(&self) -> NonNull<u8> {
            self.base
        }
    }
}

#[cfg(target_family = "wasm")]
mod heap {
    //! A piece of the heap, of cells that may be written through a shared reference.

    use std::io;
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU8;

    pub(super) struct Pages(Box<[AtomicU8]>);

    impl Pages {
        pub(super) fn new(len: usize) -> io::Result<Self> {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(len).map_err(io::Error::other)?;
            bytes.resize_with(len, AtomicU8::default);
            Ok(Pages(bytes.into_boxed_slice()))
        }

        pub(super) fn len(&self) -> usize {
            self.0.len()
        }

        pub(super) fn base(&self) -> NonNull<u8> {
            NonNull::from(&*self.0).cast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_byte() {
        assert_eq!(ZeroedMemory::new(0).unwrap().len(), 1);
        assert_eq!(ZeroedMemory::new(5_000).unwrap().len(), 5_000);
    }
}
