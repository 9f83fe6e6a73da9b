//! Ctrl-C and SIGTERM: exit code 130, at once or when long work has saved what it has.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;

static SAVES: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C and SIGTERM end the program with exit code 130, until [`catch`] is called.
pub(super) fn end_at_once() {
    let survives_hangup = ignores_hangup();
    // Fails only when it was called before, and then nothing is left to do.
    let _ = ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::Relaxed);
        if !SAVES.load(Ordering::Relaxed) {
            // Files are renamed into place when they are whole, so that none is left half-written.
            let error = Error::Interrupted { saved: "what was not finished is lost".to_owned() };
            eprintln!("error: {error}");
            process::exit(error.exit_code().into());
        }
    });
    if survives_hangup {
        ignore_hangup();
    }
}

/// Whether the program was started to outlive its terminal, as by `nohup`.
#[allow(unsafe_code)]
fn ignores_hangup() -> bool {
    // SAFETY: a zeroed sigaction is a valid one, and with no new action the call only fills it in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Gives a hangup back to being ignored, which the handler above took from it.
#[allow(unsafe_code)]
fn ignore_hangup() {
    // SAFETY: SIG_IGN is a disposition that every signal but SIGKILL and SIGSTOP may have.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Makes Ctrl-C and SIGTERM set the flag of [`interrupted`] instead of ending the program.
pub(super) fn catch() {
    SAVES.store(true, Ordering::Relaxed);
}

/// Whether the user asked to stop.
pub(super) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
