//! What the process does with memory that it no longer needs.

/// Keeps freed memory for what comes next, up to a bound. The GNU allocator gives large blocks back to the
/// kernel at once and asks for fresh, zeroed pages at the next update: of a training whose tensors are
/// large, a twentieth to a tenth of its CPU time. Other allocators are left as they are.
pub(super) fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    {
        /// Largest block that comes from the heap and not from the kernel, bytes: the largest allowed.
        const FROM_HEAP: libc::c_int = 32 << 20;
        /// Free memory at the heap's end that is kept, bytes.
        const KEPT: libc::c_int = 256 << 20;
        // SAFETY: takes two numbers, may be called at any time by any thread; refused values change nothing.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, FROM_HEAP);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}
