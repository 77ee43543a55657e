// SPDX-License-Identifier: LGPL-2.1-or-later
//! libmsg's failures as `std::io::Error`.
use crate::ffi;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::{fmt, io};

/// What an `io::Error` of this crate holds: the number of the error, and libmsg's sentence about it.
///
/// ```no_run
/// # fn f(error: std::io::Error) {
/// let reason = error.get_ref().and_then(|e| e.downcast_ref::<libmsg::Reason>());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reason {
    pub errno: i32,
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, io::Error::from_raw_os_error(self.errno))
    }
}

impl std::error::Error for Reason {}

/// The error of the call of libmsg that this thread has just made.
pub(crate) fn last() -> io::Error {
    of_errno(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

pub(crate) fn of_errno(errno: i32) -> io::Error {
    // SAFETY: the string is valid until this thread's next call of libmsg.
    let text = unsafe { CStr::from_ptr(ffi::msg_reason()) };
    let reason = Reason { errno, text: text.to_string_lossy().into_owned() };
    io::Error::new(io::Error::from_raw_os_error(errno).kind(), reason)
}

pub(crate) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(last())
    } else {
        Ok(result)
    }
}

pub(crate) fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| last())
}
