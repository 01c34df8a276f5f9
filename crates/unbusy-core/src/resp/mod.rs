//! RESP as far as a transparent proxy must understand it: where frames begin and end.
//!
//! Both scanners are resumable: they take bytes in pieces of any size, keep a few bytes of state and copy nothing
//! but the head of a frame.

mod number;
mod reply;
mod request;

pub use reply::{Frame, ReplyError, ReplyScanner, Scanned, whole_reply};
pub use request::{RequestError, RequestScanner, args, whole_request};
