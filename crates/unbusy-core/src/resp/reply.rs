//! Finds the ends of the frames that a server sends (RESP2 and RESP3).
//!
//! Source: the RESP specification, <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use super::number;

/// Longest header line with a number in it: a type byte, a sign, 18 digits and a carriage return.
const NUMBER_LINE_MAX: usize = 24;
/// How much of a frame's first element is remembered: enough for `sunsubscribe` and a monitor time stamp.
const HEAD_MAX: usize = 24;

/// What a server sent cannot be RESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// A frame begins with a byte that is no type of RESP2 or RESP3.
    UnknownType(u8),
    /// A length or count is no number, negative, or too large.
    BadLength,
    /// A streamed string or aggregate (`$?`, `*?`), which no server sends and nobody could skip safely.
    Streamed,
}

impl std::fmt::Display for ReplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownType(byte) => {
                write!(f, "a frame begins with byte 0x{byte:02x}, which is no RESP type")
            }
            Self::BadLength => f.write_str("a length in a frame is no number or out of range"),
            Self::Streamed => f.write_str("a streamed RESP3 value, which is not supported"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// A top-level frame ends after so many of the given bytes.
    Complete(usize),
    /// All given bytes belong to a frame that is not over.
    Partial,
}

/// What is known of a top-level frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame {
    /// The type byte, after attributes: `+`, `-`, `:`, `$`, `*`, `>` …
    pub kind: u8,
    /// The number of elements or bytes in its header; -1 for a null.
    pub count: i64,
    /// The value of the last integer in it; only when heads are captured.
    pub last_integer: i64,
    head: [u8; HEAD_MAX],
    head_len: u8,
}

impl Frame {
    /// The first bytes of a status line, or of an aggregate's first string; only when heads are captured.
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    /// Whether this is an error, which proves nothing.
    pub const fn is_error(&self) -> bool {
        matches!(self.kind, b'-' | b'!')
    }

    fn capture(&mut self, bytes: &[u8]) {
        let used = usize::from(self.head_len);
        let take = bytes.len().min(HEAD_MAX - used);
        self.head[used..used + take].copy_from_slice(&bytes[..take]);
        self.head_len += take as u8;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the type byte of the frame or of an element.
    Type,
    /// In a line whose text does not matter.
    Text { kind: u8 },
    /// In a line that holds a number, collected in `line`.
    Number { kind: u8 },
    /// In the bytes of a bulk string, its line end included.
    Body { left: u64, captured: bool },
}

/// Finds where top-level frames end.
///
/// Nesting costs no memory: what counts is how many elements are still to come, not where they belong.
///
/// ```
/// use unbusy_core::resp::{ReplyScanner, Scanned};
/// let mut scanner = ReplyScanner::default();
/// assert_eq!(scanner.scan(b"*2\r\n:1\r\n$3\r\nab"), Ok(Scanned::Partial));
/// assert_eq!(scanner.scan(b"c\r\n+OK\r\n"), Ok(Scanned::Complete(3)));
/// assert_eq!(scanner.frame().kind, b'*');
/// ```
#[derive(Debug, Clone)]
pub struct ReplyScanner {
    state: State,
    /// Elements still to come, this one included; zero between frames.
    pending: u64,
    line: [u8; NUMBER_LINE_MAX],
    line_len: u8,
    capture: bool,
    split: bool,
    frame: Frame,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self {
            state: State::Type,
            pending: 0,
            line: [0; NUMBER_LINE_MAX],
            line_len: 0,
            capture: false,
            split: false,
            frame: Frame::default(),
        }
    }
}

/// The length of the frame that `bytes` begins with, if it is a short line or a bulk string and all of it has come.
///
/// ```
/// use unbusy_core::resp::whole_reply;
/// assert_eq!(whole_reply(b"+OK\r\n:1\r\n"), Some(5));
/// assert_eq!(whole_reply(b"$3\r\nabc\r\n"), Some(9));
/// assert_eq!(whole_reply(b"$3\r\nabc"), None);
/// assert_eq!(whole_reply(b"*0\r\n"), None, "may be whole, but that takes a scanner");
/// ```
pub fn whole_reply(bytes: &[u8]) -> Option<usize> {
    const LINE_MAX: usize = 32;
    match bytes.first()? {
        b'$' if bytes.starts_with(b"$-1\r\n") => Some(5),
        b'$' => {
            let (length, header) = number::header(b'$', bytes)?;
            let end = header + length + 2;
            (end <= bytes.len()).then_some(end)
        }
        b'+' | b':' => bytes.iter().take(LINE_MAX).position(|&byte| byte == b'\n').map(|end| end + 1),
        _ => None,
    }
}

impl ReplyScanner {
    /// Whether the next byte begins a top-level frame.
    pub const fn between_frames(&self) -> bool {
        self.pending == 0
    }

    /// The frame being scanned, or the last one.
    pub const fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Whether the first string of an aggregate has been read to its end.
    pub const fn head_is_complete(&self) -> bool {
        self.frame.head_len > 0 && !matches!(self.state, State::Body { captured: true, .. })
    }

    /// Whether to remember the head and the last integer of the frames to come.
    pub const fn capture_heads(&mut self, on: bool) {
        self.capture = on;
    }

    /// The next frame, if it is an array, ends with its header; its elements follow as frames of their own.
    pub const fn split_array(&mut self) {
        self.split = true;
    }

    /// Reads on until the current frame ends or the bytes do.
    ///
    /// # Errors
    /// When the bytes are not RESP. The scanner is of no use afterwards.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scanned, ReplyError> {
        let mut at = 0;
        if self.pending == 0 && !bytes.is_empty() {
            self.pending = 1;
            self.frame = Frame::default();
        }
        while at < bytes.len() {
            at += match self.state {
                State::Type => self.type_byte(bytes[at])?,
                State::Text { kind } => self.text(kind, &bytes[at..]),
                State::Number { kind } => self.number(kind, &bytes[at..])?,
                State::Body { left, captured } => self.body(left, captured, &bytes[at..]),
            };
            if self.pending == 0 {
                return Ok(Scanned::Complete(at));
            }
        }
        Ok(Scanned::Partial)
    }

    fn type_byte(&mut self, kind: u8) -> Result<usize, ReplyError> {
        // An attribute goes before the value it describes and is part of that frame. While its own elements are
        // still to come, more than the value is pending.
        if self.frame.kind == 0 && kind != b'|' && self.pending == 1 {
            self.frame.kind = kind;
        }
        self.line_len = 0;
        self.state = match kind {
            b'+' | b'-' | b'(' | b',' | b'#' | b'_' => State::Text { kind },
            b':' if !self.capture => State::Text { kind },
            b':' | b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => State::Number { kind },
            other => return Err(ReplyError::UnknownType(other)),
        };
        Ok(1)
    }

    fn text(&mut self, kind: u8, bytes: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', bytes);
        let line = &bytes[..end.unwrap_or(bytes.len())];
        if self.capture && kind == b'+' && self.frame.kind == b'+' {
            self.frame.capture(line);
        }
        match end {
            Some(end) => {
                self.element_done();
                end + 1
            }
            None => bytes.len(),
        }
    }

    fn number(&mut self, kind: u8, bytes: &[u8]) -> Result<usize, ReplyError> {
        for (at, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' {
                self.header(kind)?;
                return Ok(at + 1);
            }
            let len = usize::from(self.line_len);
            if len == NUMBER_LINE_MAX {
                return Err(ReplyError::BadLength);
            }
            self.line[len] = byte;
            self.line_len += 1;
        }
        Ok(bytes.len())
    }

    fn header(&mut self, kind: u8) -> Result<(), ReplyError> {
        let line =
            self.line[..usize::from(self.line_len)].strip_suffix(b"\r").ok_or(ReplyError::BadLength)?;
        if line == b"?" {
            return Err(ReplyError::Streamed);
        }
        let number = number::parse(line);
        if kind == b':' {
            // An integer of 19 digits is fine as a value; only counts of subscriptions are ever looked at.
            self.frame.last_integer = number.unwrap_or(i64::MAX);
            self.element_done();
            return Ok(());
        }
        let number = number.filter(|n| *n >= -1).ok_or(ReplyError::BadLength)?;
        let is_top = kind == self.frame.kind && self.frame.count == 0 && self.pending == 1;
        if is_top {
            self.frame.count = number;
        }
        if matches!(kind, b'$' | b'=' | b'!') {
            self.bulk(number);
            return Ok(());
        }
        self.aggregate(kind, number, is_top)
    }

    const fn bulk(&mut self, length: i64) {
        if length < 0 {
            self.element_done();
            return;
        }
        // The first string of an aggregate is all that is ever captured.
        let captured = self.capture && self.frame.head_len == 0 && matches!(self.frame.kind, b'*' | b'>');
        self.state = State::Body { left: length as u64 + 2, captured };
    }

    fn aggregate(&mut self, kind: u8, number: i64, is_top: bool) -> Result<(), ReplyError> {
        let count = if is_top && std::mem::take(&mut self.split) { 0 } else { number.max(0) as u64 };
        let elements = match kind {
            b'%' | b'|' => count * 2,
            _ => count,
        };
        // An attribute is no element itself; the value it describes is still to come. Nor is a push: up to Redis 7.0 what ZPOPMIN
        // and others publish to their own client comes in the middle of their reply (redis `src/t_zset.c`, `genericZpopCommand`).
        let own = u64::from(is_top || !matches!(kind, b'|' | b'>'));
        self.pending = self.pending.checked_add(elements).ok_or(ReplyError::BadLength)? - own;
        self.state = State::Type;
        Ok(())
    }

    fn body(&mut self, left: u64, captured: bool, bytes: &[u8]) -> usize {
        let take = left.min(bytes.len() as u64);
        if captured {
            let text = left.saturating_sub(2).min(take) as usize;
            self.frame.capture(&bytes[..text]);
        }
        if take == left {
            self.element_done();
        } else {
            self.state = State::Body { left: left - take, captured };
        }
        take as usize
    }

    const fn element_done(&mut self) {
        self.pending -= 1;
        self.state = State::Type;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn complete(bytes: &[u8]) -> Frame {
        let mut scanner = ReplyScanner::default();
        scanner.capture_heads(true);
        assert_eq!(scanner.scan(bytes), Ok(Scanned::Complete(bytes.len())), "{}", bytes.escape_ascii());
        *scanner.frame()
    }

    #[test]
    fn every_type_ends_where_it_ends() {
        for frame in [
            &b"+OK\r\n"[..],
            b"-ERR no\r\n",
            b":12\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",1.5\r\n",
            b"(123456789012345678901234567890\r\n",
            b"!5\r\nERR x\r\n",
            b"=7\r\ntxt:abc\r\n",
            b"%1\r\n+k\r\n:1\r\n",
            b"~2\r\n:1\r\n:2\r\n",
            b">2\r\n+a\r\n*1\r\n$1\r\nx\r\n",
            b"*2\r\n*2\r\n:1\r\n*0\r\n$2\r\nok\r\n",
            b"|1\r\n+ttl\r\n:10\r\n$1\r\nx\r\n",
            b"*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n",
            b"*2\r\n>1\r\n+a\r\n:1\r\n>1\r\n>0\r\n+a\r\n:2\r\n",
            b"|1\r\n+a\r\n+b\r\n>1\r\n>1\r\n:1\r\n:2\r\n",
        ] {
            complete(frame);
        }
    }

    #[test]
    fn deep_nesting_costs_no_memory() {
        let mut bytes = b"*1\r\n".repeat(1_000_000);
        bytes.extend_from_slice(b":1\r\n");
        complete(&bytes);
    }

    #[test]
    fn heads_and_integers_are_captured() {
        let frame = complete(b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:7\r\n");
        assert_eq!((frame.kind, frame.head(), frame.last_integer), (b'>', &b"subscribe"[..], 7));
        assert_eq!(complete(b"+1699.5 [0 x]\r\n").head(), b"1699.5 [0 x]\r");
        assert_eq!(complete(b"|1\r\n+a\r\n+b\r\n:3\r\n").kind, b':');
        assert_eq!(complete(b"*2\r\n*-1\r\n*1\r\n:1\r\n").count, 2, "not that of an element");
        assert_eq!(complete(b"*1\r\n+message\r\n").head(), b"", "messages begin with a bulk string");
    }

    #[test]
    fn hostile_headers_are_errors() {
        for (bytes, error) in [
            (&b"$-2\r\n"[..], ReplyError::BadLength),
            (b"*x\r\n", ReplyError::BadLength),
            (b"$99999999999999999999999999\r\n", ReplyError::BadLength),
            (b"*1\n", ReplyError::BadLength),
            (b"$?\r\n", ReplyError::Streamed),
            (b"HTTP/1.1 200 OK\r\n", ReplyError::UnknownType(b'H')),
        ] {
            assert_eq!(ReplyScanner::default().scan(bytes), Err(error), "{}", bytes.escape_ascii());
        }
        let mut many = ReplyScanner::default();
        let bytes = b"%999999999999999999\r\n".repeat(20);
        assert_eq!(many.scan(&bytes), Err(ReplyError::BadLength), "the count of elements cannot overflow");
    }

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
            "[ -~]{0,20}".prop_map(|s| format!("+{s}\r\n").into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|body| {
                let mut frame = format!("${}\r\n", body.len()).into_bytes();
                frame.extend(body);
                frame.extend(b"\r\n");
                frame
            }),
        ];
        leaf.prop_recursive(4, 20, 5, |inner| {
            (prop_oneof![Just('*'), Just('~'), Just('>')], proptest::collection::vec(inner, 0..5)).prop_map(
                |(kind, mut items): (char, Vec<Vec<u8>>)| {
                    // One behind the last element would be a frame of its own.
                    while items.pop_if(|item| item[0] == b'>').is_some() {}
                    let count = items.iter().filter(|item| item[0] != b'>').count();
                    let mut frame = format!("{kind}{count}\r\n").into_bytes();
                    frame.extend(items.concat());
                    frame
                },
            )
        })
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(frames in proptest::collection::vec(frame(), 1..6), piece in 1_usize..9, capture: bool) {
            let mut scanner = ReplyScanner::default();
            scanner.capture_heads(capture);
            let bytes: Vec<u8> = frames.concat();
            let (mut ends, mut offset) = (Vec::new(), 0);
            for chunk in bytes.chunks(piece) {
                let mut at = 0;
                while at < chunk.len() {
                    match scanner.scan(&chunk[at..]).unwrap() {
                        Scanned::Complete(n) => { at += n; ends.push(offset + at); }
                        Scanned::Partial => at = chunk.len(),
                    }
                }
                offset += chunk.len();
            }
            let expected: Vec<usize> = frames.iter().scan(0, |sum, f| { *sum += f.len(); Some(*sum) }).collect();
            prop_assert_eq!(ends, expected);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut scanner = ReplyScanner::default();
            let mut at = 0;
            while let Ok(Scanned::Complete(n)) = scanner.scan(&bytes[at..]) {
                prop_assert!(n > 0);
                at += n;
                if at == bytes.len() { break; }
            }
        }
    }
}
