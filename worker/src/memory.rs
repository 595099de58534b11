//! The process's allocator.

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's `mi_option_purge_delay`, for which its bindings have no name.
const PURGE_DELAY: mi_option_t = 15;

/// How long freed memory is kept before the system gets it back, all of it at once. Within it fall the next checkpoints, which
/// need as much as the one before gave back: a slot whose rows are copied at the beginning of a checkpoint stands still for every
/// page that the system has to clear for it, and longer if a hypervisor has to find it first.
const KEPT_MS: std::ffi::c_long = 10 * 60_000;

/// Sets the allocator up, before any thread is made.
#[expect(unsafe_code, reason = "the option has no safe wrapper")]
pub(crate) fn set_up() {
    // SAFETY: the function sets a number, and checks that the option exists.
    unsafe { mi_option_set(PURGE_DELAY, KEPT_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    #[test]
    #[expect(unsafe_code, reason = "the option has no safe wrapper")]
    fn the_option_is_that_of_freed_memory() {
        // SAFETY: as above.
        let get = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(get(), 1000, "mimalloc's default, which no other option has");
        set_up();
        assert_eq!(get(), KEPT_MS);
    }
}
