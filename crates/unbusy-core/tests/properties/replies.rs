//! The scanner of replies: it finds the frames that another implementation finds, however the bytes are cut.
//!
//! Where `redis-protocol` and the scanner differ on purpose:
//! * The scanner passes on what it need not understand: a double, a boolean, a key of a map can be anything. So where
//!   `redis-protocol` finds an error, the scanner may find a frame.
//! * A line ends at its line feed, with or without a return in front of it.
//! * A push inside of another frame is no element of it.
//! * A verbatim string may be shorter than the name of its format, for which `redis-protocol` waits.
//! * Lengths have no more than 18 digits. Streamed values and their parts, which no server sends, are errors, and so is
//!   the greeting `HELLO`, which `redis-protocol` takes for a frame.

use redis_protocol::{resp2, resp3};
use unbusy_core::resp::{ReplyError, ReplyScanner, Scanned, whole_reply};

use super::input::Cuts;

/// Nesting costs `redis-protocol` stack; the scanner's own test nests a million times.
const ORACLE_BYTES_MAX: usize = 4096;

pub fn check(bytes: &[u8]) {
    for capture in [false, true] {
        let whole = scan(bytes, Cuts::Nowhere, capture);
        assert_eq!(scan(bytes, Cuts::Everywhere, capture), whole, "cut everywhere");
        assert_eq!(scan(bytes, Cuts::Somewhere(bytes.len() as u64), capture), whole, "cut somewhere");
    }
    let found = scan(bytes, Cuts::Nowhere, false);
    let mut start = 0;
    for &end in &found.ends {
        check_frame(&bytes[start..], Ok(Scanned::Complete(end - start)));
        start = end;
    }
    check_frame(&bytes[start..], found.error.map_or(Ok(Scanned::Partial), Err));
}

/// What a scanner found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    ends: Vec<usize>,
    /// Type, count, head and last integer of each frame.
    frames: Vec<(u8, i64, Vec<u8>, i64)>,
    error: Option<ReplyError>,
}

fn scan(bytes: &[u8], mut cuts: Cuts, capture: bool) -> Found {
    let mut scanner = ReplyScanner::default();
    scanner.capture_heads(capture);
    let mut found = Found { ends: Vec::new(), frames: Vec::new(), error: None };
    let mut seen = 0;
    for piece in cuts.pieces(bytes) {
        let mut rest = piece;
        while !rest.is_empty() {
            match scanner.scan(rest) {
                Ok(Scanned::Partial) => rest = &[],
                Ok(Scanned::Complete(count)) => {
                    assert!(count > 0, "a frame without bytes");
                    rest = &rest[count..];
                    let frame = scanner.frame();
                    found.ends.push(seen + piece.len() - rest.len());
                    found.frames.push((frame.kind, frame.count, frame.head().to_vec(), frame.last_integer));
                }
                Err(error) => {
                    found.error = Some(error);
                    return found;
                }
            }
        }
        seen += piece.len();
    }
    found
}

/// Compares what the scanner found here with what others find: the fast path, and `redis-protocol`.
fn check_frame(bytes: &[u8], found: Result<Scanned, ReplyError>) {
    if let Some(length) = whole_reply(bytes) {
        assert_eq!(found, Ok(Scanned::Complete(length)), "the fast path finds so many bytes");
    }
    if matches!(found, Err(ReplyError::Streamed | ReplyError::UnknownType(b'H' | b';' | b'.'))) {
        return;
    }
    match oracle(bytes) {
        Some(Oracle::Whole(length)) if !is_own(&bytes[..length]) => {
            assert_eq!(found, Ok(Scanned::Complete(length)), "redis-protocol finds so many bytes");
        }
        Some(Oracle::Partial) if !is_own(bytes) => {
            let whole = matches!(found, Ok(Scanned::Complete(_)));
            assert!(!whole, "{found:?}, but redis-protocol waits for more");
        }
        _ => {}
    }
}

enum Oracle {
    Whole(usize),
    Partial,
}

/// `None`: it finds an error.
fn oracle(bytes: &[u8]) -> Option<Oracle> {
    if bytes.is_empty() || bytes.len() > ORACLE_BYTES_MAX {
        return None;
    }
    let found = match resp2::decode::decode_range(bytes) {
        Ok(found) => found.map(|(_, length)| length),
        Err(_) => resp3::decode::complete::decode_range(bytes).ok()?.map(|(_, length)| length),
    };
    Some(found.map_or(Oracle::Partial, Oracle::Whole))
}

/// Whether `redis-protocol` may see these bytes otherwise than the scanner.
fn is_own(bytes: &[u8]) -> bool {
    bytes.contains(&b'=')
        || bytes.iter().skip(1).any(|&byte| byte == b'>')
        || has_bare_line_feed(bytes)
        || has_long_number(bytes)
}

/// A line feed without a return in front of it: it may end a line for the scanner only.
fn has_bare_line_feed(frame: &[u8]) -> bool {
    frame.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || frame[at - 1] != b'\r'))
}

fn has_long_number(frame: &[u8]) -> bool {
    frame.windows(19).any(|digits| digits.iter().all(u8::is_ascii_digit))
}
